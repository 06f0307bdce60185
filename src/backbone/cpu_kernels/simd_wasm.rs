//! [`Simd`] in WebAssembly's 128-bit instructions, two registers for eight lanes.
//!
//! Chosen when compiled with `simd128`. With `relaxed-simd` products and sums may be fused.
//! Loads and stores take no alignment; their bounds are those of the arrays.

use std::arch::wasm32::*;

use super::simd::{LANES, Simd};

/// Two vectors of four lanes.
#[derive(Clone, Copy)]
pub struct Two(v128, v128);

/// The instructions; compiled in, so always there.
#[derive(Clone, Copy)]
pub struct Wasm128;

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
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn mul_add(self, a: Two, b: Two, c: Two) -> Two {
        self.add(self.mul(a, b), c)
    }
    #[cfg(target_feature = "relaxed-simd")]
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
            let n = i32x4_trunc_sat_f32x4(n);
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
    fn dot(self, acc: Two, w: Two, x: i32) -> Two {
        let x = i32x4_splat(x);
        acc.zip(w, |acc, w| i32x4_add(acc, i32x4_dot_i16x8(w, x)))
    }
    #[inline(always)]
    fn to_f32(self, x: Two) -> Two {
        x.map(|x| f32x4_convert_i32x4(x))
    }
    #[inline(always)]
    fn store_pairs(self, x: Two, to: &mut [i32; LANES / 2]) {
        let x = self.round(x).map(|x| i32x4_trunc_sat_f32x4(x));
        let pairs = i16x8_narrow_i32x4(x.0, x.1);
        // SAFETY: four i32 are 16 bytes; v128 stores take any alignment.
        unsafe { v128_store(to.as_mut_ptr().cast(), pairs) }
    }
}
