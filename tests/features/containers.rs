//! Reading: each container's rows, names, captions and links, and what is refused.

use std::fs;
use std::path::PathBuf;

use data_attribution::features::{Columns, FeatureSet, RowSource};

use super::{columns, copy, expected, fails, golden, items, open, workplace};

#[test]
fn every_container_gives_its_rows_and_items() {
    for name in ["subset.pth", "clip_retrieval", "by_key", "extracted"] {
        let (rows, wanted) = expected(name);
        let choice = match name {
            "by_key" => columns("id", Some("TEXT")),
            _ => Columns::default(),
        };
        let set = FeatureSet::open(&golden(name), None, &choice).unwrap();
        assert_eq!(set.shape(), [rows.len(), 32], "{name}");
        assert_eq!(items(&set).unwrap(), wanted, "{name}");
        assert_eq!(items(&set).unwrap(), wanted, "{name}, second pass");
        // All ranges, so also those across parts.
        for first in 0..=rows.len() {
            for end in first..=rows.len() {
                let values = set.read_rows_f32(first, end - first).unwrap();
                assert_eq!(values, rows[first..end].concat(), "{name} {first}..{end}");
            }
        }
        assert!(set.read_rows_f32(1, rows.len()).is_err());
        assert!(set.read_rows_f32(usize::MAX, 2).is_err());
        let stated = (name == "extracted").then(|| "0".repeat(64));
        assert_eq!(set.backbone().map(|b| b.identity.clone()), stated);
    }
}

#[test]
fn a_matrix_needs_a_list_and_others_bring_their_own() {
    let place = workplace("lists");
    let list = place.join("names.txt");
    fs::write(&list, "x\ny\r\nz\n").unwrap();
    let with_list = |path: PathBuf| FeatureSet::open(&path, Some(&list), &Columns::default());
    let npy = golden("extracted/database.npy");
    let names: Vec<String> = items(&with_list(npy.clone()).unwrap())
        .unwrap()
        .into_iter()
        .map(|i| i.name)
        .collect();
    assert_eq!(names, ["x", "y", "z"]);
    fails(open(&npy), "invalid-argument", &["database.npy", "--names"]);
    for own in ["subset.pth", "clip_retrieval", "extracted"] {
        fails(
            with_list(golden(own)),
            "invalid-argument",
            &[own, "brings its own names"],
        );
    }
    fs::write(&list, "x\ny\n").unwrap();
    fails(
        with_list(npy.clone()),
        "invalid-argument",
        &["3 rows but 2 names"],
    );
    let chosen = FeatureSet::open(&golden("extracted"), None, &columns("url", None));
    fails(chosen, "invalid-argument", &["no columns"]);
    fails(open(place.join("nowhere")), "io", &["nowhere"]);
    fails(open(&place), "format", &["img_emb", "database.npy"]);
    fs::write(place.join("odd"), b"neither").unwrap();
    fails(open(place.join("odd")), "checkpoint", &["odd"]);
    let weights = golden("../checkpoints/hostile/os_system.pth");
    fails(open(weights), "refused", &["system"]);
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn columns_are_found_by_name_and_must_hold_text() {
    let by_key = |choice| {
        let set = FeatureSet::open(&golden("by_key"), None, &choice)?;
        items(&set)
    };
    fails(
        by_key(Columns::default()),
        "invalid-argument",
        &[
            "image_path or url or key",
            "id, TEXT, bytes, score, tags, taken",
        ],
    );
    for absent in [columns("ID", None), columns("id", Some("ID"))] {
        fails(
            by_key(absent),
            "invalid-argument",
            &["`ID`", "metadata_0000", "TEXT, bytes"],
        );
    }
    for (column, held) in [("tags", "nested"), ("taken", "TIMESTAMP_MICROS")] {
        fails(
            by_key(columns(column, None)),
            "format",
            &["`", column, held],
        );
    }
    fails(
        by_key(columns("bytes", None)),
        "format",
        &["bytes", "UTF-8"],
    );
    let set = FeatureSet::open(
        &golden("clip_retrieval"),
        None,
        &columns("key", Some("url")),
    );
    let (_, wanted) = expected("clip_retrieval");
    let found = items(&set.unwrap()).unwrap();
    let names: Vec<&str> = found.iter().map(|item| item.name.as_str()).collect();
    let keys: Vec<String> = [5, 4, 6]
        .into_iter()
        .flat_map(|n| 0..n)
        .map(|key: u32| key.to_string())
        .collect();
    assert_eq!(names, keys);
    assert!(
        found
            .iter()
            .zip(&wanted)
            .all(|(f, w)| f.caption == w.link && f.link == w.link)
    );
}

#[test]
fn further_columns_are_kept_unless_others_are_chosen() {
    let chosen = |fields: &[&str]| {
        let fields = Some(fields.iter().map(|&name| name.to_owned()).collect());
        let choice = Columns {
            fields,
            ..columns("id", Some("TEXT"))
        };
        items(&FeatureSet::open(&golden("by_key"), None, &choice)?)
    };
    let (_, wanted) = expected("by_key");
    let all = FeatureSet::open(&golden("by_key"), None, &columns("id", Some("TEXT"))).unwrap();
    assert_eq!(items(&all).unwrap(), wanted);
    assert!(wanted.iter().any(|item| item.fields.contains_key("score")));
    let none = chosen(&[]).unwrap();
    assert!(none.iter().all(|item| item.fields.is_empty()));
    let scores = chosen(&["score", "id"]).unwrap();
    for (found, wanted) in scores.iter().zip(&wanted) {
        let mut fields = wanted.fields.clone();
        fields.insert("id".into(), wanted.name.clone());
        assert_eq!(found.fields, fields);
    }
    fails(chosen(&["tags"]), "format", &["`tags`", "nested"]);
    fails(chosen(&["nothing"]), "invalid-argument", &["`nothing`"]);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let place = workplace("parts");
    let (emb, tables) = (place.join("c/img_emb"), place.join("c/metadata"));
    let broken = |change: &dyn Fn()| {
        drop(fs::remove_dir_all(place.join("c")));
        copy(&golden("clip_retrieval"), &place.join("c"));
        change();
        open(place.join("c"))
    };
    let remove = |path: PathBuf| fs::remove_file(path).unwrap();
    fails(
        broken(&|| remove(tables.join("metadata_10.parquet"))),
        "format",
        &["img_emb_10.npy", "metadata_10.parquet"],
    );
    fails(
        broken(&|| remove(emb.join("img_emb_2.npy"))),
        "format",
        &["metadata_2.parquet"],
    );
    let swap = || {
        fs::copy(
            tables.join("metadata_2.parquet"),
            tables.join("metadata_10.parquet"),
        )
    };
    fails(
        broken(&|| drop(swap())),
        "format",
        &["6 rows", "metadata_10.parquet has 4"],
    );
    let double = || fs::copy(emb.join("img_emb_2.npy"), emb.join("img_emb_02.npy"));
    fails(broken(&|| drop(double())), "format", &["leading zeros"]);
    let table = |keep: &str| {
        let other = golden("by_key/metadata/metadata_0000.parquet");
        fs::copy(other, tables.join(format!("metadata_{keep}.parquet"))).unwrap();
        fs::copy(
            golden("by_key/img_emb/img_emb_0000.npy"),
            emb.join(format!("img_emb_{keep}.npy")),
        )
        .unwrap();
    };
    fails(
        broken(&|| table("11")),
        "invalid-argument",
        &["metadata_11", "`caption`"],
    );
    fails(
        broken(&|| fs::remove_dir_all(&emb).unwrap()),
        "format",
        &["img_emb"],
    );
    fails(
        broken(&|| fs::remove_dir_all(&tables).unwrap()),
        "io",
        &["metadata"],
    );
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_damaged_table_is_an_error_and_never_a_panic() {
    let place = workplace("damage").join("c");
    copy(&golden("clip_retrieval"), &place);
    for number in [0, 2, 10] {
        let path = place.join(format!("metadata/metadata_{number}.parquet"));
        let good = fs::read(&path).unwrap();
        for end in (0..good.len()).step_by(7) {
            fs::write(&path, &good[..end]).unwrap();
            fails(open(&place), "format", &["parquet"]);
        }
        let mut noise = 0x2545_f491_4f6c_dd1du64 + number;
        for _ in 0..1500 {
            let mut bad = good.clone();
            for _ in 0..3 {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                bad[(noise >> 16) as usize % good.len()] = (noise >> 8) as u8;
            }
            fs::write(&path, &bad).unwrap();
            // What still reads has all its rows.
            match open(&place).and_then(|set| items(&set)) {
                Ok(items) => assert_eq!(items.len(), 15),
                Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
            }
        }
        fs::write(&path, &good).unwrap();
    }
    fs::remove_dir_all(place.parent().unwrap()).unwrap();
}
