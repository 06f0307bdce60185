//! What the rounding of fine rows does to influences.
//!
//! Codes of fine rows are off by a uniform share of a step, so scores of a query of unit length are off by a deviation of
//! `step / sqrt(12)`, each row's independently of the others. An influence `t(s_i) / Z` feels it in its own score, in the best
//! one, to which all are relative, and in the sum Z. To first order, with `e = exp(inv_tau (s - best))`, `t = e + b`,
//! `w = e / Z`, `a = e / t`, and A the sum of all w, its logarithm moves by
//! `inv_tau (a_i d_i - sum_j w_j d_j - (a_i - A) d_best)`. In the sum rows near the calibrator's cut count with what they have
//! on either side of it. Rows that were not reranked count in A alone, as the rounding of so many evens out, and of those
//! none is taken to be near the cut: where b < 0 and they matter, A is somewhat more than is reckoned.

use std::collections::HashMap;

use crate::attribution::estimate::{Curve, Mass, Share};
use crate::attribution::event::ResultHit;

/// The rounding of the reranked rows of a query.
pub struct Rounding {
    curve: Curve,
    rows: HashMap<u32, Part>,
    best: Part,
    best_id: Option<u32>,
    /// Sum of [`Part::square`] over all rows.
    squares: f64,
    /// A.
    whole: f64,
}

/// A reranked row.
#[derive(Clone, Copy, Default)]
struct Part {
    /// Of its score.
    deviation: f64,
    /// w, 0 for a row below the cut.
    weight: f64,
    /// `w^2 d^2`, and what stands for it near the cut.
    square: f64,
}

impl Rounding {
    /// Of `rows`, their ids, exact scores and steps; `total` is the calibrator's sum over them and `others` more.
    pub fn new(
        curve: Curve,
        total: f64,
        rows: impl IntoIterator<Item = (u32, f32, f32)>,
        others: u64,
    ) -> Self {
        let mut rounding = Self {
            curve,
            rows: HashMap::new(),
            best: Part::default(),
            best_id: None,
            squares: 0.0,
            whole: 1.0 - curve.offset.max(0.0) * others as f64 / total,
        };
        let mut best = f64::NEG_INFINITY;
        for (id, score, step) in rows {
            let (score, deviation) = (f64::from(score), f64::from(step) / 12f64.sqrt());
            let value = curve.of(score);
            let variance = curve.moments(score, deviation).variance;
            let square = variance / (curve.inv_tau * total).powi(2);
            // A calibrator that makes no influence, or the same for all.
            if !square.is_finite() {
                continue;
            }
            let weight = match value > 0.0 {
                true => curve.exponential(score) / total,
                false => 0.0,
            };
            let part = Part {
                deviation,
                weight,
                square,
            };
            rounding.squares += square;
            if value > 0.0 {
                rounding.whole += weight - value / total;
            }
            if score > best {
                (best, rounding.best) = (score, part);
                rounding.best_id = Some(id);
            }
            rounding.rows.insert(id, part);
        }
        rounding
    }

    /// Gives `hits` their influences of `total`, with intervals that hold what rounding does to them, and the share of all
    /// other rows.
    pub fn share_out(&self, hits: &mut [ResultHit], total: &Mass) -> Share {
        let mut shown = 0.0;
        for hit in hits.iter_mut() {
            let score = f64::from(hit.score);
            let own = self.curve.of(score);
            shown += own;
            // Two deviations, as of the estimate.
            let rounded = 2.0 * self.of(hit.id, hit.score);
            let at = |score: f64| total.share(self.curve.of(score));
            hit.influence = Some(total.share(own).value);
            hit.influence_low = Some(at(score - rounded).low);
            hit.influence_high = Some(at(score + rounded).high);
        }
        let share = total.share(shown);
        let rounded = 2.0 * self.of_sum(hits.iter().map(|hit| hit.id), share.value);
        share.rest().widened(rounded)
    }

    /// The deviation of the score of row `id` that alone would move its influence as much as all rounding does; 0 for
    /// a row that was not reranked, whose score is an estimate anyway.
    pub fn of(&self, id: u32, score: f32) -> f64 {
        let score = f64::from(score);
        let value = self.curve.of(score);
        let Some(own) = self.rows.get(&id) else {
            return 0.0;
        };
        if value <= 0.0 {
            // What the rest comes to where a row reaches the cut, and a is without bound.
            return own.deviation.hypot(self.best.deviation);
        }
        let steepness = self.curve.exponential(score) / value;
        let square = match score >= self.curve.best {
            // Its own score is the best.
            true => {
                let alone = (self.whole - own.weight) * own.deviation;
                alone * alone + (self.squares - own.square).max(0.0)
            }
            false => {
                let by_own = (steepness - own.weight) * own.deviation;
                let by_best = (self.best.weight + steepness - self.whole) * self.best.deviation;
                let by_others = self.squares - own.square - self.best.square;
                by_own * by_own + by_best * by_best + by_others.max(0.0)
            }
        };
        square.sqrt() / steepness
    }

    /// The deviation of the share that the rows `shown` have together, `share`.
    pub fn of_sum(&self, shown: impl IntoIterator<Item = u32>, share: f64) -> f64 {
        let (mut squares, mut weight, mut has_best) = (0.0, 0.0, false);
        for (id, part) in shown
            .into_iter()
            .filter_map(|id| self.rows.get_key_value(&id))
        {
            squares += part.square;
            weight += part.weight;
            has_best |= self.best_id == Some(*id);
        }
        let mut others = self.squares - squares;
        // The best score moves its own row, and all others against it.
        let mut by_best = share * self.whole - weight;
        let best = self.best;
        if has_best {
            squares -= best.square;
            by_best += (1.0 - share) * best.weight;
        } else {
            others -= best.square;
            by_best -= share * best.weight;
        }
        let square = ((1.0 - share).powi(2) * squares).max(0.0)
            + (share * share * others).max(0.0)
            + (by_best * best.deviation).powi(2);
        match square.is_finite() {
            true => self.curve.inv_tau * square.sqrt(),
            // Nothing has influence.
            false => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    /// Ids, scores and steps of reranked rows, and scores of others.
    const ROWS: [(u32, f32, f32); 5] = [
        (0, 0.80, 3.2e-3),
        (1, 0.79, 3.1e-3),
        (2, 0.77, 3.1e-3),
        (3, 0.75, 3.0e-3),
        (4, 0.70, 2.8e-3),
    ];
    const OTHERS: [f64; 40] = [0.68; 40];
    /// With two times that cut off the last row and the others, and two that leave much of all influence to the others.
    const CURVES: [(f64, f64); 5] = [
        (20.0, 0.0),
        (50.0, -0.05),
        (50.0, 0.01),
        (100.0, -0.01),
        (5.0, 0.0),
    ];

    /// All shares where the reranked rows have these scores.
    fn shares(inv_tau: f64, offset: f64, scores: [f64; 5]) -> Vec<f64> {
        let best = scores.iter().copied().fold(f64::MIN, f64::max);
        let curve = Curve {
            inv_tau,
            offset,
            best,
        };
        let all = scores.into_iter().chain(OTHERS);
        let values: Vec<f64> = all.map(|score| curve.of(score)).collect();
        let total: f64 = values.iter().sum();
        values.iter().map(|value| value / total).collect()
    }

    /// Against influences of scores that are moved at random.
    #[test]
    fn deviations_are_those_of_moved_scores() {
        for (inv_tau, offset) in CURVES {
            let curve = Curve {
                inv_tau,
                offset,
                best: f64::from(ROWS[0].1),
            };
            let scores = ROWS.map(|row| f64::from(row.1));
            let all = scores.into_iter().chain(OTHERS);
            let total: f64 = all.map(|score| curve.of(score)).sum();
            let rounding = Rounding::new(curve, total, ROWS, OTHERS.len() as u64);
            let wanted = shares(inv_tau, offset, scores);
            let (mut squares, draws) = ([0.0; 5], 20_000);
            let mut sums = [0.0; 2];
            let shown = [&[0, 1, 2][..], &[1, 3][..]];
            let of = |shares: &[f64], ids: &[u32]| {
                ids.iter().map(|id| shares[*id as usize]).sum::<f64>()
            };
            let mut sequence = Sequence::new(5, 1);
            for _ in 0..draws {
                // A small part of a step, so that first order is all there is.
                let moved = ROWS.map(|(_, score, step)| {
                    let off = sequence.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5;
                    f64::from(score) + 0.01 * f64::from(step) * off
                });
                let moved = shares(inv_tau, offset, moved);
                for ((square, moved), wanted) in squares.iter_mut().zip(&moved).zip(&wanted) {
                    *square += (moved / wanted).ln().powi(2) / f64::from(draws);
                }
                for (sum, ids) in sums.iter_mut().zip(shown) {
                    *sum += (of(&moved, ids) - of(&wanted, ids)).powi(2) / f64::from(draws);
                }
            }
            let near = |stated: f64, square: f64, what: &str| {
                let found = square.sqrt();
                assert!(
                    (stated - found).abs() < 0.03 * found + 1e-7,
                    "{inv_tau} {offset} {what}: {stated}, {found}"
                );
            };
            for ((id, score, _), square) in ROWS.into_iter().zip(squares) {
                let value = curve.of(f64::from(score));
                if value > 0.0 {
                    let steepness = curve.exponential(f64::from(score)) / value;
                    let stated = 0.01 * inv_tau * steepness * rounding.of(id, score);
                    near(stated, square, "row");
                }
            }
            for (ids, square) in shown.into_iter().zip(sums) {
                let share = of(&wanted, ids);
                near(
                    0.01 * rounding.of_sum(ids.iter().copied(), share),
                    square,
                    "sum",
                );
            }
        }
    }

    #[test]
    fn a_row_below_the_cut_may_lie_above_it() {
        let curve = Curve {
            inv_tau: 50.0,
            offset: -0.01,
            best: f64::from(ROWS[0].1),
        };
        let rounding = Rounding::new(curve, 1.0, ROWS, 0);
        let (id, score, step) = ROWS[4];
        assert_eq!(curve.of(f64::from(score)), 0.0);
        let wanted = f64::from(step).hypot(f64::from(ROWS[0].2)) / 12f64.sqrt();
        assert!((rounding.of(id, score) - wanted).abs() < 1e-12);
    }

    #[test]
    fn calibrators_that_make_no_influence_leave_nothing_to_move() {
        for (inv_tau, offset, total) in [(0.0, 0.0, 45.0), (20.0, -1.5, 0.0), (0.0, -1.0, 0.0)] {
            let curve = Curve {
                inv_tau,
                offset,
                best: 0.8,
            };
            let rounding = Rounding::new(curve, total, ROWS, 40);
            assert_eq!(rounding.of_sum([0, 1], 0.0), 0.0);
            let moved = 2.0 * rounding.of(0, 0.8);
            assert!(curve.of(0.8 - moved) == curve.of(0.8 + moved));
        }
    }
}
