//! A packed index for the tests, written without a backbone.

use std::fs;
use std::path::Path;

use data_attribution::evaluate::MapperName;
use data_attribution::format::manifest::{BackboneRef, ItemColumns, MANIFEST_FORMAT, Totals};
use data_attribution::format::{
    Calibrator, FileRef, Items, ItemsShard, Layer, Manifest, Shard, shard,
};
use data_attribution::score::query::normalised;
use serde_json::json;

/// A mapper's name.
pub fn mapper(side: &str) -> MapperName {
    MapperName {
        name: format!("toy-{side}"),
        identity: side.repeat(16),
    }
}

/// A packed index of `rows` [n, dimension], as the packer writes it, in several shards.
pub fn write_index(
    folder: &Path,
    rows: &[f32],
    dimension: usize,
    per_shard: usize,
    mappers: Option<[MapperName; 2]>,
) {
    let write = |subfolder: &str, ending: &str, bytes: &[u8]| {
        let file = FileRef::of(subfolder, ending, bytes);
        fs::create_dir_all(folder.join(subfolder)).unwrap();
        fs::write(folder.join(&file.file), bytes).unwrap();
        file
    };
    let units: Vec<f32> = rows
        .chunks(dimension)
        .flat_map(|row| normalised(row).unwrap())
        .collect();
    let count = (units.len() / dimension) as u64;
    let mut shards = Vec::new();
    for (at, rows) in units.chunks(per_shard * dimension).enumerate() {
        let first_row = (at * per_shard) as u64;
        let bytes = shard::encode(first_row, dimension, rows).unwrap();
        shards.push(Shard {
            file: write("fine", "bin", &bytes),
            first_row,
            rows: (rows.len() / dimension) as u64,
        });
    }
    let columns = ItemColumns {
        names: (0..count).map(|i| format!("{i}.jpg")).collect(),
        ..ItemColumns::default()
    };
    let items = ItemsShard {
        file: write("items", "json", &serde_json::to_vec(&columns).unwrap()),
        first_item: 0,
        items: count,
    };
    // What else the format may hold of a mapper is the same on both sides.
    let head = write("mapper", "json", b"{}");
    let [real_mapper, synth_mapper] = match mappers {
        Some(pair) => pair.map(|mapper| {
            let (name, identity) = (mapper.name, mapper.identity);
            let pair = "77".repeat(32);
            let side = json!({"name": name, "identity": identity, "kind": "linear", "pair": pair, "head": head});
            Some(side)
        }),
        None => [None, None],
    };
    // Written field by field, so that a later field of the format does not stop these tests.
    let manifest = json!({
        "format": MANIFEST_FORMAT,
        "version": 1,
        "title": "t",
        "backbone": BackboneRef {
            name: "toy".into(),
            identity: "1234".repeat(16),
            head: write("model", "json", b"{}"),
        },
        "real_mapper": real_mapper,
        "synth_mapper": synth_mapper,
        "dimension": dimension,
        "count": count,
        "calibrator": Calibrator { inv_tau: 1.0, bias: 0.0, fitted: false },
        "layers": [Layer {
            kind: "fine".into(),
            encoding: "int8-row-scale".into(),
            rows: count,
            shards,
        }],
        "items": Items { shards: vec![items] },
        "thumbnails": null,
        "totals": Totals::default(),
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    Manifest::parse("manifest.json", &bytes).unwrap();
    fs::write(folder.join("manifest.json"), bytes).unwrap();
}
