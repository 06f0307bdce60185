//! The query as 13-bit integers, so that its product with int8 rows is an exact 32-bit sum.
//!
//! The error is at most half a step of max|q| / 4095 per element: about 1e-5 of a score, far below
//! the int8 rows' own. Invariant: `codes.len()` is the row stride and the padding is zero.

use crate::error::{Error, Result};
use crate::format::shard::{DIMENSION_MAX, row_stride};

/// Largest magnitude of a code: 2048 * 127 * 4095 < 2^31.
const PEAK: f32 = 4095.0;

/// A unit query of dimension D: `q[i] = codes[i] * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedQuery {
    pub dimension: usize,
    pub codes: Vec<i32>,
    pub scale: f32,
}

impl QuantizedQuery {
    /// Normalises `feature` [D] to unit length and quantizes it.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for NaN, infinite or all-zero features, whose direction is undefined;
    /// [`Error::InvalidArgument`] for a dimension outside of 1..=2048.
    pub fn new(feature: &[f32]) -> Result<Self> {
        if feature.is_empty() || feature.len() > DIMENSION_MAX {
            return Err(Error::invalid(format!(
                "a query of dimension {}",
                feature.len()
            )));
        }
        let unit = normalised(feature)?;
        let peak = unit.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        let scale = peak / PEAK;
        let mut codes: Vec<i32> = unit.iter().map(|x| (x / scale).round() as i32).collect();
        codes.resize(row_stride(feature.len()), 0);
        Ok(Self {
            dimension: feature.len(),
            codes,
            scale,
        })
    }

    /// The score of one row: `<q, x>` with `x = row_scale * codes`.
    #[inline]
    pub fn score(&self, row: &[i8], row_scale: f32) -> f32 {
        let dot: i32 = row
            .iter()
            .zip(&self.codes)
            .map(|(c, q)| i32::from(*c) * q)
            .sum();
        dot as f32 * (row_scale * self.scale)
    }
}

/// `feature` [D] at unit length (L2), summed in f64.
///
/// # Errors
/// [`Error::NotFinite`] when the norm is zero, NaN or infinite.
pub fn normalised(feature: &[f32]) -> Result<Vec<f32>> {
    let mut unit = vec![0.0; feature.len()];
    match normalise(feature, &mut unit) {
        true => Ok(unit),
        false => Err(Error::NotFinite {
            what: "the direction of a feature without length".into(),
        }),
    }
}

/// Writes to `unit` [D] what [`normalised`] makes of `feature` [D]; `false` where it fails.
pub fn normalise(feature: &[f32], unit: &mut [f32]) -> bool {
    let squares = feature.iter().map(|x| f64::from(*x).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-30 {
        return false;
    }
    for (unit, x) in unit.iter_mut().zip(feature) {
        *unit = (f64::from(*x) / norm) as f32;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_cosine() {
        let feature: Vec<f32> = (0..37).map(|i| ((i * 29 % 17) as f32) - 8.0).collect();
        let query = QuantizedQuery::new(&feature).unwrap();
        let row: Vec<i8> = (0..40)
            .map(|i| {
                if i < 37 {
                    ((i * 13) % 255) as u8 as i8
                } else {
                    0
                }
            })
            .collect();
        let unit = normalised(&feature).unwrap();
        let exact: f64 = unit
            .iter()
            .zip(&row)
            .map(|(q, c)| f64::from(*q) * f64::from(*c) * 0.01)
            .sum();
        assert!((f64::from(query.score(&row, 0.01)) - exact).abs() < 2e-3 * exact.abs().max(1.0));
    }

    #[test]
    fn a_query_without_direction_is_an_error() {
        for bad in [vec![0.0; 4], vec![f32::NAN; 4], vec![f32::INFINITY, 1.0]] {
            assert_eq!(QuantizedQuery::new(&bad).unwrap_err().code(), "not-finite");
        }
        assert!(QuantizedQuery::new(&[]).is_err());
    }
}
