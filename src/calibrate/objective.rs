//! The calibrator's training loss, with gradient and Hessian.
//!
//! Per query, with u_i = max_j s_j - s_i >= 0 and x_i = exp(-inv_tau * u_i) + b:
//!
//! `t_i = softplus(x_i) = ln(1 + exp(100 x_i)) / 100`,
//! `loss = ln sum_i t_i - mean of ln t_i over the exemplars`,
//!
//! where the sum is over exemplars and everything else. The softplus stands in for the calibrator's
//! `max(., 0)`, which has no gradient where it is zero. The loss of a set is the mean over its queries.

use rayon::prelude::*;

use crate::evaluate::QueryScores;

/// Sharpness of the softplus.
const BETA: f64 = 100.0;

/// The calibrator's scalars: `inv_tau`, and the effective bias (a thousandth of the stored one).
///
/// `b` is above -1: at -1 even the best item's influence is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub inv_tau: f64,
    pub b: f64,
}

/// The loss with its derivatives by (`inv_tau`, `b`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Value {
    pub loss: f64,
    pub gradient: [f64; 2],
    /// By (`inv_tau` twice, both, `b` twice).
    pub hessian: [f64; 3],
}

impl Value {
    fn add(&mut self, other: &Self, factor: f64) {
        self.loss += other.loss * factor;
        for (to, from) in self.gradient.iter_mut().zip(other.gradient) {
            *to += from * factor;
        }
        for (to, from) in self.hessian.iter_mut().zip(other.hessian) {
            *to += from * factor;
        }
    }
}

/// The loss over `queries`; `None` without queries.
pub(super) fn evaluate(queries: &[&QueryScores], at: Point) -> Option<Value> {
    // Summed in order, so that the result does not depend on the number of threads.
    let each: Vec<Value> = queries
        .par_iter()
        .map(|query| of_query(query, at))
        .collect();
    let share = 1.0 / each.len() as f64;
    let mut mean = Value::default();
    for value in &each {
        mean.add(value, share);
    }
    (!each.is_empty()).then_some(mean)
}

fn of_query(scores: &QueryScores, at: Point) -> Value {
    let best = f64::from(scores.best);
    let mut sum = Value::default();
    let mut logs = Value::default();
    let share = 1.0 / scores.exemplars.len().max(1) as f64;
    for &score in &scores.exemplars {
        let term = Term::new(best - f64::from(score), at);
        sum.add(&term.value(), 1.0);
        logs.add(&term.logarithm(), share);
    }
    for (score, count) in scores.others() {
        sum.add(&Term::new(best - f64::from(score), at).value(), count);
    }
    let mut value = logarithm(&sum, sum.loss.ln());
    value.add(&logs, -1.0);
    value
}

/// The logarithm of a function, from the function with its derivatives.
fn logarithm(of: &Value, loss: f64) -> Value {
    let [by_tau, by_b] = of.gradient.map(|slope| slope / of.loss);
    let [tau, both, b] = of.hessian.map(|curve| curve / of.loss);
    Value {
        loss,
        gradient: [by_tau, by_b],
        hessian: [tau - by_tau * by_tau, both - by_tau * by_b, b - by_b * by_b],
    }
}

/// One item's `t`.
struct Term {
    /// t, dt/dx, d²t/dx².
    t: [f64; 3],
    ln: f64,
    /// dx/dinv_tau and d²x/dinv_tau²; dx/db is 1.
    x: [f64; 2],
}

impl Term {
    fn new(u: f64, at: Point) -> Self {
        let e = (-at.inv_tau * u).exp();
        let y = BETA * (e + at.b);
        // ln(1 + exp(y)) without overflow; y > -100 as b > -1, so t is not 0 either.
        let small = (-y.abs()).exp();
        let softplus = y.max(0.0) + small.ln_1p();
        let sigmoid = if y < 0.0 { small } else { 1.0 } / (1.0 + small);
        let rest = if y < 0.0 { 1.0 } else { small } / (1.0 + small);
        Self {
            t: [softplus / BETA, sigmoid, BETA * sigmoid * rest],
            ln: softplus.ln() - BETA.ln(),
            x: [-u * e, u * u * e],
        }
    }

    fn value(&self) -> Value {
        let [t, first, second] = self.t;
        let [slope, curve] = self.x;
        Value {
            loss: t,
            gradient: [first * slope, first],
            hessian: [
                second * slope * slope + first * curve,
                second * slope,
                second,
            ],
        }
    }

    fn logarithm(&self) -> Value {
        logarithm(&self.value(), self.ln)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::random::Sequence;

    /// `scripts/golden_calibrate.py`.
    pub fn golden() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/calibrate.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    pub fn golden_queries(golden: &serde_json::Value) -> Vec<QueryScores> {
        let numbers = |value: &serde_json::Value| -> Vec<f32> {
            let values = value.as_array().unwrap().iter();
            values.map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let queries = golden["queries"].as_array().unwrap().iter();
        queries
            .map(|query| with_best(numbers(&query["exemplars"]), numbers(&query["others"])))
            .collect()
    }

    pub fn with_best(exemplars: Vec<f32>, others: Vec<f32>) -> QueryScores {
        let all = exemplars.iter().chain(&others).copied();
        QueryScores {
            best: all.fold(f32::NEG_INFINITY, f32::max),
            exemplars,
            others,
            counts: None,
        }
    }

    fn random_queries() -> Vec<QueryScores> {
        let mut chance = Sequence::new(5, 5);
        let mut scores = |count, low: f32, high: f32| -> Vec<f32> {
            (0..count)
                .map(|_| low + (high - low) * chance.unit())
                .collect()
        };
        let mut queries: Vec<_> = (1..6)
            .map(|n| with_best(scores(n, 0.3, 0.9), scores(30, -0.2, 0.7)))
            .collect();
        queries[1].counts = Some((0..30).map(|n| n as f32).collect());
        queries
    }

    const POINTS: [(f64, f64); 6] = [
        (12.0, 0.0),
        (12.0, -0.04),
        (12.0, 0.04),
        (90.0, -0.2),
        (0.1, -0.9),
        (300.0, 2.0),
    ];

    #[test]
    fn loss_and_gradient_are_torchs() {
        let golden = golden();
        let queries = golden_queries(&golden);
        let queries: Vec<_> = queries.iter().collect();
        let points = golden["points"].as_array().unwrap();
        assert_eq!(points.len(), 6);
        for point in points {
            let number = |key: &str| point[key].as_f64().unwrap();
            let (inv_tau, b) = (number("inv_tau"), number("b"));
            let found = evaluate(&queries, Point { inv_tau, b }).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
            assert!(near(found.loss, number("loss")), "{point} {found:?}");
            for (at, slope) in found.gradient.into_iter().enumerate() {
                let expected = point["gradient"][at].as_f64().unwrap();
                assert!(near(slope, expected), "{point} {found:?}");
            }
        }
    }

    #[test]
    fn the_loss_is_the_formula_item_by_item() {
        let queries = random_queries();
        for (inv_tau, b) in POINTS {
            let mut expected = 0.0;
            for query in &queries {
                let t = |s: f32| {
                    let e = (inv_tau * (f64::from(s) - f64::from(query.best))).exp();
                    let y = 100.0 * (e + b);
                    // Past 30 the formula itself would overflow and ln(1 + exp(y)) is y to the last bit.
                    let softplus = if y > 40.0 { y } else { (1.0 + y.exp()).ln() };
                    if y < -30.0 {
                        y.exp() / 100.0
                    } else {
                        softplus / 100.0
                    }
                };
                let n = query.exemplars.len() as f64;
                let sum: f64 = query.exemplars.iter().map(|&s| t(s)).sum();
                let others: f64 = query.others().map(|(s, count)| count * t(s)).sum();
                let logs: f64 = query.exemplars.iter().map(|&s| t(s).ln()).sum();
                expected += (sum + others).ln() - logs / n;
            }
            expected /= queries.len() as f64;
            let queries: Vec<_> = queries.iter().collect();
            let found = evaluate(&queries, Point { inv_tau, b }).unwrap().loss;
            assert!(
                (found - expected).abs() < 1e-9 * expected.abs(),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn derivatives_are_those_of_finite_differences() {
        let queries = random_queries();
        let queries: Vec<_> = queries.iter().collect();
        for (inv_tau, b) in POINTS {
            let at = |dt: f64, db: f64| {
                let point = Point {
                    inv_tau: inv_tau + dt,
                    b: b + db,
                };
                evaluate(&queries, point).unwrap()
            };
            let found = at(0.0, 0.0);
            let (ht, hb) = (1e-5 * inv_tau, 1e-6);
            let slope = |f: &dyn Fn(&Value) -> f64| {
                [
                    (f(&at(ht, 0.0)) - f(&at(-ht, 0.0))) / (2.0 * ht),
                    (f(&at(0.0, hb)) - f(&at(0.0, -hb))) / (2.0 * hb),
                ]
            };
            let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * (b.abs() + 1e-3);
            let [by_tau, by_b] = slope(&|value| value.loss);
            assert!(near(found.gradient[0], by_tau), "{found:?} {by_tau}");
            assert!(near(found.gradient[1], by_b), "{found:?} {by_b}");
            let [tau, both] = slope(&|value| value.gradient[0]);
            let [_, twice] = slope(&|value| value.gradient[1]);
            for (value, expected) in found.hessian.into_iter().zip([tau, both, twice]) {
                assert!(near(value, expected), "{found:?} {expected}");
            }
        }
    }

    #[test]
    fn no_queries_have_no_loss() {
        let at = Point {
            inv_tau: 1.0,
            b: 0.0,
        };
        assert_eq!(evaluate(&[], at), None);
    }
}
