//! Features of all backbones at full size against PyTorch, and what quantization changes.
//!
//! `scripts/generate_reference.py` builds each backbone from its original packages and commits only the
//! features: weights and images come from a generator that this crate has too. The table over all backbones
//! and precisions takes long; `data-attribution bench-backbones` prints it.
#![cfg(feature = "cli")]

use std::path::Path;

use data_attribution::backbone::generated::{generated_image, generated_tensor};
use data_attribution::backbone::pack::Precision;
use data_attribution::backbone::parity::generated_pack_of;
use data_attribution::backbone::precision_table::{
    Rounding, cosine, generated_backbone, precision_rows,
};
use data_attribution::backbone::registry;
use data_attribution::backbone::{Backbone, Unpaced};
use data_attribution::device::Compute;
use data_attribution::format::sha256_hex;
use serde_json::Value;

const IMAGES: usize = 3;
const BACKBONES: [&str; 6] = ["clip", "dino", "moco", "vit", "sscd", "dinov2-s14"];

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/backbones/features.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap() as f32).collect()
}

fn features(backbone: &Backbone) -> Vec<Vec<f32>> {
    let embed = |k| {
        let image = generated_image(k).unwrap();
        pollster::block_on(backbone.embed(&image, &Unpaced)).unwrap()
    };
    (0..IMAGES).map(embed).collect()
}

/// |a - b|_inf / |b|_2
fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().zip(b).map(|(a, b)| f64::from(a - b).abs());
    let length: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    largest.fold(0.0, f64::max) / length.sqrt()
}

#[test]
fn generated_weights_and_inputs_are_those_of_the_reference() {
    let golden = golden();
    for name in BACKBONES {
        let spec = registry::find(name).unwrap();
        let expected = &golden["backbones"][name];
        let weights = expected["weights"].as_array().unwrap();
        assert!(!weights.is_empty());
        for weight in weights {
            let shape: Vec<usize> = serde_json::from_value(weight["shape"].clone()).unwrap();
            let tensor = generated_tensor(weight["name"].as_str().unwrap(), &shape);
            let index = weight["index"].as_u64().unwrap() as usize;
            let value = weight["value"].as_f64().unwrap() as f32;
            assert_eq!(tensor[index], value, "{name} {weight}");
        }
        for (k, input) in expected["inputs"].as_array().unwrap().iter().enumerate() {
            let image = generated_image(k).unwrap();
            let values = spec.preprocess.apply(&image).unwrap();
            assert_eq!(&values[..8], floats(&input["first"]), "{name} image {k}");
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(input["sha256"], sha256_hex(&bytes), "{name} image {k}");
        }
    }
}

#[test]
fn features_equal_those_of_pytorch() {
    let golden = golden();
    for name in BACKBONES {
        let spec = registry::find(name).unwrap();
        let found = features(
            &generated_backbone(&spec, Precision::F32, Rounding::Nearest, &Compute::Cpu).unwrap(),
        );
        let wanted = golden["backbones"][name]["features"].as_array().unwrap();
        assert_eq!(wanted.len(), IMAGES);
        let errors = found
            .iter()
            .zip(wanted)
            .map(|(f, w)| relative_error(f, &floats(w)));
        let worst = errors.fold(0.0, f64::max);
        println!("{name}: largest difference {worst:.1e} of the norm");
        assert!(worst <= 1e-4, "{name}: {worst:.1e}");
    }
}

/// What quantization may cost at full size, on the smallest of the transformers and on the real size of ViT-B.
#[test]
fn quantized_features_stay_near_and_are_small() {
    let mut rows = Vec::new();
    for name in ["dinov2-s14", "clip"] {
        let spec = registry::find(name).unwrap();
        // Rounding CLIP by samples takes minutes: `bench-backbones` has it.
        let rounding = match name {
            "clip" => Rounding::Nearest,
            _ => Rounding::Sampled,
        };
        for (precision, rounding) in [
            (Precision::Int8, Rounding::Nearest),
            (Precision::Int4, rounding),
        ] {
            precision_rows(&spec, &[(precision, rounding)], &mut |row| {
                println!("{name} {precision:?}: {row:?}");
                rows.push(row);
            })
            .unwrap();
        }
    }
    assert_eq!(rows.len(), 4);
    for row in rows
        .iter()
        .filter(|row| row.sampled || row.precision == "int8")
    {
        let limit = if row.precision == "int8" {
            0.999
        } else {
            0.995
        };
        assert!(row.cosine_min >= limit, "{row:?}");
    }
    let bytes = |backbone: &str, precision: &str| {
        let row = rows
            .iter()
            .find(|r| r.backbone == backbone && r.precision == precision);
        row.unwrap().bytes as f64
    };
    assert!(bytes("clip", "int4") <= 0.57 * bytes("clip", "int8"));
    assert!(bytes("clip", "int4") <= 50e6);
}

#[test]
fn the_cosine_is_that_of_two_vectors() {
    assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
    assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-12);
}

/// The crate's own kernels on the CPU against Burn's, for every kind of network and of weights.
#[test]
fn own_kernels_compute_what_burn_computes() {
    for name in ["toy-p14", "toy-clip", "toy-resnet"] {
        for (precision, tolerance) in [
            (Precision::F32, 1e-5),
            (Precision::Int8, 3e-4),
            (Precision::Int4, 3e-4),
        ] {
            let (memory, head) = generated_pack_of(name, precision).unwrap();
            let side = head.architecture.image();
            let images: Vec<f32> = (0..2 * 3 * side * side)
                .map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 2.0)
                .collect();
            let own = Backbone::load(&memory, "m", head.clone(), &Compute::Cpu, &|_, _| {});
            let own = pollster::block_on(own).unwrap();
            let device = burn::tensor::Device::flex();
            let reference = Backbone::load_reference(&memory, "m", head, &device);
            let reference = pollster::block_on(reference).unwrap();
            let [found, wanted] = [&own, &reference].map(|backbone| {
                pollster::block_on(backbone.embed_preprocessed(&images, &Unpaced)).unwrap()
            });
            let error = relative_error(&found, &wanted);
            println!("{name} {precision:?}: {error:.1e} of the norm");
            assert!(error <= tolerance, "{name} {precision:?}: {error:.1e}");
        }
    }
}
