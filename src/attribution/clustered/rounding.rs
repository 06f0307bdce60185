//! What the rounding of fine rows does to influences.
//!
//! Codes of fine rows are off by a uniform share of a step, so scores of a query of unit length are off by a deviation of
//! `step / sqrt(12)`, each row's independently of the others. An influence `t(s_i) / Z` feels it in its own score, in the best
//! one, to which all are relative, and in the sum Z. To first order, with `e = exp(inv_tau (s - best))`, `t = e + b`,
//! `w = e / Z`, `a = e / t`, and A the sum of all w, its logarithm moves by
//! `inv_tau (a_i d_i - sum_j w_j d_j - (a_i - A) d_best)`. Rows that were not reranked count in A alone: the rounding of so
//! many evens out. In the sum rows near the calibrator's cut count with what they have on either side of it.

use std::collections::HashMap;

use crate::attribution::estimate::Curve;

/// The rounding of the reranked rows of a query.
pub struct Rounding {
    curve: Curve,
    /// Deviation of each score, and w.
    rows: HashMap<u32, Part>,
    best: Part,
    /// Sum of [`Part::square`] over all rows.
    squares: f64,
    /// A.
    whole: f64,
}

#[derive(Clone, Copy, Default)]
struct Part {
    deviation: f64,
    weight: f64,
    /// `w^2 d^2`, and what stands for it near the cut.
    square: f64,
}

impl Rounding {
    /// Of `rows`, their ids, exact scores and steps; `total` is the calibrator's sum over all rows.
    pub fn new(curve: Curve, total: f64, rows: impl IntoIterator<Item = (u32, f32, f32)>) -> Self {
        let mut rounding = Self {
            curve,
            rows: HashMap::new(),
            best: Part::default(),
            squares: 0.0,
            whole: 1.0,
        };
        let mut best = f64::NEG_INFINITY;
        for (id, score, step) in rows {
            let (score, deviation) = (f64::from(score), f64::from(step) / 12f64.sqrt());
            let value = curve.of(score);
            let variance = curve.moments(score, deviation).variance;
            let square = variance / (curve.inv_tau * total).powi(2);
            // No influence at all, or a calibrator that makes none.
            if !square.is_finite() {
                continue;
            }
            rounding.squares += square;
            if value <= 0.0 {
                continue;
            }
            let part = Part {
                deviation,
                weight: curve.exponential(score) / total,
                square,
            };
            rounding.whole += part.weight - value / total;
            if score > best {
                (best, rounding.best) = (score, part);
            }
            rounding.rows.insert(id, part);
        }
        rounding
    }

    /// The deviation of the score of row `id` that alone would move its influence as much as all rounding does; 0 for a
    /// row without influence, and for one that was not reranked, whose score is an estimate anyway.
    pub fn of(&self, id: u32, score: f32) -> f64 {
        let score = f64::from(score);
        let value = self.curve.of(score);
        let Some(own) = self.rows.get(&id).filter(|_| value > 0.0) else {
            return 0.0;
        };
        let steepness = self.curve.exponential(score) / value;
        let by_own = ((steepness - own.weight) * own.deviation).powi(2);
        let by_best = ((self.best.weight + steepness - self.whole) * self.best.deviation).powi(2);
        let by_others = (self.squares - own.square - self.best.square).max(0.0);
        let square = match score >= self.curve.best {
            // Its own score is the best.
            true => {
                let alone = ((self.whole - own.weight) * own.deviation).powi(2);
                alone + (self.squares - own.square).max(0.0)
            }
            false => by_own + by_best + by_others,
        };
        square.sqrt() / steepness
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    /// Against influences of scores that are moved at random.
    #[test]
    fn the_deviation_is_that_of_moved_scores() {
        let rows = [0.80f32, 0.79, 0.77, 0.75, 0.70].map(|score| (score, 4e-3 * score));
        let numbered = || {
            (0u32..)
                .zip(rows)
                .map(|(id, (score, step))| (id, score, step))
        };
        for (inv_tau, offset) in [(20.0, 0.0), (50.0, -0.05), (50.0, 0.01), (5.0, -0.01)] {
            let shares = |scores: &[f64]| -> Vec<f64> {
                let best = scores.iter().copied().fold(f64::MIN, f64::max);
                let curve = Curve {
                    inv_tau,
                    offset,
                    best,
                };
                let values: Vec<f64> = scores.iter().map(|s| curve.of(*s)).collect();
                let total: f64 = values.iter().sum();
                values.iter().map(|value| value / total).collect()
            };
            let scores = rows.map(|row| f64::from(row.0));
            let curve = Curve {
                inv_tau,
                offset,
                best: scores[0],
            };
            let total: f64 = scores.iter().map(|s| curve.of(*s)).sum();
            let rounding = Rounding::new(curve, total, numbered());
            let wanted = shares(&scores);
            let (mut squares, draws) = ([0.0; 5], 20_000);
            let mut sequence = Sequence::new(5, 1);
            for _ in 0..draws {
                // A small part of a step, so that first order is all there is.
                let moved = rows.map(|(score, step)| {
                    let off = sequence.below(1 << 20) as f64 / f64::from(1 << 20) - 0.5;
                    f64::from(score) + 0.01 * f64::from(step) * off
                });
                for ((square, moved), wanted) in squares.iter_mut().zip(shares(&moved)).zip(&wanted)
                {
                    *square += (moved / wanted).ln().powi(2) / f64::from(draws);
                }
            }
            for ((id, score, _), square) in numbered().zip(squares) {
                let steepness = curve.exponential(f64::from(score)) / curve.of(f64::from(score));
                if curve.of(f64::from(score)) <= 0.0 {
                    assert_eq!(rounding.of(id, score), 0.0);
                    continue;
                }
                let stated = 0.01 * inv_tau * steepness * rounding.of(id, score);
                assert!(
                    (stated / square.sqrt() - 1.0).abs() < 0.03,
                    "{inv_tau} {offset} {id}: {stated}, {}",
                    square.sqrt()
                );
            }
        }
    }
}
