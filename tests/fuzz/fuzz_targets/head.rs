#![no_main]

use data_attribution_fuzz::format::clustered::{CoarseDecoder, Head};
use libfuzzer_sys::fuzz_target;

// What is read is written again as it was.
fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = Head::parse("head", bytes) {
        let plan = head.plan.encode().expect("the plan that was read");
        let again = Head::encode(&plan, &head.row_salt, &head.clusters, &head.fine, &head.items);
        assert_eq!(again.expect("the head that was read"), bytes);
        for (cluster, first) in head.clusters.iter().zip(&head.first_rows) {
            let last = first + u64::from(cluster.rows) - 1;
            assert_eq!(head.cluster_of(*first), head.cluster_of(last));
        }
        let files = head.fine.len() + head.items.len();
        assert_eq!(head.file_names().count(), files);
        drop(CoarseDecoder::new(&head));
    }
});
