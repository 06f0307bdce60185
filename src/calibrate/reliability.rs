//! Whether stated influence can be taken at its word: stated influence against true share.
//!
//! What the truth is: the exemplars of a query share its influence equally, 1 / exemplars each, and
//! everything else has none. What is stated is the influence as users see it, with the hard maximum, not
//! the softplus of the training loss. Every item of every query goes to a bin by its stated influence;
//! with a good calibrator, the mean stated influence of a bin is its mean true share.

use serde::Serialize;

use crate::evaluate::QueryScores;
use crate::format::Calibrator;
use crate::score::calibrator::{influence, unnormalised};

/// Bins of each decade of stated influence.
const BINS_PER_DECADE: usize = 4;
/// Influences below 10^-6 share one bin.
const DECADES: usize = 6;

/// Items of similar stated influence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Least stated influence of the bin; 0 for the lowest bin, which holds what is stated as nothing.
    pub low: f64,
    /// Stated influences are below it, except that 1 is in the highest bin.
    pub high: f64,
    /// Items, over all queries.
    pub items: f64,
    /// Mean stated influence.
    pub stated: f64,
    /// Mean true share.
    pub truth: f64,
}

/// How far stated influence is true, over some queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reliability {
    pub queries: usize,
    /// Mean over the queries of the influence stated for all exemplars together; 1 would be perfect.
    pub on_exemplars: f64,
    /// Calibration error, 0 to 1: half the sum over the bins of |stated - true| influence, per query. It is
    /// the part of all influence that is stated in other bins than it is true in.
    pub error: f64,
    /// From the lowest; bins without items are left out.
    pub bins: Vec<Bin>,
}

/// Sums of one bin.
#[derive(Clone, Copy, Default)]
struct Sums {
    items: f64,
    stated: f64,
    truth: f64,
}

/// Measures `calibrator` on `queries`; `None` without queries.
pub fn reliability(queries: &[&QueryScores], calibrator: &Calibrator) -> Option<Reliability> {
    let edges: Vec<f64> = (0..DECADES * BINS_PER_DECADE).map(edge).collect();
    let mut bins = [Sums::default(); DECADES * BINS_PER_DECADE + 1];
    let mut on_exemplars = 0.0;
    for query in queries {
        let t = |score| f64::from(unnormalised(calibrator, score, query.best));
        let others = query.others();
        let sum: f64 = others.map(|(score, count)| count * t(score)).sum::<f64>()
            + query.exemplars.iter().map(|&score| t(score)).sum::<f64>();
        let stated = |score| influence(calibrator, score, query.best, sum);
        let share = 1.0 / query.exemplars.len().max(1) as f64;
        let exemplars = query.exemplars.iter().map(|&score| (score, 1.0, share));
        let others = query.others().map(|(score, count)| (score, count, 0.0));
        for (score, count, truth) in exemplars.chain(others) {
            let stated = stated(score);
            let bin = &mut bins[bin_of(stated, &edges)];
            bin.items += count;
            bin.stated += count * stated;
            bin.truth += count * truth;
            if truth > 0.0 {
                on_exemplars += stated;
            }
        }
    }
    let count = queries.len() as f64;
    let apart: f64 = bins.iter().map(|bin| (bin.stated - bin.truth).abs()).sum();
    let filled = bins.iter().enumerate().filter(|(_, bin)| bin.items > 0.0);
    (!queries.is_empty()).then(|| Reliability {
        queries: queries.len(),
        on_exemplars: on_exemplars / count,
        error: 0.5 * apart / count,
        bins: filled
            .map(|(at, bin)| Bin {
                low: if at == 0 { 0.0 } else { edge(at - 1) },
                high: edge(at),
                items: bin.items,
                stated: bin.stated / bin.items,
                truth: bin.truth / bin.items,
            })
            .collect(),
    })
}

/// The bin of a stated influence in 0..=1, given the upper ends of all bins but the highest.
fn bin_of(stated: f64, edges: &[f64]) -> usize {
    edges.partition_point(|&edge| edge <= stated)
}

/// The upper end of bin `at`.
fn edge(at: usize) -> f64 {
    10f64.powf(at as f64 / BINS_PER_DECADE as f64 - DECADES as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibrator(inv_tau: f32, bias: f32) -> Calibrator {
        Calibrator {
            inv_tau,
            bias,
            fitted: true,
        }
    }

    fn query(exemplars: &[f32], others: &[f32]) -> QueryScores {
        let all = exemplars.iter().chain(others);
        QueryScores {
            exemplars: exemplars.to_vec(),
            others: others.to_vec(),
            counts: None,
            best: all.copied().fold(f32::NEG_INFINITY, f32::max),
        }
    }

    #[test]
    fn equal_exemplars_and_nothing_else_are_stated_exactly() {
        // At -0.1, whatever is 0.5 below the best is cut.
        let query = query(&[0.9, 0.9], &[0.4, 0.1, -0.3]);
        let found = reliability(&[&query], &calibrator(40.0, -100.0)).unwrap();
        assert_eq!((found.error, found.on_exemplars), (0.0, 1.0));
        let [nothing, half] = found.bins.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((nothing.low, nothing.items, nothing.truth), (0.0, 3.0, 0.0));
        assert_eq!((half.items, half.stated, half.truth), (2.0, 0.5, 0.5));
        assert!(half.low <= 0.5 && 0.5 < half.high);
    }

    #[test]
    fn influence_spread_over_all_is_an_error_by_hand() {
        // inv_tau 0: each of four has a quarter, the one exemplar should have all.
        let query = query(&[0.9], &[0.4, 0.1, -0.3]);
        let flat = reliability(&[&query], &calibrator(0.0, 0.0)).unwrap();
        assert_eq!(
            (flat.bins.len(), flat.error, flat.on_exemplars),
            (1, 0.0, 0.25)
        );
        // One bin, whose mean is true: sharing equally is calibrated, if useless. A calibrator that states
        // all of it for the wrong one is not.
        let wrong = super::tests::query(&[0.1], &[0.9, 0.1]);
        let sharp = reliability(&[&wrong], &calibrator(1000.0, 0.0)).unwrap();
        assert_eq!((sharp.error, sharp.on_exemplars), (1.0, 0.0));
    }

    #[test]
    fn counts_stand_for_as_many_items() {
        let plain = query(&[0.5], &[0.3, 0.3, 0.3, 0.2]);
        let counted = QueryScores {
            others: vec![0.3, 0.2],
            counts: Some(vec![3.0, 1.0]),
            ..plain.clone()
        };
        let by = calibrator(7.0, 3.0);
        let [a, b] = [plain, counted].map(|query| reliability(&[&query], &by).unwrap());
        assert_eq!(a.bins.len(), b.bins.len());
        assert!((a.error - b.error).abs() < 1e-12);
    }

    #[test]
    fn bins_cover_zero_to_one() {
        let highest = DECADES * BINS_PER_DECADE;
        let edges: Vec<f64> = (0..highest).map(edge).collect();
        assert_eq!(bin_of(0.0, &edges), 0);
        assert_eq!(bin_of(1.0, &edges), highest);
        assert_eq!(edge(highest), 1.0);
        assert!((1..=highest).all(|at| bin_of(edge(at - 1), &edges) == at));
    }
}
