//! Mappers and calibrators: against the torch modules that they were saved from
//! (scripts/generate_mappers.py), and with every defect that a file can have.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};

use data_attribution::error::Error;
use data_attribution::format::{Calibrator, MapperKind, MapperLayer};
use data_attribution::mapper::calibrator::{
    FittedFor, import_calibrator, read_calibrator, write_calibrator,
};
use data_attribution::mapper::folder::{MapperWeights, write_mapper};
use data_attribution::mapper::{MapperFolder, import::import_mapper};

/// Largest difference from torch, relative to the largest value of the row.
const TOLERANCE: f64 = 1e-6;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/mappers")
        .join(name)
}

fn expected() -> serde_json::Value {
    serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap()
}

/// A folder of this test's own.
struct Workplace(PathBuf);

impl Workplace {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "data-attribution-mapper-{name}-{}",
            std::process::id()
        ));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The code of the error, which must contain `reason`.
#[track_caller]
fn code<T>(result: Result<T, Error>, reason: &str) -> &'static str {
    let error = result.err().expect(reason);
    assert!(error.to_string().contains(reason), "{reason:?}: {error}");
    error.code()
}

fn matrix(value: &serde_json::Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn mapped_features_are_those_of_torch() {
    let place = Workplace::new("parity");
    let expected = expected();
    let inputs = matrix(&expected["inputs"]);
    let features: Vec<f32> = inputs.iter().flatten().map(|v| *v as f32).collect();
    let mappers = expected["mappers"].as_object().unwrap();
    assert_eq!(mappers.len(), 4);
    for (name, stated) in mappers {
        let out = place.at(name);
        let weights = golden(&format!("{name}.pth"));
        let folder = import_mapper(&weights, name, Some("clip"), &out).unwrap();
        assert_eq!(MapperFolder::open(&out).unwrap(), folder);
        assert_eq!(stated["kind"], folder.real.kind.name());
        assert_eq!(folder.real.pair, folder.synth.pair);
        assert_ne!(folder.real.identity, folder.synth.identity);
        for (side, mapper) in [("real", folder.load_real()), ("synth", folder.load_synth())] {
            let mapped = mapper.unwrap().apply(&features).unwrap();
            assert_eq!(mapped.len(), inputs.len() * folder.real.output);
            for precision in ["exact", "float"] {
                let rows = matrix(&stated[side][precision]);
                for (got, want) in mapped.chunks(folder.real.output).zip(&rows) {
                    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                    for (got, want) in got.iter().zip(want) {
                        let error = (f64::from(*got) - want).abs() / largest;
                        assert!(error <= TOLERANCE, "{name} {side} {precision}: {error:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn importing_twice_gives_the_same_bytes_and_other_weights_another_pair() {
    let place = Workplace::new("bytes");
    let import =
        |name: &str, out: &str| import_mapper(&golden(name), "m", None, &place.at(out)).unwrap();
    let a = import("mlp.pth", "a");
    assert_eq!(import("mlp.pth", "b").synth, a.synth);
    for name in ["real.json", "synth.json", &a.real.file.file] {
        let read = |folder: &str| fs::read(place.at(folder).join(name)).unwrap();
        assert_eq!(read("a"), read("b"), "{name}");
    }
    assert_ne!(import("mlp_deep.pth", "c").real.pair, a.real.pair);
}

#[test]
fn checkpoints_that_are_no_mapper_are_refused_by_name_and_leave_nothing() {
    let place = Workplace::new("bad");
    for (name, reason) in [
        ("no_synth_side", "has no synth_mapper"),
        ("surplus_side", "surplus tensors: other.x"),
        ("missing_bias", "missing tensors: synth_mapper.bias"),
        ("surplus_tensor", "surplus tensors: real_mapper.more"),
        ("weight_of_one_axis", "real_mapper.weight has shape [12]"),
        (
            "bias_of_other_length",
            "real_mapper.bias has shape [13], not [12]",
        ),
        (
            "weight_nan",
            "synth_mapper.weight has values that are not finite",
        ),
        (
            "weight_infinite",
            "synth_mapper.weight has values that are not finite",
        ),
        ("weight_of_integers", "real_mapper.weight holds I64"),
        ("no_known_kind", "real_mapper.* has no `weight`"),
        (
            "sides_of_two_kinds",
            "real_mapper is linear, synth_mapper is channel",
        ),
        (
            "sides_of_two_sizes",
            "real_mapper is 12 -> 8 -> 6, synth_mapper is 12 -> 8 -> 16 -> 8 -> 6",
        ),
        (
            "channel_of_two_rows",
            "real_mapper.weights has shape [2, 12]",
        ),
        (
            "mlp_without_statistics",
            "missing tensors: real_mapper.1.running_var",
        ),
        (
            "mlp_with_matrix_bias",
            "surplus tensors: real_mapper.0.bias",
        ),
        (
            "mlp_with_affine_end",
            "surplus tensors: real_mapper.5.weight",
        ),
        (
            "mlp_that_does_not_chain",
            "real_mapper.4.weight has shape [6, 9], not [h, 8]",
        ),
        (
            "variance_negative",
            "synth_mapper.1.running_var is negative",
        ),
        (
            "variance_nan",
            "synth_mapper.5.running_var has values that are not finite",
        ),
        (
            "fold_overflows",
            "synth_mapper.0.weight with its batch norm is not finite",
        ),
        ("too_wide", "4000 -> 4000, outside of the limits"),
    ] {
        let out = place.at("out");
        let weights = golden(&format!("bad/{name}.pth"));
        let imported = import_mapper(&weights, "m", None, &out);
        assert_eq!(code(imported, reason), "checkpoint", "{name}");
        assert!(!out.exists(), "{name} left files");
    }
    let out = place.at("out");
    let unnamed = import_mapper(&golden("linear.pth"), "", None, &out);
    assert_eq!(code(unnamed, "name"), "invalid-argument");
}

#[test]
fn calibrators_are_read_written_and_checked() {
    let place = Workplace::new("calibrator");
    let path = place.at("calibrator.json");
    let stated = expected();
    for (name, values) in stated["calibrators"].as_object().unwrap() {
        let read = import_calibrator(&golden(&format!("calibrator_{name}.pth"))).unwrap();
        let [inv_tau, bias] = [0, 1].map(|i| values[i].as_f64().unwrap() as f32);
        let fitted = true;
        assert_eq!(
            read,
            Calibrator {
                inv_tau,
                bias,
                fitted
            }
        );
        let fitted_for = FittedFor {
            backbone: Some("clip".into()),
            mapper: None,
        };
        write_calibrator(&path, &read, Some("clip-tuned"), fitted_for.clone()).unwrap();
        let file = read_calibrator(&path).unwrap();
        assert_eq!((file.calibrator, file.fitted_for), (read, fitted_for));
    }
    for (name, reason) in [
        ("missing", "tensor bias is missing"),
        ("surplus", "surplus tensor more"),
        ("misshapen", "tensor bias has shape [2]"),
        ("integer", "bias holds I64"),
        ("negative", "inv_tau -1"),
        ("nan", "bias NaN"),
    ] {
        let read = import_calibrator(&golden(&format!("bad/calibrator_{name}.pth")));
        assert_eq!(code(read, reason), "checkpoint", "{name}");
    }
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(good["name"], "clip-tuned");
    for (field, value, wanted) in [
        ("format", serde_json::json!("other"), "format"),
        ("version", serde_json::json!(2), "newer-version"),
        ("inv_tau", serde_json::json!(-0.5), "format"),
        ("inv_tau", serde_json::json!(1e39), "format"),
        ("bias", serde_json::json!("x"), "format"),
        // Other values under the same identity.
        ("inv_tau", serde_json::json!(1.5), "format"),
        ("fitted_for", serde_json::json!({}), "format"),
        ("fitted", serde_json::Value::Null, "format"),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        fs::write(&path, bad.to_string()).unwrap();
        assert_eq!(
            code(read_calibrator(&path), "calibrator"),
            wanted,
            "{field}"
        );
    }
    assert_eq!(code(read_calibrator(&place.at("none")), "none"), "io");
    let unsound = Calibrator {
        inv_tau: f32::NAN,
        bias: 0.0,
        fitted: true,
    };
    let written = write_calibrator(&place.at("nan.json"), &unsound, None, FittedFor::default());
    assert_eq!(code(written, "NaN"), "invalid-argument");
    assert!(!place.at("nan.json").exists());
}

#[test]
fn rows_map_alike_alone_in_blocks_and_on_any_number_of_threads() {
    let place = Workplace::new("threads");
    let folder = import_mapper(&golden("mlp.pth"), "m", None, &place.at("m")).unwrap();
    let mapper = folder.load_synth().unwrap();
    let rows: Vec<f32> = (0..12 * 333)
        .map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0)
        .collect();
    let together = mapper.apply(&rows).unwrap();
    let alone: Vec<f32> = rows
        .chunks(12)
        .flat_map(|row| mapper.apply(row).unwrap())
        .collect();
    assert_eq!(together, alone);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(pool.install(|| mapper.apply(&rows).unwrap()), together);
}

#[test]
fn a_folder_of_two_halves_or_with_damage_is_refused() {
    let place = Workplace::new("halves");
    let import = |out: &str, file: &str| {
        import_mapper(&golden(file), out, None, &place.at(out)).unwrap();
    };
    import("a", "linear.pth");
    import("b", "channel.pth");
    let (a, b) = (place.at("a"), place.at("b"));
    let good = fs::read(a.join("synth.json")).unwrap();
    fs::copy(b.join("synth.json"), a.join("synth.json")).unwrap();
    let opened = MapperFolder::open(&a);
    assert_eq!(code(opened, "real mapper a (pair "), "identity-mismatch");
    fs::copy(a.join("real.json"), a.join("synth.json")).unwrap();
    assert_eq!(code(MapperFolder::open(&a), "is the real side"), "format");
    fs::remove_file(a.join("synth.json")).unwrap();
    assert_eq!(code(MapperFolder::open(&a), "synth.json"), "io");
    fs::write(a.join("synth.json"), good).unwrap();
    let folder = MapperFolder::open(&a).unwrap();
    fs::write(a.join(&folder.synth.file.file), b"short").unwrap();
    assert_eq!(code(folder.load_synth(), "5 bytes"), "integrity");
    assert!(folder.load_real().is_ok());
}

#[test]
fn weights_that_do_not_fit_their_layers_are_not_written() {
    let place = Workplace::new("write");
    let weights = |channels: usize, real: Vec<f32>| MapperWeights {
        kind: MapperKind::Channel,
        layers: vec![MapperLayer::Scale { channels }],
        synth: vec![1.0; real.len()],
        real,
    };
    for (weights, wanted, reason) in [
        (weights(3, vec![1.0; 2]), "invalid-argument", "2 values"),
        (weights(2, vec![1.0, f32::NAN]), "not-finite", "mapper m"),
        (weights(2049, vec![1.0; 2049]), "format", "input 2049"),
        (weights(0, Vec::new()), "format", "input 0"),
    ] {
        let written = write_mapper(&weights, "m", None, &place.at("m"));
        assert_eq!(code(written, reason), wanted);
        assert!(!place.at("m").exists());
    }
    assert!(write_mapper(&weights(2, vec![1.0; 2]), "m", None, &place.at("m")).is_ok());
}
