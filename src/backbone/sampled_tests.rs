//! Rounding by samples: LayerNorms and matrices change together, and matrices are marked by what enters them.

use super::matrix::QuantizedMatrix;
use super::pack::{Encoded, Precision};
use super::registry::find;
use super::sampled::Sampled;
use crate::backbone::generated::canonical_tensor;
use crate::demo;
use crate::error::Result;
use crate::format::TensorEncoding;
use crate::format::model::EIGHT_BITS;

const NORM: &str = "blocks.0.norm1.weight";
const MATRIX: &str = "blocks.0.attn.qkv.weight";
const SAMPLES: usize = 6;

/// The tensors of the toy; with `loud`, its first LayerNorm makes a channel large that the matrix behind hardly uses.
fn tensor(name: &str, shape: &[usize], loud: bool) -> Result<Vec<f32>> {
    let architecture = find("toy-p14").unwrap().architecture;
    let mut values = canonical_tensor(&architecture, "toy-p14", name, shape)?;
    if loud && name == NORM {
        values[0] = 1000.0;
    }
    if loud && name == MATRIX {
        values.iter_mut().step_by(shape[1]).for_each(|w| *w *= 1e-6);
    }
    Ok(values)
}

/// All tensors as they are stored, by name, with their shapes.
fn encoded(precision: Precision, loud: bool) -> Vec<(String, Vec<usize>, Encoded)> {
    let spec = find("toy-p14").unwrap();
    let mut images = Vec::new();
    for image in demo::samples(SAMPLES) {
        images.extend(spec.preprocess.apply(&image).unwrap());
    }
    let read = |name: &str, shape: &[usize]| tensor(name, shape, loud);
    let mut sampled = Sampled::new(&spec.architecture, precision, &images, &read).unwrap();
    let tensors = spec.architecture.tensors().into_iter();
    let encoded = tensors.map(|(name, shape)| {
        let encoded = sampled.encode(&name, &shape).unwrap();
        (name, shape, encoded)
    });
    encoded.collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[test]
fn matrices_are_marked_where_eight_bits_suffice() {
    for precision in [Precision::Int8, Precision::Int4] {
        let marks = |loud: bool| -> Vec<String> {
            let all = encoded(precision, loud).into_iter();
            let marked = all.filter(|(_, _, encoded)| encoded.activations == Some(EIGHT_BITS));
            marked.map(|(name, ..)| name).collect()
        };
        assert!(marks(false).iter().any(|name| name == MATRIX));
        assert!(marks(true).iter().all(|name| name != MATRIX));
        for name in marks(false) {
            assert!(
                name.starts_with("blocks.") && name.ends_with(".weight"),
                "{name}"
            );
        }
    }
}

/// A gain times the column behind it stays, but for the rounding of the column.
#[test]
fn gains_and_columns_change_together() {
    let all = encoded(Precision::Int8, false);
    let find = |wanted: &str| all.iter().find(|(name, ..)| name == wanted).unwrap();
    let (_, shape, norm) = find(NORM);
    let gains = (floats(&norm.bytes), tensor(NORM, shape, false).unwrap());
    let (_, shape, matrix) = find(MATRIX);
    let (outputs, inputs) = (shape[0], shape[1]);
    let before = tensor(MATRIX, shape, false).unwrap();
    let after = QuantizedMatrix::from_bytes(TensorEncoding::Int8, outputs, inputs, &matrix.bytes);
    let after = after.unwrap().dequantized();
    let (mut error, mut size) = (0.0, 0.0);
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        let (before, after) = (gains.1[i % inputs] * before, gains.0[i % inputs] * after);
        error += f64::from(before - after).powi(2);
        size += f64::from(before).powi(2);
    }
    assert!((error / size).sqrt() < 0.02, "{}", (error / size).sqrt());
    let changed = |(a, b): (&f32, &f32)| (a / b - 1.0).abs() > 0.05;
    assert!(gains.0.iter().zip(&gains.1).any(changed));
}

#[test]
fn tensors_that_stay_f32_are_the_checkpoints() {
    for (name, shape, encoded) in encoded(Precision::F32, false) {
        assert_eq!(
            floats(&encoded.bytes),
            tensor(&name, &shape, false).unwrap(),
            "{name}"
        );
        assert_eq!(encoded.activations, None);
    }
}
