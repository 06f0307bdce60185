//! The standard normal distribution, by which scores of rows that were not read exactly are described.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Deviations beyond which a probability is 0 or 1: 1e-23 is left out.
const FAR: f64 = 10.0;

/// Largest exponent whose exponential a double holds.
const EXPONENT_MAX: f64 = 700.0;

/// `P(Z < z)`.
pub fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// `P(Z > z)`, accurate in the far tail.
pub fn above(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The density at `z`.
pub fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / TAU.sqrt()
}

/// `P(X > line)` of a normal X; a deviation of 0 is a point.
pub fn exceeds(line: f64, mean: f64, deviation: f64) -> f64 {
    if deviation > 0.0 {
        match (line - mean) / deviation {
            z if z > FAR => 0.0,
            z if z < -FAR => 1.0,
            z => above(z),
        }
    } else {
        f64::from(mean > line)
    }
}

/// `E[exp(rate X); X > line]` of a normal X: a moment of the log-normal distribution, cut from below. The
/// line may be `-inf`.
pub fn exponential_above(rate: f64, line: f64, mean: f64, deviation: f64) -> f64 {
    let spread = rate * deviation;
    let whole = (rate * mean + 0.5 * spread * spread)
        .min(EXPONENT_MAX)
        .exp();
    // Weighting by the exponential shifts the mean by rate * variance.
    whole * exceeds(line, mean + spread * deviation, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_published_ones() {
        // Abramowitz and Stegun, table 26.1; the last one from the asymptotic series.
        for (z, want) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (2.0, 0.977_249_868_051_821),
            (3.0, 0.998_650_101_968_370),
        ] {
            assert!((below(z) - want).abs() < 1e-14, "{z}");
            assert!((above(-z) - want).abs() < 1e-14, "{z}");
        }
        assert!((above(10.0) / 7.619_853_024_160_527e-24 - 1.0).abs() < 1e-12);
        assert!((density(0.0) - 0.398_942_280_401_432_7).abs() < 1e-15);
        assert_eq!(exceeds(0.5, 0.6, 0.0), 1.0);
        assert_eq!(exceeds(0.6, 0.6, 0.0), 0.0);
    }

    #[test]
    fn the_cut_moment_equals_numerical_integration() {
        for rate in [1.0, 20.0, 200.0] {
            for line in [f64::NEG_INFINITY, -0.3, -0.04, 0.01] {
                for mean in [-0.3, -0.05, 0.0] {
                    for deviation in [1e-3, 0.02] {
                        let got = exponential_above(rate, line, mean, deviation);
                        let steps = 60_000;
                        let width = 30.0 / f64::from(steps);
                        let points = (0..steps).map(|i| -15.0 + (f64::from(i) + 0.5) * width);
                        let cut = points.filter(|z| mean + deviation * z > line);
                        let want: f64 = cut
                            .map(|z| (rate * (mean + deviation * z)).exp() * density(z) * width)
                            .sum();
                        // The cut falls inside of a step.
                        let edge = density((line - mean) / deviation) * width;
                        let edge = edge * (rate * line).exp();
                        let near = (got - want).abs() < 1e-6 * want + edge + 1e-12;
                        assert!(near, "{rate} {line} {mean} {deviation}: {got} {want}");
                    }
                }
            }
        }
        assert_eq!(exponential_above(10.0, 0.1, 0.0, 0.0), 0.0);
        assert_eq!(exponential_above(10.0, -0.1, 0.0, 0.0), 1.0);
        assert!(exponential_above(1e4, 0.0, 1.0, 1.0).is_finite());
    }
}
