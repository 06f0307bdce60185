//! What samples show of the values that enter a matrix.
//!
//! Rows are positions of sample images, columns the inputs of the matrix. Invariant: `moments` is symmetric, of at least one row.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::smoothing::Factors;
use crate::error::{Error, Result};
use crate::format::Architecture;
use crate::format::model::EIGHT_BIT_STEPS;

/// Most rows of one batch that count for the moments of a matrix.
const ROWS_MAX: usize = 4096;
/// Largest error by 8 bits of inputs, relative to the outputs, both as root mean squares.
const ERROR: f64 = 0.01;

/// Sample images that give each layer about as many positions as it has inputs at most.
pub fn sample_count(architecture: &Architecture) -> usize {
    let positions = match architecture {
        Architecture::Vit(vit) => vit.tokens(),
        Architecture::Resnet(resnet) => (resnet.image / 32).pow(2),
    };
    9216usize.div_ceil(positions).clamp(12, 184)
}

/// Sums over so many rows, by matrix.
type Sums = RefCell<BTreeMap<String, (Tensor<2>, usize)>>;

/// Of the inputs of one matrix.
#[derive(Clone, Debug)]
pub struct Entering {
    pub inputs: usize,
    /// `X^T X` over `rows` rows.
    pub moments: Vec<f32>,
    rows: usize,
}

/// `X^T X` by matrix, while samples pass.
#[derive(Default)]
pub struct Moments(Sums);

/// Mean square of a row's span, from its least value or 0 to its largest or 0, by matrix, while samples pass.
#[derive(Default)]
pub struct Spans(Sums);

impl Moments {
    /// Adds what enters the matrix `name`.
    pub fn add(&self, name: &str, x: &Tensor<3>) {
        let mut x = rows_of(x);
        let rows = x.dims()[0];
        if rows > ROWS_MAX {
            let step = rows.div_ceil(ROWS_MAX) as isize;
            x = x.slice(burn::prelude::s![..;step, ..]);
        }
        let rows = x.dims()[0];
        let product = x.clone().transpose().matmul(x);
        add(&self.0, name, product, rows);
    }

    /// What was seen, by matrix.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what cannot be read back.
    pub fn finish(self) -> Result<BTreeMap<String, Entering>> {
        let moments = self.0.into_inner().into_iter();
        let read = moments.map(|(name, (product, rows))| {
            let inputs = product.dims()[0];
            let moments = read(product)?;
            Ok((
                name,
                Entering {
                    inputs,
                    moments,
                    rows,
                },
            ))
        });
        read.collect()
    }
}

impl Spans {
    /// Adds what enters the matrix `name`.
    pub fn add(&self, name: &str, x: &Tensor<3>) {
        let x = rows_of(x);
        let rows = x.dims()[0];
        let spans = x.clone().max_dim(1).clamp_min(0.0) - x.min_dim(1).clamp_max(0.0);
        add(&self.0, name, (spans.clone() * spans).sum_dim(0), rows);
    }

    /// Of the inputs of the matrix `name`; infinite where none were seen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what cannot be read back.
    pub fn mean_square(&self, name: &str) -> Result<f64> {
        let Some((sum, rows)) = self.0.borrow().get(name).cloned() else {
            return Ok(f64::INFINITY);
        };
        let sum: f64 = read(sum)?.into_iter().map(f64::from).sum();
        Ok(sum / rows as f64)
    }
}

impl Entering {
    /// Of inputs that are divided by `factors`.
    pub fn divide(&mut self, factors: &Factors) {
        for (row, a) in self.moments.chunks_exact_mut(self.inputs).zip(&factors.0) {
            for (value, b) in row.iter_mut().zip(&factors.0) {
                *value /= a * b;
            }
        }
    }

    /// Whether the rounding of inputs to 8 bits changes, by estimate, the outputs of `weights` by no more than [`ERROR`] of
    /// their size. The error of an input is taken as uniform within a step, and independent of the others'.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what cannot be read back.
    pub fn fit_eight_bits(
        &self,
        mean_square_span: f64,
        weights: &[f32],
        device: &Device,
    ) -> Result<bool> {
        let square: f64 = weights.iter().map(|w| f64::from(*w).powi(2)).sum();
        let step_square = mean_square_span / f64::from(EIGHT_BIT_STEPS).powi(2);
        let of_rounding = step_square / 12.0 * square;
        Ok(of_rounding <= ERROR * ERROR * self.outputs(weights, device)?)
    }

    /// Mean square of all outputs of `weights` [outputs, inputs] together.
    fn outputs(&self, weights: &[f32], device: &Device) -> Result<f64> {
        let shape = [weights.len() / self.inputs, self.inputs];
        let weights = Tensor::<2>::from_data(TensorData::new(weights.to_vec(), shape), device);
        let moments = TensorData::new(self.moments.clone(), [self.inputs; 2]);
        let moments = Tensor::<2>::from_data(moments, device);
        let by_output = read((weights.clone().matmul(moments) * weights).sum_dim(1))?;
        Ok(by_output.into_iter().map(f64::from).sum::<f64>() / self.rows as f64)
    }
}

/// Adds a sum over `rows` to that of `name`.
fn add(sums: &Sums, name: &str, sum: Tensor<2>, rows: usize) {
    let mut sums = sums.borrow_mut();
    let both = match sums.remove(name) {
        Some((before, count)) => (before + sum, count + rows),
        None => (sum, rows),
    };
    sums.insert(name.to_owned(), both);
}

/// [batch, positions, inputs] as rows.
fn rows_of(x: &Tensor<3>) -> Tensor<2> {
    let [batch, positions, inputs] = x.dims();
    x.clone().reshape([batch * positions, inputs])
}

fn read(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let data = tensor.into_data().try_to_vec();
    data.map_err(|e| Error::invalid(format!("what samples show: {e:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::matrix::tests::noise;

    const INPUTS: usize = 24;
    const OUTPUTS: usize = 10;

    /// Rows whose first channel is `times` as large as the others.
    fn rows(times: f32) -> Vec<f32> {
        let value = |i: usize| {
            if i.is_multiple_of(INPUTS) {
                times * noise(i).signum()
            } else {
                noise(i)
            }
        };
        (0..477 * INPUTS).map(value).collect()
    }

    /// Weights that hardly use the first channel.
    fn weights() -> Vec<f32> {
        let value = |i: usize| noise(i + 99) * if i.is_multiple_of(INPUTS) { 0.01 } else { 1.0 };
        (0..OUTPUTS * INPUTS).map(value).collect()
    }

    /// What the rounding of `rows` to 8 bits does to the outputs, relative to them, as root mean squares.
    fn measured(rows: &[f32], weights: &[f32]) -> f64 {
        let (mut errors, mut outputs) = (0.0, 0.0);
        for row in rows.chunks_exact(INPUTS) {
            let above = row.iter().copied().fold(0.0, f32::max);
            let step = (above - row.iter().copied().fold(0.0, f32::min)) / 254.0;
            for w in weights.chunks_exact(INPUTS) {
                let (mut error, mut output) = (0.0, 0.0);
                for (x, w) in row.iter().zip(w) {
                    error += ((x / step).round() * step - x) * w;
                    output += x * w;
                }
                errors += f64::from(error).powi(2);
                outputs += f64::from(output).powi(2);
            }
        }
        (errors / outputs).sqrt()
    }

    /// `rows` as two batches, as they are seen.
    fn seen(rows: &[f32]) -> (Entering, f64) {
        let (moments, spans) = (Moments::default(), Spans::default());
        for rows in rows.chunks(300 * INPUTS) {
            let shape = [1, rows.len() / INPUTS, INPUTS];
            let x = Tensor::from_data(TensorData::new(rows.to_vec(), shape), &Device::flex());
            moments.add("one", &x);
            spans.add("one", &x);
        }
        let span = spans.mean_square("one").unwrap();
        assert_eq!(spans.mean_square("another").unwrap(), f64::INFINITY);
        (moments.finish().unwrap().remove("one").unwrap(), span)
    }

    #[test]
    fn eight_bits_suffice_where_they_change_outputs_by_less_than_a_hundredth() {
        let device = Device::flex();
        for (times, fit) in [(1.0, true), (2.0, true), (8.0, false), (40.0, false)] {
            let rows = rows(times);
            let error = measured(&rows, &weights());
            assert_eq!(error < ERROR, fit, "{times}: {error}");
            let (entering, span) = seen(&rows);
            assert_eq!(
                entering.fit_eight_bits(span, &weights(), &device).unwrap(),
                fit,
                "{times}"
            );
        }
    }

    #[test]
    fn factors_make_large_channels_fit_and_leave_the_product() {
        let device = Device::flex();
        let (mut rows, mut weights) = (rows(8.0), weights());
        let (mut entering, _) = seen(&rows);
        let product = |rows: &[f32], weights: &[f32]| -> Vec<f64> {
            let rows = rows.chunks_exact(INPUTS);
            let products = rows.flat_map(|row| {
                let dot = |w: &[f32]| row.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum();
                weights.chunks_exact(INPUTS).map(dot).collect::<Vec<f64>>()
            });
            products.collect()
        };
        let before = product(&rows, &weights);
        let factors = Factors::new(&entering.moments, entering.inputs);
        entering.divide(&factors);
        factors.multiply_columns(&mut weights);
        rows.chunks_exact_mut(INPUTS)
            .for_each(|row| factors.divide(row));
        for (before, after) in before.iter().zip(product(&rows, &weights)) {
            assert!((before - after).abs() < 1e-5, "{before} {after}");
        }
        let (again, span) = seen(&rows);
        for (known, seen) in entering.moments.iter().zip(&again.moments) {
            assert!((known - seen).abs() < 1e-2, "{known} {seen}");
        }
        assert!(measured(&rows, &weights) < ERROR);
        assert!(entering.fit_eight_bits(span, &weights, &device).unwrap());
    }

    #[test]
    fn samples_of_zeros_leave_everything() {
        let factors = Factors::new(&[0.0; INPUTS * INPUTS], INPUTS);
        assert_eq!(factors.0, [1.0; INPUTS]);
    }
}
