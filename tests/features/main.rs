//! Features of every container, read and packed: golden files of torch, numpy and pyarrow (made by
//! scripts/generate_features.py), hostile tables, and indexes compared with the rows they were made of.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};

use data_attribution::Error;
use data_attribution::features::{Columns, FeatureItem, FeatureSet};
use serde_json::Value;

mod containers;
mod model;
mod packing;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/features");
    folder.join(name)
}

fn workplace(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "data-attribution-features-{name}-{}",
        std::process::id()
    ));
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn open(path: impl AsRef<Path>) -> Result<FeatureSet, Error> {
    FeatureSet::open(path.as_ref(), None, &Columns::default())
}

fn columns(name: &str, caption: Option<&str>) -> Columns {
    Columns {
        name: Some(name.into()),
        caption: caption.map(str::to_owned),
        link: None,
        fields: None,
    }
}

fn items(set: &FeatureSet) -> Result<Vec<FeatureItem>, Error> {
    set.items()?.collect()
}

fn expected(name: &str) -> (Vec<Vec<f32>>, Vec<FeatureItem>) {
    let json = fs::read(golden("expected.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let items = json[name]["items"].as_array().unwrap().iter();
    let items = items.map(|item| FeatureItem {
        name: text(&item[0]).unwrap(),
        caption: text(&item[1]),
        link: text(&item[2]),
        fields: serde_json::from_value(item[3].clone()).unwrap(),
    });
    let rows = serde_json::from_value(json[name]["rows"].clone()).unwrap();
    (rows, items.collect())
}

/// The error's code, and its message, which must be one line with all of `wanted`.
#[track_caller]
fn fails<T>(result: Result<T, Error>, code: &str, wanted: &[&str]) {
    let Err(error) = result else {
        panic!("succeeded, where {code} was expected");
    };
    let message = error.to_string();
    assert_eq!(
        (error.code(), message.lines().count()),
        (code, 1),
        "{message}"
    );
    for part in wanted {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}
