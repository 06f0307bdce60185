//! Packing: indexes compared with the rows they were made of, and what a failure leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use data_attribution::features::{Columns, Duplicates, FeatureSet};
use data_attribution::format::manifest::ItemColumns;
use data_attribution::format::{Manifest, shard};
use data_attribution::pack::{MANIFEST, PackOptions, PackReport, pack_features};

use super::model::{DIMENSION, write_model};
use super::{copy, expected, fails, golden, open, workplace};

#[test]
fn names_that_stand_twice_are_refused_unless_kept() {
    let place = workplace("duplicates");
    write_model(&place);
    let options = PackOptions::new(place.join("model"), place.join("index"));
    let pack = |set: &FeatureSet, choice| pack_features(set, choice, &options, &|_, _| {});
    let list = place.join("n.txt");
    fs::write(&list, "twice\nonce\ntwice\n").unwrap();
    let npy = golden("extracted/database.npy");
    let set = FeatureSet::open(&npy, Some(&list), &Columns::default()).unwrap();
    let wanted = ["1 of 3 names", "\"twice\"", "--duplicates keep"];
    fails(pack(&set, None), "invalid-argument", &wanted);
    assert!(!place.join("index").exists());
    assert_eq!(
        pack(&set, Some(Duplicates::Keep)).unwrap().manifest.count,
        3
    );
    let set = open(golden("clip_retrieval")).unwrap();
    fails(
        pack(&set, Some(Duplicates::Stop)),
        "invalid-argument",
        &["1 of 15", "\"a/0.jpg\""],
    );
    assert_eq!(pack(&set, None).unwrap().manifest.count, 15);
    fs::remove_dir_all(&place).unwrap();
}

/// A `.npy` of `count` rows and a list: every 700th from row 5 on is zero, row 4,100 is not finite.
fn write_rows(place: &Path, count: usize) -> (FeatureSet, Vec<Vec<f32>>) {
    let rows: Vec<Vec<f32>> = (0..count)
        .map(|row| {
            let value = |column| ((row * 31 + column * 17 + row * column) % 101) as f32 - 50.5;
            (0..DIMENSION)
                .map(|column| match row {
                    _ if row % 700 == 5 => 0.0,
                    4100 if column == 3 => f32::NAN,
                    _ => value(column),
                })
                .collect()
        })
        .collect();
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {DIMENSION}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    rows.iter()
        .flatten()
        .for_each(|v| file.extend(v.to_le_bytes()));
    fs::write(place.join("f.npy"), file).unwrap();
    let names: String = (0..count).map(|row| format!("{row}\n")).collect();
    fs::write(place.join("n.txt"), names).unwrap();
    let list = place.join("n.txt");
    let set = FeatureSet::open(&place.join("f.npy"), Some(&list), &Columns::default());
    (set.unwrap(), rows)
}

fn pack_into(place: &Path, out: &str, set: &FeatureSet) -> PackReport {
    let options = PackOptions::new(place.join("model"), place.join(out));
    pack_features(set, None, &options, &|_, _| {}).unwrap()
}

/// Every file of an index with its content.
fn files(index: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let walk = walkdir::WalkDir::new(index)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap);
    walk.filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            (
                entry.path().strip_prefix(index).unwrap().into(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn an_index_holds_the_rows_and_items_in_order_whatever_the_threads() {
    let place = workplace("index");
    write_model(&place);
    let (set, rows) = write_rows(&place, 9000);
    let report = pack_into(&place, "index", &set);
    let left: Vec<&str> = report
        .left_out
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    // The first ten by name.
    let wanted = [
        "5", "705", "1405", "2105", "2805", "3505", "4100", "4205", "4905", "5605",
    ];
    assert_eq!((left, report.left_out_count), (wanted.to_vec(), 14));
    let manifest =
        Manifest::parse("m", &fs::read(place.join("index").join(MANIFEST)).unwrap()).unwrap();
    assert_eq!(manifest, report.manifest);
    assert_eq!(manifest.count, 8986);
    // An eighth of the 9,000 rows that were expected a shard; the rows left out make the last one short.
    let shards: Vec<u64> = manifest.layers[0].shards.iter().map(|s| s.rows).collect();
    assert_eq!(shards, [1125, 1125, 1125, 1125, 1125, 1125, 1125, 1111]);
    let items: Vec<u64> = manifest.items.shards.iter().map(|s| s.items).collect();
    assert_eq!(items, [4096, 4096, 794]);
    let kept: Vec<usize> = (0..9000)
        .filter(|row| row % 700 != 5 && *row != 4100)
        .collect();
    let mut names = Vec::new();
    for file in &manifest.items.shards {
        let bytes = fs::read(place.join("index").join(&file.file.file)).unwrap();
        let columns: ItemColumns = serde_json::from_slice(&bytes).unwrap();
        assert!(columns.captions.is_empty() && columns.widths.is_empty());
        names.extend(columns.names);
    }
    assert!(
        names
            .iter()
            .eq(kept.iter().map(usize::to_string).collect::<Vec<_>>().iter())
    );
    let mut row = 0;
    for file in &manifest.layers[0].shards {
        let bytes = fs::read(place.join("index").join(&file.file.file)).unwrap();
        file.file.verify(&bytes).unwrap();
        let shard = shard::decode("s", &bytes).unwrap();
        for (codes, scale) in shard.codes.chunks(shard.stride).zip(&shard.scales) {
            let feature = &rows[kept[row]];
            let norm = feature
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            for (code, x) in codes.iter().zip(feature) {
                let unit = f64::from(*x) / norm;
                let error = (f64::from(*code) * f64::from(*scale) - unit).abs();
                assert!(error <= 0.501 * f64::from(*scale), "row {row}");
            }
            row += 1;
        }
    }
    assert_eq!(row, 8986);
    let first = files(&place.join("index"));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| pack_into(&place, "again", &set));
        assert_eq!(files(&place.join("again")), first, "{threads} threads");
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn captions_links_and_fields_reach_the_index_and_the_csv_goes_before_them() {
    let place = workplace("captions");
    write_model(&place);
    let csv = "path,caption,link,NSFW,artist\na/1.jpg,Mine,,no,Ann\na/0.jpg,,https://example.org/mine,,\n";
    fs::write(place.join("about.csv"), csv).unwrap();
    let options = PackOptions {
        metadata: Some(place.join("about.csv")),
        ..PackOptions::new(place.join("model"), place.join("index"))
    };
    let set = open(golden("clip_retrieval")).unwrap();
    let manifest = pack_features(&set, None, &options, &|_, _| {})
        .unwrap()
        .manifest;
    let file = &manifest.items.shards[0].file.file;
    let columns: ItemColumns =
        serde_json::from_slice(&fs::read(place.join("index").join(file)).unwrap()).unwrap();
    let (_, wanted) = expected("clip_retrieval");
    let mine = "https://example.org/mine";
    for (row, item) in wanted.iter().enumerate() {
        assert_eq!(columns.names[row], item.name);
        let (caption, link) = match item.name.as_str() {
            "a/1.jpg" => (Some("Mine".into()), item.link.clone()),
            "a/0.jpg" => (item.caption.clone(), Some(mine.into())),
            _ => (item.caption.clone(), item.link.clone()),
        };
        assert_eq!(
            (&columns.captions[row], &columns.links[row]),
            (&caption, &link),
            "row {row}"
        );
        let mut fields = item.fields.clone();
        if item.name == "a/1.jpg" {
            fields.extend([("NSFW", "no"), ("artist", "Ann")].map(|(k, v)| (k.into(), v.into())));
        }
        let found = columns.fields.iter();
        let found = found.filter_map(|(name, texts)| Some((name.clone(), texts[row].clone()?)));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), fields, "row {row}");
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_run_that_fails_leaves_the_index_that_was_there() {
    let place = workplace("failure");
    let head = write_model(&place);
    let (set, _) = write_rows(&place, 5000);
    pack_into(&place, "index", &set);
    let before = files(&place.join("index"));
    // A file that turns out short when its first rows are already written as shards.
    let (late, _) = write_rows(&place, 10_000);
    let file = fs::File::options()
        .write(true)
        .open(place.join("f.npy"))
        .unwrap();
    file.set_len(9_000 * 4 * DIMENSION as u64).unwrap();
    for out in ["index", "fresh"] {
        let options = PackOptions::new(place.join("model"), place.join(out));
        let written = std::sync::atomic::AtomicUsize::new(0);
        let packed = pack_features(&late, None, &options, &|_, _| {
            let shards = fs::read_dir(place.join(out).join("fine"));
            written.store(shards.map_or(0, Iterator::count), Relaxed);
        });
        fails(packed, "io", &["f.npy"]);
        assert!(written.into_inner() > 0);
    }
    assert_eq!(files(&place.join("index")), before);
    assert_eq!(files(&place.join("fresh")), []);
    // Another backbone, by its identity or by the length of its features.
    let options = PackOptions::new(place.join("model"), place.join("index"));
    let pack = |set: FeatureSet| pack_features(&set, None, &options, &|_, _| {});
    fails(
        pack(open(golden("extracted")).unwrap()),
        "identity-mismatch",
        &["toy-p14 000000000000", &head.identity[..12]],
    );
    fs::write(place.join("x.txt"), "a\n").unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }\n";
    let mut npy = b"\x93NUMPY\x01\x00\x3c\x00".to_vec();
    npy[8] = header.len() as u8;
    npy.extend(header.bytes().chain([0; 12]));
    fs::write(place.join("x.npy"), npy).unwrap();
    let list = place.join("x.txt");
    let narrow = FeatureSet::open(&place.join("x.npy"), Some(&list), &Columns::default());
    fails(
        pack(narrow.unwrap()),
        "invalid-argument",
        &["rows of 3 values", "makes 32"],
    );
    assert_eq!(files(&place.join("index")), before);
    // A smaller index takes the place of the larger one, of which nothing stays.
    let small = open(golden("subset.pth")).unwrap();
    pack_into(&place, "index", &small);
    pack_into(&place, "fresh", &small);
    assert_eq!(files(&place.join("index")), files(&place.join("fresh")));
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn the_tool_packs_features_or_says_in_one_line_why_not() {
    let place = workplace("tool");
    write_model(&place);
    write_rows(&place, 9000);
    for name in ["subset.pth", "by_key", "extracted"] {
        let (from, to) = (golden(name), place.join(name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    let pack = |arguments: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_data-attribution"))
            .args(["pack", "--model", "model", "-o", "index", "--features"])
            .args(arguments.split(' '))
            .current_dir(&place)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), errors)
    };
    for (arguments, wanted) in [
        ("by_key", "choose one with --name-column"),
        (
            "by_key --name-column title",
            "no column `title`; there are id, TEXT",
        ),
        (
            "by_key --name-column bytes",
            "column `bytes` holds text that is not UTF-8",
        ),
        ("subset.pth --names n.txt", "brings its own names"),
        ("subset.pth --name-column id", "has no columns to choose"),
        ("extracted", "scores between them mean nothing"),
        ("f.npy", "--names"),
        ("nowhere", "nowhere"),
    ] {
        let (done, errors) = pack(arguments);
        assert!(
            !done && !errors.contains("panicked"),
            "{arguments}: {errors}"
        );
        let last = errors.lines().last().unwrap();
        assert!(
            last.starts_with("error: ") && last.contains(wanted),
            "{arguments}: {errors}"
        );
        assert!(!place.join("index").join(MANIFEST).exists());
    }
    for (arguments, wanted) in [
        ("subset.pth", ""),
        (
            "by_key --name-column id --caption-column TEXT --duplicates stop",
            "",
        ),
        ("f.npy --names n.txt", "left out: 4 more"),
    ] {
        let (done, errors) = pack(arguments);
        assert!(done && errors.contains(wanted), "{arguments}: {errors}");
    }
    fs::remove_dir_all(&place).unwrap();
}
