//! Features of all backbones at full size against PyTorch, and what quantization changes.
//!
//! `scripts/generate_reference.py` builds each backbone from its original packages and commits only the
//! features: weights and images come from a generator that this crate has too. The table over all
//! precisions takes long; `cargo test --release --features cli --test backbones -- --ignored --nocapture`
//! prints it.
#![cfg(feature = "cli")]

use std::path::Path;
use std::time::Instant;

use data_attribution::backbone::generated::{canonical_tensor, generated_image, generated_tensor};
use data_attribution::backbone::pack::{Encoded, Precision, pack};
use data_attribution::backbone::registry::{self, BackboneSpec};
use data_attribution::backbone::sampled::{Sampled, sample_count};
use data_attribution::backbone::{Backbone, Unpaced};
use data_attribution::demo;
use data_attribution::device::Compute;
use data_attribution::error::Result;
use data_attribution::format::sha256_hex;
use data_attribution::source::memory::Memory;
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

/// Packs the generated weights of `spec`; with samples, the rounding goes by them.
fn packed(spec: &BackboneSpec, precision: Precision, sampled: bool) -> Backbone {
    let architecture = &spec.architecture;
    let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
        canonical_tensor(architecture, spec.name, name, shape)
    };
    let mut samples = sampled.then(|| {
        let images = demo::samples(sample_count(architecture));
        let images = images
            .iter()
            .map(|image| spec.preprocess.apply(image).unwrap());
        let images: Vec<f32> = images.flatten().collect();
        Sampled::new(architecture, precision, &images, &read).unwrap()
    });
    let mut memory = Memory::default();
    let head = pack(
        spec.name,
        architecture.clone(),
        spec.preprocess.clone(),
        |name, shape| match &mut samples {
            Some(samples) => samples.encode(name, shape),
            None => Encoded::new(name, &read(name, shape)?, shape, precision),
        },
        |file, bytes| {
            memory.files.insert(file.file.clone(), bytes.to_vec());
            Ok(())
        },
    )
    .unwrap();
    let load = Backbone::load(&memory, "backbone.json", head, &Compute::Cpu, &|_, _| {});
    pollster::block_on(load).unwrap()
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

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
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
        let found = features(&packed(&spec, Precision::F32, false));
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

#[test]
#[ignore = "takes minutes; prints the table of all backbones and precisions"]
fn table_of_precisions() {
    let only = std::env::var("BACKBONES").unwrap_or_default();
    println!("backbone    precision         MB   cosine mean      min  native ms");
    for name in BACKBONES {
        if !only.is_empty() && !only.split(',').any(|wanted| wanted == name) {
            continue;
        }
        let spec = registry::find(name).unwrap();
        let mut exact: Vec<Vec<f32>> = Vec::new();
        for (precision, sampled) in [
            (Precision::F32, false),
            (Precision::Int8, false),
            (Precision::Int8, true),
            (Precision::Int4, false),
            (Precision::Int4, true),
        ] {
            let started = Instant::now();
            let backbone = packed(&spec, precision, sampled);
            let packing = started.elapsed().as_secs_f64();
            let started = Instant::now();
            let found = features(&backbone);
            let ms = started.elapsed().as_secs_f64() * 1e3 / IMAGES as f64;
            if exact.is_empty() {
                exact = found.clone();
            }
            let cosines: Vec<f64> = found
                .iter()
                .zip(&exact)
                .map(|(f, e)| cosine(f, e))
                .collect();
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            let least = cosines.iter().copied().fold(1.0, f64::min);
            println!(
                "{name:<11} {:<12} {:>7.1} {mean:>13.6} {least:>8.6} {ms:>10.0}   packed in {packing:.0} s",
                format!("{precision:?}{}", if sampled { " sampled" } else { "" }),
                backbone.head().bytes() as f64 / 1e6,
            );
        }
    }
}
