//! Manifests that are whole, and manifests that contradict themselves.

use super::super::clustered::CoarseShard;
use super::super::clustered::head::HEAD_BYTES_MAX;
use super::super::mapper::{MAPPER_HEAD_BYTES_MAX, MapperKind};
use super::super::shard::SHARD_BYTES_MAX;
use super::*;

/// A manifest of two shards and one items file.
pub(crate) fn sample() -> Manifest {
    let shard = |first_row, rows| Shard {
        file: FileRef::of(
            "fine",
            "bin",
            &vec![first_row as u8; 32 + 8 * rows as usize],
        ),
        first_row,
        rows,
    };
    Manifest {
        format: MANIFEST_FORMAT.into(),
        version: VERSION,
        title: "t".into(),
        description: String::new(),
        backbone: BackboneRef {
            name: "b".into(),
            identity: "i".into(),
            head: FileRef::of("model", "json", b"{}"),
        },
        real_mapper: None,
        synth_mapper: None,
        dimension: 4,
        count: 5,
        calibrator: Calibrator {
            inv_tau: 1.0,
            bias: 0.0,
            fitted: false,
        },
        clusters: None,
        layers: vec![Layer {
            kind: "fine".into(),
            encoding: "int8-row-scale".into(),
            rows: 5,
            shards: vec![shard(0, 3), shard(3, 2)],
        }],
        items: Items {
            shards: vec![ItemsShard {
                file: FileRef::of("items", "json", b"x"),
                first_item: 0,
                items: 5,
            }],
        },
        thumbnails: None,
        totals: Totals::default(),
    }
}

fn parse(manifest: &Manifest) -> Result<Manifest> {
    Manifest::parse("m.json", &serde_json::to_vec(manifest).unwrap())
}

#[test]
fn a_good_manifest_survives_the_round_trip() {
    assert_eq!(parse(&sample()).unwrap(), sample());
}

#[test]
fn gaps_overlaps_and_missing_rows_are_refused() {
    type Break = fn(&mut Manifest);
    let breaks: [Break; 8] = [
        |m| m.layers[0].shards[1].first_row = 4,
        |m| m.layers[0].shards[1].first_row = 2,
        |m| m.layers[0].shards[1].rows = 1,
        |m| m.layers[0].shards[1].rows = u64::MAX,
        |m| m.items.shards.clear(),
        |m| m.layers[0].kind = "coarse".into(),
        |m| m.dimension = 0,
        |m| m.layers[0].shards[0].file.file = "../up".into(),
    ];
    for (i, damage) in breaks.iter().enumerate() {
        let mut manifest = sample();
        damage(&mut manifest);
        assert_eq!(parse(&manifest).unwrap_err().code(), "format", "break {i}");
    }
}

fn side(name: &str, pair: &str, head: Option<FileRef>) -> Option<MapperRef> {
    Some(MapperRef {
        name: name.into(),
        identity: format!("{name}-{pair}"),
        kind: MapperKind::Linear,
        pair: pair.into(),
        head,
    })
}

#[test]
fn mappers_come_in_pairs_and_their_files_are_listed() {
    let head = || Some(FileRef::of("mapper", "json", b"{}"));
    let mut manifest = sample();
    manifest.real_mapper = side("tuned", "p", None);
    manifest.synth_mapper = side("tuned", "p", head());
    let parsed = parse(&manifest).unwrap();
    assert_eq!(parsed, manifest);
    assert_eq!(parsed.mapper_head(), head().as_ref());

    manifest.synth_mapper = side("style", "q", head());
    let error = parse(&manifest).unwrap_err();
    assert_eq!(error.code(), "identity-mismatch");
    let text = error.to_string();
    assert!(
        text.contains("real mapper tuned") && text.contains("synth mapper style"),
        "{text}"
    );
    manifest.synth_mapper = None;
    assert_eq!(parse(&manifest).unwrap_err().code(), "identity-mismatch");
    manifest.real_mapper = None;
    manifest.synth_mapper = side("tuned", "p", head());
    assert_eq!(parse(&manifest).unwrap_err().code(), "identity-mismatch");
    manifest.real_mapper = side("tuned", "p", None);
    for bad in [
        None,
        Some(FileRef::of("../up", "json", b"{}")),
        Some(FileRef {
            bytes: MAPPER_HEAD_BYTES_MAX + 1,
            ..FileRef::of("m", "json", b"")
        }),
    ] {
        manifest.synth_mapper = side("tuned", "p", bad);
        assert_eq!(parse(&manifest).unwrap_err().code(), "format");
    }
}

#[test]
fn a_later_version_is_named_as_such_whatever_else_it_holds() {
    let json = br#"{"format":"data-attribution-index","version":2,"anything":[]}"#;
    assert_eq!(
        Manifest::parse("m", json).unwrap_err().code(),
        "newer-version"
    );
    assert_eq!(Manifest::parse("m", b"[]").unwrap_err().code(), "format");
    assert_eq!(Manifest::parse("m", b"").unwrap_err().code(), "format");
}

/// A manifest of a clustered index: five rows in three clusters in two coarse files.
fn clustered() -> Manifest {
    let shard = |first_cluster, clusters, first_row, rows| CoarseShard {
        file: FileRef::of("coarse", "bin", &[first_cluster as u8]),
        first_cluster,
        clusters,
        first_row,
        rows,
    };
    Manifest {
        layers: Vec::new(),
        items: Items { shards: Vec::new() },
        clusters: Some(Clusters {
            head: FileRef::of("head", "bin", b"h"),
            control: FileRef::of("control", "bin", b"c"),
            coarse: vec![shard(0, 2, 0, 3), shard(2, 1, 3, 2)],
        }),
        ..sample()
    }
}

#[test]
fn a_clustered_manifest_survives_the_round_trip_and_lists_its_files() {
    let manifest = parse(&clustered()).unwrap();
    assert_eq!(manifest, clustered());
    assert_eq!(manifest.fine("m.json").unwrap_err().code(), "format");
    let head: ModelHead = serde_json::from_value(serde_json::json!({
        "format": "", "version": 1, "name": "", "identity": "", "dimension": 4, "files": [], "tensors": [],
        "architecture": {
            "family": "resnet", "image": 32, "width": 8, "layers": [1, 1, 1, 1], "projection": 4,
            "gem_power": 3.0, "gem_min": 1e-6,
        },
        "preprocess": {
            "resize": 32, "filter": "bicubic", "crop": 32, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
        },
    }))
    .unwrap();
    let files = manifest.files(&head, None);
    let clusters = manifest.clusters.unwrap();
    assert_eq!(files.len(), 5);
    assert!(clusters.files().all(|file| files.contains(&file.file)));
    let flat = serde_json::to_string(&sample()).unwrap();
    assert!(!flat.contains("clusters"));
}

#[test]
fn clusters_that_do_not_cover_the_rows_once_are_refused() {
    type Break = fn(&mut Clusters);
    let breaks: [Break; 14] = [
        |c| c.coarse[1].first_row = 4,
        |c| c.coarse[1].rows = 1,
        |c| c.coarse[1].rows = u64::MAX,
        |c| c.coarse[1].first_cluster = 1,
        |c| c.coarse[1].first_cluster = 3,
        |c| c.coarse[1].clusters = 0,
        |c| c.coarse[1].clusters = 3,
        |c| c.coarse[1].clusters = u64::MAX,
        |c| c.coarse.truncate(1),
        |c| c.coarse.swap(0, 1),
        |c| c.coarse[0].file.bytes = SHARD_BYTES_MAX + 1,
        |c| c.coarse[0].file.file = "../up".into(),
        |c| c.head.bytes = HEAD_BYTES_MAX + 1,
        |c| c.control.sha256.clear(),
    ];
    for (number, damage) in breaks.iter().enumerate() {
        let mut manifest = clustered();
        damage(manifest.clusters.as_mut().unwrap());
        assert_eq!(parse(&manifest).unwrap_err().code(), "format", "{number}");
    }
    // 65536 rows are the most of a cluster.
    let mut manifest = clustered();
    manifest.count += 131_070;
    let clusters = manifest.clusters.as_mut().unwrap();
    clusters.coarse[1].rows += 131_070;
    assert!(parse(&manifest).is_err());
    manifest.clusters.as_mut().unwrap().coarse[1].clusters = 3;
    assert!(parse(&manifest).is_ok());
}

#[test]
fn an_index_is_either_flat_or_clustered() {
    for both in [
        Manifest {
            layers: sample().layers,
            ..clustered()
        },
        Manifest {
            items: sample().items,
            ..clustered()
        },
        Manifest {
            clusters: None,
            ..clustered()
        },
    ] {
        assert_eq!(parse(&both).unwrap_err().code(), "format");
    }
}
