//! Rows to codes: what FORMAT.md calls `const`, `gain` and the words of a row, and the codes of leaves.
//!
//! With entropy classes a code is not the nearest but the one with the least squared error plus
//! [`BIT_PRICE`] times its bits, among those that the tables have. Invariants: the bytes of a row depend
//! on the plan, its centroid, its leaf's code, its block's class and the row alone; every byte has a frequency in its table.

use std::ops::Range;

use super::product::Panels;
use super::quantiser::LEAF_BIT_PRICE;
use super::residuals::{Residuals, Terms};
use super::row_code::{BIT_PRICE, Fields, Symbols};
use crate::error::{Error, Result};
use crate::format::clustered::{FrequencyTable, Plan, Widths};

/// Rows that are transformed at a time.
const BLOCK_ROWS: usize = 256;
/// Powers of the gain with the least squared error and of the one that leaves scores of the row with itself
/// as they are, in the gain that is taken (../shared/reference/index-study.md).
const LEAST_SQUARES: f32 = 0.7;

/// Rows of which a block's class is chosen.
const CLASS_ROWS: usize = 32;

/// Encodes rows by a plan.
pub struct RowEncoder {
    dimension: usize,
    widths: Widths,
    steps: Vec<f32>,
    zeros: Vec<f32>,
    leaf_steps: Vec<f32>,
    const_step: f32,
    gain_step: f32,
    transform: Panels,
    /// [K, D].
    centroids: Vec<f32>,
    /// [K, A], transformed.
    turned: Vec<f32>,
    /// |c|^2 [K].
    squares: Vec<f32>,
    fields: Fields,
    /// [E]; a single one that allows everything where E is 0.
    symbols: Vec<Symbols>,
    leaf_symbols: Symbols,
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
                .map(|tables: &[FrequencyTable]| Symbols::new(tables, BIT_PRICE))
                .collect(),
        };
        Self {
            dimension,
            widths: plan.widths,
            steps: plan.steps.clone(),
            zeros: plan.zeros.clone(),
            leaf_steps: plan.leaf_steps.clone(),
            leaf_symbols: Symbols::new(plan.leaf_tables.get(1..).unwrap_or(&[]), LEAF_BIT_PRICE),
            const_step: plan.const_step,
            gain_step: plan.gain_step,
            transform,
            centroids,
            turned,
            squares,
            fields,
            symbols,
        }
    }

    /// Appends the residuals of `unit` [n, D], whose centroid is `centroid`, to `out`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a centroid that the plan does not have or rows that are not whole.
    pub fn turn(&self, centroid: usize, unit: &[f32], out: &mut Residuals) -> Result<()> {
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
        let axes = self.axes();
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
            let first = out.turned.len();
            out.turned
                .resize(first + rows.len() / dimension * axes, 0.0);
            self.transform.multiply(residuals, &mut out.turned[first..]);
            out.terms
                .extend(residuals.chunks_exact(dimension).map(|residual| Terms {
                    square: dot(residual, residual) as f32,
                    along: dot(residual, c) as f32,
                }));
        }
        Ok(())
    }

    /// A, values of a residual.
    pub(super) fn axes(&self) -> usize {
        self.widths.dimensions().max(self.leaf_steps.len())
    }

    /// V, values of a leaf's code.
    pub fn leaf_axes(&self) -> usize {
        self.leaf_steps.len()
    }

    /// The code [V] of a leaf with `mean` [V].
    pub(super) fn leaf_code(&self, mean: &[f32]) -> Vec<i8> {
        let code = self.leaf_symbols.leaf_code(mean, &self.leaf_steps);
        code.collect()
    }

    /// Takes what the leaf with `code` [V] stands for from a row's residual.
    pub(super) fn less_leaf(
        &self,
        centroid: usize,
        code: &[i8],
        terms: &mut Terms,
        turned: &mut [f32],
    ) {
        let axes = self.axes();
        let turned_centroid = &self.turned[centroid * axes..][..axes];
        let (mut square, mut along) = (0f32, 0f32);
        for (j, code) in code.iter().enumerate() {
            let value = f32::from(*code) * self.leaf_steps[j];
            square += value * (value - 2.0 * turned[j]);
            along += value * turned_centroid[j];
            turned[j] -= value;
        }
        terms.square = (terms.square + square).max(0.0);
        terms.along -= along;
    }

    /// [`RowEncoder::less_leaf`] of some rows.
    pub(super) fn less_leaf_of(
        &self,
        centroid: usize,
        code: &[i8],
        residuals: &mut Residuals,
        rows: Range<usize>,
    ) {
        let axes = self.axes();
        let turned = residuals.turned.chunks_exact_mut(axes).skip(rows.start);
        let terms = residuals.terms[rows].iter_mut();
        for (terms, turned) in terms.zip(turned) {
            self.less_leaf(centroid, code, terms, turned);
        }
    }

    /// The entropy class under which the rows `residuals`, which are less their leaves, cost least.
    pub(super) fn class_of(&self, residuals: &Residuals) -> usize {
        if self.symbols.len() < 2 {
            return 0;
        }
        let rows = residuals.terms.len();
        let step = rows.div_ceil(CLASS_ROWS).max(1);
        let mut codes = vec![0; self.widths.dimensions()];
        let mut bytes = Vec::new();
        let mut costs = vec![0f32; self.symbols.len()];
        for turned in residuals.turned.chunks_exact(self.axes()).step_by(step) {
            let scaled = self.scaled(turned);
            for (cost, symbols) in costs.iter_mut().zip(&self.symbols) {
                bytes.clear();
                let fields = &self.fields;
                *cost += fields.choose(&scaled, &self.zeros, symbols, &mut codes, &mut bytes);
            }
        }
        let best = (0..costs.len()).min_by(|a, b| costs[*a].total_cmp(&costs[*b]));
        best.unwrap_or(0)
    }

    /// Appends the codes [n, P] of rows of a block of `class`; `residuals` are less their leaves.
    pub(super) fn encode_residuals(
        &self,
        (class, centroid): (usize, usize),
        residuals: &Residuals,
        out: &mut Vec<u8>,
    ) {
        let rows = residuals.turned.chunks_exact(self.axes());
        for (terms, turned) in residuals.terms.iter().zip(rows) {
            self.encode_turned((class, centroid), *terms, turned, out);
        }
    }

    /// Appends the codes [n, P] of `unit` [n, D] of a block of `class` and of the leaf with the code `leaf` [V] to `out`.
    ///
    /// # Errors
    /// Those of [`RowEncoder::turn`]; [`Error::InvalidArgument`] for a code of more values.
    pub fn encode(
        &self,
        (class, centroid): (usize, usize),
        leaf: &[i8],
        unit: &[f32],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if leaf.len() > self.leaf_axes() {
            return Err(Error::invalid(format!(
                "a leaf's code of {} values, the plan has {}",
                leaf.len(),
                self.leaf_axes()
            )));
        }
        let mut residuals = Residuals::default();
        self.turn(centroid, unit, &mut residuals)?;
        let rows = 0..residuals.terms.len();
        self.less_leaf_of(centroid, leaf, &mut residuals, rows);
        self.encode_residuals((class, centroid), &residuals, out);
        Ok(())
    }

    /// A residual [A] in steps from code 0 on, [M].
    fn scaled(&self, turned: &[f32]) -> Vec<f32> {
        let steps = turned.iter().zip(&self.steps).zip(&self.zeros);
        steps.map(|((y, step), zero)| y / step + zero).collect()
    }

    /// Appends the code of a row whose residual, less its leaf, is `turned` [A] after the transform.
    pub(super) fn encode_turned(
        &self,
        (class, centroid): (usize, usize),
        terms: Terms,
        turned: &[f32],
        out: &mut Vec<u8>,
    ) {
        let symbols = &self.symbols[class.min(self.symbols.len() - 1)];
        let first = out.len();
        out.extend([0, 0]);
        let scaled = self.scaled(turned);
        let mut codes = vec![0i16; scaled.len()];
        self.fields
            .choose(&scaled, &self.zeros, symbols, &mut codes, out);
        let turned_centroid = &self.turned[centroid * self.axes()..][..codes.len()];
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

    /// A key by which near rows come together, from a row's residual [A]: the signs along the leading axes as a Gray code,
    /// so that rows with the same signs lie together and neighbouring keys differ in one.
    fn order_key(turned: &[f32]) -> u64 {
        let mut key = 0u64;
        let mut parity = 0u64;
        for value in turned.iter().take(16) {
            parity ^= u64::from(*value > 0.0);
            key = key << 1 | parity;
        }
        key
    }

    /// [`RowEncoder::order_key`] of rows.
    pub(super) fn order_keys(&self, residuals: &Residuals) -> Vec<u64> {
        let rows = residuals.turned.chunks_exact(self.axes());
        rows.map(Self::order_key).collect()
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}
