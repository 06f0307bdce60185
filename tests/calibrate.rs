//! Calibration on ground truth, against brute force in here; the loss itself has its golden values in
//! `src/calibrate/objective.rs`.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use data_attribution::calibrate::{CalibrateOptions, Calibration, calibrate, write_calibration};
use data_attribution::evaluate::{GroundTruth, MapperName, Mappers, NamedMappers, RowMap};
use serde_json::Value;

mod made;
use made::{Made, Scratch, make, write_npy};

/// The training loss by its formula.
fn loss(made: &Made, inv_tau: f64, b: f64) -> f64 {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mut losses = Vec::new();
    for (queries, exemplars) in made.queries.iter().zip(&made.exemplars) {
        for query in queries {
            let all = exemplars.iter().chain(&made.database);
            let scores: Vec<f64> = all.map(|x| cosine(query, x)).collect();
            let best = scores.iter().copied().fold(f64::MIN, f64::max);
            let t = scores.iter().map(|s| {
                let x = (inv_tau * (s - best)).exp() + b;
                (1.0 + (100.0 * x).exp()).ln() / 100.0
            });
            let t: Vec<f64> = t.collect();
            let n = exemplars.len();
            let logs: f64 = t[..n].iter().map(|t| t.ln()).sum();
            losses.push(t.iter().sum::<f64>().ln() - logs / n as f64);
        }
    }
    losses.iter().sum::<f64>() / losses.len() as f64
}

fn options(scratch: &Scratch, validation: f64, mappers: Option<Mappers>) -> CalibrateOptions {
    let named = |side: &str| MapperName {
        name: side.into(),
        identity: side.repeat(16),
    };
    CalibrateOptions {
        truth: scratch.truth(),
        mappers: mappers.map(|mappers| NamedMappers {
            real: named("real"),
            synth: named("synth"),
            pair: "77".repeat(32),
            backbone: Some("toy".into()),
            mappers,
        }),
        name: Some("toy".into()),
        seed: 3,
        validation,
    }
}

fn run(options: &CalibrateOptions) -> Calibration {
    calibrate(options, &|_, _| {}).unwrap()
}

#[test]
fn the_loss_is_that_of_brute_force_and_its_minimum_is_one() {
    let scratch = Scratch::new("brute");
    let made = make(&scratch, (8, 3, 150, 12), (0.8, 0));
    let found = run(&options(&scratch, 0.0, None));
    assert!(found.before.validation.is_none() && found.after.validation.is_none());
    assert_eq!(found.after.training.reliability.queries, 24);
    assert_eq!(found.after.training.entries, 8);
    for stage in [&found.before, &found.after] {
        let calibrator = stage.calibrator;
        let (inv_tau, b) = (
            f64::from(calibrator.inv_tau),
            f64::from(calibrator.bias) / 1000.0,
        );
        let expected = loss(&made, inv_tau, b);
        // Scores are f32 sums here.
        assert!(
            (stage.training.loss - expected).abs() < 1e-4,
            "{stage:?} {expected}"
        );
    }
    let least = found.after.training.loss;
    assert!(least < found.before.training.loss - 0.01, "{found:?}");
    let calibrator = found.after.calibrator;
    let (inv_tau, b) = (
        f64::from(calibrator.inv_tau),
        f64::from(calibrator.bias) / 1000.0,
    );
    for (factor, step) in [(1.1, 0.0), (0.9, 0.0), (1.0, 0.005), (1.0, -0.005)] {
        assert!(loss(&made, inv_tau * factor, b + step) > least - 1e-4);
    }
}

#[test]
fn an_exemplar_in_the_database_counts_once() {
    let scratch = Scratch::new("copies");
    let mut made = make(&scratch, (5, 3, 60, 10), (0.7, 0));
    let without = run(&options(&scratch, 0.0, None));
    // The same database with the exemplars among it, named as such: a copy of another entry's is one item
    // more, a copy of the entry's own is none.
    let features = scratch.0.join("features");
    let names = fs::read_to_string(features.join("exemplar.txt")).unwrap();
    let noise = (0..60).map(|i| format!("noise/{i}\n"));
    let listed = names.clone() + &noise.collect::<String>();
    let plain = made.database.clone();
    made.database = made.exemplars.concat();
    made.database.extend(plain.clone());
    write_npy(&features.join("database.npy"), &made.database);
    fs::write(features.join("database.txt"), listed).unwrap();
    let with = run(&options(&scratch, 0.0, None));
    let items = |found: &Calibration| -> f64 {
        found
            .before
            .training
            .reliability
            .bins
            .iter()
            .map(|bin| bin.items)
            .sum()
    };
    let exemplars: usize = made.exemplars.iter().map(Vec::len).sum();
    assert_eq!(items(&without), 15.0 * 60.0 + 3.0 * exemplars as f64);
    assert_eq!(items(&with), 15.0 * (60.0 + exemplars as f64));
    // Ranks: an unlisted copy is above its exemplar, a listed one is the exemplar.
    let ranks = || {
        let truth = GroundTruth::open(&scratch.truth()).unwrap();
        let all: Vec<usize> = (0..truth.query_entries().len()).collect();
        truth.ranks(&all, None, &|_, _| {}).unwrap()
    };
    let listed = ranks();
    fs::remove_file(features.join("database.txt")).unwrap();
    let unlisted = ranks();
    for (listed, unlisted) in listed.iter().zip(&unlisted) {
        for (hit, (listed, unlisted)) in listed.iter().zip(unlisted).enumerate() {
            assert_eq!(*unlisted, listed + hit as u64 + 1);
        }
    }
}

/// Rotates the coordinates by some places: no cosine changes if both sides do it.
struct Rotation(usize, usize);

impl RowMap for Rotation {
    fn dimensions(&self) -> [usize; 2] {
        [self.0; 2]
    }

    fn map(&self, rows: &[f32]) -> data_attribution::Result<Vec<f32>> {
        let rotated = rows
            .chunks_exact(self.0)
            .flat_map(|row| (0..self.0).map(|i| row[(i + self.1) % self.0]));
        Ok(rotated.collect())
    }
}

#[test]
fn mappers_are_applied_to_both_sides() {
    let scratch = Scratch::new("mappers");
    make(&scratch, (6, 3, 60, 10), (0.6, 2));
    let rotated = |real: usize, synth: usize| {
        let mappers = Mappers {
            real: Box::new(Rotation(10, real)),
            synth: Box::new(Rotation(10, synth)),
        };
        run(&options(&scratch, 0.0, Some(mappers)))
    };
    let plain = run(&options(&scratch, 0.0, None));
    let both = rotated(3, 3);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
    assert!(near(plain.before.training.loss, both.before.training.loss));
    // Queries are rotated by 2 places; undone, they are near their exemplars.
    let undone = rotated(2, 0);
    assert!(undone.after.training.loss < plain.after.training.loss - 0.5);
    // The calibrator knows which scores it is for.
    assert_eq!(plain.fitted_for.mapper.as_deref(), Some("none"));
    assert_eq!(both.fitted_for.mapper, Some("77".repeat(32)));
    // Features that say that another backbone made them are not mapped.
    let head = serde_json::json!({
        "format": "data-attribution-features",
        "version": 1,
        "backbone": {"name": "other", "identity": "1234".repeat(16)},
        "dimension": 10,
    });
    let head_file = scratch.0.join("features/features.json");
    fs::write(&head_file, head.to_string()).unwrap();
    let mappers = Mappers {
        real: Box::new(Rotation(10, 0)),
        synth: Box::new(Rotation(10, 0)),
    };
    let error = calibrate(&options(&scratch, 0.0, Some(mappers)), &|_, _| {}).unwrap_err();
    assert_eq!(error.code(), "identity-mismatch");
    assert!(error.to_string().contains("other") && error.to_string().contains("toy"));
    let known = run(&options(&scratch, 0.0, None)).fitted_for.backbone;
    assert_eq!(known.as_deref(), Some("other"));
    fs::remove_file(head_file).unwrap();
    let truth = GroundTruth::open(&scratch.truth()).unwrap();
    let wrong = Mappers {
        real: Box::new(Rotation(9, 0)),
        synth: Box::new(Rotation(9, 0)),
    };
    let error = truth.ranks(&[0], Some(&wrong), &|_, _| {}).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}

#[test]
fn the_split_is_by_entry_and_the_files_are_the_same_every_time() {
    let scratch = Scratch::new("files");
    make(&scratch, (10, 3, 80, 12), (0.8, 0));
    let written = |folder: &str| -> Vec<Vec<u8>> {
        let found = run(&options(&scratch, 0.2, None));
        let validation = found.after.validation.as_ref().unwrap();
        assert_eq!((validation.entries, found.after.training.entries), (2, 8));
        assert_eq!(validation.reliability.queries, 6);
        let paths = write_calibration(&found, &scratch.0.join(folder)).unwrap();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    let [report, plot, calibrator] = written("a").try_into().unwrap();
    let once = vec![report, plot.clone(), calibrator.clone()];
    assert_eq!(once, written("b"));
    let calibrator: Value = serde_json::from_slice(&calibrator).unwrap();
    assert_eq!(calibrator["format"], "data-attribution-calibrator");
    assert_eq!(calibrator["fitted"], true);
    assert_eq!(calibrator["name"], "toy");
    assert!(calibrator["inv_tau"].as_f64().unwrap() > 0.0);
    let plot = String::from_utf8(plot).unwrap();
    assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"));
    assert_eq!(plot.matches("<polyline").count(), 2);
}

fn tool(arguments: &[&str]) -> Output {
    let tool = env!("CARGO_BIN_EXE_data-attribution");
    Command::new(tool).args(arguments).output().unwrap()
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let scratch = Scratch::new("wrong");
    make(&scratch, (3, 2, 20, 6), (0.5, 0));
    let path = |name: &str| scratch.0.join(name).display().to_string();
    let (cases, features, out) = (path("cases.json"), path("features"), path("out"));
    fs::write(
        path("one.json"),
        r#"[{"exemplar": ["x/0/0.png"], "synth": {"any": ["q/0/0.png"]}}]"#,
    )
    .unwrap();
    fs::write(
        path("absent.json"),
        r#"[{"exemplar": ["x"], "synth": {"any": ["q/0/0.png"]}}]"#,
    )
    .unwrap();
    fs::write(path("file"), "").unwrap();
    let (one, absent, file) = (path("one.json"), path("absent.json"), path("file"));
    let base = ["--features", &features, "--out", &out, "--cases"];
    let with = |more: &[&'static str], cases: &str| -> Vec<String> {
        let all = base
            .iter()
            .copied()
            .chain([cases])
            .chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let tries = [
        (
            "calibrate",
            with(&["--validation", "1.5"], &cases),
            "not between 0 and 0.9",
        ),
        ("calibrate", with(&[], &one), "two are needed"),
        ("calibrate", with(&[], &absent), "without features: 1"),
        ("calibrate", with(&[], &path("none.json")), "none.json"),
        ("tune", with(&[], &cases), "both parts need two"),
        ("tune", with(&["--validation", "0"], &cases), "above 0"),
        ("tune", with(&["--temperature", "0"], &cases), "temperature"),
        ("tune", with(&["--batch", "1"], &cases), "two pairs"),
    ];
    for (command, arguments, expected) in tries {
        let arguments: Vec<&str> = std::iter::once(command)
            .chain(arguments.iter().map(String::as_str))
            .collect();
        let output = tool(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            error.contains("error: ") && error.contains(expected),
            "{arguments:?}: {error}"
        );
        assert!(!Path::new(&out).exists(), "{arguments:?}");
    }
    let output = tool(&[
        "calibrate",
        "--features",
        &features,
        "--cases",
        &cases,
        "--out",
        &file,
    ]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not a folder")
    );
    let output = tool(&[
        "calibrate",
        "--features",
        &features,
        "--cases",
        &cases,
        "--out",
        &out,
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(Path::new(&out).join("calibrator.json").is_file());
}
