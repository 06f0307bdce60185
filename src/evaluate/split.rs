//! A validation split by entry: queries of one fine-tuned model resemble each other, so a query held out
//! while its siblings train would measure memory.

use crate::error::{Error, Result};
use crate::random::Sequence;

/// Tells the split's chance from that of shuffles with the same seed.
const PURPOSE: u64 = 1;

/// Which of `entries` entries are for validation: the share `fraction` of them, rounded, at least one
/// unless it is 0, and never all.
///
/// # Errors
/// [`Error::InvalidArgument`] for a fraction outside 0..=0.9, and where fewer than two entries are to be
/// split.
pub fn split_entries(entries: usize, fraction: f64, seed: u64) -> Result<Vec<bool>> {
    if !(0.0..=0.9).contains(&fraction) {
        return Err(Error::invalid(format!(
            "a validation share of {fraction} is not between 0 and 0.9"
        )));
    }
    let mut held_out = vec![false; entries];
    if fraction == 0.0 {
        return Ok(held_out);
    }
    if entries < 2 {
        return Err(Error::invalid(format!(
            "{entries} usable entries cannot be split for validation; two are needed"
        )));
    }
    let count = (fraction * entries as f64).round() as usize;
    let mut order: Vec<usize> = (0..entries).collect();
    Sequence::new(seed, PURPOSE).shuffle(&mut order);
    for &entry in order.iter().take(count.clamp(1, entries - 1)) {
        held_out[entry] = true;
    }
    Ok(held_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_held_out_and_the_seed_decides_which() {
        let split = |fraction, seed| split_entries(20, fraction, seed).unwrap();
        let count = |split: Vec<bool>| split.into_iter().filter(|&held_out| held_out).count();
        assert_eq!(count(split(0.2, 1)), 4);
        assert_eq!(count(split(0.01, 1)), 1);
        assert_eq!(count(split(0.0, 1)), 0);
        assert_eq!(split(0.2, 1), split(0.2, 1));
        assert_ne!(split(0.2, 1), split(0.2, 2));
        assert_eq!(count(split_entries(2, 0.9, 0).unwrap()), 1);
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        for (entries, fraction) in [(1, 0.2), (0, 0.2), (9, 1.0), (9, -0.1), (9, f64::NAN)] {
            let error = split_entries(entries, fraction, 0).unwrap_err();
            assert_eq!(error.code(), "invalid-argument");
        }
        assert_eq!(split_entries(1, 0.0, 0).unwrap(), [false]);
    }
}
