//! What each form of the weights costs: bytes, cosine with f32, time; for `data-attribution bench-backbones`.
//!
//! Weights are those of [`super::generated`], so that every architecture is measured at full size without a
//! download. Random weights are harder to round than trained ones: nothing in them is redundant.

use std::time::Instant;

use serde::Serialize;

use super::generated::{canonical_tensor, generated_image};
use super::pack::{Encoded, Precision, pack};
use super::parity::mark_blocks;
use super::registry::BackboneSpec;
use super::sampled::{Sampled, sample_count};
use super::{Backbone, Unpaced};
use crate::demo;
use crate::device::Compute;
use crate::error::Result;
use crate::source::memory::Memory;

/// Images that features are compared over.
const IMAGES: usize = 3;
/// Timed passes; the best counts.
const PASSES: usize = 3;

/// What the rounding goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Each weight to its nearest code.
    Nearest,
    /// The same, with all quantized matrices in a transformer's blocks said to need 8 bits of activations.
    Marked,
    /// By sample images; see [`Sampled`].
    Sampled,
}

/// One backbone in one form.
#[derive(Clone, Debug, Serialize)]
pub struct PrecisionRow {
    pub backbone: String,
    pub precision: &'static str,
    pub sampled: bool,
    pub bytes: u64,
    /// With the features of f32 weights.
    pub cosine_mean: f64,
    pub cosine_min: f64,
    /// Of one image on the CPU, preprocessing included: the best of some passes.
    pub native_ms: f64,
    pub packing_seconds: f64,
}

/// The backbone `spec` with generated weights on `compute`.
///
/// # Errors
/// Those of [`Sampled`], [`pack`] and [`Backbone::load`].
pub fn generated_backbone(
    spec: &BackboneSpec,
    precision: Precision,
    rounding: Rounding,
    compute: &Compute,
) -> Result<Backbone> {
    let architecture = &spec.architecture;
    let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
        canonical_tensor(architecture, spec.name, name, shape)
    };
    let mut samples = match rounding {
        Rounding::Nearest | Rounding::Marked => None,
        Rounding::Sampled => {
            let mut images = Vec::new();
            for image in demo::samples(sample_count(architecture)) {
                images.extend(spec.preprocess.apply(&image)?);
            }
            Some(Sampled::new(architecture, precision, &images, &read)?)
        }
    };
    let mut memory = Memory::default();
    let mut head = pack(
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
    )?;
    if rounding == Rounding::Marked {
        mark_blocks(&mut head);
    }
    let load = Backbone::load(&memory, "backbone.json", head, compute, &|_, _| {});
    pollster::block_on(load)
}

/// Measures `spec` in each of `forms`; `say` hears of each.
///
/// # Errors
/// Those of [`generated_backbone`] and [`Backbone::embed`].
pub fn precision_rows(
    spec: &BackboneSpec,
    forms: &[(Precision, Rounding)],
    say: &mut dyn FnMut(PrecisionRow),
) -> Result<()> {
    let exact = features(&generated_backbone(
        spec,
        Precision::F32,
        Rounding::Nearest,
        &Compute::Cpu,
    )?)?;
    for &(precision, rounding) in forms {
        let started = Instant::now();
        let backbone = generated_backbone(spec, precision, rounding, &Compute::Cpu)?;
        let packing_seconds = started.elapsed().as_secs_f64();
        let found = features(&backbone)?;
        let mut native_ms = f64::INFINITY;
        for _ in 0..PASSES {
            let started = Instant::now();
            pollster::block_on(backbone.embed(&generated_image(0)?, &Unpaced))?;
            native_ms = native_ms.min(started.elapsed().as_secs_f64() * 1e3);
        }
        let cosines = found.iter().zip(&exact).map(|(f, e)| cosine(f, e));
        let cosines: Vec<f64> = cosines.collect();
        say(PrecisionRow {
            backbone: spec.name.into(),
            precision: match precision {
                Precision::F32 => "f32",
                Precision::Int8 => "int8",
                Precision::Int4 => "int4",
            },
            sampled: rounding == Rounding::Sampled,
            bytes: backbone.head().bytes(),
            cosine_mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
            cosine_min: cosines.iter().copied().fold(1.0, f64::min),
            native_ms,
            packing_seconds,
        });
    }
    Ok(())
}

fn features(backbone: &Backbone) -> Result<Vec<Vec<f32>>> {
    (0..IMAGES)
        .map(|k| pollster::block_on(backbone.embed(&generated_image(k)?, &Unpaced)))
        .collect()
}

/// The cosine of two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
