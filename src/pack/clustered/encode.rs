//! Rows to codes: what FORMAT.md calls `const`, `gain` and the words of a row.
//!
//! With entropy classes a code is not the nearest but the one with the least squared error plus
//! [`BIT_PRICE`] times its bits, among those that the tables have. Invariants: the bytes of a row depend
//! on the plan, its centroid and the row alone; every byte has a frequency in its table.

use super::product::Panels;
use super::row_code::{Fields, Symbols};
use crate::error::{Error, Result};
use crate::format::clustered::{FrequencyTable, Plan, Widths};

/// Rows that are transformed at a time.
const BLOCK_ROWS: usize = 256;
/// Powers of the gain with the least squared error and of the one that leaves scores of the row with itself
/// as they are, in the gain that is taken (../shared/reference/index-study.md).
const LEAST_SQUARES: f32 = 0.7;

/// Encodes rows by a plan.
pub struct RowEncoder {
    dimension: usize,
    widths: Widths,
    steps: Vec<f32>,
    zeros: Vec<f32>,
    const_step: f32,
    gain_step: f32,
    transform: Panels,
    /// [K, D].
    centroids: Vec<f32>,
    /// [K, M], transformed.
    turned: Vec<f32>,
    /// |c|^2 [K].
    squares: Vec<f32>,
    classes: Vec<u8>,
    fields: Fields,
    /// [E]; a single one that allows everything where E is 0.
    symbols: Vec<Symbols>,
}

impl RowEncoder {
    /// The encoder of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let (dimension, count) = (plan.dimension, plan.centroid_count());
        let mut centroids = vec![0.0; count * dimension];
        for (k, centroid) in centroids.chunks_exact_mut(dimension).enumerate() {
            plan.centroid(k, centroid);
        }
        let transform = Panels::new(&plan.transform, dimension);
        let turned = transform.multiply_all(&centroids);
        let squares = centroids
            .chunks_exact(dimension)
            .map(|c| dot(c, c) as f32)
            .collect();
        let positions = plan.widths.row_bytes();
        let fields = Fields::new(plan.widths);
        let symbols = match plan.classes {
            0 => vec![Symbols::any(positions)],
            _ => plan
                .tables
                .chunks_exact(positions)
                .map(|tables: &[FrequencyTable]| Symbols::new(tables))
                .collect(),
        };
        Self {
            dimension,
            widths: plan.widths,
            steps: plan.steps.clone(),
            zeros: plan.zeros.clone(),
            const_step: plan.const_step,
            gain_step: plan.gain_step,
            transform,
            centroids,
            turned,
            squares,
            classes: plan.centroid_classes.clone(),
            fields,
            symbols,
        }
    }

    /// Appends the codes [n, P] of `unit` [n, D], whose centroid is `centroid`, to `out`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a centroid that the plan does not have or rows that are not whole.
    pub fn encode(&self, centroid: usize, unit: &[f32], out: &mut Vec<u8>) -> Result<()> {
        let dimension = self.dimension;
        if centroid >= self.squares.len() || !unit.len().is_multiple_of(dimension) {
            return Err(Error::invalid(format!(
                "{} values of rows of centroid {centroid}: the plan has {} centroids of {dimension}",
                unit.len(),
                self.squares.len()
            )));
        }
        let c = &self.centroids[centroid * dimension..][..dimension];
        let mut residuals = vec![0.0; BLOCK_ROWS.min(unit.len() / dimension) * dimension];
        let coded = self.widths.dimensions();
        let mut turned = vec![0.0; residuals.len() / dimension * coded];
        for rows in unit.chunks(BLOCK_ROWS * dimension) {
            let residuals = &mut residuals[..rows.len()];
            for (residual, row) in residuals
                .chunks_exact_mut(dimension)
                .zip(rows.chunks_exact(dimension))
            {
                for ((r, x), c) in residual.iter_mut().zip(row).zip(c) {
                    *r = x - c;
                }
            }
            let turned = &mut turned[..rows.len() / dimension * coded];
            self.transform.multiply(residuals, turned);
            for (residual, turned) in residuals
                .chunks_exact(dimension)
                .zip(turned.chunks_exact(coded))
            {
                let terms = Terms {
                    square: dot(residual, residual) as f32,
                    along: dot(residual, c) as f32,
                };
                self.encode_turned(centroid, terms, turned, out);
            }
        }
        Ok(())
    }

    /// Appends the code of a row whose residual is `turned` [M] after the transform.
    pub(super) fn encode_turned(
        &self,
        centroid: usize,
        terms: Terms,
        turned: &[f32],
        out: &mut Vec<u8>,
    ) {
        let class = usize::from(self.classes.get(centroid).copied().unwrap_or(0));
        let symbols = &self.symbols[class.min(self.symbols.len() - 1)];
        let first = out.len();
        out.extend([0, 0]);
        let scaled: Vec<f32> = turned
            .iter()
            .zip(&self.steps)
            .zip(&self.zeros)
            .map(|((y, step), zero)| y / step + zero)
            .collect();
        let mut codes = vec![0i16; scaled.len()];
        self.fields
            .choose(&scaled, &self.zeros, symbols, &mut codes, out);
        let turned_centroid = &self.turned[centroid * codes.len()..][..codes.len()];
        let (mut square, mut with_row, mut with_centroid) = (0f32, 0f32, 0f32);
        for (j, code) in codes.iter().enumerate() {
            let value = (f32::from(*code) - self.zeros[j]) * self.steps[j];
            square += value * value;
            with_row += value * turned[j];
            with_centroid += value * turned_centroid[j];
        }
        let gain = match with_row > 0.0 && square > 0.0 {
            true => {
                let least_squares = with_row / square;
                let unbiased = terms.square / with_row;
                least_squares.powf(LEAST_SQUARES) * unbiased.powf(1.0 - LEAST_SQUARES)
            }
            false => 0.0,
        };
        let gain = (gain / self.gain_step).round().clamp(0.0, 255.0) as u8;
        let gain = symbols.nearest_unsigned(1, gain);
        let centroid_square = self.squares[centroid];
        let constant = match self.const_step > 0.0 && centroid_square > 0.0 {
            true => {
                let error = terms.along - f32::from(gain) * self.gain_step * with_centroid;
                (error / centroid_square / self.const_step)
                    .round()
                    .clamp(-128.0, 127.0) as i8
            }
            false => 0,
        };
        out[first] = symbols.nearest_signed(0, constant) as u8;
        out[first + 1] = gain;
    }

    /// The key by which the rows of a cluster are ordered, from a row's code [P]: the signs along the leading
    /// axes as a Gray code, so that rows with the same signs lie together and neighbouring keys differ
    /// in one.
    pub fn order_key(&self, code: &[u8]) -> u64 {
        let mut key = 0u64;
        let mut parity = 0u64;
        for j in 0..self.widths.dimensions().min(16) {
            let positive = f32::from(self.fields.code(code, j)) > self.zeros[j];
            parity ^= u64::from(positive);
            key = key << 1 | parity;
        }
        key
    }
}

/// What is known of a row's residual r beside the coded dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// |r|^2.
    pub square: f32,
    /// <r, c>.
    pub along: f32,
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}
