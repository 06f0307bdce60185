//! Chance that is the same everywhere: SplitMix64, read by counter.
//!
//! A value is a pure function of a key and a number, in integer arithmetic, so that a split or a shuffle
//! depends on its seed alone, not on the platform or on what was drawn elsewhere.

/// Weyl increment of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014): 2^64 over the golden ratio, odd.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output permutation of SplitMix64.
pub(crate) fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sequence of chance.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    key: u64,
    counter: u64,
}

impl Sequence {
    /// The sequence of a seed; each `purpose` has its own.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self {
            key: scramble(scramble(seed.wrapping_add(1)).wrapping_add(purpose)),
            counter: 0,
        }
    }

    pub fn bits(&mut self) -> u64 {
        self.counter += 1;
        scramble(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN)))
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform below `limit`, which is not 0, but for a bias of at most `limit` / 2^64.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// Fisher and Yates's shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_splitmix64() {
        // First outputs of SplitMix64 seeded with 1234567 (Vigna's reference implementation).
        let mut sequence = Sequence {
            key: 1_234_567,
            counter: 0,
        };
        assert_eq!(sequence.bits(), 6_457_827_717_110_365_317);
        assert_eq!(sequence.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn shuffles_keep_all_and_differ_by_seed_and_purpose() {
        let shuffled = |seed, purpose| {
            let mut items: Vec<usize> = (0..50).collect();
            Sequence::new(seed, purpose).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1, 2), shuffled(1, 2));
        assert_ne!(shuffled(1, 2), shuffled(2, 2));
        assert_ne!(shuffled(1, 2), shuffled(1, 3));
        let mut sorted = shuffled(1, 2);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }
}
