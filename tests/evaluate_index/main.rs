//! The evaluation's databases and mappers: packed indexes, identities, and what does not fit together.
#![cfg(feature = "cli")]

mod packed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use data_attribution::checkpoint::NpyFile;
use data_attribution::error::{Error, Result};
use data_attribution::evaluate::{
    EvaluateOptions, FeatureSource, Mappers, Missing, NamedMappers, ResultRow, RowMap, Rows,
    RowsWanted, evaluate,
};
use packed::{mapper, write_index};
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/evaluate");
    folder.join(name)
}

/// A folder that lives as long as the test that makes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!(
            "data-attribution-evaluate-index-{}-{test}",
            std::process::id()
        );
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A copy of the golden features `tuned`, without the database if `alone`.
    fn copy(test: &str, alone: bool) -> Self {
        let scratch = Self::new(test);
        for entry in fs::read_dir(golden("tuned")).unwrap() {
            let name = entry.unwrap().file_name();
            if !(alone && name == "database.npy") {
                fs::copy(golden("tuned").join(&name), scratch.0.join(&name)).unwrap();
            }
        }
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Rows of the golden features `tuned`, [n, 16].
fn tuned(matrix: &str) -> Vec<f32> {
    let file = NpyFile::open(golden("tuned").join(matrix)).unwrap();
    file.read_rows_f32(0, file.shape()[0]).unwrap()
}

fn run(source: FeatureSource, rows: RowsWanted) -> Result<Vec<ResultRow>> {
    let options = EvaluateOptions {
        cases: vec![golden("test_art.json")],
        features: vec![source],
        rows,
        missing: Missing::Stop,
    };
    Ok(evaluate(&options, &|_, _| {})?.results)
}

/// recall@5, @10, @100 and mAP of all results of one kind of rows.
fn values(results: &[ResultRow], rows: Rows) -> Vec<Option<[f64; 4]>> {
    let of_rows = results.iter().filter(|row| row.rows == rows);
    let values = of_rows.map(|row| {
        let [a, b, c] = row.recall?;
        Some([a, b, c, row.mean_average_precision?])
    });
    values.collect()
}

/// A mapper that swaps each two values of a row and doubles the first of a row; `extra` values follow.
struct Swap {
    width: usize,
    extra: usize,
}

impl RowMap for Swap {
    fn dimensions(&self) -> [usize; 2] {
        [self.width, self.width + self.extra]
    }

    fn map(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let mut mapped = Vec::new();
        for row in rows.chunks(self.width) {
            let start = mapped.len();
            mapped.extend(row.chunks(2).flat_map(|pair| [pair[1], pair[0]]));
            mapped[start] *= 2.0;
            mapped.extend(vec![0.25; self.extra]);
        }
        Ok(mapped)
    }
}

fn swap(real: usize, synth: usize, extra: usize) -> Arc<NamedMappers> {
    Arc::new(NamedMappers {
        real: mapper("real"),
        synth: mapper("synth"),
        pair: "77".repeat(32),
        backbone: Some("toy".into()),
        mappers: Mappers {
            real: Box::new(Swap { width: real, extra }),
            synth: Box::new(Swap {
                width: synth,
                extra,
            }),
        },
    })
}

fn mapped(matrix: &str, extra: usize) -> Vec<f32> {
    Swap { width: 16, extra }.map(&tuned(matrix)).unwrap()
}

/// A `.npy` matrix of f32 rows.
fn write_npy(path: &Path, dimension: usize, values: &[f32]) {
    let rows = values.len() / dimension;
    let shape = format!("'shape': ({rows}, {dimension}), }}\n");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, {shape}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

fn describe(folder: &Path, name: &str, identity: &str, dimension: usize) {
    let head = json!({
        "format": "data-attribution-features",
        "version": 1,
        "backbone": {"name": name, "identity": identity},
        "dimension": dimension,
    });
    fs::write(folder.join("features.json"), head.to_string()).unwrap();
}

/// The index decides by the very integers that the tool quantizes the matrix to.
#[test]
fn a_packed_index_ranks_as_its_matrix_does_by_int8_rows() {
    let matrix = run(
        FeatureSource::new("a", "a", golden("tuned")),
        RowsWanted::Both,
    )
    .unwrap();
    let expected = values(&matrix, Rows::Int8);
    assert_ne!(expected, values(&matrix, Rows::Float32));
    // One shard, shards that end within a panel, shards smaller than one.
    for per_shard in [500, 101, 3] {
        let place = Scratch::copy(&format!("index-{per_shard}"), true);
        let index = place.0.join("index");
        write_index(&index, &tuned("database.npy"), 16, per_shard, None);
        for path in [index.clone(), index.join("manifest.json")] {
            let mut source = FeatureSource::new("a", "a", &place.0);
            source.database = Some(path);
            let found = run(source, RowsWanted::Both).unwrap();
            assert_eq!(values(&found, Rows::Int8), expected);
            assert_eq!(values(&found, Rows::Float32), [None, None]);
            assert!(found.iter().all(|row| row.database_items == 500));
        }
    }
}

#[test]
fn mappers_are_applied_to_what_is_not_mapped_yet() {
    for extra in [0, 3] {
        let place = Scratch::copy(&format!("mapped-{extra}"), false);
        for matrix in ["database.npy", "exemplar.npy", "synth.npy"] {
            write_npy(&place.0.join(matrix), 16 + extra, &mapped(matrix, extra));
        }
        let before = run(FeatureSource::new("a", "a", &place.0), RowsWanted::Both).unwrap();
        let mut source = FeatureSource::new("a", "a", golden("tuned"));
        source.mapper = Some(swap(16, 16, extra));
        let found = run(source.clone(), RowsWanted::Both).unwrap();
        for rows in [Rows::Float32, Rows::Int8] {
            assert_eq!(values(&found, rows), values(&before, rows));
        }
        assert_eq!(found[0].dimension, 16 + extra);
        assert_eq!(found[0].mapper.as_deref(), Some("toy-real"));
        let plain = run(
            FeatureSource::new("a", "a", golden("tuned")),
            RowsWanted::Both,
        )
        .unwrap();
        assert_ne!(values(&found, Rows::Float32), values(&plain, Rows::Float32));

        // The rows of an index were mapped when it was packed; queries and exemplars were not.
        let index = place.0.join("index");
        let pair = ["real", "synth"].map(mapper);
        let rows = mapped("database.npy", extra);
        write_index(&index, &rows, 16 + extra, 77, Some(pair));
        source.database = Some(index);
        let indexed = run(source, RowsWanted::Int8).unwrap();
        assert_eq!(values(&indexed, Rows::Int8), values(&before, Rows::Int8));
    }
}

#[test]
fn what_was_made_differently_is_not_compared() {
    let place = Scratch::copy("identity", false);
    let at = |name: &str| place.0.join(name);
    let pair = ["real", "synth"].map(mapper);
    write_index(&at("plain"), &tuned("database.npy"), 16, 100, None);
    write_index(&at("mapped"), &tuned("database.npy"), 16, 100, Some(pair));
    let other = ["other", "synth"].map(mapper);
    write_index(&at("other"), &tuned("database.npy"), 16, 100, Some(other));
    let refused = |index: &str, mapper: bool, words: &[&str]| {
        let mut source = FeatureSource::new("a", "a", &place.0);
        source.database = Some(at(index));
        source.mapper = mapper.then(|| swap(16, 16, 0));
        let error = run(source, RowsWanted::Both).unwrap_err();
        assert!(matches!(error, Error::IdentityMismatch { .. }), "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word} is not in {error}");
        }
    };
    refused(
        "mapped",
        false,
        &["toy-real realrealreal", "no real mapper"],
    );
    refused("plain", true, &["no real mapper", "toy-real realrealreal"]);
    refused("other", true, &["toy-other", "toy-real"]);
    describe(&place.0, "toy", &"5678".repeat(16), 16);
    refused("plain", false, &["toy 123412341234", "toy 567856785678"]);
    describe(&place.0, "other", &"1234".repeat(16), 16);
    refused("mapped", true, &["other 123412341234", "for toy"]);
    // A database in a folder of its own.
    fs::create_dir(at("elsewhere")).unwrap();
    fs::rename(at("database.npy"), at("elsewhere/database.npy")).unwrap();
    describe(&at("elsewhere"), "toy", &"9abc".repeat(16), 16);
    refused(
        "elsewhere/database.npy",
        false,
        &["toy 9abc9abc9abc", "other 123412341234"],
    );
    // The same backbone everywhere.
    for folder in ["", "elsewhere"] {
        describe(&at(folder), "toy", &"1234".repeat(16), 16);
    }
    for (database, mapper) in [
        ("plain", false),
        ("mapped", true),
        ("elsewhere/database.npy", true),
    ] {
        let mut source = FeatureSource::new("a", "a", &place.0);
        source.database = Some(at(database));
        source.mapper = mapper.then(|| swap(16, 16, 0));
        assert_eq!(run(source, RowsWanted::Int8).unwrap().len(), 2);
    }
}

#[test]
fn dimensions_that_do_not_meet_fail_naming_both() {
    let place = Scratch::copy("dimensions", false);
    let index = place.0.join("index");
    write_index(&index, &mapped("database.npy", 2), 18, 100, None);
    let fails = |change: &dyn Fn(&mut FeatureSource), words: &[&str]| {
        let mut source = FeatureSource::new("a", "a", &place.0);
        change(&mut source);
        let error = run(source, RowsWanted::Both).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word} is not in {error}");
        }
    };
    fails(
        &|s| s.mapper = Some(swap(18, 18, 0)),
        &["toy-real", "18", "exemplar.npy", "16"],
    );
    fails(
        &|s| s.database = Some(index.clone()),
        &["index", "18", "16"],
    );
    let uneven = |real: usize, synth: usize| NamedMappers {
        mappers: Mappers {
            real: Box::new(Swap {
                width: 16,
                extra: real,
            }),
            synth: Box::new(Swap {
                width: 16,
                extra: synth,
            }),
        },
        real: mapper("real"),
        synth: mapper("synth"),
        pair: "77".repeat(32),
        backbone: None,
    };
    fails(
        &|s| s.mapper = Some(Arc::new(uneven(1, 2))),
        &["toy-real", "toy-synth", "17", "18"],
    );
    describe(&place.0, "toy", "1", 12);
    fails(&|_| (), &["features.json", "12", "16"]);
    fs::write(place.0.join("features.json"), "{").unwrap();
    fails(&|_| (), &["features.json"]);
}

fn tool(arguments: &[&str], features: &Path, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-attribution"));
    command
        .arg("evaluate")
        .arg("--cases")
        .arg(golden("test_art.json"));
    command
        .arg("--features")
        .arg(format!("tuned/toy={}", features.display()));
    command.arg("-o").arg(out).args(arguments).output().unwrap()
}

#[test]
fn the_tool_says_what_an_index_cannot_show() {
    let place = Scratch::copy("tool", true);
    let (index, out) = (place.0.join("index"), place.0.join("out"));
    write_index(&index, &tuned("database.npy"), 16, 100, None);
    let shown = index.display().to_string();
    let fails = |arguments: &[&str], words: &[&str]| {
        let output = tool(arguments, &place.0, &out);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.starts_with("error: "),
            "{errors}"
        );
        for word in words {
            assert!(errors.contains(word), "{word} is not in {errors}");
        }
        assert!(!out.exists());
    };
    fails(&[], &["database.npy"]);
    fails(
        &["--index", &shown, "--rows", "float32"],
        &["index", "int8"],
    );
    fails(
        &["--index", &format!("toy={shown}")],
        &["toy", "--features"],
    );
    fails(
        &["--index", &shown, "--database", &shown],
        &["index", "int8 rows and no others"],
    );
    fails(&["--index", &shown, "--index", &shown], &["two of --index"]);
    fails(&["--index", &format!("{shown}-not")], &["index-not"]);

    let named = format!("tuned/toy={shown}");
    let output = tool(&["--index", &named], &place.0, &out);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed
        .lines()
        .find(|line| line.contains("float32"))
        .unwrap();
    assert_eq!(line.matches(" -").count(), 4, "{line}");
    let text = fs::read_to_string(out.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let rows = results["results"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let known = row["rows"] == "int8";
        assert_eq!(row["recall"].is_null(), !known, "{row}");
        assert_eq!(row["mean_average_precision"].is_null(), !known, "{row}");
    }
    let plot = fs::read_to_string(out.join("recall.svg")).unwrap();
    assert!(plot.contains(" stroke=\"#0072b2\""), "hollow bars");

    // A damaged shard is named, and the old results stand.
    let shard = fs::read_dir(index.join("fine"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut bytes = fs::read(shard.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(shard.path(), bytes).unwrap();
    let output = tool(&["--index", &shown], &place.0, &out);
    let errors = String::from_utf8_lossy(&output.stderr);
    let name = shard.file_name().into_string().unwrap();
    assert!(
        !output.status.success() && errors.contains(&name),
        "{errors}"
    );
    assert_eq!(fs::read_to_string(out.join("results.json")).unwrap(), text);
}
