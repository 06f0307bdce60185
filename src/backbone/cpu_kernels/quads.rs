//! Products with matrices of 8 bits, or of 4 made 8, by an instruction that sums four products of i8 with 7 bits.
//!
//! WebAssembly's relaxed SIMD has it; where the machine has it too, it does twice the products of an instruction of
//! pairs, and weights are used as they lie in memory, those of 8 bits. Elsewhere two instructions for pairs of bytes and of their
//! sums take its place, which pays for activations of one piece. In general an activation is rounded to an integer x within
//! -8191..=8191 of its row's largest magnitude, and `x + 8192` is taken in two pieces of seven bits, so that
//! `x = 128 (high - 64) + low`: the sums of the high pieces begin at -64 times the sum of the weights. All that is exact
//! in i32, so the result differs from the f32 product of the same weights by the rounding of x alone, about 4e-4 of its
//! size. Two kinds of activations are taken in one piece, for half the work: those that are never negative, in a ResNet's
//! blocks, and tokens other than the class token where 8 bits suffice by what samples showed. Where the instruction is one, they
//! are bytes, which it reads as unsigned on some machines and as signed on others, as is tried out: a row's 254 steps reach from its
//! least value to its largest. In two instructions, those that are
//! never negative have seven bits. Invariants: those of `panels` and `activations`.

use std::hint::black_box;

use super::activations::{Activations, OnePiece, Pieces, Row, TwoPieces};
use super::linear::{Ends, Inputs, PANEL_BYTES, block_rows};
use super::panels::QuantizedPanels;
use super::quad_simd::{Bytes, QuadKernel, QuadSimd, Support, dispatch, support};
use super::simd::LANES;

/// Rows of a register tile: two accumulators each.
pub const ROWS: usize = 6;
/// The same where an activation is one piece: an accumulator each.
const SINGLE_ROWS: usize = 12;
/// The same where products are made in steps, which want two more registers.
const STEPS_ROWS: usize = 10;
/// Outputs of a register tile.
pub const HALF: usize = LANES / 2;

/// Half of a panel: four outputs.
#[derive(Clone, Copy)]
pub struct Half<'a> {
    /// i8 [K / 4, 4 outputs, 4 inputs]
    quads: &'a [[i8; 4 * HALF]],
    /// Of the whole panel [segments, 8].
    scales: &'a [[f32; LANES]],
    /// What the sums begin with, of high pieces where there are two, of the whole panel [segments, 8].
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
    let two = |ends, y: &mut [f32]| run::<_, ROWS>(TwoPieces, matrix, ends, y);
    let never_negative = matrix.known == Inputs::NeverNegative;
    let one = |bytes, ends, y: &mut [f32]| {
        let form = OnePiece::<true> {
            bytes,
            never_negative,
        };
        run::<_, SINGLE_ROWS>(form, matrix, ends, y);
    };
    match (matrix.known, support) {
        (Inputs::NeverNegative, Support::One(bytes)) => one(bytes, ends, y),
        (Inputs::NeverNegative, _) => {
            let form = OnePiece::<false> {
                bytes: Bytes::Unsigned,
                never_negative,
            };
            run::<_, STEPS_ROWS>(form, matrix, ends, y);
        }
        (Inputs::Tokens, Support::One(bytes)) => {
            // What the class token loses would be the feature's loss. Rows that would leave a tile almost empty go with it.
            let over = ends.rows.saturating_sub(1) % SINGLE_ROWS;
            let first = if over < ROWS { 1 + over } else { 1 };
            let [class, others] = ends.split_at(first);
            let (y, behind) = y.split_at_mut(class.rows * matrix.outputs);
            two(class, y);
            one(bytes, others, behind);
        }
        (Inputs::Tokens | Inputs::Any, _) => two(ends, y),
    }
}

// Inlined twice, it would be as long again.
#[inline(never)]
fn run<A: Activations<R>, const R: usize>(
    form: A,
    matrix: &QuantizedPanels,
    ends: Ends<'_>,
    y: &mut [f32],
) {
    dispatch(Product::<A, R> {
        matrix,
        ends,
        y,
        form,
    });
}

struct Product<'a, A, const R: usize> {
    matrix: &'a QuantizedPanels,
    ends: Ends<'a>,
    y: &'a mut [f32],
    form: A,
}

impl<A: Activations<R>, const R: usize> QuadKernel for Product<'_, A, R> {
    #[inline(always)]
    fn run<S: QuadSimd>(self, s: S) {
        let Self {
            matrix,
            ends,
            y,
            form,
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
        let mut offsets = vec![0; block.next_multiple_of(R)];
        for top in (0..ends.rows).step_by(block.max(1)) {
            let x = &ends.x[top * matrix.inputs..];
            let rows = block.min(ends.rows - top);
            for (row, x) in x.chunks_exact(matrix.inputs).take(rows).enumerate() {
                let tile = &mut pieces[row / R * tile_len..][..tile_len];
                let Row { step, offset } = form.store_row(s, x, row % R, tile);
                (steps[row], offsets[row]) = (step, offset);
            }
            for first in (0..panels).step_by(group) {
                let group = group.min(panels - first);
                let codes = matrix.quads(s, first, group, &mut wide);
                let sums = &mut sums[..group * sums_len];
                for (panel, sums) in codes
                    .chunks_exact(panel_len)
                    .zip(sums.chunks_exact_mut(sums_len))
                {
                    form.starts(s, panel, matrix.segment, sums);
                }
                for row in (0..rows).step_by(R) {
                    let xs = &pieces[row / R * tile_len..][..tile_len];
                    let offsets = &offsets.as_chunks().0[row / R];
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
                            form.multiply(s, xs.as_chunks().0, offsets, half, &mut totals);
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

/// [`multiply_half`] for activations of one piece; sums begin with those of `half` times the rows' `offsets`.
#[inline(always)]
pub fn multiply_single<S: QuadSimd, const R: usize, const ONE: bool>(
    s: S,
    rows: &[[u32; R]],
    offsets: &[i32; R],
    half: Half<'_>,
    to: &mut [[f32; LANES]; R],
) {
    let steps = half.segment / 4;
    let of_segments = half.quads.chunks(steps).zip(rows.chunks(steps));
    let ends = half.scales.iter().zip(half.sums);
    for ((quads, rows), (scale, sums)) in of_segments.zip(ends) {
        let zero = s.load_sums(&[0; HALF]);
        let start = s.load_sums(&sums.as_chunks().0[half.side]);
        let mut sums = offsets.map(|offset| s.times(start, offset));
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
