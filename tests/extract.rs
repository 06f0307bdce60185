//! Features of folders, lists and test cases, against the backbone itself; interrupted and taken up again.
#![cfg(feature = "cli")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_attribution::backbone::{
    Backbone, Unpaced, import::HEAD_FILE, pack::Precision, parity::toy_pack,
};
use data_attribution::checkpoint::NpyFile;
use data_attribution::device::Compute;
use data_attribution::evaluate::Missing;
use data_attribution::extract::{ExtractOptions, ExtractReport, Input, extract};
use data_attribution::files::{write_atomically, write_json};
use data_attribution::preprocess::{DEFAULT_LIMIT_MEGAPIXELS, decode};
use data_attribution::source::folder::Folder;
use serde_json::{Value, json};

struct Workplace(PathBuf);

impl Workplace {
    /// A model and `count` images, in folders `a` and `b`.
    fn new(test: &str, count: u32) -> Self {
        let name = format!("data-attribution-extract-{test}-{}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        drop(fs::remove_dir_all(&place.0));
        let (memory, head) = toy_pack(Precision::Int8).unwrap();
        for (file, bytes) in &memory.files {
            write_atomically(&place.at("model").join(file), bytes).unwrap();
        }
        write_json(&place.at("model").join(HEAD_FILE), &head).unwrap();
        for folder in ["images/a", "images/b"] {
            fs::create_dir_all(place.at(folder)).unwrap();
        }
        for i in 0..count {
            place.paint(&image_name(i), i);
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn paint(&self, name: &str, i: u32) {
        let picture = image::RgbImage::from_fn(60 + i % 9, 70, |x, y| {
            image::Rgb([(x * i) as u8, (y * 3 + i * 40) as u8, (x * y + i) as u8])
        });
        picture.save(self.at("images").join(name)).unwrap();
    }

    fn folder(&self) -> Input {
        Input::Folder(self.at("images"))
    }

    fn list(&self, names: &[&str]) -> Input {
        let list = self.at("list.txt");
        fs::write(&list, names.join("\n")).unwrap();
        let root = self.at("images");
        Input::List { list, root }
    }

    fn options(&self, input: Input, out: &str) -> ExtractOptions {
        ExtractOptions::new(self.at("model"), input, self.at(out))
    }

    fn extract(&self, input: Input, out: &str) -> ExtractReport {
        extract(&self.options(input, out), &|_, _| {}).unwrap()
    }

    /// The rows of a matrix by the names of its list, which has each once.
    fn features(&self, out: &str, stem: &str) -> BTreeMap<String, Vec<f32>> {
        let names = self.names(out, stem);
        let file = NpyFile::open(self.at(out).join(format!("{stem}.npy"))).unwrap();
        assert_eq!(file.shape()[0], names.len());
        let row = |at: usize| file.read_rows_f32(at, 1).unwrap();
        let rows = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), row(at)));
        let rows: BTreeMap<_, _> = rows.collect();
        assert_eq!(rows.len(), names.len());
        rows
    }

    fn names(&self, out: &str, stem: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(out).join(format!("{stem}.txt"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What the backbone makes of the images.
    fn embedded(&self, names: &[String]) -> BTreeMap<String, Vec<f32>> {
        let (_, head) = toy_pack(Precision::Int8).unwrap();
        let source = Folder::new(self.at("model"));
        let load = Backbone::load(&source, HEAD_FILE, head, &Compute::Cpu, &|_, _| {});
        let backbone = pollster::block_on(load).unwrap();
        let embed = |name: &String| {
            let bytes = fs::read(self.at("images").join(name)).unwrap();
            let pixels = decode(&bytes, DEFAULT_LIMIT_MEGAPIXELS).unwrap();
            pollster::block_on(backbone.embed(&pixels, &Unpaced)).unwrap()
        };
        names
            .iter()
            .map(|name| (name.clone(), embed(name)))
            .collect()
    }

    /// Every file of the features, by name.
    fn bytes(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.at(out)).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn image_name(i: u32) -> String {
    format!("{}/{i:03}.png", if i.is_multiple_of(3) { "b" } else { "a" })
}

#[test]
fn a_folder_and_a_list_give_the_backbones_features() {
    let place = Workplace::new("forms", 5);
    fs::write(place.at("images/a/note.md"), "no image").unwrap();
    fs::write(
        place.at("images/a/moving.gif"),
        "not of the evaluation's endings",
    )
    .unwrap();
    let report = place.extract(place.folder(), "out");
    let names = [
        "a/001.png",
        "a/002.png",
        "a/004.png",
        "b/000.png",
        "b/003.png",
    ];
    assert_eq!(place.names("out", "database"), names);
    let expected = place.embedded(&names.map(str::to_owned));
    assert_eq!(place.features("out", "database"), expected);
    assert_eq!((report.embedded, report.reused, report.repeated), (5, 0, 0));
    let files: Vec<String> = place.bytes("out").into_keys().collect();
    assert_eq!(files, ["database.npy", "database.txt", "features.json"]);
    let head: Value = serde_json::from_slice(&place.bytes("out")["features.json"]).unwrap();
    let (_, model) = toy_pack(Precision::Int8).unwrap();
    assert_eq!(head["format"], "data-attribution-features");
    assert_eq!(head["version"], 1);
    let backbone = json!({"name": model.name, "identity": model.identity});
    assert_eq!(head["backbone"], backbone);
    assert_eq!(head["dimension"], model.dimension);
    assert_eq!(head["files"], json!({"database": 5}));

    let input = place.list(&["b/003.png", "a/001.png", "b/003.png", "", "a/004.png"]);
    let report = place.extract(input, "listed");
    let names = ["b/003.png", "a/001.png", "a/004.png"];
    assert_eq!(place.names("listed", "database"), names);
    assert_eq!((report.embedded, report.repeated), (3, 1));
    for (name, feature) in place.features("listed", "database") {
        assert_eq!(feature, expected[&name]);
    }
}

#[test]
fn test_cases_give_exemplars_and_queries_each_image_embedded_once() {
    let place = Workplace::new("cases", 6);
    let write = |name: &str, exemplar: &[u32], synth: &[u32]| {
        let paths = |all: &[u32]| all.iter().map(|i| image_name(*i)).collect::<Vec<_>>();
        let case = json!([{"exemplar": paths(exemplar), "synth": {"gpt": paths(synth)}}]);
        fs::write(place.at(name), case.to_string()).unwrap();
        place.at(name)
    };
    // Image 2 is an exemplar of both and a query of one.
    let cases = vec![
        write("x.json", &[2, 1], &[5, 4]),
        write("y.json", &[2], &[2, 5]),
    ];
    let root = place.at("images");
    let report = place.extract(Input::Cases { cases, root }, "out");
    assert_eq!(place.names("out", "exemplar"), ["a/002.png", "a/001.png"]);
    assert_eq!(
        place.names("out", "synth"),
        ["a/005.png", "a/004.png", "a/002.png"]
    );
    assert_eq!((report.embedded, report.repeated), (4, 2));
    let all: Vec<String> = [1, 2, 4, 5].map(image_name).into();
    let expected = place.embedded(&all);
    for stem in ["exemplar", "synth"] {
        for (name, feature) in place.features("out", stem) {
            assert_eq!(feature, expected[&name], "{stem} {name}");
        }
    }
    // The database joins them, and takes over what is known.
    let report = place.extract(place.folder(), "out");
    assert_eq!((report.embedded, report.reused), (2, 4));
    assert_eq!(place.features("out", "database").len(), 6);
    let head: Value = serde_json::from_slice(&place.bytes("out")["features.json"]).unwrap();
    assert_eq!(
        head["files"],
        json!({"database": 6, "exemplar": 2, "synth": 3})
    );
}

#[test]
fn a_run_that_failed_is_taken_up_and_only_what_is_missing_is_embedded() {
    let place = Workplace::new("failed", 8);
    place.extract(place.folder(), "whole");
    let good = fs::read(place.at("images/a/004.png")).unwrap();
    fs::write(place.at("images/a/004.png"), &good[..good.len() / 2]).unwrap();
    let options = place.options(place.folder(), "out");
    let error = extract(&options, &|_, _| {}).unwrap_err().to_string();
    assert!(
        error.contains("1 of 8") && error.contains("a/004.png"),
        "{error}"
    );
    let left: Vec<String> = place.bytes("out").into_keys().collect();
    assert_eq!(left, ["features.part", "features.part.txt"]);
    fs::write(place.at("images/a/004.png"), good).unwrap();
    let report = place.extract(place.folder(), "out");
    assert_eq!((report.embedded, report.reused), (1, 7));
    assert_eq!(place.bytes("out"), place.bytes("whole"));
    // Once more: nothing is missing. After a change: what changed.
    assert_eq!(place.extract(place.folder(), "out").embedded, 0);
    assert_eq!(place.bytes("out"), place.bytes("whole"));
    std::thread::sleep(Duration::from_millis(20));
    place.paint("a/004.png", 77);
    assert_eq!(place.extract(place.folder(), "out").embedded, 1);
    let names = place.names("out", "database");
    assert_eq!(place.features("out", "database"), place.embedded(&names));
}

/// The journal as a machine that stopped may leave it: cut, or with bytes that were never written.
#[test]
fn a_damaged_journal_costs_the_damaged_rows_and_no_more() {
    let place = Workplace::new("journal", 6);
    place.extract(place.folder(), "whole");
    fs::write(place.at("images/b/broken.png"), "no image").unwrap();
    extract(&place.options(place.folder(), "out"), &|_, _| {}).unwrap_err();
    fs::remove_file(place.at("images/b/broken.png")).unwrap();
    let journal = place.bytes("out");
    let (rows, list) = (&journal["features.part"], &journal["features.part.txt"]);
    let row = rows.len() / 6;
    let mut zeroed = rows.clone();
    zeroed[2 * row..3 * row].fill(0);
    let mut other = list.clone();
    other[0] ^= 1;
    for (rows, list, embedded) in [
        (rows.clone(), list.clone(), 0),
        (rows[..4 * row + 3].to_vec(), list.clone(), 2),
        (rows.clone(), list[..list.len() - 2].to_vec(), 1),
        (zeroed, list.clone(), 1),
        (rows.clone(), other, 6),
        (Vec::new(), list.clone(), 6),
        (rows.clone(), Vec::new(), 6),
    ] {
        drop(fs::remove_dir_all(place.at("out")));
        fs::create_dir_all(place.at("out")).unwrap();
        fs::write(place.at("out/features.part"), rows).unwrap();
        fs::write(place.at("out/features.part.txt"), list).unwrap();
        let report = place.extract(place.folder(), "out");
        assert_eq!((report.embedded, report.reused), (embedded, 6 - embedded));
        assert_eq!(place.bytes("out"), place.bytes("whole"));
    }
}

#[test]
fn a_killed_tool_is_taken_up() {
    let place = Workplace::new("killed", 120);
    place.extract(place.folder(), "whole");
    let tool = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_data-attribution"));
        command.arg("extract").arg("--model").arg(place.at("model"));
        command.arg("--images").arg(place.at("images"));
        command.arg("-o").arg(place.at("out"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let lines = || {
        let list = fs::read_to_string(place.at("out/features.part.txt"));
        list.map_or(0, |list| list.lines().count())
    };
    let mut child = tool().spawn().unwrap();
    while lines() < 5 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(tool().status().unwrap().success());
    assert_eq!(place.bytes("out"), place.bytes("whole"));
}

#[test]
fn missing_images_are_listed_and_left_out_only_if_asked() {
    let place = Workplace::new("missing", 3);
    fs::write(place.at("images/a/broken.png"), "no image").unwrap();
    let input = || place.list(&["gone.png", "a/001.png", "a/broken.png", "b/000.png", "a"]);
    let mut options = place.options(input(), "out");
    let error = extract(&options, &|_, _| {}).unwrap_err().to_string();
    for word in ["2 of 5", "--missing skip", "gone.png", "\n  a: "] {
        assert!(error.contains(word), "{word} is not in {error}");
    }
    assert!(!place.at("out/database.npy").exists());
    options.missing = Missing::Skip;
    let report = extract(&options, &|_, _| {}).unwrap();
    let left: Vec<&str> = report
        .left_out
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(left, ["gone.png", "a", "a/broken.png"]);
    assert_eq!(place.names("out", "database"), ["a/001.png", "b/000.png"]);

    let fails = |input: Input, words: &[&str]| {
        let mut options = place.options(input, "none");
        options.missing = Missing::Skip;
        let error = extract(&options, &|_, _| {}).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word} is not in {error}");
        }
        assert!(!place.at("none/features.json").exists());
    };
    fails(place.list(&["gone.png"]), &["none of 1", "gone.png"]);
    fails(place.list(&[]), &["no image", "list.txt"]);
    let list = place.at("nowhere.txt");
    let root = place.at("images");
    fails(Input::List { list, root }, &["nowhere.txt"]);
    // Features of another backbone stay what they are.
    let head = json!({
        "format": "data-attribution-features",
        "version": 1,
        "backbone": {"name": "other", "identity": "5678".repeat(16)},
        "dimension": 4,
    });
    fs::write(place.at("out/features.json"), head.to_string()).unwrap();
    let before = place.bytes("out");
    let error = extract(&place.options(place.folder(), "out"), &|_, _| {}).unwrap_err();
    assert_eq!(error.code(), "identity-mismatch");
    assert_eq!(place.bytes("out"), before);
}

/// numpy reads what is written; SKIPPED where there is none.
#[test]
fn numpy_reads_the_matrices() {
    let place = Workplace::new("numpy", 3);
    place.extract(place.folder(), "out");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let program = "import sys, numpy\n\
        a = numpy.load(sys.argv[1])\n\
        print(a.dtype, a.shape, a.flags.c_contiguous, *map(float, a.ravel()))";
    let path: &Path = &place.at("out/database.npy");
    let run = Command::new(python)
        .args(["-c", program])
        .arg(path)
        .output();
    let Some(output) = run.ok().filter(|output| output.status.success()) else {
        println!("SKIPPED numpy_reads_the_matrices: python with numpy is not installed");
        return;
    };
    let file = NpyFile::open(path).unwrap();
    let [rows, columns] = file.shape();
    let values = file.read_rows_f32(0, rows).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, numbers) = text.trim().split_once(" True ").unwrap();
    assert_eq!(head, format!("float32 ({rows}, {columns})"));
    let read: Vec<f32> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
    assert_eq!(read, values);
}
