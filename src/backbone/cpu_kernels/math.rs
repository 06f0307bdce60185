//! Functions of eight lanes: the exponential and what activations make of it.
//!
//! [`exp`] is within 2e-7 of relative error where the result is a normal number; [`gelu`] is the exact
//! GELU `x Phi(x)` within 1e-6 for |x| <= 8 and a last bit beyond.

use super::simd::Simd;

/// `e^x` of each lane; the argument is held within -87.3..=88.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(s.min(x, s.splat(88.0)), s.splat(-87.3));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, so that the remainder keeps its bits.
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let p = s.mul_add(p, s.mul(r, r), s.add(r, s.splat(1.0)));
    s.mul(p, s.exp2(n))
}

/// GELU: `x / 2 * (1 + erf(x / sqrt 2))`.
///
/// `max(x, 0) - |x| / 2 * erfc(|x| / sqrt 2)`, with erfc by Abramowitz and Stegun, 7.1.26 (1.5e-7).
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    let size = s.abs(x);
    let one = s.splat(1.0);
    let scale = s.splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2);
    let t = s.div(one, s.mul_add(size, scale, one));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = s.mul_add(p, t, s.splat(c));
    }
    let tail = s.mul(s.mul(p, t), exp(s, s.mul(s.mul(size, size), s.splat(-0.5))));
    let half = s.mul(size, s.splat(0.5));
    s.sub(s.max(x, s.splat(0.0)), s.mul(half, tail))
}

/// CLIP's GELU: `x * sigmoid(1.702 x)`.
#[inline(always)]
pub fn quick_gelu<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.mul(x, s.splat(-1.702)));
    s.div(x, s.add(e, s.splat(1.0)))
}
