//! The query of a clustered index, and the definition of its scores: FORMAT.md, "What a row is approximated by".
//!
//! [`CodeQuery`] is for the coarse codes, [`FineQuery`] for fine rows. Both sum integers, so that a score
//! is the same on every machine and device. [`CodeQuery::score_row`] follows the text field by field; what
//! runs over all rows is [`super::code_kernel`] and `shaders/score_codes.wgsl`, tested to equal it.
//!
//! Invariant: no i32 sum can overflow, whatever the codes are. With `v = 1 / p_unit`, `m_j` the largest
//! magnitude of a code of dimension j and halves for the roundings, a score is at most
//!
//! ```text
//! (max |base_l| v / gain_step + 1/2) + 128 (const_step max |base| v / gain_step + 1/2)
//!     + 255 (sum_j (|p_j| v + 1/2) m_j + sum_j (|p_j| v + 1/2) |zero_j| + 1/2)  =  reach v + rounding
//! ```
//!
//! and so is every part of the sum. `p_unit` is the larger one of `max |p_j| / 4095` and
//! `reach / (LIMIT - rounding)`, where LIMIT is a little less than 2^31.

use super::query::QuantizedQuery;
use crate::error::{Error, Result};
use crate::format::clustered::{CodeRows, Head, Plan, Widths};

/// Largest magnitude of a Q_j, unless the sum demands less.
const PEAK: f64 = 4095.0;
/// 2^31 with room for what f64 loses in the bound's own sum.
const LIMIT: f64 = 2_147_483_648.0 - 64.0;
/// 2^29: what a fine score counts in, so that two halves of up to 2 each fit into 32 bits.
const FINE_UNITS: f32 = 536_870_912.0;

/// A unit query as integers, for the codes of one plan.
#[derive(Clone, Debug)]
pub struct CodeQuery {
    widths: Widths,
    dimension: usize,
    projected: Vec<f64>,
    codes: Vec<i32>,
    zero: i32,
    unit: f32,
    /// `(T q)_j leaf_step_j` [V].
    leaf_factors: Vec<f64>,
    bases: Vec<f64>,
    /// A_c [K].
    per_const: Vec<i32>,
    /// `p_unit * gain_step`.
    exact_unit: f64,
    kernel: super::code_kernel::CodeKernel,
}

impl CodeQuery {
    /// Projects and rounds `unit` [D], a query of unit length.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a query of another dimension than the plan's, or a plan whose steps
    /// give no score that fits into 32 bits; [`Error::NotFinite`] for NaN or infinite values.
    pub fn new(plan: &Plan, unit: &[f32]) -> Result<Self> {
        if unit.len() != plan.dimension {
            return Err(Error::invalid(format!(
                "a query of dimension {} for an index of dimension {}",
                unit.len(),
                plan.dimension
            )));
        }
        if unit.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite {
                what: "a query".into(),
            });
        }
        let q: Vec<f64> = unit.iter().map(|x| f64::from(*x)).collect();
        let mut projected: Vec<f64> = plan
            .transform
            .chunks_exact(plan.dimension)
            .map(|axis| dot(axis, &q))
            .collect();
        let factors = projected.iter().zip(&plan.leaf_steps);
        let leaf_factors: Vec<f64> = factors.map(|(x, step)| x * f64::from(*step)).collect();
        projected.truncate(plan.widths.dimensions());
        let mut centroid = vec![0.0; plan.dimension];
        let bases: Vec<f64> = (0..plan.centroid_count())
            .map(|k| {
                plan.centroid(k, &mut centroid);
                dot(&centroid, &q)
            })
            .collect();
        let p: Vec<f64> = projected
            .iter()
            .zip(&plan.steps)
            .map(|(x, step)| x * f64::from(*step))
            .collect();
        let (gain_step, const_step) = (f64::from(plan.gain_step), f64::from(plan.const_step));

        let leaf_reach: f64 = leaf_factors.iter().map(|factor| 128.0 * factor.abs()).sum();
        let mut reach = (peak(&bases) * (1.0 + 128.0 * const_step.abs()) + leaf_reach) / gain_step;
        let mut rounding = 0.5 + 64.0 + 127.5;
        for (j, (p, zero)) in p.iter().zip(&plan.zeros).enumerate() {
            let codes = match plan.widths.bits(j) {
                8 => 128.0,
                bits => f64::from((1u32 << bits) - 1),
            };
            let magnitude = 255.0 * (codes + f64::from(*zero).abs());
            reach += p.abs() * magnitude;
            rounding += 0.5 * magnitude;
        }
        let p_unit = match (peak(&p) / PEAK).max(reach / (LIMIT - rounding)) {
            // The query is orthogonal to all that there is.
            0.0 => 1.0,
            unit => unit,
        };
        // Also where a step or a zero is not finite or the gain's is not positive.
        let sound = rounding < LIMIT && reach.is_finite() && p_unit > 0.0 && gain_step > 0.0;
        let unit = p_unit * gain_step;
        if !sound || !(unit as f32).is_normal() {
            return Err(Error::invalid(
                "the plan's steps give no score that fits into 32 bits",
            ));
        }
        let codes: Vec<i32> = p.iter().map(|p| (p / p_unit).round() as i32).collect();
        let zero: f64 = codes
            .iter()
            .zip(&plan.zeros)
            .map(|(q, zero)| f64::from(*q) * f64::from(*zero))
            .sum();
        let per_const = bases
            .iter()
            .map(|base| (const_step * base / unit).round() as i32);
        Ok(Self {
            widths: plan.widths,
            dimension: plan.dimension,
            kernel: super::code_kernel::CodeKernel::new(plan.widths, &codes),
            zero: zero.round() as i32,
            unit: unit as f32,
            per_const: per_const.collect(),
            exact_unit: unit,
            leaf_factors,
            projected,
            codes,
            bases,
        })
    }

    /// What one unit of the integer score is worth.
    pub fn unit(&self) -> f32 {
        self.unit
    }

    /// Dimension D of the query.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// `<q, c>` for the centroid c; 0 for one that is none.
    pub fn base(&self, centroid: usize) -> f64 {
        self.bases.get(centroid).copied().unwrap_or(0.0)
    }

    /// `(T q)_j` [M], without the steps.
    pub fn projected(&self) -> &[f64] {
        &self.projected
    }

    /// Q_j [M].
    pub(super) fn codes(&self) -> &[i32] {
        &self.codes
    }

    /// Z.
    pub(super) fn zero(&self) -> i32 {
        self.zero
    }

    pub(super) fn widths(&self) -> Widths {
        self.widths
    }

    /// B_l and A_c of the leaf with the code `leaf` [V] of the centroid c; zeros for a centroid that is none.
    pub(super) fn terms(&self, centroid: usize, leaf: &[i8]) -> [i32; 2] {
        let Some(per_const) = self.per_const.get(centroid) else {
            return [0; 2];
        };
        let base = self.base(centroid) + dot(leaf, &self.leaf_factors);
        [(base / self.exact_unit).round() as i32, *per_const]
    }

    /// The score of one row, whose leaf has the code `leaf` [V]: the definition.
    pub fn score_row(
        &self,
        centroid: usize,
        leaf: &[i8],
        constant: i8,
        gain: u8,
        words: &[u32],
    ) -> f32 {
        let mut codes = vec![0i16; self.codes.len()];
        self.widths.unpack(words, &mut codes);
        let products = self.codes.iter().zip(&codes);
        let sum: i32 = products.map(|(q, code)| q * i32::from(*code)).sum();
        let [base, per_const] = self.terms(centroid, leaf);
        let score = base + i32::from(constant) * per_const + i32::from(gain) * (sum - self.zero);
        score as f32 * self.unit
    }

    /// The scores of `rows` into `scores` [rows], as [`CodeQuery::score_row`] gives them.
    ///
    /// Rows beyond `scores`, and terms of leaves that `rows` or clusters that `head` does not have, are the caller's to refuse;
    /// they end in no panic.
    pub fn score_rows(&self, head: &Head, rows: &CodeRows, scores: &mut [f32]) {
        let local = self.local_terms(head, rows);
        let mut sums = [0i32; BLOCK];
        let words = rows.words.chunks(BLOCK * rows.words_per_row.max(1));
        let blocks = rows.terms.chunks(BLOCK).zip(scores.chunks_mut(BLOCK));
        for ((terms, scores), words) in blocks.zip(words) {
            self.kernel.sums(words, &mut sums[..terms.len()]);
            for ((score, term), sum) in scores.iter_mut().zip(terms).zip(&sums) {
                let leaf = CodeRows::leaf(*term);
                let [base, per_const] = local.get(leaf).copied().unwrap_or_default();
                let constant = i32::from(CodeRows::constant(*term));
                let gain = i32::from(CodeRows::gain(*term));
                // In wrapping arithmetic, as only the whole is bounded.
                let code = gain.wrapping_mul(sum.wrapping_sub(self.zero));
                let whole = base
                    .wrapping_add(constant.wrapping_mul(per_const))
                    .wrapping_add(code);
                *score = whole as f32 * self.unit;
            }
        }
    }

    /// B and A of the leaves of `rows`.
    pub(super) fn local_terms(&self, head: &Head, rows: &CodeRows) -> Vec<[i32; 2]> {
        let axes = self.leaf_factors.len();
        let leaves = rows.leaves.iter().enumerate().map(|(at, cluster)| {
            let number = rows.first_cluster.checked_add(*cluster as usize);
            let cluster = number.and_then(|number| head.clusters.get(number));
            let code = rows.leaf_codes.get(at * axes..(at + 1) * axes);
            match (cluster, code) {
                (Some(cluster), Some(code)) => self.terms(cluster.centroid as usize, code),
                _ => [0; 2],
            }
        });
        leaves.collect()
    }
}

/// Rows that are scored at a time; their sums stay in the nearest cache.
const BLOCK: usize = 256;

/// `<x, q>` in f64, in eight sums that add up pairwise: the same on every machine.
fn dot<T: Copy + Into<f64>>(x: &[T], q: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    for (x, q) in x.chunks(8).zip(q.chunks(8)) {
        for ((sum, x), q) in sums.iter_mut().zip(x).zip(q) {
            *sum += (*x).into() * q;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The largest magnitude; NaN where one is NaN.
fn peak(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |peak, x| match x.abs() {
        x if x > peak || x.is_nan() => x,
        _ => peak,
    })
}

/// A unit query for fine rows of a clustered index.
#[derive(Clone, Debug)]
pub struct FineQuery {
    query: QuantizedQuery,
}

impl FineQuery {
    /// Rounds `unit` [D].
    ///
    /// # Errors
    /// As [`QuantizedQuery::new`].
    pub fn new(unit: &[f32]) -> Result<Self> {
        QuantizedQuery::new(unit).map(|query| Self { query })
    }

    /// The score of a row `c + scale * codes`, where `base` is `<q, c>`.
    ///
    /// In whole units of 2^-29, cut towards zero, so that the sum of the halves rounds once; what no
    /// unit vectors give ends at the largest unit.
    pub fn score(&self, base: f64, scale: f32, codes: &[i8]) -> f32 {
        let base = (base * f64::from(FINE_UNITS)).round() as i32;
        let residual = self.query.score(codes, scale * FINE_UNITS) as i32;
        base.saturating_add(residual) as f32 * (1.0 / FINE_UNITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fine_score_is_the_product_with_the_sum_of_centroid_and_residual() {
        let unit = [0.6f32, 0.0, -0.8, 0.0, 0.0];
        let query = FineQuery::new(&unit).unwrap();
        let codes = [100i8, -3, 127, 5, -128, 0, 0, 0];
        let residual = 0.002 * (0.6 * 100.0 - 0.8 * 127.0);
        for base in [0.0, 0.3, -0.9] {
            let found = f64::from(query.score(base, 0.002, &codes));
            assert!((found - base - residual).abs() < 2e-5, "{found}");
        }
        // What only a wrong base gives does not wrap around.
        assert_eq!(
            query.score(9.0, 0.015, &codes.map(|code| -code.max(-127))),
            4.0
        );
        assert_eq!(query.score(-9.0, 0.015, &codes), -4.0);
    }

    #[test]
    fn the_product_in_eight_sums_is_the_product() {
        for n in [0usize, 1, 7, 8, 9, 33] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let q: Vec<f64> = (0..n).map(|i| (i * i % 11) as f64).collect();
            let wanted: f64 = x.iter().zip(&q).map(|(x, q)| f64::from(*x) * q).sum();
            assert_eq!(dot(&x, &q), wanted);
        }
        assert!(peak(&[1.0, f64::NAN, 2.0]).is_nan());
    }
}
