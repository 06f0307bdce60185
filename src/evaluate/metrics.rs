//! Recall@K and average precision, from the ranks of the exemplars.

/// The values of K.
pub const RECALL_AT: [u64; 3] = [5, 10, 100];

/// Sums of the metrics over queries.
#[derive(Clone, Debug, Default)]
pub(super) struct MetricSums {
    queries: usize,
    recall: [f64; RECALL_AT.len()],
    average_precision: f64,
}

impl MetricSums {
    /// Adds a query: `ranks` of its exemplars from 1, ascending and not empty.
    ///
    /// recall@K = exemplars of rank K or better / exemplars. Average precision = mean over the exemplars,
    /// in rank order, of (number of the exemplar / rank).
    pub fn add(&mut self, ranks: &[u64]) {
        let count = ranks.len() as f64;
        self.queries += 1;
        for (sum, k) in self.recall.iter_mut().zip(RECALL_AT) {
            *sum += ranks.iter().filter(|&&rank| rank <= k).count() as f64 / count;
        }
        let precisions = ranks.iter().zip(1..);
        let sum: f64 = precisions
            .map(|(&rank, hit)| f64::from(hit) / rank as f64)
            .sum();
        self.average_precision += sum / count;
    }

    /// The means of recall@[`RECALL_AT`] and of the average precision; `None` without queries.
    pub fn means(&self) -> Option<([f64; RECALL_AT.len()], f64)> {
        let count = self.queries as f64;
        (self.queries > 0).then(|| {
            (
                self.recall.map(|sum| sum / count),
                self.average_precision / count,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_queries_by_hand() {
        let mut sums = MetricSums::default();
        assert_eq!(sums.means(), None);
        sums.add(&[1, 4, 10, 101]);
        sums.add(&[5, 100]);
        let (recall, precision) = sums.means().unwrap();
        assert_eq!(recall, [0.5, (0.75 + 0.5) / 2.0, (0.75 + 1.0) / 2.0]);
        let first = (1.0 + 2.0 / 4.0 + 3.0 / 10.0 + 4.0 / 101.0) / 4.0;
        let second = (1.0 / 5.0 + 2.0 / 100.0) / 2.0;
        assert!((precision - (first + second) / 2.0).abs() < 1e-15);
    }
}
