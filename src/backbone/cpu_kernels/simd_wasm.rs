//! [`Simd`] in WebAssembly's 128-bit instructions, two registers for eight lanes.
//!
//! Chosen when compiled with `simd128`. The crate's feature `relaxed-simd` makes the module of which not every
//! browser knows the instructions: there products and sums are fused where the machine can, and [`QuadSimd`] exists.
//! Loads and stores take no alignment; their bounds are those of the arrays.

use std::arch::wasm32::*;

#[cfg(feature = "relaxed-simd")]
use super::quad_simd::{QuadKernel, QuadSimd};
#[cfg(feature = "relaxed-simd")]
use super::quads::{self, Half, Pieces};
use super::simd::{Kernel, LANES, ROWS, Simd};

/// Two vectors of four lanes.
#[derive(Clone, Copy)]
pub struct Two(v128, v128);

/// The instructions; compiled in, so always there.
#[derive(Clone, Copy)]
pub struct Wasm128;

/// Runs `kernel`, compiled for the instructions of this module.
pub fn run<K: Kernel>(kernel: K) {
    #[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
    fn compiled<K: Kernel>(kernel: K) {
        kernel.run(Wasm128);
    }
    // An engine without the instructions compiles no module that has them.
    compiled(kernel)
}

/// Runs `kernel` likewise.
#[cfg(feature = "relaxed-simd")]
pub fn run_quads<K: QuadKernel>(kernel: K) {
    #[target_feature(enable = "relaxed-simd")]
    fn compiled<K: QuadKernel>(kernel: K) {
        kernel.run(Wasm128);
    }
    compiled(kernel)
}

/// Whether four products of bytes and their sum are one instruction here. Where they are several on x86, sums of two
/// products stop at the limits of i16, which shows.
#[cfg(feature = "relaxed-simd")]
pub fn has_quad_instruction() -> bool {
    #[target_feature(enable = "relaxed-simd")]
    fn probe() -> bool {
        // Not to be computed by a compiler, whose answer may be another one.
        let (a, b) = std::hint::black_box((i8x16_splat(127), i8x16_splat(-1)));
        let sum = i32x4_extract_lane::<0>(i32x4_relaxed_dot_i8x16_i7x16_add(a, b, i32x4_splat(0)));
        // With the second operand as u8, and as i8.
        sum == 4 * 127 * 255 || sum == -4 * 127
    }
    probe()
}

/// Whole numbers as i32. Those of kernels lie within its limits, beyond which relaxed SIMD would promise nothing.
#[inline(always)]
fn integers(x: v128) -> v128 {
    #[cfg(feature = "relaxed-simd")]
    return i32x4_relaxed_trunc_f32x4(x);
    #[cfg(not(feature = "relaxed-simd"))]
    return i32x4_trunc_sat_f32x4(x);
}

impl Two {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(v128, v128) -> v128) -> Self {
        Self(f(self.0, other.0), f(self.1, other.1))
    }

    #[inline(always)]
    fn map(self, f: impl Fn(v128) -> v128) -> Self {
        Self(f(self.0), f(self.1))
    }

    /// Both halves of 32 bytes.
    #[inline(always)]
    fn load<T>(from: &[T]) -> Self {
        let from = from.as_ptr().cast::<v128>();
        debug_assert_eq!(size_of::<Self>(), 32);
        // SAFETY: callers pass arrays of 32 bytes; v128 loads take any alignment.
        unsafe { Self(v128_load(from), v128_load(from.add(1))) }
    }
}

impl Simd for Wasm128 {
    type F = Two;
    type I = Two;
    type W = Two;

    #[inline(always)]
    fn splat(self, x: f32) -> Two {
        Two(f32x4_splat(x), f32x4_splat(x))
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Two {
        Two::load(from)
    }
    #[inline(always)]
    fn store(self, x: Two, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr().cast::<v128>();
        // SAFETY: eight f32 are 32 bytes; v128 stores take any alignment.
        unsafe {
            v128_store(to, x.0);
            v128_store(to.add(1), x.1);
        }
    }
    #[inline(always)]
    fn add(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_add(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_sub(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_mul(a, b))
    }
    #[inline(always)]
    fn div(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_div(a, b))
    }
    #[cfg(not(feature = "relaxed-simd"))]
    #[inline(always)]
    fn mul_add(self, a: Two, b: Two, c: Two) -> Two {
        self.add(self.mul(a, b), c)
    }
    #[cfg(feature = "relaxed-simd")]
    #[inline(always)]
    fn mul_add(self, a: Two, b: Two, c: Two) -> Two {
        Two(
            f32x4_relaxed_madd(a.0, b.0, c.0),
            f32x4_relaxed_madd(a.1, b.1, c.1),
        )
    }
    // The pseudo-maximum is one instruction on x86, the IEEE one is many.
    #[inline(always)]
    fn max(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_pmax(a, b))
    }
    #[inline(always)]
    fn min(self, a: Two, b: Two) -> Two {
        a.zip(b, |a, b| f32x4_pmin(a, b))
    }
    #[inline(always)]
    fn abs(self, x: Two) -> Two {
        x.map(|x| f32x4_abs(x))
    }
    #[inline(always)]
    fn round(self, x: Two) -> Two {
        x.map(|x| f32x4_nearest(x))
    }
    #[inline(always)]
    fn exp2(self, n: Two) -> Two {
        n.map(|n| {
            let n = integers(n);
            i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23)
        })
    }
    #[inline(always)]
    fn zero(self) -> Two {
        Two(i32x4_splat(0), i32x4_splat(0))
    }
    #[inline(always)]
    fn load_pairs(self, from: &[i16; 2 * LANES]) -> Two {
        Two::load(from)
    }
    #[inline(always)]
    fn splat_pairs(self, x: &[i32; ROWS]) -> [Two; ROWS] {
        const { assert!(ROWS == 4) };
        // One load and shuffles: LLVM computes the address of each load that it broadcasts by an instruction of its own.
        // Products of f32 gain nothing, as their units do some shuffles too.
        // SAFETY: four i32 are 16 bytes; v128 loads take any alignment.
        let x = unsafe { v128_load(x.as_ptr().cast()) };
        [
            i32x4_shuffle::<0, 0, 0, 0>(x, x),
            i32x4_shuffle::<1, 1, 1, 1>(x, x),
            i32x4_shuffle::<2, 2, 2, 2>(x, x),
            i32x4_shuffle::<3, 3, 3, 3>(x, x),
        ]
        .map(|x| Two(x, x))
    }
    #[inline(always)]
    fn dot(self, acc: Two, w: Two, x: Two) -> Two {
        acc.zip(w.zip(x, |w, x| i32x4_dot_i16x8(w, x)), |acc, dot| {
            i32x4_add(acc, dot)
        })
    }
    #[inline(always)]
    fn to_f32(self, x: Two) -> Two {
        x.map(|x| f32x4_convert_i32x4(x))
    }
    #[inline(always)]
    fn store_pairs(self, x: Two, to: &mut [i32; LANES / 2]) {
        let x = self.round(x).map(integers);
        let pairs = i16x8_narrow_i32x4(x.0, x.1);
        // SAFETY: four i32 are 16 bytes; v128 stores take any alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), pairs) }
    }
}

#[cfg(feature = "relaxed-simd")]
impl QuadSimd for Wasm128 {
    type Q = v128;
    type B = v128;

    #[inline(always)]
    fn load_sums(self, from: &[i32; 4]) -> v128 {
        // SAFETY: four i32 are 16 bytes; v128 loads take any alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_sums(self, sums: v128, to: &mut [i32; 4]) {
        // SAFETY: as above.
        unsafe { v128_store(to.as_mut_ptr().cast(), sums) }
    }
    #[inline(always)]
    fn load_quads(self, from: &[i8; 16]) -> v128 {
        // SAFETY: 16 bytes; v128 loads take any alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn dot_quads(self, acc: v128, w: v128, x: u32) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(w, u32x4_splat(x), acc)
    }
    #[inline(always)]
    fn dot_quads_in_steps(self, acc: v128, w: v128, x: u32) -> v128 {
        // Where the one above is several instructions, one of them makes these ones each time.
        let twos = i16x8_relaxed_dot_i8x16_i7x16(w, u32x4_splat(x));
        i32x4_add(acc, i32x4_dot_i16x8(twos, i16x8_splat(1)))
    }
    #[inline(always)]
    fn add_scaled(self, low: v128, high: v128, scale: &[f32; 4], to: &mut [f32; 4]) {
        let sum = f32x4_convert_i32x4(i32x4_add(i32x4_shl(high, 7), low));
        // SAFETY: four f32 are 16 bytes; v128 loads and stores take any alignment.
        unsafe {
            let scale = v128_load(scale.as_ptr().cast());
            let before = v128_load(to.as_ptr().cast());
            let after = f32x4_relaxed_madd(sum, scale, before);
            v128_store(to.as_mut_ptr().cast(), after);
        }
    }
    #[inline(always)]
    fn multiply_half(
        self,
        rows: &[[Pieces; quads::ROWS]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; quads::ROWS],
    ) {
        // Among more variables V8 keeps some of the sums in memory, and takes twice as long.
        #[target_feature(enable = "relaxed-simd")]
        #[inline(never)]
        fn compiled(
            rows: &[[Pieces; quads::ROWS]],
            half: Half<'_>,
            to: &mut [[f32; LANES]; quads::ROWS],
        ) {
            quads::multiply_half(Wasm128, rows, half, to);
        }
        compiled(rows, half, to);
    }
    #[inline(always)]
    fn multiply_single<const R: usize, const ONE: bool>(
        self,
        rows: &[[u32; R]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    ) {
        // As above.
        #[target_feature(enable = "relaxed-simd")]
        #[inline(never)]
        fn compiled<const R: usize, const ONE: bool>(
            rows: &[[u32; R]],
            half: Half<'_>,
            to: &mut [[f32; LANES]; R],
        ) {
            quads::multiply_single::<_, R, ONE>(Wasm128, rows, half, to);
        }
        compiled::<R, ONE>(rows, half, to);
    }
    #[inline(always)]
    fn pack(self, x: Two) -> [u32; 2] {
        let x = self.round(x).map(integers);
        let words = i16x8_narrow_i32x4(x.0, x.1);
        let words = u8x16_narrow_i16x8(words, words);
        [
            u32x4_extract_lane::<0>(words),
            u32x4_extract_lane::<1>(words),
        ]
    }
    #[inline(always)]
    fn split(self, x: Two) -> [[u32; 2]; 2] {
        let x = self
            .round(x)
            .map(|x| i32x4_add(integers(x), i32x4_splat(8192)));
        let low = x.map(|x| v128_and(x, i32x4_splat(127)));
        let high = x.map(|x| u32x4_shr(x, 7));
        // Bytes 0 to 7 the low pieces, 8 to 15 the high ones.
        let words = u8x16_narrow_i16x8(
            i16x8_narrow_i32x4(low.0, low.1),
            i16x8_narrow_i32x4(high.0, high.1),
        );
        [
            [
                u32x4_extract_lane::<0>(words),
                u32x4_extract_lane::<2>(words),
            ],
            [
                u32x4_extract_lane::<1>(words),
                u32x4_extract_lane::<3>(words),
            ],
        ]
    }
}
