//! A draw of waiting rows, whose exact scores show what all waiting rows sum to, whatever law their errors follow.
//!
//! Rows are drawn with chances in proportion to a size: what the model of errors expects of the row, and a part that is
//! the same for all, so that a row of which too little was expected is not worth a large multiple. The mean ratio of what
//! the drawn rows have to their sizes, times the sizes of the others, then estimates the others' sum without the model
//! (Hajek's estimator of a systematic sample); the spread of the ratios is its error. Rows that would be drawn anyway are
//! taken beforehand and estimate nothing. Invariant: after a draw nothing but its rows is reranked.

use super::{Curve, State};

/// Part of all sizes that is spread evenly.
const EVEN: f64 = 0.1;

/// Which rows to rerank, and what they stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draw {
    /// Positions in [`State::waiting`] of rows that are too large to be left to chance, ascending.
    pub certain: Vec<usize>,
    /// Positions and sizes of the drawn rows, ascending.
    pub drawn: Vec<(usize, f64)>,
    /// Sum of the sizes of all other waiting rows.
    pub rest: f64,
}

/// A draw whose rows were reranked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn<'a> {
    /// See [`Draw::rest`].
    pub rest: f64,
    /// Size and exact score of each drawn row.
    pub rows: &'a [(f64, f32)],
}

/// A sum, its variance, and the number of rows that these rest on.
pub(super) struct Estimate {
    pub value: f64,
    pub variance: f64,
    pub rows: f64,
}

impl Draw {
    /// Up to `count` of the waiting rows of `state`.
    pub fn new(state: &State, curve: &Curve, count: usize) -> Self {
        let expected = state.waiting.iter().map(|row| {
            let approximate = f64::from(row.approximate);
            let error = state.error.within(approximate, row.cluster);
            let moments = curve.moments(approximate + error.mean, error.deviation);
            moments.value
        });
        let expected: Vec<f64> = expected.collect();
        let whole: f64 = expected.iter().sum();
        let even = EVEN * whole / expected.len().max(1) as f64;
        let sizes: Vec<f64> = expected.iter().map(|e| e + even).collect();
        let (certain, step) = certain(&sizes, count);
        let mut draw = Self::default();
        // From the middle of the first step, so that a draw is the same every time.
        let (mut sum, mut next) = (0.0, 0.5 * step);
        for (position, size) in sizes.into_iter().enumerate() {
            if certain[position] {
                draw.certain.push(position);
                continue;
            }
            sum += size;
            if sum > next && draw.certain.len() + draw.drawn.len() < count {
                draw.drawn.push((position, size));
                next += step;
            } else {
                draw.rest += size;
            }
        }
        draw
    }

    /// The rows to rerank.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        let drawn = self.drawn.iter().map(|row| row.0);
        self.certain.iter().copied().chain(drawn)
    }
}

/// Which sizes are at least the step of a systematic sample of `count`, and that step for the others.
fn certain(sizes: &[f64], count: usize) -> (Vec<bool>, f64) {
    let mut certain = vec![false; sizes.len()];
    loop {
        let left = certain.iter().filter(|c| !**c).count();
        let draws = count.saturating_sub(sizes.len() - left);
        let others = sizes.iter().zip(&certain).filter(|s| !*s.1);
        let step = others.map(|s| s.0).sum::<f64>() / draws.max(1) as f64;
        if draws == 0 || step <= 0.0 {
            return (certain, f64::INFINITY);
        }
        let mut more = false;
        for (certain, size) in certain.iter_mut().zip(sizes) {
            let now = !*certain && *size >= step;
            *certain |= now;
            more |= now;
        }
        if !more {
            return (certain, step);
        }
    }
}

impl Drawn<'_> {
    /// What the rows that were not drawn sum to.
    pub(super) fn others(&self, curve: &Curve) -> Estimate {
        let ratio = |row: &(f64, f32)| curve.of(f64::from(row.1)) / row.0;
        let count = self.rows.len() as f64;
        let mean = self.rows.iter().map(ratio).sum::<f64>() / count.max(1.0);
        let squares = self.rows.iter().map(|row| (ratio(row) - mean).powi(2));
        let variance = squares.sum::<f64>() / (count * (count - 1.0)).max(1.0);
        Estimate {
            value: self.rest * mean,
            variance: self.rest * self.rest * variance,
            rows: count,
        }
    }
}
