#![no_main]

use data_attribution_fuzz::format::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

// What is read says the same when it is written and read again, and is whole.
fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse("manifest", bytes) {
        let again = serde_json::to_vec(&manifest).expect("the manifest that was read");
        let again = Manifest::parse("manifest", &again).expect("the same manifest");
        assert_eq!(again, manifest);
        let rows: u64 = match &manifest.clusters {
            Some(clusters) => clusters.coarse.iter().map(|shard| shard.rows).sum(),
            None => {
                let layer = manifest.fine("manifest").expect("a layer of rows");
                layer.shards.iter().map(|shard| shard.rows).sum()
            }
        };
        assert_eq!(rows, manifest.count);
    }
});
