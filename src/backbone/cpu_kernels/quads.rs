//! Products with matrices of 8 bits, or of 4 made 8, by an instruction that sums four products of i8 with 7 bits.
//!
//! WebAssembly's relaxed SIMD has it; where the machine has it too, it does twice the products of an instruction of
//! pairs, and weights are used as they lie in memory, those of 8 bits. Elsewhere two instructions for pairs of bytes and of their sums take its
//! place, which pays for activations of one piece. An activation is rounded to an integer x within
//! -8191..=8191 of its row's largest magnitude, and `x + 8192` is taken in two pieces of seven bits, so that
//! `x = 128 (high - 64) + low`: the sums of the high pieces begin at -64 times the sum of the weights. All that is exact
//! in i32, so the result differs from the f32 product of the same weights by the rounding of x alone, about 4e-4 of its
//! size. Activations that are never negative, those in a ResNet's blocks, can be taken in one piece of seven bits, for half the work: they
//! are rounded by 4e-3 of their row's largest. Invariants: those of `panels`; pieces are within 0..=127, where the relaxed
//! instruction is exact on all machines.

use std::hint::black_box;
use std::marker::PhantomData;

use super::linear::{Ends, Inputs, PANEL_BYTES, block_rows, inverse, largest};
use super::panels::QuantizedPanels;
use super::quad_simd::{QuadKernel, QuadSimd, Support, dispatch, support};
use super::simd::LANES;

/// Rows of a register tile: two accumulators each.
pub const ROWS: usize = 6;
/// The same where an activation is one piece: an accumulator each.
const SINGLE_ROWS: usize = 12;
/// The same where products are made in steps, which want two more registers.
const STEPS_ROWS: usize = 10;
/// Outputs of a register tile.
pub const HALF: usize = LANES / 2;
/// Largest magnitude of an activation as an integer.
const PEAK: f32 = 8191.0;
/// Largest activation of one piece.
pub const SINGLE_PEAK: f32 = 127.0;
const _: () = assert!(SINGLE_PEAK < 128.0, "the instruction takes seven bits");
/// What the high pieces are too large by.
pub(super) const HIGH_OFFSET: i32 = 64;

/// Pieces of four activations: the low ones, then the high ones, the first activation in the lowest byte.
pub type Pieces = [u32; 2];

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

/// `y` [M, outputs] of `ends.x` [M, inputs]; `matrix` is laid out in quads.
pub fn multiply(matrix: &QuantizedPanels, ends: Ends<'_>, y: &mut [f32]) {
    multiply_by(support(), matrix, ends, y);
}

/// [`multiply`], where the machine has `support`.
pub(super) fn multiply_by(
    support: Support,
    matrix: &QuantizedPanels,
    ends: Ends<'_>,
    y: &mut [f32],
) {
    match ends.inputs {
        Inputs::Any => dispatch(Product::<Signed, ROWS> {
            matrix,
            ends,
            y,
            form: PhantomData,
        }),
        Inputs::NeverNegative => match support {
            Support::Steps => dispatch(Product::<Single<false>, STEPS_ROWS> {
                matrix,
                ends,
                y,
                form: PhantomData,
            }),
            Support::One | Support::None => dispatch(Product::<Single<true>, SINGLE_ROWS> {
                matrix,
                ends,
                y,
                form: PhantomData,
            }),
        },
    }
}

/// How activations become integers, in tiles of R rows.
trait Activations<const R: usize> {
    /// Of four activations.
    type Word: Copy + Default;

    /// Rounds a row to integers, `x = step * code`, and stores them as row `r` of `tile` [K / 4, R]; returns the step.
    /// Inputs beyond the row are whatever: their weights are zero.
    fn store_row<S: QuadSimd>(s: S, x: &[f32], r: usize, tile: &mut [Self::Word]) -> f32;
    /// What the sums begin with, [segments, 8], of `panel` i8 [2, K / 4, 4, 4]; `to` holds zeros or another panel's.
    fn starts<S: QuadSimd>(s: S, panel: &[i8], segment: usize, to: &mut [i32]);
    /// Adds the products of `rows` [K / 4] and half a panel to one side of `to`, without the rows' steps.
    fn multiply<S: QuadSimd>(
        s: S,
        rows: &[[Self::Word; R]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    );
}

/// Of either sign, in two pieces.
struct Signed;

impl Activations<ROWS> for Signed {
    type Word = Pieces;

    #[inline(always)]
    fn store_row<S: QuadSimd>(s: S, x: &[f32], r: usize, tile: &mut [Pieces]) -> f32 {
        store_row(s, x, r, tile.as_chunks_mut::<ROWS>().0, PEAK, |x| {
            s.split(x)
        })
    }
    #[inline(always)]
    fn starts<S: QuadSimd>(s: S, panel: &[i8], segment: usize, to: &mut [i32]) {
        starts(s, panel, segment, to);
    }
    #[inline(always)]
    fn multiply<S: QuadSimd>(
        s: S,
        rows: &[[Pieces; ROWS]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; ROWS],
    ) {
        s.multiply_half(rows, half, to);
    }
}

/// Never negative, in one piece; multiplied by one instruction, or in steps.
struct Single<const ONE: bool>;

impl<const R: usize, const ONE: bool> Activations<R> for Single<ONE> {
    type Word = u32;

    #[inline(always)]
    fn store_row<S: QuadSimd>(s: S, x: &[f32], r: usize, tile: &mut [u32]) -> f32 {
        let tile = tile.as_chunks_mut::<R>().0;
        store_row(s, x, r, tile, SINGLE_PEAK, |x| s.pack(x))
    }
    #[inline(always)]
    fn starts<S: QuadSimd>(_: S, _: &[i8], _: usize, _: &mut [i32]) {}
    #[inline(always)]
    fn multiply<S: QuadSimd>(s: S, rows: &[[u32; R]], half: Half<'_>, to: &mut [[f32; LANES]; R]) {
        s.multiply_single::<R, ONE>(rows, half, to);
    }
}

struct Product<'a, A, const R: usize> {
    matrix: &'a QuantizedPanels,
    ends: Ends<'a>,
    y: &'a mut [f32],
    form: PhantomData<A>,
}

impl<A: Activations<R>, const R: usize> QuadKernel for Product<'_, A, R> {
    #[inline(always)]
    fn run<S: QuadSimd>(self, s: S) {
        let Self {
            matrix, ends, y, ..
        } = self;
        let padded = matrix.padded;
        let block = block_rows(padded / 4 * size_of::<A::Word>(), R).min(ends.rows);
        let (panel_len, sums_len) = (padded * LANES, matrix.segments() * LANES);
        let panels = matrix.outputs.div_ceil(LANES);
        let group = (PANEL_BYTES / panel_len.max(1)).clamp(1, panels.max(1));
        let mut sums = vec![0; group * sums_len];
        let mut wide = Vec::new();
        let tile_len = padded / 4 * R;
        let mut pieces = vec![A::Word::default(); block.div_ceil(R) * tile_len];
        let mut steps = vec![0.0; block.next_multiple_of(R)];
        for top in (0..ends.rows).step_by(block.max(1)) {
            let x = &ends.x[top * matrix.inputs..];
            let rows = block.min(ends.rows - top);
            for (row, x) in x.chunks_exact(matrix.inputs).take(rows).enumerate() {
                let tile = &mut pieces[row / R * tile_len..][..tile_len];
                steps[row] = A::store_row(s, x, row % R, tile);
            }
            for first in (0..panels).step_by(group) {
                let group = group.min(panels - first);
                let codes = matrix.quads(s, first, group, &mut wide);
                let sums = &mut sums[..group * sums_len];
                for (panel, sums) in codes
                    .chunks_exact(panel_len)
                    .zip(sums.chunks_exact_mut(sums_len))
                {
                    A::starts(s, panel, matrix.segment, sums);
                }
                for row in (0..rows).step_by(R) {
                    let xs = &pieces[row / R * tile_len..][..tile_len];
                    let of_panels = codes
                        .chunks_exact(panel_len)
                        .zip(sums.chunks_exact(sums_len));
                    for (i, (panel, sums)) in (first..).zip(of_panels) {
                        let scales = &matrix.scales[i * sums_len..][..sums_len];
                        let (left, right) = panel.split_at(panel_len / 2);
                        let mut totals = [[0.0; LANES]; R];
                        for (side, half) in [left, right].into_iter().enumerate() {
                            let half = Half {
                                quads: half.as_chunks().0,
                                scales: scales.as_chunks().0,
                                sums: sums.as_chunks().0,
                                segment: matrix.segment,
                                side,
                            };
                            A::multiply(s, xs.as_chunks().0, half, &mut totals);
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

/// [`multiply_half`] for activations of one piece.
#[inline(always)]
pub fn multiply_single<S: QuadSimd, const R: usize, const ONE: bool>(
    s: S,
    rows: &[[u32; R]],
    half: Half<'_>,
    to: &mut [[f32; LANES]; R],
) {
    let steps = half.segment / 4;
    let of_segments = half.quads.chunks(steps).zip(rows.chunks(steps));
    for ((quads, rows), scale) in of_segments.zip(half.scales) {
        let zero = s.load_sums(&[0; HALF]);
        let mut sums = [zero; R];
        for (quad, xs) in quads.iter().zip(rows) {
            let w = s.load_quads(quad);
            for (sum, x) in sums.iter_mut().zip(xs) {
                *sum = match ONE {
                    true => s.dot_quads(*sum, w, *x),
                    false => s.dot_quads_in_steps(*sum, w, *x),
                };
            }
        }
        let scale = &scale.as_chunks().0[half.side];
        // As above.
        for (to, sum) in black_box(&mut *to).iter_mut().zip(sums) {
            s.add_scaled(sum, zero, scale, &mut to.as_chunks_mut().0[half.side]);
        }
    }
}

/// Rounds a row so that its largest magnitude becomes `whole`, as row `r` of `tile` [K / 4]; returns the step.
#[inline(always)]
fn store_row<S: QuadSimd, W, const R: usize>(
    s: S,
    x: &[f32],
    r: usize,
    tile: &mut [[W; R]],
    whole: f32,
    words: impl Fn(S::F) -> [W; 2],
) -> f32 {
    let peak = largest(s, x);
    let inverse = s.splat(inverse(whole, peak));
    for (x, to) in x.chunks(LANES).zip(tile.chunks_mut(2)) {
        for (to, word) in to.iter_mut().zip(words(s.mul(s.load_part(x), inverse))) {
            to[r] = word;
        }
    }
    peak / whole
}
