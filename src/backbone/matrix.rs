//! A matrix as scales and small integers: how it is made from f32, stored, and read back.
//!
//! - [`TensorEncoding::Int8`]: `w[o][i] = scale[o] * code[o][i]`, codes in -127..=127;
//! - [`TensorEncoding::Int4`]: `w[o][i] = scale[o][i / 32] * code[o][i]`, codes in -8..=7, stored with 8
//!   added, the even input in the low half of a byte; the scale is an f16 of either sign; see `group_scale`.
//!
//! Invariant: `codes` and `scales` have the lengths that `outputs`, `inputs` and the encoding imply, and
//! the scales are finite.

use half::f16;
#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

use super::group_scale::{nearest, scale_of, unit_of};
use crate::error::{Error, Result};
use crate::format::model::INT4_GROUP;
use crate::format::{TensorEncoding, shard::quantize_row};

/// A quantized matrix [outputs, inputs].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedMatrix {
    pub encoding: TensorEncoding,
    pub outputs: usize,
    pub inputs: usize,
    /// [outputs] or [outputs, inputs / 32].
    pub scales: Vec<f32>,
    /// As stored: i8 [outputs, inputs], or two 4-bit codes a byte [outputs, inputs / 2].
    pub codes: Vec<u8>,
}

/// Which share of the rounding errors before an input is handed on to it: the columns of U above the
/// diagonal, see the module `feedback`, which makes them natively.
#[derive(Debug)]
pub struct Feedback {
    pub(super) inputs: usize,
    /// Row k holds U[..k][k], of [inputs, inputs].
    pub(super) columns: Vec<f32>,
}

impl Feedback {
    /// `U[..k][k]`.
    pub fn column(&self, k: usize) -> &[f32] {
        &self.columns[k * self.inputs..][..k]
    }
}

/// Rows that are quantized side by side, so that a column of the feedback serves all of them.
const ROWS: usize = 8;

impl QuantizedMatrix {
    /// Quantizes `values`, row-major [outputs, inputs]. With `feedback`, each rounding error is
    /// handed on to the inputs that follow; without, every weight goes to the nearest code.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an encoding that does not suit the shape,
    /// [`Error::NotFinite`] for a value that is not finite or beyond f16's range.
    pub fn new(
        values: &[f32],
        inputs: usize,
        encoding: TensorEncoding,
        feedback: Option<&Feedback>,
    ) -> Result<Self> {
        let outputs = values.len() / inputs.max(1);
        if !encoding.suits(&[outputs, inputs]) || outputs * inputs != values.len() || inputs == 0 {
            return Err(Error::invalid(format!(
                "a matrix of {outputs} x {inputs} values as {encoding:?}"
            )));
        }
        let quantize = |rows: &[f32]| quantize_rows(rows, inputs, encoding, feedback);
        #[cfg(not(target_arch = "wasm32"))]
        let chunks = values.par_chunks(ROWS * inputs);
        #[cfg(target_arch = "wasm32")]
        let chunks = values.chunks(ROWS * inputs);
        let parts: Vec<_> = chunks.map(quantize).collect::<Result<_>>()?;
        let mut matrix = Self {
            encoding,
            outputs,
            inputs,
            scales: Vec::new(),
            codes: Vec::new(),
        };
        for (scales, codes) in parts {
            matrix.scales.extend(scales);
            match encoding {
                TensorEncoding::Int4 => matrix.codes.extend(pack_nibbles(&codes)),
                _ => matrix.codes.extend_from_slice(bytemuck::cast_slice(&codes)),
            }
        }
        Ok(matrix)
    }

    /// The stored form: scales, then codes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.scales.len() + self.codes.len());
        for scale in &self.scales {
            match self.encoding {
                TensorEncoding::Int4 => bytes.extend(f16::from_f32(*scale).to_le_bytes()),
                _ => bytes.extend(scale.to_le_bytes()),
            }
        }
        bytes.extend_from_slice(&self.codes);
        bytes
    }

    /// Reads the stored form of a matrix [outputs, inputs].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another length, [`Error::NotFinite`] for scales that are not
    /// finite.
    pub fn from_bytes(
        encoding: TensorEncoding,
        outputs: usize,
        inputs: usize,
        bytes: &[u8],
    ) -> Result<Self> {
        let wrong = || Error::invalid(format!("a {encoding:?} matrix of another length"));
        let (scale_bytes, code_bytes) = match encoding {
            TensorEncoding::Int8 => (4 * outputs, outputs * inputs),
            TensorEncoding::Int4 => (2 * outputs * (inputs / INT4_GROUP), outputs * inputs / 2),
            _ => return Err(wrong()),
        };
        if bytes.len() != scale_bytes + code_bytes || !encoding.suits(&[outputs, inputs]) {
            return Err(wrong());
        }
        let (scales, codes) = bytes.split_at(scale_bytes);
        let scales: Vec<f32> = match encoding {
            TensorEncoding::Int4 => {
                let halves = scales.as_chunks().0.iter();
                halves.map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            _ => {
                let floats = scales.as_chunks().0.iter();
                floats.map(|b| f32::from_le_bytes(*b)).collect()
            }
        };
        if scales.iter().any(|scale| !scale.is_finite()) {
            return Err(Error::NotFinite {
                what: "a scale".into(),
            });
        }
        Ok(Self {
            encoding,
            outputs,
            inputs,
            scales,
            codes: codes.to_vec(),
        })
    }

    /// The matrix that the codes stand for, row-major [outputs, inputs].
    pub fn dequantized(&self) -> Vec<f32> {
        match self.encoding {
            TensorEncoding::Int4 => {
                let halves = self.codes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
                let codes = halves.map(|code| f32::from(code) - 8.0);
                let scales = self.scales.iter();
                let scales = scales.flat_map(|scale| std::iter::repeat_n(*scale, INT4_GROUP));
                codes
                    .zip(scales)
                    .map(|(code, scale)| code * scale)
                    .collect()
            }
            _ => {
                let codes: &[i8] = bytemuck::cast_slice(&self.codes);
                let rows = codes.chunks_exact(self.inputs).zip(&self.scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |c| f32::from(*c) * scale))
                    .collect()
            }
        }
    }
}

/// Two codes a byte, the first in the low half.
fn pack_nibbles(codes: &[i8]) -> impl Iterator<Item = u8> {
    let pairs = codes.as_chunks::<2>().0.iter();
    pairs.map(|[low, high]| ((low + 8) as u8) | (((high + 8) as u8) << 4))
}

/// Scales and codes of some rows.
fn quantize_rows(
    rows: &[f32],
    inputs: usize,
    encoding: TensorEncoding,
    feedback: Option<&Feedback>,
) -> Result<(Vec<f32>, Vec<i8>)> {
    let (mut scales, mut codes) = (Vec::new(), Vec::with_capacity(rows.len()));
    if encoding == TensorEncoding::Int8 {
        for row in rows.chunks_exact(inputs) {
            scales.push(quantize_row(row, &mut codes)?);
        }
        let Some(feedback) = feedback else {
            return Ok((scales, codes));
        };
        codes.clear();
        codes.resize(rows.len(), 0);
        let mut errors = vec![0.0; rows.len()];
        for k in 0..inputs {
            let column = feedback.column(k);
            for (r, scale) in scales.iter().enumerate() {
                let row = r * inputs;
                let weight = rows[row + k];
                let wanted = weight + dot(&errors[row..row + k], column);
                let code = match *scale {
                    0.0 => 0.0,
                    scale => (wanted / scale).round().clamp(-127.0, 127.0),
                };
                codes[row + k] = code as i8;
                errors[row + k] = weight - code * scale;
            }
        }
        return Ok((scales, codes));
    }
    if rows.iter().any(|weight| !weight.is_finite()) {
        return Err(Error::NotFinite {
            what: "a weight".into(),
        });
    }
    let groups = inputs / INT4_GROUP;
    let count = rows.len() / inputs;
    scales.resize(count * groups, 0.0);
    codes.resize(rows.len(), 0);
    let mut errors = vec![0.0; rows.len()];
    let unit = |row| unit_of(row, feedback.is_some());
    let units: Vec<f32> = rows.chunks_exact(inputs).map(unit).collect();
    if units.iter().any(|unit| !unit.is_finite()) {
        return Err(Error::NotFinite {
            what: "a 4-bit scale".into(),
        });
    }
    for group in 0..groups {
        let first = group * INT4_GROUP;
        for r in 0..count {
            let row = r * inputs;
            // The scale suits the weights with what the groups before hand on.
            let wanted: [f32; INT4_GROUP] = std::array::from_fn(|i| {
                let handed_on = feedback.map_or(0.0, |f| {
                    dot(&errors[row..row + first], &f.column(first + i)[..first])
                });
                rows[row + first + i] + handed_on
            });
            let scale = scale_of(&wanted, units[r]);
            scales[r * groups + group] = scale;
            for (i, wanted) in wanted.iter().enumerate() {
                let k = first + i;
                let handed_on = feedback.map_or(0.0, |f| {
                    dot(&errors[row + first..row + k], &f.column(k)[first..])
                });
                let code = nearest(wanted + handed_on, scale);
                codes[row + k] = code as i8;
                errors[row + k] = rows[row + k] - code * scale;
            }
        }
    }
    Ok((scales, codes))
}

/// The sum of products; in lanes, so that it vectorises.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b[..a.len()].as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Values in -1..1.
    pub fn noise(i: usize) -> f32 {
        let x = (i as u32 + 1).wrapping_mul(0x9e37_79b1);
        let x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
        ((x ^ (x >> 12)) >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    #[test]
    fn the_stored_form_reads_back_and_errors_stay_within_half_a_step() {
        let (outputs, inputs) = (20, 96);
        let values: Vec<f32> = (0..outputs * inputs).map(noise).collect();
        for encoding in [TensorEncoding::Int8, TensorEncoding::Int4] {
            let matrix = QuantizedMatrix::new(&values, inputs, encoding, None).unwrap();
            let bytes = matrix.to_bytes();
            let back = QuantizedMatrix::from_bytes(encoding, outputs, inputs, &bytes).unwrap();
            assert_eq!(back, matrix);
            let per_scale = values.len() / matrix.scales.len();
            for (i, (w, q)) in values.iter().zip(back.dequantized()).enumerate() {
                let step = matrix.scales[i / per_scale].abs();
                // The 4-bit grid has no +8, and a shrunk one clips.
                let bound = if encoding == TensorEncoding::Int4 {
                    2.0
                } else {
                    0.501
                };
                assert!((w - q).abs() <= bound * step, "{encoding:?} {i}: {w} {q}");
            }
            assert!(QuantizedMatrix::from_bytes(encoding, outputs, inputs, &bytes[1..]).is_err());
        }
        assert!(QuantizedMatrix::new(&values, 48, TensorEncoding::Int4, None).is_err());
        let mut bad = values.clone();
        bad[7] = f32::NAN;
        assert!(QuantizedMatrix::new(&bad, inputs, TensorEncoding::Int4, None).is_err());
    }

    #[test]
    fn a_matrix_of_zeros_stays_zeros() {
        for encoding in [TensorEncoding::Int8, TensorEncoding::Int4] {
            let matrix = QuantizedMatrix::new(&[0.0; 256], 64, encoding, None).unwrap();
            assert!(matrix.dequantized().iter().all(|w| *w == 0.0));
        }
    }
}
