//! Eight lanes of f32 or i32, whatever the machine calls them.
//!
//! The kernels are written once over [`Simd`]; [`dispatch`] picks the widest implementation that the
//! machine has: WebAssembly's 128 bits (chosen when compiled), AVX2 (found at run time), or plain arrays.
//! Every implementation has eight lanes, so layouts and remainders do not depend on it; the arithmetic
//! may differ in the last bits, since AVX2 fuses products and sums. Invariants: a value of an
//! implementation's type exists only where its instructions do; loads and stores take arrays, so that
//! their bounds are the type's.

/// Lanes of a vector.
pub const LANES: usize = 8;
/// Rows of a register tile: eight accumulators in both cases.
pub const ROWS: usize = if cfg!(target_arch = "wasm32") { 4 } else { 8 };

/// Instructions on eight lanes.
pub trait Simd: Copy {
    /// Eight f32.
    type F: Copy;
    /// Eight i32.
    type I: Copy;
    /// Eight pairs of i16.
    type W: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once or twice.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, x: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, x: Self::F) -> Self::F;
    /// `2^n` for integers n in -126..=127.
    fn exp2(self, n: Self::F) -> Self::F;

    fn zero(self) -> Self::I;
    fn load_pairs(self, from: &[i16; 2 * LANES]) -> Self::W;
    /// Each pair of `x` in all lanes; a pair has its first in the low half.
    fn splat_pairs(self, x: &[i32; ROWS]) -> [Self::W; ROWS];
    /// `acc + w[0] * x[0] + w[1] * x[1]` in each lane.
    fn dot(self, acc: Self::I, w: Self::W, x: Self::W) -> Self::I;
    fn to_f32(self, x: Self::I) -> Self::F;
    /// Rounds to integers within -32767..=32767 and stores them as pairs, the first in the low half.
    fn store_pairs(self, x: Self::F, to: &mut [i32; LANES / 2]);

    /// The lanes as an array.
    #[inline(always)]
    fn lanes(self, x: Self::F) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        lanes
    }

    /// Loads the first lanes, zeros beyond.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::F {
        match from.first_chunk() {
            Some(full) => self.load(full),
            None => {
                let mut lanes = [0.0; LANES];
                lanes[..from.len()].copy_from_slice(from);
                self.load(&lanes)
            }
        }
    }

    /// Stores the first lanes, as many as fit.
    #[inline(always)]
    fn store_part(self, x: Self::F, to: &mut [f32]) {
        match to.first_chunk_mut() {
            Some(full) => self.store(x, full),
            None => {
                let lanes = self.lanes(x);
                to.copy_from_slice(&lanes[..to.len()]);
            }
        }
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.lanes(x);
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    fn largest(self, x: Self::F) -> f32 {
        self.lanes(x).into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// A computation over any [`Simd`]; `run` is to be inlined, so that it is compiled with the instructions.
pub trait Kernel {
    fn run<S: Simd>(self, s: S);
}

/// Runs `kernel` with the widest instructions that this machine has.
pub fn dispatch<K: Kernel>(kernel: K) {
    #[cfg(test)]
    if super::tests::PLAIN.get() {
        return kernel.run(Plain);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    super::simd_wasm::run(kernel);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = super::simd_avx2::Avx2::detect() {
            return avx2.run(kernel);
        }
        kernel.run(Plain);
    }
}

/// Arrays, for machines without known instructions; the compiler makes vectors of them where it can.
#[derive(Clone, Copy)]
#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128"),
    allow(dead_code)
)]
pub struct Plain;

impl Plain {
    #[inline(always)]
    fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Plain {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type W = [i16; 2 * LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, f32::max)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        Self::zip(a, b, f32::min)
    }
    #[inline(always)]
    fn abs(self, x: Self::F) -> Self::F {
        x.map(f32::abs)
    }
    #[inline(always)]
    fn round(self, x: Self::F) -> Self::F {
        x.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn exp2(self, n: Self::F) -> Self::F {
        n.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn zero(self) -> Self::I {
        [0; LANES]
    }
    #[inline(always)]
    fn load_pairs(self, from: &[i16; 2 * LANES]) -> Self::W {
        *from
    }
    #[inline(always)]
    fn splat_pairs(self, x: &[i32; ROWS]) -> [Self::W; ROWS] {
        x.map(|x| std::array::from_fn(|i| (x >> (16 * (i % 2))) as i16))
    }
    #[inline(always)]
    fn dot(self, acc: Self::I, w: Self::W, x: Self::W) -> Self::I {
        let product = |i: usize| i32::from(w[i]) * i32::from(x[i]);
        std::array::from_fn(|i| acc[i] + (product(2 * i) + product(2 * i + 1)))
    }
    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn store_pairs(self, x: Self::F, to: &mut [i32; LANES / 2]) {
        let x = x.map(|x| x.round_ties_even() as i32);
        *to = std::array::from_fn(|i| (x[2 * i] & 0xffff) | (x[2 * i + 1] << 16));
    }
}
