//! The evaluation against a full sort: numpy's (`scripts/golden_evaluate.py`), and one in here.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_attribution::evaluate::{
    EvaluateOptions, FeatureSource, Missing, ResultRow, Rows, RowsWanted, evaluate,
};
use half::f16;
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/evaluate");
    folder.join(name)
}

fn source(label: &str, folder: PathBuf) -> FeatureSource {
    FeatureSource::new(label, "toy", folder)
}

fn results(cases: &[PathBuf], features: Vec<FeatureSource>, rows: RowsWanted) -> Vec<ResultRow> {
    let options = EvaluateOptions {
        cases: cases.to_vec(),
        features,
        rows,
        missing: Missing::Stop,
    };
    evaluate(&options, &|_, _| {}).unwrap().results
}

/// recall@5, @10, @100 and mAP.
fn values(row: &ResultRow) -> [f64; 4] {
    let [a, b, c] = row.recall.unwrap();
    [a, b, c, row.mean_average_precision.unwrap()]
}

fn assert_near(row: &ResultRow, expected: &Value) {
    let keys = ["recall@5", "recall@10", "recall@100", "mAP"];
    for (key, value) in keys.into_iter().zip(values(row)) {
        let error = (value - expected[key].as_f64().unwrap()).abs();
        assert!(
            error < 1e-9,
            "{key} of {row:?} is not that of {expected}: {error}"
        );
    }
}

#[test]
fn metrics_are_those_of_a_full_sort_in_numpy() {
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(golden("expected.json")).unwrap()).unwrap();
    let cases = ["test_art.json", "test_net.json"].map(golden);
    let sources = ["tuned", "untuned"].map(|label| source(label, golden(label)));
    let mut rows = results(&cases, sources.into(), RowsWanted::Both);
    let ties = vec![source("ties", golden("ties"))];
    rows.extend(results(&[golden("test_ties.json")], ties, RowsWanted::Both));
    assert_eq!(rows.len(), 2 * (2 * 4 + 1));
    for row in &rows {
        let of_rows = match row.rows {
            Rows::Float32 => &expected,
            Rows::Int8 => &expected["int8"],
        };
        let expected = &of_rows[&row.name][&row.case][&row.synth_type];
        assert_eq!(json!(row.queries), expected["queries"], "{row:?}");
        assert_near(row, expected);
    }
}

/// A `.npy` file of f16 values, `[rows, dimension]`.
fn write_npy(path: &Path, dimension: usize, values: &[f32]) {
    let rows = values.len() / dimension;
    let header =
        format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(
        values
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes()),
    );
    fs::write(path, bytes).unwrap();
}

/// A folder that lives as long as the test that makes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("data-attribution-evaluate-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A copy of a golden features folder.
    fn copy(test: &str, label: &str) -> Self {
        let scratch = Self::new(test);
        for entry in fs::read_dir(golden(label)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), scratch.0.join(entry.file_name())).unwrap();
        }
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Rows of ±1, whose unit vectors and scores are exact, so that the sort is one of integers full of ties.
/// The database is longer than a block and ends within a panel.
#[test]
fn a_database_of_several_blocks_ranks_as_a_stable_sort_does() {
    let dimension = 64;
    let (rows, exemplars, queries) = (33_001, 11, 5);
    let mut state = 1u64;
    let mut signs = |count: usize| -> Vec<f32> {
        let next = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if state >> 63 == 0 { 1.0 } else { -1.0 }
        };
        (0..count * dimension).map(next).collect()
    };
    let (database, exemplar, mut synth) = (signs(rows), signs(exemplars), signs(queries));
    // The first query is its first exemplar but for 8 values, so that it is found early.
    synth[8..dimension].copy_from_slice(&exemplar[8..dimension]);
    let scratch = Scratch::new("blocks");
    let at = |name: &str| scratch.0.join(name);
    for (name, values) in [
        ("database", &database),
        ("exemplar", &exemplar),
        ("synth", &synth),
    ] {
        write_npy(&at(&format!("{name}.npy")), dimension, values);
    }
    let list = |count| (0..count).map(|i| format!("{i}\n")).collect::<String>();
    fs::write(at("exemplar.txt"), list(exemplars)).unwrap();
    fs::write(at("synth.txt"), list(queries)).unwrap();
    let paths = |count| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
    let case = json!([{"exemplar": paths(exemplars), "synth": {"gpt": paths(queries)}}]);
    fs::write(at("case.json"), case.to_string()).unwrap();

    let mut expected = [0.0; 4];
    for query in synth.chunks(dimension) {
        let items = database.chunks(dimension).chain(exemplar.chunks(dimension));
        let scores = items.map(|x| {
            x.iter()
                .zip(query)
                .map(|(a, b)| (a * b) as i64)
                .sum::<i64>()
        });
        let mut order: Vec<(i64, usize)> = scores.zip(0..).map(|(s, i)| (-s, i)).collect();
        order.sort();
        let hits = order.iter().zip(1u32..).filter(|((_, i), _)| *i >= rows);
        let ranks: Vec<u32> = hits.map(|(_, rank)| rank).collect();
        let share = 1.0 / (exemplars * queries) as f64;
        for (at, k) in [5, 10, 100].into_iter().enumerate() {
            expected[at] += ranks.iter().filter(|rank| **rank <= k).count() as f64 * share;
        }
        for (rank, hit) in ranks.iter().zip(1u32..) {
            expected[3] += f64::from(hit) / f64::from(*rank) * share;
        }
    }
    assert!(expected[0] > 0.0 && expected[2] < 0.5, "{expected:?}");
    let features = vec![source("signs", scratch.0.clone())];
    let found = results(&[at("case.json")], features, RowsWanted::Float32);
    for (found, expected) in values(&found[0]).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

fn tool(out: &Path, cases: &str, features: &[String], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-attribution"));
    command.args(["evaluate", "--cases", cases, "-o"]).arg(out);
    for features in features {
        command.args(["--features", features]);
    }
    command.args(more).output().unwrap()
}

fn named(name: &str, folder: &Path) -> String {
    format!("{name}={}", folder.display())
}

#[test]
fn the_tool_writes_results_tables_and_plot() {
    let scratch = Scratch::new("outputs");
    let cases = ["test_art.json", "test_net.json"].map(|name| golden(name).display().to_string());
    let features = [
        named("tuned/toy", &golden("tuned")),
        named("plain", &golden("untuned")),
    ];
    let output = tool(&scratch.0, &cases.join(","), &features, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<String> = fs::read_dir(&scratch.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "recall.svg",
        "results.json",
        "test_art-int8.csv",
        "test_art.csv",
        "test_net-int8.csv",
        "test_net.csv",
    ];
    assert_eq!(names, expected);

    let read = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
    let results: Value = serde_json::from_str(&read("results.json")).unwrap();
    let rows = results["results"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    for kind in ["float32", "int8"] {
        assert_table(&scratch.0, kind, rows, &printed);
    }
    let plot = read("recall.svg");
    for label in [
        "recall@5<",
        "recall@10<",
        "recall@100<",
        ">tuned/toy<",
        ">media<",
        ", int8 rows: recall@5 ",
    ] {
        assert!(plot.contains(label), "{label}");
    }
}

/// The table of `test_net` for one kind of rows: its cells are the results' values, and the plot and the
/// terminal show them.
fn assert_table(folder: &Path, kind_of_rows: &str, rows: &[Value], printed: &str) {
    let ending = if kind_of_rows == "int8" { "-int8" } else { "" };
    let plot = fs::read_to_string(folder.join("recall.svg")).unwrap();
    let path = folder.join(format!("test_net{ending}.csv"));
    let mut table = csv::Reader::from_path(path).unwrap();
    let header: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    let metrics = ["recall@5", "recall@10", "recall@100", "mAP"];
    let columns = ["gpt", "media"]
        .iter()
        .flat_map(|kind| metrics.map(|metric| format!("{kind}-{metric}")));
    let names = ["name", "feature"].map(str::to_owned);
    assert_eq!(header, names.into_iter().chain(columns).collect::<Vec<_>>());
    let lines: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!([&lines[0][0], &lines[0][1]], ["tuned", "toy"]);
    assert_eq!([&lines[1][0], &lines[1][1]], ["plain", "plain"]);
    let of_table = |row: &&Value| row["case"] == "test_net" && row["rows"] == kind_of_rows;
    for row in rows.iter().filter(of_table) {
        let line = lines.iter().find(|line| line[0] == row["name"]).unwrap();
        let kind = row["synth_type"].as_str().unwrap();
        let cell = |metric: &str| -> f64 {
            let column = header
                .iter()
                .position(|name| *name == format!("{kind}-{metric}"));
            line[column.unwrap()].parse().unwrap()
        };
        for (at, metric) in metrics.iter().take(3).enumerate() {
            let recall = row["recall"][at].as_f64().unwrap();
            // The JSON reader may be off by the last bit.
            assert!((cell(metric) - recall).abs() < 1e-12);
            let shown = match kind_of_rows {
                "int8" => format!("int8 rows: {metric} {recall:.4}<"),
                _ => format!(">{recall:.3}</text>"),
            };
            assert!(plot.contains(&shown), "{shown}");
        }
        let precision = row["mean_average_precision"].as_f64().unwrap();
        assert!((cell("mAP") - precision).abs() < 1e-12);
        assert!(printed.contains(&format!("{precision:.4}")), "{printed}");
    }
}

/// Runs the tool on a changed copy of the `tuned` folder: it must fail, say `words`, and write nothing.
fn assert_fails(test: &str, change: impl Fn(&Path), case: &Path, words: &[&str]) {
    let scratch = Scratch::copy(test, "tuned");
    change(&scratch.0);
    let out = scratch.0.join("out");
    let features = [named("tuned", &scratch.0)];
    let output = tool(&out, &case.display().to_string(), &features, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{test}");
    assert!(errors.starts_with("error: "), "{test}: {errors}");
    for word in words {
        assert!(errors.contains(word), "{test}: {word} is not in {errors}");
    }
    assert!(!out.exists(), "{test}");
}

/// Sets value `at` of an f32 `.npy` file of numpy's, counted from the end.
fn poison(path: &Path, values_from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 4 * values_from_end;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

fn rewrite(path: &Path, change: impl Fn(Vec<&str>) -> Vec<&str>) {
    let text = fs::read_to_string(path).unwrap();
    let lines = change(text.lines().collect());
    fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn bad_input_fails_naming_what_is_wrong_and_writes_nothing() {
    let case = golden("test_art.json");
    let fails = |test: &str, words: &[&str], change: &dyn Fn(&Path)| {
        assert_fails(test, change, &case, words);
    };
    // 500 rows of 16: the last value but 20 is in row 498.
    fails("nan", &["database.npy", "row 498", "not finite"], &|at| {
        poison(&at.join("database.npy"), 20);
    });
    fails("nan-query", &["synth.npy", "not finite"], &|at| {
        (1..=99).for_each(|row| poison(&at.join("synth.npy"), row * 16));
    });
    fails("zero", &["database.npy", "row 1 ", "zero"], &|at| {
        let rows: Vec<f32> = (0..48).map(|i| f32::from(u8::from(i / 16 != 1))).collect();
        write_npy(&at.join("database.npy"), 16, &rows);
    });
    fails("dimension", &["exemplar.npy", "11", "16"], &|at| {
        fs::copy(golden("untuned/exemplar.npy"), at.join("exemplar.npy")).unwrap();
    });
    fails("short-list", &["synth.txt", "98 lines", "99 rows"], &|at| {
        rewrite(&at.join("synth.txt"), |lines| lines[1..].to_vec());
    });
    fails("twice", &["exemplar.npy", "rows 0 and 1"], &|at| {
        rewrite(&at.join("exemplar.txt"), |mut lines| {
            lines[1] = lines[0];
            lines
        });
    });
    fails(
        "unnamed",
        &["1; --missing skip", "art/gpt/3/0.png"],
        &|at| {
            rewrite(&at.join("synth.txt"), |mut lines| {
                let gone = lines
                    .iter_mut()
                    .find(|line| **line == "synth/art/gpt/3/0.png");
                *gone.unwrap() = "x";
                lines
            });
        },
    );
    fails("gone", &["synth.npy"], &|at| {
        fs::remove_file(at.join("synth.npy")).unwrap();
    });
}

#[test]
fn bad_cases_fail_naming_the_entry() {
    let place = Scratch::new("cases");
    let whole: Value =
        serde_json::from_str(&fs::read_to_string(golden("test_art.json")).unwrap()).unwrap();
    let fails = |test: &str, words: &[&str], change: &dyn Fn(&mut Value)| {
        let mut case = whole.clone();
        change(&mut case);
        let path = place.0.join(format!("{test}.json"));
        fs::write(&path, case.to_string()).unwrap();
        assert_fails(test, |_| {}, &path, words);
    };
    fails("bare", &["entry 2 (art_2)", "no exemplars"], &|case| {
        case[2]["exemplar"] = json!([]);
    });
    fails("double", &["entry 4 (art_4)", "twice"], &|case| {
        case[4]["exemplar"][1] = case[4]["exemplar"][0].clone();
    });
    fails("again", &["entry 1 (art_1)", "twice (gpt)"], &|case| {
        case[1]["synth"]["gpt"][1] = case[1]["synth"]["gpt"][0].clone();
    });
    fails("keyless", &["keyless.json", "synth"], &|case| {
        case[0].as_object_mut().unwrap().remove("synth");
    });
    fails("empty", &["no entries"], &|case| *case = json!([]));
}

/// With `skip`, what has no features does not count: the result is that of a case without it.
#[test]
fn skipping_leaves_out_what_is_missing_and_lists_it() {
    let place = Scratch::new("skip");
    let text = fs::read_to_string(golden("test_art.json")).unwrap();
    let mut without: Value = serde_json::from_str(&text).unwrap();
    let mut with = without.clone();
    with[0]["exemplar"][0] = json!("nowhere.jpg");
    without[0]["exemplar"].as_array_mut().unwrap().remove(0);
    with[1]["synth"]["gpt"][1] = json!("nowhere.png");
    without[1]["synth"]["gpt"].as_array_mut().unwrap().remove(1);
    with[2]["exemplar"] = json!([]);
    without.as_array_mut().unwrap().remove(2);
    let write = |name: &str, case: &Value| {
        let path = place.0.join(name);
        fs::write(&path, case.to_string()).unwrap();
        path
    };
    let options = EvaluateOptions {
        cases: vec![write("with.json", &with)],
        features: vec![source("tuned", golden("tuned"))],
        rows: RowsWanted::Float32,
        missing: Missing::Skip,
    };
    let found = evaluate(&options, &|_, _| {}).unwrap();
    let left: Vec<_> = found
        .left_out
        .iter()
        .map(|left| (left.what, left.entry.as_str(), left.path.as_deref()))
        .collect();
    let expected = [
        ("exemplar", "entry 0 (art_0)", Some("nowhere.jpg")),
        ("synth", "entry 1 (art_1)", Some("nowhere.png")),
        ("entry", "entry 2 (art_2)", None),
    ];
    assert_eq!(left, expected);
    let features = vec![source("tuned", golden("tuned"))];
    let reduced = results(
        &[write("without.json", &without)],
        features,
        RowsWanted::Float32,
    );
    assert_eq!(found.results.len(), 2);
    for (found, reduced) in found.results.iter().zip(&reduced) {
        assert_eq!(values(found), values(reduced));
        assert_eq!(found.queries, reduced.queries);
        assert_eq!(found.exemplars, reduced.exemplars);
    }
}
