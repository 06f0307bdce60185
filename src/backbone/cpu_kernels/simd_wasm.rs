//! [`Simd`] in WebAssembly's 128-bit instructions, two registers for eight lanes.
//!
//! Chosen when compiled with `simd128`. The crate's feature `relaxed-simd` makes the module of which not every
//! browser knows the instructions: there products and sums are fused where the machine can, and `quad_simd_wasm` exists.
//! Loads and stores take no alignment; their bounds are those of the arrays.

use std::arch::wasm32::*;

use super::simd::{Kernel, LANES, ROWS, Simd};

/// Two vectors of four lanes.
#[derive(Clone, Copy)]
pub struct Two(pub v128, pub v128);

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

/// Whole numbers as i32. Those of kernels lie within its limits, beyond which relaxed SIMD would promise nothing.
#[inline(always)]
pub fn integers(x: v128) -> v128 {
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
    pub fn map(self, f: impl Fn(v128) -> v128) -> Self {
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
