//! Backbones out of every container and layout in which they are published, against what
//! scripts/generate_reference.py says of the same tensors (tests/golden/import/expected.json).
#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};

use data_attribution::backbone::generated::canonical_tensor;
use data_attribution::backbone::import::{HEAD_FILE, Naming, Opened, import};
use data_attribution::backbone::pack::Precision;
use data_attribution::backbone::registry::{self, BackboneSpec};
use data_attribution::format::{Architecture, ModelHead, sha256_hex};
use data_attribution::preprocess::Preprocess;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/import")
}

/// Each file with its backbone and tiny architecture, and the description of its tensors.
fn expected() -> Vec<(String, String, Architecture, Value)> {
    let text = std::fs::read(folder().join("expected.json")).unwrap();
    let content: Value = serde_json::from_slice(&text).unwrap();
    let files = content["files"].as_object().unwrap();
    files
        .iter()
        .map(|(file, entry)| {
            let architecture = serde_json::from_value(entry["architecture"].clone()).unwrap();
            let backbone = entry["backbone"].as_str().unwrap();
            let tensors = entry["tensors"].clone();
            (file.clone(), backbone.to_string(), architecture, tensors)
        })
        .collect()
}

#[test]
fn every_published_form_gives_the_tensors_of_the_original() {
    let files = expected();
    assert!(files.len() >= 14, "{} files", files.len());
    for (file, backbone, architecture, tensors) in files {
        let opened = Opened::open(&architecture, &backbone, &folder().join(&file)).unwrap();
        let listed = architecture.tensors();
        assert_eq!(tensors.as_object().unwrap().len(), listed.len(), "{file}");
        for (name, shape) in listed {
            let wanted = &tensors[&name];
            let values = opened.read(&name, &shape).unwrap();
            match wanted["sha256"].as_str() {
                Some(digest) => {
                    assert_eq!(wanted["shape"], serde_json::json!(shape), "{file}: {name}");
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    assert_eq!(sha256_hex(&bytes), digest, "{file}: {name}");
                }
                None => {
                    let (values, shape) = published(&values, &shape);
                    assert_eq!(wanted["shape"], serde_json::json!(shape), "{file}: {name}");
                    assert_folded(&values, wanted, &format!("{file}: {name}"));
                }
            }
            // The files are generated, so the same tensors come without a file; but not in half precision.
            if file != "ViT-B-32.pt" {
                let generated = canonical_tensor(&architecture, &backbone, &name, &shape).unwrap();
                assert_eq!(values, generated, "{file}: {name}");
            }
        }
    }
}

/// A kernel [out, y, x, in] as torchvision and the golden file have it, [out, in, y, x]; a bias as it is.
fn published(values: &[f32], shape: &[usize]) -> (Vec<f32>, Vec<usize>) {
    let &[outputs, height, width, inputs] = shape else {
        return (values.to_vec(), shape.to_vec());
    };
    let mut out = Vec::with_capacity(values.len());
    for o in 0..outputs {
        for i in 0..inputs {
            for pixel in 0..height * width {
                out.push(values[(o * height * width + pixel) * inputs + i]);
            }
        }
    }
    (out, vec![outputs, inputs, height, width])
}

fn assert_folded(values: &[f32], wanted: &Value, what: &str) {
    let near = |found: f64, wanted: &Value| {
        let wanted = wanted.as_f64().unwrap();
        assert!(
            (found - wanted).abs() <= 1e-6 * (1.0 + wanted.abs()),
            "{what}: {found} {wanted}"
        );
    };
    for (value, first) in values.iter().zip(wanted["first"].as_array().unwrap()) {
        near(f64::from(*value), first);
    }
    let exact = values.iter().map(|v| f64::from(*v));
    near(exact.clone().sum(), &wanted["sum"]);
    let weighted = exact.enumerate().map(|(i, v)| v * (i % 31 + 1) as f64);
    near(weighted.sum(), &wanted["weighted_sum"]);
}

#[test]
fn layouts_are_told_apart_and_what_is_left_over_is_said() {
    let wanted: [(&str, Naming, &str, &[&str]); 14] = [
        (
            "ViT-B-32.pt",
            Naming::OpenAi,
            "visual.",
            &[
                "counters and constants (4 tensors)",
                "text tower (17 tensors)",
            ],
        ),
        (
            "clip_state_dict.pt",
            Naming::OpenAi,
            "visual.",
            &[
                "counters and constants (1 tensor)",
                "text tower (17 tensors)",
            ],
        ),
        (
            "clip_transformers.safetensors",
            Naming::TransformersClip,
            "",
            &[
                "counters and constants (3 tensors)",
                "text tower (21 tensors)",
            ],
        ),
        ("dino_vitbase16_pretrain.pth", Naming::Timm, "", &[]),
        (
            "dino_vitbase16_pretrain_full_checkpoint.pth",
            Naming::Timm,
            "teacher.backbone.",
            &[
                "optimizer state (2 tensors)",
                "student (32 tensors)",
                "heads (2 tensors)",
                "dino_loss.center",
            ],
        ),
        (
            "dino_transformers.safetensors",
            Naming::TransformersVit,
            "",
            &["heads (2 tensors)"],
        ),
        (
            "moco-vit-b-300ep.pth.tar",
            Naming::Timm,
            "state_dict.module.base_encoder.",
            &[
                "momentum encoder (37 tensors)",
                "optimizer state (2 tensors)",
                "counters and constants (2 tensors)",
                "heads (12 tensors)",
            ],
        ),
        ("vit_timm.pth", Naming::Timm, "", &["heads (2 tensors)"]),
        (
            "vit_timm.safetensors",
            Naming::Timm,
            "",
            &["heads (2 tensors)"],
        ),
        (
            "vit_transformers.safetensors",
            Naming::TransformersVit,
            "vit.",
            &["heads (2 tensors)"],
        ),
        ("vit_augreg.npz", Naming::Jax, "", &["heads (2 tensors)"]),
        (
            "sscd_disc_mixup.torchvision.pt",
            Naming::Torchvision,
            "backbone.",
            &["counters and constants (20 tensors)"],
        ),
        (
            "sscd_disc_mixup.torchscript.pt",
            Naming::Torchvision,
            "backbone.",
            &["counters and constants (20 tensors)"],
        ),
        ("dinov2_224.pth", Naming::Timm, "", &["mask_token"]),
    ];
    for (file, backbone, architecture, _) in expected() {
        let Some((_, naming, prefix, surplus)) = wanted.iter().find(|row| row.0 == file) else {
            panic!("nothing is said of {file}");
        };
        let opened = Opened::open(&architecture, &backbone, &folder().join(&file)).unwrap();
        assert_eq!(opened.layout().naming, *naming, "{file}");
        assert_eq!(opened.layout().prefix, *prefix, "{file}");
        assert_eq!(opened.surplus(), *surplus, "{file}");
    }
}

#[test]
fn another_networks_file_is_refused_by_name() {
    for (backbone, file, parts) in [
        (
            "dino",
            "sscd_disc_mixup.torchvision.pt",
            ["no dino", "a ResNet in torchvision's names"],
        ),
        (
            "sscd",
            "vit_timm.safetensors",
            ["no sscd", "a transformer in timm's names"],
        ),
        (
            "clip",
            "vit_augreg.npz",
            ["no clip", "a ViT in JAX's names"],
        ),
        ("vit", "vit_augreg.npz", ["[1, 1, 16]", "[1, 1, 768]"]),
    ] {
        let spec = registry::find(backbone).unwrap();
        let opened = Opened::open(&spec.architecture, backbone, &folder().join(file));
        let message = opened.unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert!(
            message.contains(file) && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn an_import_leaves_a_pack_of_the_same_tensors() {
    for (file, name, architecture, _) in expected() {
        let Some(found) = registry::find(&name) else {
            panic!("no backbone {name}");
        };
        let side = architecture.image() as u32;
        let spec = BackboneSpec {
            architecture: architecture.clone(),
            preprocess: Preprocess {
                resize: side,
                crop: side,
                ..found.preprocess
            },
            ..found
        };
        let place = format!("data-attribution-import-{file}-{}", std::process::id());
        let out = std::env::temp_dir().join(place);
        let mut steps = Vec::new();
        let report = |done, total| steps.push((done, total));
        let imported = import(
            spec,
            &folder().join(&file),
            Precision::F32,
            None,
            &out,
            report,
        )
        .unwrap();
        let total = architecture.tensors().len();
        assert_eq!(steps.last(), Some(&(total, total)), "{file}");
        let head = ModelHead::parse(HEAD_FILE, &std::fs::read(out.join(HEAD_FILE)).unwrap());
        assert_eq!(head.unwrap(), imported.head, "{file}");
        let opened = Opened::open(&architecture, &name, &folder().join(&file)).unwrap();
        for tensor in &imported.head.tensors {
            let weights = std::fs::read(out.join(&imported.head.files[tensor.file].file)).unwrap();
            let bytes = &weights[tensor.offset as usize..][..tensor.bytes as usize];
            let values = opened.read(&tensor.name, &tensor.shape).unwrap();
            assert!(
                bytes.iter().eq(values
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<_>>()
                    .iter())
            );
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
}
