//! The scales of 4-bit groups: whole multiples, within ±15, of one unit for each row of a matrix.
//!
//! A code within -8..=7 times such a multiple fits in an i8, so a row is at the same time one of 8-bit integers with a
//! single scale, and kernels for those serve both. Against scales of any size that costs 2 % of the squared error of
//! plain rounding (DINOv2 S/14's weights). A unit has seven significant bits, so that each multiple of it is an f16.
//! Readers do not rely on it: where [`multiples`] finds no unit, scales are whatever they are.

use half::f16;

use crate::format::model::INT4_GROUP;

/// Largest multiple of a unit.
const MULTIPLE_MAX: usize = 15;
/// Factors of a row's largest scale that are tried for its unit.
const SHRINK: [f32; 5] = [1.0, 0.97, 0.94, 0.91, 0.88];
/// Shares of a group's plain scale between which multiples are tried.
const SHARES: [f32; 2] = [0.75, 1.0];
/// How much larger a unit is where rounding errors are handed on, which makes groups larger.
const HEADROOM: f32 = 1.06;
/// The least f16 above zero.
const LEAST: f32 = 1.0 / (1 << 24) as f32;

/// A group's weights.
type Group = [f32; INT4_GROUP];

/// The 4-bit code nearest to `weight`.
pub fn nearest(weight: f32, scale: f32) -> f32 {
    match scale {
        0.0 => 0.0,
        scale => (weight / scale).round().clamp(-8.0, 7.0),
    }
}

/// The unit of a row's scales, with the least squared error of its groups; with some room where rounding errors are to be
/// `handed_on`. Infinite where a scale would be beyond f16.
pub fn unit_of(row: &[f32], handed_on: bool) -> f32 {
    let groups = row.as_chunks().0;
    let largest = groups.iter().map(|g| plain(g).abs()).fold(0.0, f32::max);
    let mut best = (f32::INFINITY, 0.0);
    for shrink in SHRINK {
        let unit = rounded_up(shrink * largest / MULTIPLE_MAX as f32);
        let error: f32 = groups.iter().map(|group| best_scale(group, unit).0).sum();
        if error < best.0 {
            best = (error, unit);
        }
    }
    let unit = match handed_on {
        true => rounded_up(HEADROOM * best.1),
        false => best.1,
    };
    // Of far larger weights not even the errors are numbers.
    let fits = best.0.is_finite() && f16::from_f32(MULTIPLE_MAX as f32 * unit).is_finite();
    if fits { unit } else { f32::INFINITY }
}

/// The multiple of `unit` with the least squared error of `group`.
pub fn scale_of(group: &Group, unit: f32) -> f32 {
    best_scale(group, unit).1
}

/// The unit of a row's scales, and what multiple of it each one is, within ±15; none where there is no such unit.
pub fn multiples(scales: &[f32]) -> Option<(f32, Vec<i8>)> {
    let largest = scales
        .iter()
        .fold(0.0f32, |most, scale| most.max(scale.abs()));
    if largest == 0.0 {
        return Some((0.0, vec![0; scales.len()]));
    }
    (1..=MULTIPLE_MAX).rev().find_map(|most| {
        let unit = largest / most as f32;
        let multiple = |scale: &f32| {
            let multiple = (scale / unit).round();
            (multiple * unit == *scale).then_some(multiple as i8)
        };
        let multiples: Option<Vec<i8>> = scales.iter().map(multiple).collect();
        Some((unit, multiples?))
    })
}

/// The scale that maps the weight of largest magnitude to -8, the code that has no opposite.
fn plain(group: &Group) -> f32 {
    let larger = |peak: f32, w: &f32| if w.abs() > peak.abs() { *w } else { peak };
    group.iter().fold(0.0, larger) / -8.0
}

/// Squared error and scale.
fn best_scale(group: &Group, unit: f32) -> (f32, f32) {
    let plain = plain(group);
    if plain == 0.0 || unit == 0.0 {
        return (group.iter().map(|w| w * w).sum(), 0.0);
    }
    let [from, to] = SHARES.map(|share| share * plain.abs() / unit);
    let most = MULTIPLE_MAX as f32;
    let (from, to) = (from.floor().clamp(1.0, most), to.ceil().clamp(1.0, most));
    let mut best = (f32::INFINITY, 0.0);
    for multiple in from as usize..=to as usize {
        let scale = (multiple as f32 * unit).copysign(plain);
        let errors = group
            .iter()
            .map(|w| (w - nearest(*w, scale) * scale).powi(2));
        let error = errors.sum();
        if error < best.0 {
            best = (error, scale);
        }
    }
    best
}

/// The least number of seven significant bits that is not below `value` and of which every multiple is an f16.
fn rounded_up(value: f32) -> f32 {
    const CUT: u32 = (1 << 17) - 1;
    let bits = f32::from_bits((value.to_bits() + CUT) & !CUT);
    match bits < 64.0 * LEAST {
        true => (bits / LEAST).ceil() * LEAST,
        false => bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::matrix::tests::noise;

    /// A row of groups of very different sizes.
    fn row(size: f32) -> Vec<f32> {
        let of = |i: usize| size * noise(i) / (1 + i / INT4_GROUP) as f32;
        (0..20 * INT4_GROUP).map(of).collect()
    }

    #[test]
    fn scales_are_f16_and_their_multiples_are_found_again() {
        for (i, size) in [1e5, 1.0, 0.03, 1e-3, 1e-5, 1e-6].into_iter().enumerate() {
            let handed_on = i % 2 == 1;
            let row = row(size);
            let unit = unit_of(&row, handed_on);
            let groups = row.as_chunks().0;
            let scales: Vec<f32> = groups.iter().map(|g| scale_of(g, unit)).collect();
            for scale in &scales {
                assert_eq!(f16::from_f32(*scale).to_f32(), *scale, "{size}");
                assert!((scale / unit).abs() <= 15.0);
            }
            let (found, multiples) = multiples(&scales).unwrap();
            for (multiple, scale) in multiples.iter().zip(&scales) {
                assert!((-15..=15).contains(multiple));
                assert_eq!(f32::from(*multiple) * found, *scale, "{size}");
            }
        }
    }

    #[test]
    fn the_error_is_near_that_of_free_scales() {
        let row = row(0.1);
        let error = |scale: f32, group: &Group| -> f32 {
            let errors = group
                .iter()
                .map(|w| (w - nearest(*w, scale) * scale).powi(2));
            errors.sum()
        };
        let unit = unit_of(&row, false);
        let (mut free, mut tied) = (0.0, 0.0);
        for group in row.as_chunks().0 {
            let shares = (75..=100).map(|share| error(plain(group) * share as f32 / 100.0, group));
            free += shares.fold(f32::INFINITY, f32::min);
            tied += error(scale_of(group, unit), group);
        }
        assert!(tied < 1.1 * free, "{tied} {free}");
    }

    #[test]
    fn rows_of_zeros_and_rows_beyond_f16_are_told() {
        assert_eq!(unit_of(&[0.0; 64], true), 0.0);
        assert_eq!(scale_of(&[0.0; 32], 0.0), 0.0);
        assert_eq!(multiples(&[0.0; 3]), Some((0.0, vec![0; 3])));
        for size in [1e7, 1e9, 1e30] {
            assert_eq!(unit_of(&[size; 64], false), f32::INFINITY);
        }
    }

    #[test]
    fn scales_without_a_unit_have_no_multiples() {
        assert_eq!(multiples(&[1.0, 0.3011]), None);
        assert_eq!(multiples(&[1.0, 1.0 / 16.0]), None);
        assert_eq!(multiples(&[12.0, -8.0, 4.0]), Some((0.8, vec![15, -10, 5])));
    }
}
