#![no_main]

use data_attribution_fuzz::format::clustered::{CoarseShard, encode_file};
use data_attribution_fuzz::format::digest::FileRef;
use data_attribution_fuzz::format::index;
use libfuzzer_sys::fuzz_target;

// The first byte says whether the index is coded, and whether the others are a file or what follows a right
// header; the salt is right in both cases.
fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    let (head, decoder) = index(kind & 1 == 1);
    let (clusters, rows) = (head.clusters.len() as u64, head.rows);
    let file = if kind & 2 == 2 {
        let file = encode_file(0, 0, rows as u32, head.salt, &[]).expect("a header");
        let mut file = [&file[..48], content].concat();
        file[16] = clusters as u8;
        file
    } else {
        let mut file = content.to_vec();
        if let Some(salt) = file.get_mut(32..48) {
            salt.copy_from_slice(&head.salt);
        }
        file
    };
    let shard = CoarseShard {
        file: FileRef::of("coarse", "bin", &[]),
        first_cluster: 0,
        clusters,
        first_row: 0,
        rows,
    };
    if let Ok(decoded) = decoder.decode(head, &shard, &file) {
        assert_eq!(decoded.rows() as u64, rows);
        let words = decoded.rows() * decoded.words_per_row;
        assert_eq!(decoded.words.len(), words);
    }
});
