//! The calibrator's sum over all rows, `sum_i max(exp(inv_tau (s_i - s_max)) + b, 0)`, with an interval.
//!
//! Reranked rows count exactly. Waiting rows count with what a draw of them shows, and without one with the expectation
//! over their exact scores given their approximate ones. Rows below are known by the sum of the calibrator over their
//! approximate scores, which is corrected by the ratio of exact to approximate over the control rows among them. Unread rows have the
//! expectation by their cluster's scores, corrected by the ratio of what the control rows among them have
//! to what they were expected to have. The variances of these parts give the interval.

use std::collections::BTreeMap;

use super::curve::{Curve, Moments};
use super::regression::Vector;
use super::{ScoreError, State, recall};

/// Two-sided 95 % of the normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;
/// What the deviations of the model of errors are short by, as smooth curves do not follow every bend and errors are not normal.
/// Measured on a million generated CLIP-like features: 1.02 to 1.10 where errors are nearly normal, about 2 where rows lie in
/// tight groups, which an index cannot tell. Intervals err on the wide side.
const MARGIN: f64 = 2.2;
/// Least half width of an interval that is not exact, as a share of the sum.
const RARE: f64 = 0.001;
/// Effective rows that a variance by expectation alone is taken to be worth.
const PRIOR_ROWS: f64 = 2.0;
/// Effective rows that the variance of a cluster's part is known by.
const PART_ROWS: f64 = 10.0;

/// An estimated sum of unnormalised influences, and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mass {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// No estimate is in it: every row that has influence was reranked.
    pub exact: bool,
}

/// A share of all influence with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Share {
    /// What this leaves of the whole.
    pub fn rest(self) -> Self {
        let rest = |share: f64| (1.0 - share).clamp(0.0, 1.0);
        Self {
            value: rest(self.value),
            low: rest(self.high),
            high: rest(self.low),
        }
    }

    /// Its interval wider by `by` on both sides.
    pub fn widened(self, by: f64) -> Self {
        Self {
            low: (self.low - by).max(0.0),
            high: (self.high + by).min(1.0),
            ..self
        }
    }
}

impl Mass {
    /// A sum over rows that are all known.
    pub fn known(value: f64) -> Self {
        Self {
            value,
            low: value,
            high: value,
            exact: true,
        }
    }

    /// The share of rows whose unnormalised influences sum to `part`: a hit, or a group of hits.
    pub fn share(&self, part: f64) -> Share {
        let of = |whole: f64| {
            if whole > 0.0 {
                (part / whole).min(1.0)
            } else {
                0.0
            }
        };
        Share {
            value: of(self.value),
            low: of(self.high),
            high: of(self.low),
        }
    }
}

/// A sum under construction: its value, the parts of its variance, each with the rows that it rests on.
#[derive(Default)]
struct Sum {
    value: f64,
    variance: f64,
    /// `sum variance^2 / rows`, for Welch and Satterthwaite's degrees of freedom.
    doubt: f64,
}

impl Sum {
    /// A variance by the model of errors, see [`MARGIN`].
    fn spread_of_model(&mut self, variance: f64, rows: f64) {
        self.spread(MARGIN * MARGIN * variance, rows);
    }

    fn spread(&mut self, variance: f64, rows: f64) {
        self.variance += variance;
        self.doubt += variance * variance / rows.max(1.0);
    }

    /// Half the interval's width in deviations: Student's quantile by its first expansion.
    fn quantile(&self) -> f64 {
        let inverse = if self.variance > 0.0 {
            self.doubt / (self.variance * self.variance)
        } else {
            0.0
        };
        NORMAL_95 * (1.0 + inverse * (NORMAL_95 * NORMAL_95 + 1.0) / 4.0)
    }
}

/// How the estimated sum moves with the error's law, and how its rows vary around it.
#[derive(Default)]
struct Slopes {
    by_mean: Vector,
    by_variance: f64,
    noise: f64,
    noise_squares: f64,
}

impl Slopes {
    /// Adds a row that stands for `rows` rows with a weight of `weight` in the sum.
    fn add(
        &mut self,
        state: &State,
        curve: &Curve,
        approximate: f64,
        error: ScoreError,
        weight: f64,
        rows: f64,
    ) -> Moments {
        let moments = curve.moments(approximate + error.mean, error.deviation);
        for (sum, basis) in self.by_mean.iter_mut().zip(state.error.basis(approximate)) {
            *sum += weight * moments.by_mean * basis;
        }
        self.by_variance += weight * moments.by_variance * error.deviation * error.deviation;
        self.noise += rows * moments.variance;
        self.noise_squares += rows * moments.variance * moments.variance;
        moments
    }

    fn spread(&self, state: &State, sum: &mut Sum) {
        let fitted = state.error.rows() as f64;
        let effective = self.noise * self.noise / self.noise_squares.max(f64::MIN_POSITIVE);
        sum.spread_of_model(self.noise, effective);
        sum.spread_of_model(state.error.mean_variance(&self.by_mean), fitted.sqrt());
        sum.spread_of_model(
            (self.by_variance * state.error.variance_error()).powi(2),
            fitted.sqrt(),
        );
    }
}

/// The calibrator's sum over all rows of `state`. `below` is the sum of [`Curve::of`] over the approximate
/// scores of the rows below.
pub fn total(state: &State, curve: &Curve, below: f64) -> Mass {
    let exact: f64 = state.exact.iter().map(|s| curve.of(f64::from(*s))).sum();
    if certified(state, curve) {
        return Mass {
            value: exact,
            low: exact,
            high: exact,
            exact: true,
        };
    }
    let mut rest = Sum::default();
    let mut slopes = Slopes::default();
    match state.drawn.filter(|drawn| !drawn.rows.is_empty()) {
        Some(drawn) => {
            let others = drawn.others(curve);
            rest.value += others.value;
            rest.spread(others.variance, others.rows);
        }
        None => waiting(state, curve, &mut rest, &mut slopes),
    }
    scored_below(state, curve, below, &mut rest);
    slopes.spread(state, &mut rest);
    unread(state, curve, &mut rest);
    let deviation = rest.variance.sqrt();
    // On a logarithmic scale, as the sum is positive and its parts are skewed.
    let share = if rest.value > 0.0 {
        deviation / rest.value
    } else {
        0.0
    };
    let factor = (rest.quantile() * (1.0 + share * share).ln().sqrt()).exp();
    // Errors have rarer and larger values than normal ones.
    let rare = RARE * (exact + rest.value);
    let least = curve.offset.max(0.0) * (state.rows() - state.exact.len() as u64) as f64;
    Mass {
        value: exact + rest.value.max(least),
        low: exact + (rest.value / factor - rare).max(least),
        high: exact + (rest.value * factor + rare).max(least),
        exact: false,
    }
}

/// Adds the waiting rows by the model of errors.
fn waiting(state: &State, curve: &Curve, rest: &mut Sum, slopes: &mut Slopes) {
    let mut clusters: BTreeMap<u32, f64> = BTreeMap::new();
    for row in state.waiting {
        let approximate = f64::from(row.approximate);
        let error = state.error.within(approximate, row.cluster);
        let moments = slopes.add(state, curve, approximate, error, 1.0, 1.0);
        rest.value += moments.value;
        *clusters.entry(row.cluster).or_default() += moments.by_mean;
    }
    // Rows of a cluster move together.
    for (cluster, slope) in &clusters {
        rest.spread_of_model(
            slope * slope * state.error.clusters().of(*cluster).variance,
            PART_ROWS,
        );
    }
}

/// Adds the rows that are in no list; `known` is the sum of the calibrator over their approximate scores.
fn scored_below(state: &State, curve: &Curve, known: f64, rest: &mut Sum) {
    let expected = |approximate: f32| {
        let approximate = f64::from(approximate);
        let error = state.error.at(approximate);
        let moments = curve.moments(approximate + error.mean, error.deviation);
        moments.value
    };
    let (rows, control) = (state.below.rows as f64, state.below.control);
    if control.is_empty() {
        let value = rows * expected(state.below.highest);
        rest.value += value;
        rest.spread(value * value, 1.0);
        return;
    }
    let of = |score: f32| curve.of(f64::from(score));
    let count = control.len() as f64;
    let approximate: Vec<f64> = control.iter().map(|p| of(p.approximate)).collect();
    // Where approximate scores have none of the sum, rows are what is expanded.
    let (auxiliary, known) = match known > 0.0 && approximate.iter().any(|a| *a > 0.0) {
        true => (approximate, known),
        false => (vec![1.0; control.len()], rows),
    };
    let values: Vec<f64> = control.iter().map(|p| of(p.exact)).collect();
    // A few rows by expectation: a sample without any mass does not show that there is none.
    let prior = control.iter().map(|p| expected(p.approximate)).sum::<f64>() * PRIOR_ROWS / count;
    let sum = auxiliary.iter().sum::<f64>() * (1.0 + PRIOR_ROWS / count);
    let ratio = (values.iter().sum::<f64>() + prior) / sum;
    let pairs = values.iter().zip(&auxiliary);
    let left: f64 = pairs.map(|(v, a)| (v - ratio * a).powi(2)).sum();
    rest.value += ratio * known;
    rest.spread(
        (left + prior * prior / PRIOR_ROWS) * (known / sum).powi(2),
        effective(&values) + PRIOR_ROWS,
    );
}

/// Adds the rows that were not read.
fn unread(state: &State, curve: &Curve, rest: &mut Sum) {
    let expected: Vec<f64> = state
        .unread
        .clusters
        .iter()
        .map(|c| curve.moments(c.base, c.deviation).value)
        .collect();
    let clusters = state.unread.clusters.iter();
    let rows: f64 = clusters.clone().map(|c| c.rows as f64).sum();
    let whole: f64 = clusters
        .zip(&expected)
        .map(|(c, t)| c.rows as f64 * t)
        .sum();
    if rows == 0.0 || whole <= 0.0 {
        return;
    }
    let prior = PRIOR_ROWS * whole / rows;
    let pairs: Vec<(f64, f64)> = state
        .unread
        .control
        .iter()
        .filter_map(|(cluster, score)| {
            Some((*expected.get(*cluster)?, curve.of(f64::from(*score))))
        })
        .collect();
    let had: f64 = pairs.iter().map(|p| p.1).sum::<f64>() + prior;
    let thought: f64 = pairs.iter().map(|p| p.0).sum::<f64>() + prior;
    let ratio = had / thought;
    let left: f64 = pairs.iter().map(|(u, t)| (t - ratio * u).powi(2)).sum();
    let value = ratio * whole;
    let values: Vec<f64> = pairs.iter().map(|p| p.1).collect();
    rest.value += value;
    let variance = (left + prior * prior / PRIOR_ROWS) * (whole / thought).powi(2);
    rest.spread(variance, effective(&values) + PRIOR_ROWS);
}

/// Number of equal values that would vary as much as these.
fn effective(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let square: f64 = values.iter().map(|v| v * v).sum();
    if square > 0.0 {
        sum * sum / square
    } else {
        0.0
    }
}

/// Whether every row that has influence was reranked.
fn certified(state: &State, curve: &Curve) -> bool {
    if state.rows() == state.exact.len() as u64 || curve.offset <= -1.0 {
        return true;
    }
    curve.line().is_some_and(|line| {
        recall::candidates_above(state, line) == 0 && recall::certain_below(state, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_turns_the_interval_round() {
        let mass = Mass {
            value: 4.0,
            low: 2.0,
            high: 8.0,
            exact: false,
        };
        assert_eq!(
            mass.share(1.0),
            Share {
                value: 0.25,
                low: 0.125,
                high: 0.5
            }
        );
        assert_eq!(mass.share(3.0).high, 1.0);
        let none = Mass {
            value: 0.0,
            low: 0.0,
            high: 0.0,
            exact: true,
        };
        assert_eq!(
            none.share(0.0),
            Share {
                value: 0.0,
                low: 0.0,
                high: 0.0
            }
        );
    }
}
