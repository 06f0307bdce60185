//! The demo's source of chance: a counter-based generator and lattice noise.
//!
//! Both are pure functions of a key and a counter or lattice point, in integer arithmetic, so that
//! a work is the same to the bit wherever it is painted and whatever was painted before it.
//! Invariant: no state outside [`Random`]; two generators of the same key give the same sequence.

use std::cell::Cell;

use crate::random::{GOLDEN, scramble};

/// SplitMix64 read by counter: the n-th value is a hash of the key and n. Drawing counts in a cell,
/// so that a draw may stand anywhere in an expression; order of evaluation is left to right.
#[derive(Debug, Clone)]
pub(super) struct Random {
    key: u64,
    counter: Cell<u64>,
}

impl Random {
    pub(super) fn new(artist: usize, work: u32) -> Self {
        let key = scramble(scramble(artist as u64 + 1).wrapping_add(u64::from(work)));
        Self {
            key,
            counter: Cell::new(0),
        }
    }

    pub(super) fn bits(&self) -> u64 {
        self.counter.set(self.counter.get() + 1);
        scramble(
            self.key
                .wrapping_add(self.counter.get().wrapping_mul(GOLDEN)),
        )
    }

    /// Uniform in [0, 1), 24 bits.
    pub(super) fn unit(&self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in [low, high).
    pub(super) fn range(&self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform among the integers low..=high.
    pub(super) fn int(&self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }

    pub(super) fn chance(&self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&self, items: &[T]) -> T {
        items[self.int(0, items.len() - 1)]
    }

    /// Mean 0, variance 1, within ±3.5: the sum of four uniforms, scaled. A bell is all that is
    /// needed, and this one takes no logarithm.
    pub(super) fn bell(&self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732
    }

    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.int(0, i));
        }
    }

    /// A noise field of its own.
    pub(super) fn noise(&self) -> Noise {
        Noise {
            seed: (self.bits() >> 32) as u32,
        }
    }
}

/// Gradient noise on the integer lattice (Perlin 1985, with the quintic fade of 2002).
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    seed: u32,
}

/// The largest integer not above x, for |x| < 2^31.
fn floor(x: f32) -> i32 {
    let i = x as i32;
    if i as f32 > x { i - 1 } else { i }
}

impl Noise {
    pub(super) fn new(seed: u32) -> Self {
        Self { seed }
    }

    /// A hash of a lattice point, uniform in [0, 1).
    pub(super) fn cell(self, x: i32, y: i32) -> f32 {
        (self.hash(x, y) >> 8) as f32 / 16_777_216.0
    }

    fn hash(self, x: i32, y: i32) -> u32 {
        let mut h = self.seed
            ^ (x as u32).wrapping_mul(0x9E37_79B1)
            ^ (y as u32).wrapping_mul(0x85EB_CA77).rotate_left(13);
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
        h ^ (h >> 15)
    }

    fn slope(self, x: i32, y: i32, dx: f32, dy: f32) -> f32 {
        const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
        match self.hash(x, y) >> 29 {
            0 => dx,
            1 => -dx,
            2 => dy,
            3 => -dy,
            4 => D * (dx + dy),
            5 => D * (dx - dy),
            6 => D * (dy - dx),
            _ => -D * (dx + dy),
        }
    }

    /// About [-1, 1], mean 0, one feature per unit of length.
    pub(super) fn at(self, x: f32, y: f32) -> f32 {
        let (xi, yi) = (floor(x), floor(y));
        let (dx, dy) = (x - xi as f32, y - yi as f32);
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (u, v) = (fade(dx), fade(dy));
        let a = self.slope(xi, yi, dx, dy);
        let b = self.slope(xi + 1, yi, dx - 1.0, dy);
        let c = self.slope(xi, yi + 1, dx, dy - 1.0);
        let d = self.slope(xi + 1, yi + 1, dx - 1.0, dy - 1.0);
        let (top, bottom) = (a + (b - a) * u, c + (d - c) * u);
        (top + (bottom - top) * v) * 1.5
    }

    /// Sum of `octaves` of [`Noise::at`], each of twice the frequency and half the height.
    pub(super) fn fractal(self, x: f32, y: f32, octaves: u32) -> f32 {
        let (mut sum, mut height, mut frequency) = (0.0, 0.5, 1.0);
        for octave in 0..octaves {
            // The offset keeps the octaves' lattice points, where the noise is 0, apart.
            let shift = octave as f32 * 17.3;
            sum += height * self.at(x * frequency + shift, y * frequency - shift);
            height *= 0.5;
            frequency *= 2.0;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generator_is_splitmix64() {
        // First outputs of SplitMix64 seeded with 1234567 (Vigna's reference implementation).
        let random = Random {
            key: 1_234_567,
            counter: Cell::new(0),
        };
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
        assert_eq!(random.bits(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn uniform_and_bell_have_their_moments() {
        let random = Random::new(3, 4);
        let n = 20_000;
        let uniform: f32 = (0..n).map(|_| random.unit()).sum::<f32>() / n as f32;
        assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
        let square: f32 = (0..n).map(|_| random.bell().powi(2)).sum::<f32>() / n as f32;
        assert!((square - 1.0).abs() < 0.03, "{square}");
    }

    #[test]
    fn noise_is_zero_on_the_lattice_and_smooth_across_it() {
        let noise = Noise::new(9);
        for i in -5..5 {
            assert_eq!(noise.at(i as f32, 2.0 - i as f32), 0.0);
            let (before, after) = (
                noise.at(i as f32 - 1e-3, 0.4),
                noise.at(i as f32 + 1e-3, 0.4),
            );
            assert!((before - after).abs() < 0.01);
        }
    }
}
