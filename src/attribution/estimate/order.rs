//! Where the best rows are likely to lie, before any row was read.
//!
//! The score of a row of cluster c is `<q, c> + <q, x - c>`. Its first part is known from the plan; the
//! second is taken as normal, with a variance that follows from the transform's variances and from how wide
//! the cluster is. The threshold above which k rows are expected then gives each cluster's share of the
//! top k, by which files are read best first.

use super::normal;

/// What is known of the scores of the rows of one cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterScores {
    /// `<q, c>` with the unit query q.
    pub base: f64,
    /// Deviation of `<q, x - c>` among the cluster's rows.
    pub deviation: f64,
    pub rows: u64,
}

impl ClusterScores {
    /// Expected number of the cluster's rows with a score above `line`.
    pub fn expected_above(&self, line: f64) -> f64 {
        self.rows as f64 * normal::exceeds(line, self.base, self.deviation)
    }
}

/// The variance of `<q, x - c>` over all rows, and what a cluster's spread is measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualVariance {
    /// `sum_j (T q)_j^2 variance_j + rest_variance (|q|^2 - |T q|^2)`.
    along_query: f64,
    /// Mean of `|x - c|^2` over all rows: `sum_j variance_j + (D - M) rest_variance`.
    total: f64,
}

impl ResidualVariance {
    /// From the plan's `variances` [M] and `rest_variance` and the unit query's `projected` [M] = T q, for
    /// rows of `dimension` D. As the query has unit length, `1 - |T q|^2` of its energy lies on the D - M
    /// other axes.
    pub fn new(variances: &[f32], rest_variance: f32, dimension: usize, projected: &[f64]) -> Self {
        let rest = f64::from(rest_variance);
        let energy: f64 = projected.iter().map(|p| p * p).sum();
        let along: f64 = projected
            .iter()
            .zip(variances)
            .map(|(p, v)| p * p * f64::from(*v))
            .sum();
        let inside: f64 = variances.iter().map(|v| f64::from(*v)).sum();
        Self {
            along_query: along + rest * (1.0 - energy).max(0.0),
            total: inside + rest * dimension.saturating_sub(variances.len()) as f64,
        }
    }

    /// Deviation of `<q, x - c>` in a cluster whose mean `|x - c|^2` is `spread`: a wider cluster is taken
    /// as a scaled copy of the mean one.
    pub fn deviation(&self, spread: f64) -> f64 {
        if self.total > 0.0 && spread > 0.0 {
            (spread / self.total * self.along_query).sqrt()
        } else {
            0.0
        }
    }
}

/// The score above which `count` rows are expected; `-inf` where there are no more rows than that.
pub fn threshold(clusters: &[ClusterScores], count: f64) -> f64 {
    let total: f64 = clusters.iter().map(|c| c.rows as f64).sum();
    if count >= total {
        return f64::NEG_INFINITY;
    }
    let expected = |line: f64| -> f64 { clusters.iter().map(|c| c.expected_above(line)).sum() };
    let ends = clusters.iter().filter(|c| c.rows > 0).map(|c| {
        let reach = 12.0 * c.deviation + 1e-6;
        (c.base - reach, c.base + reach)
    });
    let (mut low, mut high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |all, end| {
        (all.0.min(end.0), all.1.max(end.1))
    });
    // 60 halvings are below the resolution of a double.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if expected(middle) > count {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Expected number of the top `k` in each cluster; together `k`, or all rows where there are fewer.
pub fn expected_hits(clusters: &[ClusterScores], k: usize) -> Vec<f64> {
    let line = threshold(clusters, k as f64);
    let above: Vec<f64> = clusters.iter().map(|c| c.expected_above(line)).collect();
    // Rows of one and the same score pass the line together.
    let total: f64 = above.iter().sum();
    let share = if total > k as f64 {
        k as f64 / total
    } else {
        1.0
    };
    above.into_iter().map(|hits| hits * share).collect()
}

/// Found over expected hits in the less likely half of the clusters that were `read`, to hold for those that
/// were not, which are less likely still ([`super::Unread::share`]): a cluster's tail is shorter than the normal
/// one, so that the expectation alone is far too high. `hits` are the current best rows by read cluster, `line` the
/// score of the last of them.
pub fn tail_share(read: &[ClusterScores], hits: &[u64], line: f64) -> f64 {
    let mut known: Vec<(f64, f64, u64)> = read
        .iter()
        .zip(hits)
        .map(|(c, hits)| {
            let chance = normal::exceeds(line, c.base, c.deviation);
            (chance, c.rows as f64 * chance, *hits)
        })
        .collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    let rear = &known[known.len() / 2..];
    let expected: f64 = rear.iter().map(|c| c.1).sum();
    let found: f64 = rear.iter().map(|c| c.2 as f64).sum();
    // One hit more on both sides: nothing found of little expected says little.
    (found + 1.0) / (expected + 1.0)
}

/// The order in which to read files: most expected hits per byte first, ties by number.
pub fn file_order(expected: &[f64], bytes: &[u64]) -> Vec<usize> {
    let worth: Vec<f64> = expected
        .iter()
        .zip(bytes)
        .map(|(hits, bytes)| hits / (*bytes).max(1) as f64)
        .collect();
    let mut order: Vec<usize> = (0..worth.len()).collect();
    order.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]).then(a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::estimate::simulated::normal;
    use crate::random::Sequence;

    #[test]
    fn the_variance_along_the_query_is_that_of_the_axes() {
        // Residuals with variances 4, 1 in the code's two dimensions and 0.5 in the two others.
        let variance = ResidualVariance::new(&[4.0, 1.0], 0.5, 4, &[0.6, 0.0]);
        // 0.36 * 4 + 0.64 * 0.5 = 1.76 at the mean spread of 6; half of it at half the spread.
        assert!((variance.deviation(6.0) - 1.76f64.sqrt()).abs() < 1e-7);
        assert!((variance.deviation(3.0) - 0.88f64.sqrt()).abs() < 1e-7);
        assert_eq!(variance.deviation(0.0), 0.0);
        assert_eq!(ResidualVariance::new(&[], 0.0, 8, &[]).deviation(1.0), 0.0);
    }

    #[test]
    fn expected_hits_are_the_mean_of_counted_ones() {
        let clusters: Vec<ClusterScores> = (0..20)
            .map(|c| ClusterScores {
                base: 0.03 * f64::from(c % 7),
                deviation: 0.02 + 0.005 * f64::from(c % 4),
                rows: 50 + 37 * (c as u64 % 5),
            })
            .collect();
        let (k, draws) = (60, 300);
        let mut counted = vec![0.0; clusters.len()];
        let mut sequence = Sequence::new(1, 1);
        for _ in 0..draws {
            let mut scores: Vec<(f64, usize)> = Vec::new();
            for (number, c) in clusters.iter().enumerate() {
                let draw = |_| (c.base + c.deviation * normal(&mut sequence), number);
                scores.extend((0..c.rows).map(draw));
            }
            scores.sort_by(|a, b| b.0.total_cmp(&a.0));
            scores[..k]
                .iter()
                .for_each(|s| counted[s.1] += 1.0 / f64::from(draws));
        }
        let expected = expected_hits(&clusters, k);
        assert!((expected.iter().sum::<f64>() - 60.0).abs() < 1e-6);
        for (got, want) in expected.iter().zip(&counted) {
            assert!((got - want).abs() < 0.05 * want + 0.15, "{got} {want}");
        }
    }

    #[test]
    fn odd_clusters_have_defined_hits() {
        let one = |base: f64, rows: u64| ClusterScores {
            base,
            deviation: 0.0,
            rows,
        };
        assert_eq!(expected_hits(&[], 5), Vec::<f64>::new());
        assert_eq!(expected_hits(&[one(0.1, 0)], 5), [0.0]);
        // More hits than rows: all rows.
        assert_eq!(expected_hits(&[one(0.1, 3), one(0.5, 1)], 9), [3.0, 1.0]);
        // All rows equal: shared.
        let equal = expected_hits(&[one(0.5, 30), one(0.5, 10)], 4);
        assert!((equal[0] - 3.0).abs() < 1e-9 && (equal[1] - 1.0).abs() < 1e-9);
        assert_eq!(threshold(&[one(0.2, 4)], 4.0), f64::NEG_INFINITY);
    }

    #[test]
    fn the_tails_share_is_that_of_the_less_likely_half() {
        // By chance: the second (all above), the third, the first (none).
        let one = |base: f64, rows: u64| ClusterScores {
            base,
            deviation: 0.01,
            rows,
        };
        let read = [one(0.1, 100), one(0.9, 100), one(0.5, 40), one(0.5, 60)];
        // Half of the rows at 0.5 are expected above; of the rear half, the first and one of these.
        assert!((tail_share(&read, &[0, 100, 0, 9], 0.5) - 10.0 / 31.0).abs() < 1e-9);
        assert_eq!(tail_share(&[], &[], 0.5), 1.0);
    }

    #[test]
    fn files_are_read_by_hits_per_byte() {
        assert_eq!(
            file_order(&[1.0, 4.0, 3.0, 0.0, 0.0], &[10, 80, 20, 5, 0]),
            [2, 0, 1, 3, 4]
        );
    }
}
