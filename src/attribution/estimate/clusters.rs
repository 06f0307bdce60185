//! The part of the errors that rows of one cluster have in common.
//!
//! Rows of a cluster have similar residuals and so similar errors of their codes. Over all rows this is little,
//! but the best rows of a query lie in few clusters. The parts are taken as random, their variance is found
//! by the analysis of variance of one way, and each part is predicted from the rows of its cluster, drawn to
//! zero by as much as they are few.

use std::collections::BTreeMap;

/// Usual variance of the clusters' parts as a share of the whole, and how many clusters that is worth.
const USUAL_SHARE: f64 = 0.04;
const USUAL_CLUSTERS: f64 = 4.0;
/// Residuals beyond this many deviations count as this many.
const OUTLIER: f64 = 3.5;
/// Least share of the variance that is the rows' own.
const OWN_SHARE: f64 = 0.25;

/// The part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub mean: f64,
    /// How uncertain `mean` is.
    pub variance: f64,
}

/// The parts of all clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterErrors {
    variance: f64,
    /// The parts' share of the errors' variance.
    share: f64,
    /// Rows and part of the clusters that have rows.
    parts: BTreeMap<u32, (f64, Part)>,
}

impl ClusterErrors {
    /// From clusters and errors of rows, after what depends on the score was taken off; `whole` is the
    /// errors' variance.
    pub fn new(rows: &[(u32, f64)], whole: f64) -> Self {
        let most = OUTLIER * whole.sqrt();
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        let mut squares = 0.0;
        for (cluster, error) in rows {
            let sum = sums.entry(*cluster).or_default();
            let error = error.clamp(-most, most);
            sum.0 += 1.0;
            sum.1 += error;
            squares += error * error;
        }
        let variance = variance(&sums, squares, whole).min((1.0 - OWN_SHARE) * whole);
        let own = whole - variance;
        let part = |(count, sum): (f64, f64)| {
            let scale = own + count * variance;
            let known = if scale > 0.0 { variance / scale } else { 0.0 };
            Part {
                mean: known * sum,
                variance: known * own,
            }
        };
        Self {
            variance,
            share: if whole > 0.0 { variance / whole } else { 0.0 },
            parts: sums
                .into_iter()
                .map(|(cluster, sum)| (cluster, (sum.0, part(sum))))
                .collect(),
        }
    }

    /// Variance of the parts.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// The part of a cluster.
    pub fn of(&self, cluster: u32) -> Part {
        let unknown = Part {
            mean: 0.0,
            variance: self.variance,
        };
        self.parts.get(&cluster).map_or(unknown, |(_, part)| *part)
    }

    /// What a row of the cluster weighs beside the others of it.
    pub fn weight(&self, cluster: u32) -> f64 {
        let others = self.parts.get(&cluster).map_or(0.0, |(rows, _)| rows - 1.0);
        1.0 / (1.0 + others * self.share)
    }
}

/// Variance between clusters, drawn to what is usual where there are few.
fn variance(sums: &BTreeMap<u32, (f64, f64)>, squares: f64, whole: f64) -> f64 {
    let usual = USUAL_SHARE * whole;
    let clusters = sums.len() as f64;
    let (mut count, mut sum, mut sizes, mut means) = (0.0, 0.0, 0.0, 0.0);
    for (rows, errors) in sums.values() {
        count += rows;
        sum += errors;
        sizes += rows * rows;
        means += errors * errors / rows;
    }
    if clusters < 2.0 || count - clusters < 2.0 {
        return usual;
    }
    let size = (count - sizes / count) / (clusters - 1.0);
    let within = (squares - means).max(0.0) / (count - clusters);
    let between = (means - sum * sum / count) / (clusters - 1.0);
    let found = ((between - within) / size).max(0.0);
    (found * (clusters - 1.0) + usual * USUAL_CLUSTERS) / (clusters - 1.0 + USUAL_CLUSTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::estimate::simulated::normal;
    use crate::attribution::estimate::{ErrorModel, Pair, ScoreError};
    use crate::random::Sequence;

    const PRIOR: ScoreError = ScoreError {
        mean: 0.0,
        deviation: 0.02,
    };

    #[test]
    fn a_clusters_own_error_is_learnt_from_its_reranked_rows() {
        let mut sequence = Sequence::new(5, 1);
        let mut pairs: Vec<Pair> = (0..3000)
            .map(|i| {
                let cluster = i % 20;
                let shift = if cluster < 10 { 0.01 } else { -0.01 };
                let approximate = 0.6 + 0.1 * sequence.unit();
                let exact = f64::from(approximate) + shift + 0.02 * normal(&mut sequence);
                Pair {
                    approximate,
                    exact: exact as f32,
                    cluster,
                }
            })
            .collect();
        pairs.sort_by(|a, b| b.approximate.total_cmp(&a.approximate));
        let model = ErrorModel::new(&[], &pairs, PRIOR);
        assert!((model.within(0.65, 3).mean - 0.01).abs() < 0.004);
        assert!((model.within(0.65, 13).mean + 0.01).abs() < 0.004);
        assert!((model.within(0.65, 3).deviation - 0.02).abs() < 0.002);
        // A cluster without rows is as uncertain as clusters differ.
        let unknown = model.within(0.65, 99);
        assert!(unknown.mean.abs() < 0.003 && (unknown.deviation - 0.0224).abs() < 0.002);
        assert!((model.clusters().of(99).variance.sqrt() - 0.01).abs() < 0.003);
    }

    #[test]
    fn without_rows_nothing_is_in_common() {
        let none = ClusterErrors::default();
        assert_eq!(
            (none.of(3).mean, none.of(3).variance, none.weight(3)),
            (0.0, 0.0, 1.0)
        );
        let same = ClusterErrors::new(&[(1, 0.0), (2, 0.0), (2, 0.0)], 0.0);
        assert_eq!((same.of(2).mean, same.weight(2)), (0.0, 1.0));
    }
}
