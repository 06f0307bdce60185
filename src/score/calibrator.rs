//! Calibrated influence, after the calibrator of "Evaluating Data Attribution for Text-to-Image
//! Models" (ICCV 2023): over all N scores,
//!
//! `t_i = max(exp(inv_tau * (s_i - max_j s_j)) + 0.001 * bias, 0)`, `influence_i = t_i / sum_j t_j`.
//!
//! With a bias it is no softmax: the maximum must be the one over all scores, so influences exist only
//! once every row was scored.

use crate::format::Calibrator;

impl Calibrator {
    /// `b`, a thousandth of the stored bias.
    pub fn effective_bias(&self) -> f32 {
        0.001 * self.bias
    }
}

/// `t_i`, the unnormalised influence of a row with `score` where the best row has `best`.
pub fn unnormalised(calibrator: &Calibrator, score: f32, best: f32) -> f32 {
    let e = (calibrator.inv_tau * (score - best)).exp();
    (e + calibrator.effective_bias()).max(0.0)
}

/// `sum_j t_j` over `scores`, in f64.
pub fn normaliser(calibrator: &Calibrator, scores: &[f32], best: f32) -> f64 {
    scores
        .iter()
        .map(|score| f64::from(unnormalised(calibrator, *score, best)))
        .sum()
}

/// Influence of a row, in 0..=1; 0 for every row when the sum is 0 (a bias of -1000 or less).
pub fn influence(calibrator: &Calibrator, score: f32, best: f32, sum: f64) -> f64 {
    if sum > 0.0 {
        f64::from(unnormalised(calibrator, score, best)) / sum
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(inv_tau: f32, bias: f32, scores: &[f32]) -> Vec<f64> {
        let calibrator = Calibrator {
            inv_tau,
            bias,
            fitted: false,
        };
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        let sum = normaliser(&calibrator, scores, best);
        scores
            .iter()
            .map(|s| influence(&calibrator, *s, best, sum))
            .collect()
    }

    #[test]
    fn without_bias_it_is_the_softmax() {
        let scores = [0.9f32, 0.5, 0.1, -0.3];
        let exps: Vec<f64> = scores
            .iter()
            .map(|s| (20.0 * f64::from(*s)).exp())
            .collect();
        let total: f64 = exps.iter().sum();
        for (got, want) in all(20.0, 0.0, &scores).iter().zip(exps) {
            assert!((got - want / total).abs() < 1e-6);
        }
    }

    #[test]
    fn a_negative_bias_cuts_the_tail_to_exactly_zero() {
        // The line lies at best + ln(0.01) / 10 = best - 0.4605.
        let got = all(10.0, -10.0, &[1.0, 0.55, 0.53, 0.0]);
        assert!(got[1] > 0.0);
        assert_eq!(&got[2..], &[0.0, 0.0]);
        assert!((got.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_positive_bias_leaves_mass_on_every_row() {
        let got = all(50.0, 5.0, &[1.0, -1.0]);
        assert!((got[1] - 0.005 / (1.005 + 0.005)).abs() < 1e-6);
        assert_eq!(all(50.0, -1001.0, &[1.0, 0.0]), [0.0, 0.0]);
    }
}
