//! The calibrator as a function of one score, and its expectation for a score that is known only roughly.
//!
//! It is an exponential that is moved and cut at zero, so that its moments for a normal score are those of
//! a log-normal variable that is cut from below.

use super::normal;
use crate::format::Calibrator;

/// The calibrator of one query: `t(s) = max(exp(inv_tau (s - best)) + offset, 0)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    pub inv_tau: f64,
    /// `b`, the effective bias.
    pub offset: f64,
    /// The best exact score.
    pub best: f64,
}

/// Unnormalised influence of a normal score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub value: f64,
    /// Derivatives of `value` by the score's mean and variance.
    pub by_mean: f64,
    pub by_variance: f64,
    pub variance: f64,
}

impl Curve {
    /// That of `calibrator` where the best row has the exact score `best`.
    pub fn new(calibrator: &Calibrator, best: f32) -> Self {
        Self {
            inv_tau: f64::from(calibrator.inv_tau),
            offset: f64::from(calibrator.effective_bias()),
            best: f64::from(best),
        }
    }

    /// Unnormalised influence of a score.
    pub fn of(&self, score: f64) -> f64 {
        (self.exponential(score) + self.offset).max(0.0)
    }

    /// The same without offset and cut.
    pub fn exponential(&self, score: f64) -> f64 {
        (self.inv_tau * (score - self.best)).exp()
    }

    /// Its expectation and variance for a normal score, and the expectation's derivatives.
    pub fn moments(&self, mean: f64, deviation: f64) -> Moments {
        let (mean, cut) = (mean - self.best, self.cut());
        let rate = self.inv_tau;
        let above = normal::exceeds(cut, mean, deviation);
        let first = normal::exponential_above(rate, cut, mean, deviation);
        let second = normal::exponential_above(2.0 * rate, cut, mean, deviation);
        let value = (first + self.offset * above).max(0.0);
        let square = second + self.offset * (2.0 * first + self.offset * above);
        // f'' has a point mass where the curve is cut, with the height of its step in slope.
        let edge = if cut > f64::NEG_INFINITY && deviation > 0.0 {
            -self.offset * normal::density((cut - mean) / deviation) / deviation
        } else {
            0.0
        };
        Moments {
            value,
            by_mean: rate * first,
            by_variance: 0.5 * rate * (rate * first + edge),
            variance: (square - value * value).max(0.0),
        }
    }

    /// The score relative to the best where the curve is cut.
    fn cut(&self) -> f64 {
        self.line()
            .map_or(f64::NEG_INFINITY, |line| line - self.best)
    }

    /// The score at and below which influence is zero, where there is one.
    pub fn line(&self) -> Option<f64> {
        (self.offset < 0.0 && self.inv_tau > 0.0)
            .then(|| self.best + (-self.offset).ln() / self.inv_tau)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURVES: [(f64, f64); 6] = [
        (20.0, 0.0),
        (20.0, -0.01),
        (50.0, -0.001),
        (100.0, 0.0),
        (100.0, 0.001),
        (10.0, -1.5),
    ];

    #[test]
    fn moments_equal_numerical_integration() {
        for (inv_tau, offset) in CURVES {
            let curve = Curve {
                inv_tau,
                offset,
                best: 0.8,
            };
            for (mean, deviation) in [(0.78, 0.01), (0.7, 0.01), (0.55, 0.02), (0.79, 0.001)] {
                let steps = 100_000;
                let width = 24.0 / f64::from(steps);
                let (mut value, mut square) = (0.0, 0.0);
                for i in 0..steps {
                    let z = -12.0 + (f64::from(i) + 0.5) * width;
                    let t = curve.of(mean + deviation * z);
                    value += t * normal::density(z) * width;
                    square += t * t * normal::density(z) * width;
                }
                let got = curve.moments(mean, deviation);
                let name = format!("{inv_tau} {offset} {mean} {deviation}");
                assert!((got.value - value).abs() < 1e-6 * value + 1e-12, "{name}");
                let variance = square - value * value;
                assert!(
                    (got.variance - variance).abs() < 1e-4 * variance + 1e-12,
                    "{name}"
                );
                // Derivatives by central differences.
                let step = 1e-3 * deviation;
                let by_mean = (curve.moments(mean + step, deviation).value
                    - curve.moments(mean - step, deviation).value)
                    / (2.0 * step);
                assert!(
                    (got.by_mean - by_mean).abs() < 1e-4 * by_mean + 1e-9,
                    "{name}"
                );
                let spread = deviation * deviation;
                let other = |share: f64| curve.moments(mean, (spread * share).sqrt()).value;
                let by_variance = (other(1.001) - other(0.999)) / (0.002 * spread);
                let near = (got.by_variance - by_variance).abs() < 1e-4 * by_variance + 1e-6;
                assert!(near, "{name}: {} {by_variance}", got.by_variance);
            }
        }
    }

    #[test]
    fn a_point_has_its_own_influence() {
        let curve = Curve {
            inv_tau: 50.0,
            offset: -0.001,
            best: 0.9,
        };
        let got = curve.moments(0.85, 0.0);
        assert!((got.value - curve.of(0.85)).abs() < 1e-15);
        assert!(got.variance < 1e-15);
        let line = curve.line().unwrap();
        assert!(curve.of(line - 1e-9) == 0.0 && curve.of(line + 1e-9) > 0.0);
        assert_eq!(
            Curve {
                offset: 0.0,
                ..curve
            }
            .line(),
            None
        );
    }
}
