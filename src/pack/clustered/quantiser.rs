//! Which dimensions are coded, how widely and in what steps.
//!
//! Fields come in groups of 4, 8 and 16, so where rows have a few values only, the last 8-bit group may reach past
//! them: what it codes there is zero in every row.

use super::leaves::LEAF_ROWS;
use super::row_code::BIT_PRICE;
use crate::format::clustered::Widths;

/// Largest ratio of a dimension's deviation to its step for 2 and for 4 bits: beyond, clamping costs more than
/// the wider field.
const TWO_BITS_MAX: f64 = 0.55;
const FOUR_BITS_MAX: f64 = 2.3;
/// Smallest ratio of a dimension that is coded: below, nearly all codes are zero.
const CODED_MIN: f64 = 0.3;
/// Zeros of the entropy form: one code is the value 0. 4 bits reach from -7 to 8 steps, 2 bits from -1 to 2.
const ZEROS: [f32; 3] = [0.0, 7.0, 1.0];
/// Zeros of the fixed form: codes lie half a step to both sides of 0.
const FIXED_ZEROS: [f32; 3] = [0.0, 7.5, 1.5];
/// Steps in deviations with the least squared error for a normal distribution: uniform quantisers of 4, 16
/// and 256 values (Max, "Quantizing for minimum distortion", 1960).
const FIXED_STEPS: [f64; 3] = [0.0308, 0.3352, 0.9957];
/// The squared errors that they leave of a variance of 1.
const FIXED_ERRORS: [f64; 3] = [0.000_09, 0.011_54, 0.1188];

/// Steps of leaves' codes in those of rows: finer, as many rows share them. On a million generated rows an index with .2 takes as
/// many bytes for a query as one with .3; by entropies .5 takes more.
pub(super) const LEAF_RATIO: f32 = 0.3;

/// What a bit of a leaf's code is worth, in squared steps of it: its error is that of all its rows.
pub(super) const LEAF_BIT_PRICE: f32 = BIT_PRICE / (LEAF_RATIO * LEAF_RATIO * LEAF_ROWS as f32);

/// Widths, steps [M] and zeros [M].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quantiser {
    pub widths: Widths,
    pub steps: Vec<f32>,
    pub zeros: Vec<f32>,
}

/// The form for entropy coding: steps are `step` times `relative` [D], as many dimensions as have a deviation
/// of some size in steps. `energies` [D] descend, more or less.
pub(super) fn entropy_form(energies: &[f64], relative: &[f64], step: f64) -> Quantiser {
    let ratio = |j: usize| energies[j].sqrt() / (step * relative[j]);
    let above = |limit: f64| {
        let last = (0..energies.len()).rev().find(|j| ratio(*j) > limit);
        last.map_or(0, |last| last + 1)
    };
    let widths = widths_up_to(
        [above(FOUR_BITS_MAX), above(TWO_BITS_MAX), above(CODED_MIN)],
        energies.len(),
    );
    let steps = (0..widths.dimensions())
        .map(|j| step * relative.get(j).copied().unwrap_or(1.0))
        .collect();
    with_zeros(widths, steps, ZEROS)
}

/// The form of fixed rate with `bits` of codes a row: the bits go where they leave least error, a dimension
/// of the energy e counting as e * `weights`.
pub(super) fn fixed_form(energies: &[f64], weights: &[f64], bits: usize) -> Quantiser {
    let dimension = energies.len();
    let error = |j: usize| weights[j] * energies[j];
    // Totals of error up to a dimension, so that a trial of widths is a few look-ups.
    let mut sums = vec![0.0];
    for j in 0..dimension {
        sums.push(sums[j] + error(j));
    }
    let mut best = (
        f64::INFINITY,
        Widths {
            eight: 0,
            four: 0,
            two: 16,
        },
    );
    for eight in (0..=dimension.next_multiple_of(4).min(bits / 8)).step_by(4) {
        let narrower = dimension.saturating_sub(eight);
        for four in (0..=narrower.min((bits - 8 * eight) / 4)).step_by(8) {
            let left = (bits - 8 * eight - 4 * four) / 2 / 16 * 16;
            let two = left.min((narrower - four) / 16 * 16);
            let ends = [eight, eight + four, eight + four + two];
            if ends[2] == 0 {
                continue;
            }
            let ends = ends.map(|end| end.min(dimension));
            let left = (sums[ends[0]]) * FIXED_ERRORS[0]
                + (sums[ends[1]] - sums[ends[0]]) * FIXED_ERRORS[1]
                + (sums[ends[2]] - sums[ends[1]]) * FIXED_ERRORS[2]
                + (sums[dimension] - sums[ends[2]]);
            if left < best.0 {
                best = (left, Widths { eight, four, two });
            }
        }
    }
    let widths = best.1;
    let steps = (0..widths.dimensions())
        .map(|j| {
            let relative = FIXED_STEPS[match widths.bits(j) {
                8 => 0,
                4 => 1,
                _ => 2,
            }];
            energies.get(j).map_or(0.0, |e| e.sqrt()) * relative
        })
        .collect();
    with_zeros(widths, steps, FIXED_ZEROS)
}

/// Widths whose 8-bit, 4-bit and 2-bit dimensions end near `ends`, within `dimension` rounded up to a group of
/// 8-bit fields: wider fields take what the multiples leave over.
fn widths_up_to(ends: [usize; 3], dimension: usize) -> Widths {
    let two_end = ends[2].clamp(1, dimension);
    let eight = ends[0].next_multiple_of(4).min(two_end.next_multiple_of(4));
    let four = ends[1].saturating_sub(eight).next_multiple_of(8);
    let two = two_end.saturating_sub(eight + four).next_multiple_of(16);
    let mut widths = Widths { eight, four, two };
    // Not past the dimensions that there are: smaller fields first.
    let dimension = dimension.next_multiple_of(4);
    while widths.dimensions() > dimension && widths.two >= 16 {
        widths.two -= 16;
    }
    while widths.dimensions() > dimension && widths.four >= 8 {
        widths.four -= 8;
    }
    while widths.dimensions() > dimension && widths.eight > 4 {
        widths.eight -= 4;
    }
    match (widths.dimensions(), dimension) {
        // Groups of 2 bits alone did not fit.
        (0, 8..) => Widths { four: 8, ..widths },
        (0, _) => Widths { eight: 4, ..widths },
        _ => widths,
    }
}

fn with_zeros(widths: Widths, steps: Vec<f64>, zeros: [f32; 3]) -> Quantiser {
    let zero = |j| match widths.bits(j) {
        8 => zeros[0],
        4 => zeros[1],
        _ => zeros[2],
    };
    Quantiser {
        widths,
        // A step of 0 would be none; where there is nothing to code any other does.
        steps: steps.into_iter().map(|s| (s as f32).max(1e-6)).collect(),
        zeros: (0..widths.dimensions()).map(zero).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_number_of_values_have_a_form() {
        for dimension in (1..=40).chain([100, 384]) {
            // Falling energies, none at all, and equal ones.
            let falling: Vec<f64> = (0..dimension).map(|j| 0.7f64.powi(j)).collect();
            let dimension = falling.len();
            for energies in [falling, vec![0.0; dimension], vec![0.1; dimension]] {
                let ones = vec![1.0; dimension];
                let fixed = fixed_form(&energies, &ones, 256);
                let steps = [1e-4, 0.03, 0.2, 0.6, 1.0, 10.0];
                let entropy = steps.map(|step| entropy_form(&energies, &ones, step));
                for form in entropy.into_iter().chain([fixed]) {
                    let coded = form.widths.dimensions();
                    assert!(form.widths.check(), "{dimension}: {form:?}");
                    assert!(
                        coded <= dimension.next_multiple_of(4).max(4),
                        "{dimension}: {form:?}"
                    );
                    assert_eq!((form.steps.len(), form.zeros.len()), (coded, coded));
                    assert!(form.steps.iter().all(|step| (1e-6..=1e3).contains(step)));
                }
            }
        }
    }
}
