//! Minimises the calibrator's loss over its two scalars.
//!
//! Newton's method on (ln inv_tau, b / [`BIAS_UNIT`]), so that inv_tau stays positive and both have steps of
//! about one. Where the Hessian is not positive its eigenvalues are made so, and steps are shortened until
//! the loss falls enough. The loss is not convex, so the best of several starts is taken. There is no
//! chance in it.

use super::objective::{Point, Value, evaluate};
use crate::error::{Error, Result};
use crate::evaluate::QueryScores;

const BIAS_UNIT: f64 = 0.05;
/// Scales of inverse temperatures and biases that calibrators of published features have.
const STARTS_INV_TAU: [f64; 3] = [8.0, 30.0, 100.0];
const STARTS_B: [f64; 3] = [0.0, -0.05, -0.15];
/// Where to look: wide of anything that means something.
const INV_TAU_RANGE: std::ops::RangeInclusive<f64> = 1e-3..=1e4;
const B_RANGE: std::ops::RangeInclusive<f64> = -0.99..=100.0;
const MAX_STEPS: usize = 100;
/// The longest step, in the variables of the method.
const LONGEST: f64 = 1.0;
/// The gradient at which the minimum counts as reached.
const FLAT: f64 = 1e-9;

/// The minimum that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub at: Point,
    /// Evaluations of the loss, over all starts.
    pub evaluations: usize,
}

/// Fits the scalars to `queries`, also starting from `first`.
///
/// # Errors
/// [`Error::InvalidArgument`] without queries; [`Error::NotFinite`] when no start has a finite loss.
pub(super) fn fit(queries: &[&QueryScores], first: Point) -> Result<Fit> {
    if queries.is_empty() {
        return Err(Error::invalid("no queries to fit a calibrator to"));
    }
    let grid = STARTS_INV_TAU
        .into_iter()
        .flat_map(|inv_tau| STARTS_B.map(|b| Point { inv_tau, b }));
    let mut best: Option<(f64, Point)> = None;
    let mut evaluations = 0;
    for start in std::iter::once(first).chain(grid) {
        let (at, loss) = descend(queries, start, &mut evaluations);
        if loss.is_finite() && best.is_none_or(|(least, _)| loss < least) {
            best = Some((loss, at));
        }
    }
    let (_, at) = best.ok_or_else(|| Error::NotFinite {
        what: "the calibrator's loss".into(),
    })?;
    Ok(Fit { at, evaluations })
}

/// From `start` down to a minimum; returns it with its loss.
fn descend(queries: &[&QueryScores], start: Point, evaluations: &mut usize) -> (Point, f64) {
    let mut value_at = |at: Point| {
        *evaluations += 1;
        evaluate(queries, at).unwrap_or(Value {
            loss: f64::INFINITY,
            ..Value::default()
        })
    };
    let mut at = start;
    let mut value = value_at(at);
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = transformed(&value, at);
        if !value.loss.is_finite() || gradient.iter().all(|slope| slope.abs() < FLAT) {
            break;
        }
        let step = newton(gradient, hessian);
        let descent = gradient[0] * step[0] + gradient[1] * step[1];
        let mut accepted = None;
        let mut length = 1.0;
        while length > 1e-8 && accepted.is_none() {
            let next = moved(at, step.map(|part| part * length));
            if INV_TAU_RANGE.contains(&next.inv_tau) && B_RANGE.contains(&next.b) {
                let found = value_at(next);
                if found.loss <= value.loss + 1e-4 * length * descent {
                    accepted = Some((next, found));
                }
            }
            length *= 0.5;
        }
        // No step falls where rounding is all that is left.
        let Some((next, found)) = accepted else { break };
        (at, value) = (next, found);
    }
    (at, value.loss)
}

/// Gradient and Hessian by the variables of the method.
fn transformed(value: &Value, at: Point) -> ([f64; 2], [f64; 3]) {
    let [by_tau, by_b] = value.gradient;
    let [tau, both, b] = value.hessian;
    let t = at.inv_tau;
    (
        [t * by_tau, BIAS_UNIT * by_b],
        [
            t * t * tau + t * by_tau,
            t * BIAS_UNIT * both,
            BIAS_UNIT * BIAS_UNIT * b,
        ],
    )
}

/// `at`, moved by a step of the variables.
fn moved(at: Point, step: [f64; 2]) -> Point {
    Point {
        inv_tau: at.inv_tau * step[0].exp(),
        b: at.b + BIAS_UNIT * step[1],
    }
}

/// The step `-|H|^-1 g`, no longer than [`LONGEST`], where |H| has the absolute eigenvalues of H.
fn newton(gradient: [f64; 2], [a, b, c]: [f64; 3]) -> [f64; 2] {
    let (middle, half) = ((a + c) / 2.0, (a - c) / 2.0);
    let radius = half.hypot(b);
    // The eigenvector of the larger eigenvalue, at half the angle of (half, b).
    let angle = b.atan2(half) / 2.0;
    let (sin, cos) = angle.sin_cos();
    let floor = 1e-8 + 1e-8 * (middle.abs() + radius);
    let [large, small] = [middle + radius, middle - radius].map(|value| value.abs().max(floor));
    let along = -(cos * gradient[0] + sin * gradient[1]) / large;
    let across = -(cos * gradient[1] - sin * gradient[0]) / small;
    let step = [cos * along - sin * across, sin * along + cos * across];
    let length = step[0].hypot(step[1]);
    let shrink = if length > LONGEST {
        LONGEST / length
    } else {
        1.0
    };
    step.map(|part| part * shrink)
}

#[cfg(test)]
mod tests {
    use super::super::objective::tests::{golden, golden_queries, with_best};
    use super::*;
    use crate::random::Sequence;

    const DEFAULT: Point = Point {
        inv_tau: 25.0,
        b: 0.0,
    };

    #[test]
    fn the_minimum_is_the_one_that_lbfgs_finds() {
        let golden = golden();
        let queries = golden_queries(&golden);
        let queries: Vec<_> = queries.iter().collect();
        let found = fit(&queries, DEFAULT).unwrap().at;
        let number = |key: &str| golden["minimum"][key].as_f64().unwrap();
        let loss = evaluate(&queries, found).unwrap().loss;
        assert!(loss < number("loss") + 1e-9, "{loss}");
        assert!(
            (found.inv_tau / number("inv_tau") - 1.0).abs() < 1e-4,
            "{found:?}"
        );
        assert!((found.b - number("b")).abs() < 1e-5, "{found:?}");
    }

    /// With one exemplar, drawn with the probability t / sum t, the loss is the negative log-likelihood, so
    /// its minimum estimates the scalars that it was drawn with, within the errors that the Hessian states.
    #[test]
    fn the_scalars_that_data_were_drawn_with_are_found_again() {
        for (inv_tau, b) in [(20.0, 0.0), (12.0, -0.06), (35.0, 0.05)] {
            let mut chance = Sequence::new(11, 7);
            let queries: Vec<QueryScores> = (0..1000)
                .map(|_| {
                    let mut scores: Vec<f32> = (0..40).map(|_| chance.unit()).collect();
                    let best = scores.iter().copied().fold(0.0, f32::max);
                    let weights = scores.iter().map(|s| {
                        let e = (inv_tau * f64::from(s - best)).exp();
                        (100.0 * (e + b)).exp().ln_1p()
                    });
                    let weights: Vec<f64> = weights.collect();
                    let mut left = f64::from(chance.unit()) * weights.iter().sum::<f64>();
                    let drawn = weights.iter().position(|weight| {
                        left -= weight;
                        left <= 0.0
                    });
                    let exemplar = scores.swap_remove(drawn.unwrap_or(0));
                    with_best(vec![exemplar], scores)
                })
                .collect();
            let queries: Vec<_> = queries.iter().collect();
            let found = fit(&queries, DEFAULT).unwrap().at;
            let [a, off, c] = evaluate(&queries, found).unwrap().hessian;
            let determinant = (a * c - off * off) * queries.len() as f64;
            assert!(a > 0.0 && determinant > 0.0);
            let deviations = [
                (found.inv_tau - inv_tau) / (c / determinant).sqrt(),
                (found.b - b) / (a / determinant).sqrt(),
            ];
            assert!(
                deviations.iter().all(|deviation| deviation.abs() < 3.5),
                "{inv_tau} {b}: {found:?}, {deviations:?} standard errors away"
            );
            assert!((found.inv_tau / inv_tau - 1.0).abs() < 0.35, "{found:?}");
        }
    }

    #[test]
    fn without_queries_nothing_is_fitted() {
        assert_eq!(fit(&[], DEFAULT).unwrap_err().code(), "invalid-argument");
    }

    #[test]
    fn a_newton_step_solves_a_positive_system_and_descends_on_any() {
        // [[2, 1], [1, 3]] times (-0.1, 0.3) is (0.1, 0.8).
        let step = newton([-0.1, -0.8], [2.0, 1.0, 3.0]);
        assert!((step[0] + 0.1).abs() < 1e-12 && (step[1] - 0.3).abs() < 1e-12);
        for hessian in [
            [-2.0, 1.0, 3.0],
            [0.0, 0.0, 0.0],
            [-1.0, 5.0, -1.0],
            [1.0, 0.0, 2.0],
        ] {
            let gradient = [0.3, -0.7];
            let step = newton(gradient, hessian);
            assert!(gradient[0] * step[0] + gradient[1] * step[1] < 0.0);
            assert!(step[0].hypot(step[1]) <= LONGEST + 1e-12);
        }
    }
}
