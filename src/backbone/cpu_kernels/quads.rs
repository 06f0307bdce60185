//! Products with 8-bit matrices by an instruction that sums four products of i8 with 7 bits.
//!
//! WebAssembly's relaxed SIMD has it; where the machine has it too, it does twice the products of an instruction of
//! pairs, and weights are used as they lie in memory. An activation is rounded to an integer x within
//! -8191..=8191 of its row's largest magnitude, and `x + 8192` is taken in two pieces of seven bits, so that
//! `x = 128 (high - 64) + low`: the sums of the high pieces begin at -64 times the sum of the weights. All that is exact
//! in i32, so the result differs from the f32 product of the same weights by the rounding of x alone, about 4e-4 of its
//! size. Invariants: those of `panels`; pieces are within 0..=127, where the relaxed instruction is exact on all machines.

use std::hint::black_box;

use super::linear::{Ends, PANEL_BYTES, block_rows, largest};
use super::panels::QuantizedPanels;
use super::simd::{LANES, Plain, Simd};

/// Rows of a register tile: two accumulators each.
pub const ROWS: usize = 6;
/// Outputs of a register tile.
pub const HALF: usize = LANES / 2;
/// Largest magnitude of an activation as an integer.
const PEAK: f32 = 8191.0;
/// What the high pieces are too large by.
const HIGH_OFFSET: i32 = 64;

/// Pieces of four activations: the low ones, then the high ones, the first activation in the lowest byte.
pub type Pieces = [u32; 2];

/// Instructions on four outputs by four inputs.
pub trait QuadSimd: Simd {
    /// Four i32.
    type Q: Copy;
    /// i8 [4 outputs, 4 inputs].
    type B: Copy;

    fn load_sums(self, from: &[i32; HALF]) -> Self::Q;
    fn store_sums(self, sums: Self::Q, to: &mut [i32; HALF]);
    fn load_quads(self, from: &[i8; 4 * HALF]) -> Self::B;
    /// `acc + sum_i w[..][i] * x[i]`; `x` holds four values within 0..=127, the first in the lowest byte.
    fn dot_quads(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q;
    /// Adds `scale * (128 high + low)`.
    fn add_scaled(self, low: Self::Q, high: Self::Q, scale: &[f32; HALF], to: &mut [f32; HALF]);
    /// Rounds eight activations within -8191..=8191 and splits them.
    fn split(self, x: Self::F) -> [Pieces; 2];
    /// [`multiply_half`], and a function of its own where that helps to keep the sums in registers.
    fn multiply_half(self, rows: &[[Pieces; ROWS]], half: Half<'_>, to: &mut [[f32; LANES]; ROWS]);
}

/// Half of a panel: four outputs.
#[derive(Clone, Copy)]
pub struct Half<'a> {
    /// i8 [K / 4, 4 outputs, 4 inputs]
    quads: &'a [[i8; 4 * HALF]],
    /// Of the whole panel [segments, 8].
    scales: &'a [[f32; LANES]],
    /// What the sums of high pieces begin with, of the whole panel [segments, 8].
    sums: &'a [[i32; LANES]],
    /// Inputs of a segment.
    segment: usize,
    /// 0 or 1.
    side: usize,
}

/// A computation over any [`QuadSimd`].
pub trait QuadKernel {
    fn run<S: QuadSimd>(self, s: S);
}

/// Whether products by quads are the fastest on this machine.
pub fn fastest() -> bool {
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    return super::simd_wasm::has_quad_instruction();
    #[cfg(not(all(target_arch = "wasm32", feature = "relaxed-simd")))]
    return false;
}

fn dispatch<K: QuadKernel>(kernel: K) {
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    super::simd_wasm::run_quads(kernel);
    #[cfg(not(all(target_arch = "wasm32", feature = "relaxed-simd")))]
    kernel.run(Plain);
}

/// `y` [M, outputs] of `ends.x` [M, inputs]; `matrix` is laid out in quads.
pub fn multiply(matrix: &QuantizedPanels, ends: Ends<'_>, y: &mut [f32]) {
    dispatch(Product { matrix, ends, y });
}

struct Product<'a> {
    matrix: &'a QuantizedPanels,
    ends: Ends<'a>,
    y: &'a mut [f32],
}

impl QuadKernel for Product<'_> {
    #[inline(always)]
    fn run<S: QuadSimd>(self, s: S) {
        let Self { matrix, ends, y } = self;
        let padded = matrix.padded;
        let block = block_rows(2 * padded, ROWS).min(ends.rows);
        let (panel_len, sums_len) = (padded * LANES, matrix.segments() * LANES);
        let panels = matrix.outputs.div_ceil(LANES);
        let group = (PANEL_BYTES / panel_len.max(1)).clamp(1, panels.max(1));
        let mut sums = vec![0; group * sums_len];
        let tile_len = padded / 4 * ROWS;
        let mut pieces = vec![[0; 2]; block.div_ceil(ROWS) * tile_len];
        let mut steps = vec![0.0; block.next_multiple_of(ROWS)];
        for top in (0..ends.rows).step_by(block.max(1)) {
            let x = &ends.x[top * matrix.inputs..];
            let rows = block.min(ends.rows - top);
            for (row, x) in x.chunks_exact(matrix.inputs).take(rows).enumerate() {
                let tile = &mut pieces[row / ROWS * tile_len..][..tile_len];
                steps[row] = split_row(s, x, row % ROWS, tile);
            }
            for first in (0..panels).step_by(group) {
                let group = group.min(panels - first);
                let codes = matrix.quads(first, group);
                let sums = &mut sums[..group * sums_len];
                for (panel, sums) in codes
                    .chunks_exact(panel_len)
                    .zip(sums.chunks_exact_mut(sums_len))
                {
                    starts(s, panel, matrix.segment, sums);
                }
                for row in (0..rows).step_by(ROWS) {
                    let xs = &pieces[row / ROWS * tile_len..][..tile_len];
                    let of_panels = codes
                        .chunks_exact(panel_len)
                        .zip(sums.chunks_exact(sums_len));
                    for (i, (panel, sums)) in (first..).zip(of_panels) {
                        let scales = &matrix.scales[i * sums_len..][..sums_len];
                        let (left, right) = panel.split_at(panel_len / 2);
                        let mut totals = [[0.0; LANES]; ROWS];
                        for (side, half) in [left, right].into_iter().enumerate() {
                            let half = Half {
                                quads: half.as_chunks().0,
                                scales: scales.as_chunks().0,
                                sums: sums.as_chunks().0,
                                segment: matrix.segment,
                                side,
                            };
                            s.multiply_half(xs.as_chunks().0, half, &mut totals);
                        }
                        let mut tile = totals.map(|sums| s.load(&sums));
                        for (sums, step) in tile.iter_mut().zip(&steps[row..]) {
                            *sums = s.mul(*sums, s.splat(*step));
                        }
                        ends.finish(s, tile, [top + row, i * LANES], y);
                    }
                }
            }
        }
    }
}

/// What the sums of high pieces begin with, [segments, 8]: -64 times the sums of the weights of `panel`
/// i8 [2, K / 4, 4, 4].
#[inline(always)]
fn starts<S: QuadSimd>(s: S, panel: &[i8], segment: usize, to: &mut [i32]) {
    let (left, right) = panel.split_at(panel.len() / 2);
    for (side, half) in [left, right].into_iter().enumerate() {
        let of_segments = half.as_chunks().0.chunks(segment / 4);
        for (quads, to) in of_segments.zip(to.as_chunks_mut::<LANES>().0) {
            let mut sums = s.load_sums(&[0; HALF]);
            for quad in quads {
                sums = s.dot_quads(sums, s.load_quads(quad), 0x0101_0101);
            }
            let to = &mut to.as_chunks_mut::<HALF>().0[side];
            s.store_sums(sums, to);
            *to = to.map(|sum| -HIGH_OFFSET * sum);
        }
    }
}

/// `sum_k rows[k][r] * quads[k][..] * scale[k / segment][..]` for each row r into one side of `to`, without the rows'
/// steps; `rows` [K / 4].
#[inline(always)]
pub fn multiply_half<S: QuadSimd>(
    s: S,
    rows: &[[Pieces; ROWS]],
    half: Half<'_>,
    to: &mut [[f32; LANES]; ROWS],
) {
    let steps = half.segment / 4;
    let of_segments = half.quads.chunks(steps).zip(rows.chunks(steps));
    let ends = half.scales.iter().zip(half.sums);
    for ((quads, rows), (scale, sums)) in of_segments.zip(ends) {
        let mut low = [s.load_sums(&[0; HALF]); ROWS];
        let mut high = [s.load_sums(&sums.as_chunks().0[half.side]); ROWS];
        for (quad, xs) in quads.iter().zip(rows) {
            let w = s.load_quads(quad);
            for ((low, high), x) in low.iter_mut().zip(&mut high).zip(xs) {
                *low = s.dot_quads(*low, w, x[0]);
                *high = s.dot_quads(*high, w, x[1]);
            }
        }
        let scale = &scale.as_chunks().0[half.side];
        // Totals that are kept in registers would push the sums out of them.
        for ((to, low), high) in black_box(&mut *to).iter_mut().zip(low).zip(high) {
            s.add_scaled(low, high, scale, &mut to.as_chunks_mut().0[half.side]);
        }
    }
}

/// Rounds a row to integers, `x = step * code`, and stores their pieces as row `r` of `tile` [K / 4, ROWS]; returns
/// the step. Inputs beyond the row are whatever: their weights are zero.
#[inline(always)]
fn split_row<S: QuadSimd>(s: S, x: &[f32], r: usize, tile: &mut [Pieces]) -> f32 {
    let peak = largest(s, x);
    // A row of zeros keeps its zeros.
    let inverse = s.splat(if peak > 0.0 { PEAK / peak } else { 0.0 });
    for (x, to) in x.chunks(LANES).zip(tile.chunks_mut(2 * ROWS)) {
        let pieces = s.split(s.mul(s.load_part(x), inverse));
        for (to, pieces) in to.as_chunks_mut::<ROWS>().0.iter_mut().zip(pieces) {
            to[r] = pieces;
        }
    }
    peak / PEAK
}

impl QuadSimd for Plain {
    type Q = [i32; HALF];
    type B = [i8; 4 * HALF];

    #[inline(always)]
    fn load_sums(self, from: &[i32; HALF]) -> Self::Q {
        *from
    }
    #[inline(always)]
    fn store_sums(self, sums: Self::Q, to: &mut [i32; HALF]) {
        *to = sums;
    }
    #[inline(always)]
    fn load_quads(self, from: &[i8; 4 * HALF]) -> Self::B {
        *from
    }
    #[inline(always)]
    fn dot_quads(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q {
        debug_assert_eq!(x & 0x8080_8080, 0);
        let x = x.to_le_bytes().map(i32::from);
        std::array::from_fn(|o| {
            let products = x.iter().zip(&w[4 * o..]).map(|(x, w)| x * i32::from(*w));
            acc[o] + products.sum::<i32>()
        })
    }
    #[inline(always)]
    fn add_scaled(self, low: Self::Q, high: Self::Q, scale: &[f32; HALF], to: &mut [f32; HALF]) {
        for (o, to) in to.iter_mut().enumerate() {
            *to += scale[o] * ((high[o] << 7) + low[o]) as f32;
        }
    }
    #[inline(always)]
    fn multiply_half(self, rows: &[[Pieces; ROWS]], half: Half<'_>, to: &mut [[f32; LANES]; ROWS]) {
        multiply_half(self, rows, half, to);
    }
    #[inline(always)]
    fn split(self, x: Self::F) -> [Pieces; 2] {
        let x = x.map(|x| x.round_ties_even() as i32 + (HIGH_OFFSET << 7));
        [0, 4].map(|first| {
            let of = |shift: i32| {
                u32::from_le_bytes(std::array::from_fn(|i| (x[first + i] >> shift & 127) as u8))
            };
            [of(0), of(7)]
        })
    }
}
