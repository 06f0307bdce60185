//! Where the rounding error of a weight should go: to the inputs that can make up for it.
//!
//! Of a linear layer `y = W x` only the outputs matter. With `H = mean x x^T` over sample inputs, the
//! error of a row of weights that differs by `d` is `d H d^T`. Write `H = U D U^T` with U unit upper
//! triangular. Rounding the weights in order, each after adding `sum_{j<k} d_j U[j][k]`, makes the error
//! `sum_k D_k r_k^2`, r_k being the plain rounding errors, and D is as small as prediction from the other
//! inputs allows. This is the LDL form of the method known as GPTQ (Frantar et al., ICLR 2023; the
//! equivalence: Chee et al., NeurIPS 2023).
//!
//! Invariant: a column k has k entries, all finite.

use rayon::prelude::*;

use super::matrix::Feedback;
use crate::error::{Error, Result};

/// Share of the mean of H's diagonal that is added to it, for inputs that the samples hardly use.
const DAMPING: f64 = 0.01;
/// Columns that are factorised side by side.
const PANEL: usize = 64;

impl Feedback {
    /// From `moments` = `X^T X` of sample inputs, row-major [inputs, inputs], in any scale.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a matrix that is not square, [`Error::NotFinite`] for one that
    /// is not finite or not positive.
    pub fn new(moments: &[f32], inputs: usize) -> Result<Self> {
        if inputs * inputs != moments.len() {
            return Err(Error::invalid("moments that are no square matrix"));
        }
        let mut h: Vec<f64> = moments.iter().map(|value| f64::from(*value)).collect();
        let mean = (0..inputs).map(|i| h[i * inputs + i]).sum::<f64>() / inputs.max(1) as f64;
        // Samples that are all zero say nothing: then H is the identity, and rounding is plain.
        let added = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        (0..inputs).for_each(|i| h[i * inputs + i] += added);
        factorise(&mut h, inputs)?;
        let mut columns = vec![0.0; inputs * inputs];
        columns
            .par_chunks_exact_mut(inputs.max(1))
            .enumerate()
            .for_each(|(k, column)| {
                let pivot = h[k * inputs + k];
                for (i, value) in column[..k].iter_mut().enumerate() {
                    *value = (h[i * inputs + k] / pivot) as f32;
                }
            });
        Ok(Self { inputs, columns })
    }
}

/// Replaces the upper triangle of a symmetric positive matrix [n, n] by the upper triangular R with
/// `H = R R^T`, panel by panel from the last columns to the first.
fn factorise(h: &mut [f64], n: usize) -> Result<()> {
    let mut end = n;
    while end > 0 {
        let start = end.saturating_sub(PANEL);
        // What the finished columns explain is taken from the panel's.
        let finished: Vec<f64> = (start..end)
            .flat_map(|j| h[j * n + end..(j + 1) * n].iter().copied())
            .collect();
        let width = n - end;
        h[..end * n]
            .par_chunks_exact_mut(n)
            .enumerate()
            .for_each(|(i, row)| {
                let (panel, own) = row.split_at_mut(end);
                for j in start.max(i)..end {
                    panel[j] -= dot(own, &finished[(j - start) * width..][..width]);
                }
            });
        // The panel itself, last column first; its pivots come from its own rows.
        for j in (start..end).rev() {
            let explained: f64 = h[j * n + j + 1..j * n + end].iter().map(|x| x * x).sum();
            let pivot = (h[j * n + j] - explained).sqrt();
            if !pivot.is_finite() || pivot <= 0.0 {
                return Err(Error::NotFinite {
                    what: "the statistics of a layer's inputs".into(),
                });
            }
            h[j * n + j] = pivot;
            let pivot_row = h[j * n + j + 1..j * n + end].to_vec();
            h[..j * n]
                .par_chunks_exact_mut(n)
                .with_min_len(64)
                .for_each(|row| {
                    let explained = dot(&row[j + 1..end], &pivot_row);
                    row[j] = (row[j] - explained) / pivot;
                });
        }
        end = start;
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::matrix::QuantizedMatrix;
    use crate::backbone::matrix::tests::noise;
    use crate::format::TensorEncoding;

    /// Samples [rows, n] whose columns are strongly correlated.
    fn samples(rows: usize, n: usize) -> Vec<f32> {
        let mut x = Vec::new();
        for r in 0..rows {
            let hidden: Vec<f32> = (0..8).map(|i| noise(1000 * r + i)).collect();
            x.extend((0..n).map(|c| {
                let mixed: f32 = (0..8).map(|i| hidden[i] * noise(77 * c + i + 5)).sum();
                mixed + 0.1 * noise(31 * r + 7919 * c)
            }));
        }
        x
    }

    fn moments(x: &[f32], n: usize) -> Vec<f32> {
        let mut h = vec![0.0; n * n];
        for row in x.chunks_exact(n) {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    h[i * n + j] += a * b;
                }
            }
        }
        h
    }

    #[test]
    fn the_factors_multiply_to_the_matrix() {
        // Several panels and a partial one.
        let n = 2 * PANEL + 9;
        let h: Vec<f64> = moments(&samples(300, n), n)
            .into_iter()
            .map(f64::from)
            .collect();
        let mut r = h.clone();
        factorise(&mut r, n).unwrap();
        for i in 0..n {
            for j in i..n {
                let product: f64 = (j..n).map(|k| r[i * n + k] * r[j * n + k]).sum();
                let scale = (h[i * n + i] * h[j * n + j]).sqrt();
                assert!((product - h[i * n + j]).abs() < 1e-9 * scale, "{i} {j}");
            }
        }
    }

    #[test]
    fn feedback_lessens_the_error_of_the_outputs() {
        let (n, outputs) = (96, 12);
        let x = samples(400, n);
        let weights: Vec<f32> = (0..outputs * n).map(|i| noise(i + 99)).collect();
        let feedback = Feedback::new(&moments(&x, n), n).unwrap();
        for encoding in [TensorEncoding::Int8, TensorEncoding::Int4] {
            let error = |feedback: Option<&Feedback>| -> f64 {
                let matrix = QuantizedMatrix::new(&weights, n, encoding, feedback).unwrap();
                let quantized = matrix.dequantized();
                let mut sum = 0.0;
                for row in x.chunks_exact(n) {
                    for (w, q) in weights.chunks_exact(n).zip(quantized.chunks_exact(n)) {
                        let y = |w: &[f32]| row.iter().zip(w).map(|(a, b)| a * b).sum::<f32>();
                        sum += f64::from(y(w) - y(q)).powi(2);
                    }
                }
                sum
            };
            let (plain, handed_on) = (error(None), error(Some(&feedback)));
            assert!(handed_on < 0.3 * plain, "{encoding:?}: {handed_on} {plain}");
        }
    }

    #[test]
    fn silent_inputs_round_plainly_and_bad_moments_are_refused() {
        let feedback = Feedback::new(&[0.0; 16], 4).unwrap();
        assert_eq!(feedback.column(3), [0.0; 3]);
        assert!(Feedback::new(&[f32::NAN; 16], 4).is_err());
        assert!(Feedback::new(&[0.0; 15], 4).is_err());
    }
}
