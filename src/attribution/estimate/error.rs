//! How far a row's exact score lies from the approximate one, given the approximate one.
//!
//! What is wanted for a row that was scored from its code alone is the law of its exact score given its
//! approximate score, not the code's error over all rows: rows that were chosen for a high approximate
//! score regress towards the mean. Two kinds of rows show that law without bias: the control sample,
//! which is uniform, and the reranked rows, which were chosen by their approximate score and by nothing
//! else. Mean and variance of the difference are smooth in the approximate score and fitted to both
//! together. Rows of one cluster have a part of their error in common; near the top, where few clusters
//! hold most rows, it does not average out, so it is estimated from the reranked rows of the cluster.

use std::collections::BTreeMap;

use super::clusters::ClusterErrors;
use super::regression::{Fit, Row, TERMS, Vector};

/// The scores of a row whose exact one is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub approximate: f32,
    pub exact: f32,
    /// Number of the row's cluster.
    pub cluster: u32,
}

/// Mean and deviation of exact minus approximate score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreError {
    pub mean: f64,
    pub deviation: f64,
}

/// Rows per fitted coefficient below which a coefficient is left out.
const ROWS_PER_TERM: usize = 16;
/// First rows of the ranking that are not fitted, at most half of all: near duplicates of the query
/// follow laws of their own.
const FIRST_ROWS: usize = 100;
/// Control rows above the bend of the mean.
const BEND_ROWS: usize = 128;
/// The variance never falls below this share of its mean over the fitted rows.
const VARIANCE_FLOOR: f64 = 0.25;
/// [`ScoreError`] as a function of the approximate score and the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorModel {
    /// x = (approximate - centre) / scale, clamped to the fitted rows' range; the mean bends at x = `bend`.
    centre: f64,
    scale: f64,
    range: (f64, f64),
    bend: f64,
    mean: Fit,
    /// Variance at x: `variance[0] + variance[1] x`, at least `floor`.
    variance: [f64; 2],
    floor: f64,
    clusters: ClusterErrors,
    variance_error: f64,
    reach: f64,
    rows: usize,
}

impl ErrorModel {
    /// Fits the `control` rows and the `reranked` rows, the latter in descending order of their
    /// approximate score. `prior` stands where there are no rows, and counts as one row of variance.
    pub fn new(control: &[Pair], reranked: &[Pair], prior: ScoreError) -> Self {
        let finite = |p: &&Pair| p.approximate.is_finite() && p.exact.is_finite();
        let control: Vec<&Pair> = control.iter().filter(finite).collect();
        let near = &reranked[FIRST_ROWS.min(reranked.len() / 2)..];
        let near: Vec<&Pair> = near.iter().filter(finite).collect();
        let count = control.len() + near.len();
        let prior_variance = prior.deviation * prior.deviation;
        let mut model = Self {
            centre: 0.0,
            scale: 0.0,
            range: (0.0, 0.0),
            bend: 0.0,
            mean: Fit::new(&[], 0, 0),
            variance: [prior_variance, 0.0],
            floor: 0.0,
            clusters: ClusterErrors::default(),
            variance_error: 1.0,
            reach: 0.0,
            rows: count,
        };
        if count == 0 {
            model.mean.coefficients[0] = prior.mean;
            model.mean.covariance[0][0] = prior_variance;
            return model;
        }
        model.place(&control, &near);
        let terms = match (model.scale > 0.0, count / ROWS_PER_TERM) {
            (false, _) => 1,
            (true, rows) => rows.clamp(1, TERMS),
        };
        // Control rows are groups of their own; reranked rows are grouped by cluster.
        let (numbers, groups) = number(&near, control.len());
        let mut rows: Vec<Row> = Vec::with_capacity(count);
        for (i, pair) in control.iter().chain(&near).enumerate() {
            rows.push(Row {
                terms: model.basis(f64::from(pair.approximate)),
                value: f64::from(pair.exact) - f64::from(pair.approximate),
                weight: 1.0,
                group: numbers
                    .get(i.wrapping_sub(control.len()))
                    .copied()
                    .unwrap_or(i),
            });
        }
        // Twice: how much clusters have in common says what their rows weigh.
        for _ in 0..2 {
            model.mean = Fit::new(&rows, groups, terms);
            model.fit_variance(&rows, terms, prior_variance);
            let residuals: Vec<(u32, f64)> = near
                .iter()
                .zip(&rows[control.len()..])
                .map(|(pair, row)| (pair.cluster, model.residual(row)))
                .collect();
            model.clusters = ClusterErrors::new(&residuals, model.variance[0]);
            for (row, pair) in rows[control.len()..].iter_mut().zip(&near) {
                row.weight = model.clusters.weight(pair.cluster);
            }
        }
        model.reach = model.farthest(&rows);
        model
    }

    fn place(&mut self, control: &[&Pair], near: &[&Pair]) {
        let all = control.iter().chain(near).map(|p| f64::from(p.approximate));
        let mut known: Vec<f64> = if control.is_empty() {
            all.clone().collect()
        } else {
            control.iter().map(|p| f64::from(p.approximate)).collect()
        };
        known.sort_by(|a, b| b.total_cmp(a));
        let count = known.len() as f64;
        self.centre = known.iter().sum::<f64>() / count;
        let square: f64 = known.iter().map(|a| (a - self.centre).powi(2)).sum();
        let scale = (square / count).sqrt();
        if scale > 1e-9 {
            self.scale = scale;
            let x = |a: f64| (a - self.centre) / scale;
            self.bend = (known[BEND_ROWS.min(known.len() / 4)] - self.centre) / scale;
            self.range = all
                .map(x)
                .fold((0.0, 0.0), |(low, high), x| (x.min(low), x.max(high)));
        }
    }

    fn residual(&self, row: &Row) -> f64 {
        row.value - self.mean.at(&row.terms)
    }

    fn fit_variance(&mut self, rows: &[Row], terms: usize, prior: f64) {
        let count = rows.len() as f64;
        let squares: Vec<f64> = rows.iter().map(|row| self.residual(row).powi(2)).collect();
        let mean = squares.iter().sum::<f64>() / count;
        let spread: f64 = squares.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        let (mut along, mut square) = (0.0, 0.0);
        for (row, v) in rows.iter().zip(&squares) {
            along += row.terms[1] * (v - mean);
            square += row.terms[1] * row.terms[1];
        }
        let free = (count - terms as f64).max(0.0);
        let variance = (mean * count + prior) / (free + 1.0);
        let slope = if terms > 1 && square > 0.0 {
            along / square
        } else {
            0.0
        };
        self.variance = [variance, slope];
        self.floor = VARIANCE_FLOOR * variance;
        self.variance_error = if variance > 0.0 {
            // A normal variable's square, where there are few rows to see more.
            let normal = 2.0 * variance * variance / (count + 1.0);
            ((spread + normal) / (free + 1.0)).sqrt() / variance
        } else {
            0.0
        };
    }

    fn farthest(&self, rows: &[Row]) -> f64 {
        let distance = |row: &Row| {
            let deviation = self.variance_at(row.terms[1]).sqrt();
            if deviation > 0.0 {
                self.residual(row).abs() / deviation
            } else {
                0.0
            }
        };
        rows.iter().map(distance).fold(0.0, f64::max)
    }

    fn variance_at(&self, x: f64) -> f64 {
        (self.variance[0] + self.variance[1] * x)
            .max(self.floor)
            .max(0.0)
    }

    /// The terms of the mean at an approximate score: 1, x, x^2 and what x is above the bend.
    pub fn basis(&self, approximate: f64) -> Vector {
        let x = if self.scale > 0.0 {
            ((approximate - self.centre) / self.scale).clamp(self.range.0, self.range.1)
        } else {
            0.0
        };
        [1.0, x, x * x, (x - self.bend).max(0.0)]
    }

    /// The error of rows of this approximate score, of any cluster.
    pub fn at(&self, approximate: f64) -> ScoreError {
        let basis = self.basis(approximate);
        ScoreError {
            mean: self.mean.at(&basis),
            deviation: self.variance_at(basis[1]).sqrt(),
        }
    }

    /// The error of rows of this approximate score in this cluster.
    pub fn within(&self, approximate: f64, cluster: u32) -> ScoreError {
        let any = self.at(approximate);
        let part = self.clusters.of(cluster);
        let variance = any.deviation * any.deviation - self.clusters.variance() + part.variance;
        ScoreError {
            mean: any.mean + part.mean,
            deviation: variance
                .max(VARIANCE_FLOOR * any.deviation * any.deviation)
                .sqrt(),
        }
    }

    /// What rows of one cluster have in common.
    pub fn clusters(&self) -> &ClusterErrors {
        &self.clusters
    }

    /// Variance of a weighted sum of means, where `basis` is that sum of [`ErrorModel::basis`].
    pub fn mean_variance(&self, basis: &Vector) -> f64 {
        self.mean.variance(basis)
    }

    /// Standard error of the variance, relative to it.
    pub fn variance_error(&self) -> f64 {
        self.variance_error
    }

    /// How many deviations from the mean the farthest fitted row lies.
    pub fn reach(&self) -> f64 {
        self.reach
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// The group of each reranked row, counted on from `first`, and the number of all groups.
fn number(rows: &[&Pair], first: usize) -> (Vec<usize>, usize) {
    let mut numbers = BTreeMap::new();
    let groups = rows
        .iter()
        .map(|pair| {
            let next = first + numbers.len();
            *numbers.entry(pair.cluster).or_insert(next)
        })
        .collect();
    (groups, first + numbers.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::estimate::simulated::normal;
    use crate::random::Sequence;

    const PRIOR: ScoreError = ScoreError {
        mean: 0.0,
        deviation: 0.02,
    };

    /// Normal scores of deviation 0.06 around 0.5, with an error of deviation 0.03, descending.
    fn noisy(rows: usize, purpose: u64) -> Vec<Pair> {
        let mut sequence = Sequence::new(3, purpose);
        let mut pairs: Vec<Pair> = (0..rows)
            .map(|_| {
                let exact = 0.5 + 0.06 * normal(&mut sequence);
                let approximate = exact + 0.03 * normal(&mut sequence);
                Pair {
                    approximate: approximate as f32,
                    exact: exact as f32,
                    cluster: sequence.below(500) as u32,
                }
            })
            .collect();
        pairs.sort_by(|a, b| b.approximate.total_cmp(&a.approximate));
        pairs
    }

    #[test]
    fn rows_with_high_scores_regress_to_the_mean() {
        // For normal scores: E[exact - approximate | approximate] = -(approximate - 0.5) * 0.2, with a
        // variance of 0.03^2 * 0.8.
        let all = noisy(60_000, 1);
        let control = noisy(4096, 2);
        for reranked in [&all[..0], &all[..900]] {
            let model = ErrorModel::new(&control, reranked, PRIOR);
            for (approximate, near) in [(0.45, 0.0015), (0.55, 0.0015), (0.63, 0.003)] {
                let got = model.at(approximate);
                assert!(
                    (got.mean + (approximate - 0.5) * 0.2).abs() < near,
                    "{got:?}"
                );
                assert!(
                    (got.deviation / (0.03 * 0.8f64.sqrt()) - 1.0).abs() < 0.06,
                    "{got:?}"
                );
            }
            assert!((3.0..5.5).contains(&model.reach()));
        }
    }

    #[test]
    fn the_covariance_is_how_the_mean_varies() {
        let (mut square, mut stated) = (0.0, 0.0);
        let draws = 200;
        for draw in 0..draws {
            let model = ErrorModel::new(&noisy(512, 10 + draw), &[], PRIOR);
            let error = model.at(0.56).mean + 0.012;
            square += error * error / draws as f64;
            stated += model.mean_variance(&model.basis(0.56)) / draws as f64;
        }
        assert!(
            (stated / square).sqrt() > 0.8 && (stated / square).sqrt() < 1.25,
            "{stated} {square}"
        );
    }

    #[test]
    fn few_or_odd_rows_give_a_defined_law() {
        assert_eq!(ErrorModel::new(&[], &[], PRIOR).at(0.3), PRIOR);
        let pair = |approximate, exact| Pair {
            approximate,
            exact,
            cluster: 0,
        };
        let one = ErrorModel::new(&[pair(0.5, 0.51)], &[], PRIOR);
        assert!((one.at(0.9).mean - 0.01).abs() < 1e-6 && one.at(0.9).deviation > 0.0);
        let equal = ErrorModel::new(&[pair(0.5, 0.5); 300], &[pair(0.5, 0.5); 40], PRIOR);
        assert_eq!(equal.at(0.5).mean, 0.0);
        assert!(equal.at(0.5).deviation < 0.002);
        let broken = [pair(f32::NAN, 0.5), pair(0.5, f32::INFINITY)];
        assert_eq!(ErrorModel::new(&broken, &broken, PRIOR).at(0.3), PRIOR);
    }
}
