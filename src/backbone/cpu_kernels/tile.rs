//! The inner loops: a tile of [`ROWS`] rows and eight outputs, held in registers.
//!
//! Each step broadcasts an input of each row against a vector of eight weights, so no sum runs across
//! lanes; rows and weights lie in the order of the steps, two streams without an index to check.
//! Invariant: both have the same number of steps, or the shorter one counts.

use super::simd::{LANES, ROWS, Simd};

/// Makes `values` row `r` of a tile of rows [K, ROWS].
#[inline(always)]
pub fn set_row(values: &[f32], r: usize, rows: &mut [f32]) {
    for (to, value) in rows.as_chunks_mut::<ROWS>().0.iter_mut().zip(values) {
        to[r] = *value;
    }
}

/// `sum_k rows[k][r] * panel[k][..]` for each row r; `rows` f32 [K, ROWS], `panel` f32 [K, 8].
#[inline(always)]
pub fn dense<S: Simd>(s: S, rows: &[f32], panel: &[f32]) -> [S::F; ROWS] {
    let mut sums = [s.splat(0.0); ROWS];
    let weights = panel.as_chunks().0.iter();
    for (weights, rows) in weights.zip(rows.as_chunks::<ROWS>().0) {
        let w = s.load(weights);
        for (sum, x) in sums.iter_mut().zip(rows) {
            *sum = s.mul_add(w, s.splat(*x), *sum);
        }
    }
    sums
}

/// `sum_k rows[k][r] * panel[k][..] * scale[k / segment][..]` for each row r: exact in i32 within a
/// segment, then in f32. `rows` [K / 2, ROWS] hold pairs of activations, `panel` i16 [K / 2, 8, 2],
/// `scales` f32 [segments, 8]; `segment` is a multiple of 4.
#[inline(always)]
pub fn quantized<S: Simd>(
    s: S,
    rows: &[i32],
    panel: &[i16],
    scales: &[f32],
    segment: usize,
) -> [S::F; ROWS] {
    // One pair a step: in a loop of two, the loads of both come first and push sums out of WebAssembly's registers.
    let weights = panel.as_chunks::<{ 2 * LANES }>().0.chunks(segment / 2);
    let rows = rows.as_chunks::<ROWS>().0.chunks(segment / 2);
    let mut sums = [s.splat(0.0); ROWS];
    for ((weights, rows), scale) in weights.zip(rows).zip(scales.as_chunks().0) {
        let mut products = [s.zero(); ROWS];
        for (weights, rows) in weights.iter().zip(rows) {
            let w = s.load_pairs(weights);
            for (sum, x) in products.iter_mut().zip(s.splat_pairs(rows)) {
                *sum = s.dot(*sum, w, x);
            }
        }
        let scale = s.load(scale);
        for (sum, products) in sums.iter_mut().zip(products) {
            *sum = s.mul_add(s.to_f32(products), scale, *sum);
        }
    }
    sums
}
