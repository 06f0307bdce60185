//! How the rows that enter a matrix in quads become integers, for each form that the instructions multiply.
//!
//! A form rounds a row to steps of its size, packs four of the integers in each word, and says what sums begin with so that
//! they come out as the sums of products. Invariant: pieces are within 0..=127, where the relaxed instruction is exact on all
//! machines, but for whole bytes, which are made as this machine reads them.

use super::linear::{inverse, largest};
use super::quad_simd::{Bytes, QuadSimd};
use super::quads::{HALF, Half, ROWS};
use super::simd::LANES;
use crate::format::model::EIGHT_BIT_STEPS;

/// Largest magnitude of an activation of two pieces as an integer.
const PEAK: f32 = 8191.0;
/// Steps of a byte's span. One less than there are, as both of its ends are rounded.
pub const BYTE_STEPS: f32 = EIGHT_BIT_STEPS as f32;
/// Largest activation of seven bits.
pub const SEVEN_BITS: f32 = 127.0;
const _: () = assert!(SEVEN_BITS < 128.0, "the instructions take seven bits");
/// What the high pieces are too large by.
pub const HIGH_OFFSET: i32 = 64;
/// What signed bytes are too small by.
const BYTE_OFFSET: i32 = 128;

/// Pieces of four activations: the low ones, then the high ones, the first activation in the lowest byte.
pub type Pieces = [u32; 2];

/// What a row's integers stand for: `x = step * (code + offset)`.
#[derive(Clone, Copy, Default)]
pub struct Row {
    pub step: f32,
    /// 0 for forms that need none.
    pub offset: i32,
}

/// How activations become integers, in tiles of R rows.
pub trait Activations<const R: usize> {
    /// Of four activations.
    type Word: Copy + Default;

    /// Rounds a row to integers and stores them as row `r` of `tile` [K / 4, R]. Inputs beyond the row are whatever: their
    /// weights are zero.
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [Self::Word]) -> Row;
    /// What the sums begin with, [segments, 8], of `panel` i8 [2, K / 4, 4, 4], without the rows' offsets; `to` holds zeros or
    /// another panel's.
    fn starts<S: QuadSimd>(&self, s: S, panel: &[i8], segment: usize, to: &mut [i32]);
    /// Adds the products of `rows` [K / 4] and half a panel to one side of `to`, without the rows' steps.
    fn multiply<S: QuadSimd>(
        &self,
        s: S,
        rows: &[[Self::Word; R]],
        offsets: &[i32; R],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    );
}

/// Of either sign, in two pieces.
pub struct TwoPieces;

impl Activations<ROWS> for TwoPieces {
    type Word = Pieces;

    #[inline(always)]
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [Pieces]) -> Row {
        let peak = largest(s, x);
        let tile = tile.as_chunks_mut::<ROWS>().0;
        store_row(s, x, r, tile, inverse(PEAK, peak), |x| s.split(x));
        Row {
            step: peak / PEAK,
            offset: 0,
        }
    }
    #[inline(always)]
    fn starts<S: QuadSimd>(&self, s: S, panel: &[i8], segment: usize, to: &mut [i32]) {
        starts(s, panel, segment, -HIGH_OFFSET, to);
    }
    #[inline(always)]
    fn multiply<S: QuadSimd>(
        &self,
        s: S,
        rows: &[[Pieces; ROWS]],
        _: &[i32; ROWS],
        half: Half<'_>,
        to: &mut [[f32; LANES]; ROWS],
    ) {
        s.multiply_half(rows, half, to);
    }
}

/// In one byte, multiplied by ONE instruction, from the least of a row or 0 to its largest or 0; or in steps, in seven bits that are
/// never negative.
pub struct OnePiece<const ONE: bool> {
    /// How the instruction reads a byte; two read seven bits either way.
    pub bytes: Bytes,
    pub never_negative: bool,
}

impl<const R: usize, const ONE: bool> Activations<R> for OnePiece<ONE> {
    type Word = u32;

    #[inline(always)]
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [u32]) -> Row {
        let steps = if ONE { BYTE_STEPS } else { SEVEN_BITS };
        let [below, above] = match self.never_negative {
            true => [0.0, largest(s, x)],
            false => extent(s, x),
        };
        let span = below + above;
        let inverse = inverse(steps, span);
        let zero = (below * inverse).round_ties_even() as i32;
        // The sign's bit turned over is 128 less.
        let (turned, less) = match self.bytes {
            Bytes::Unsigned => (0, 0),
            Bytes::Signed => (0x8080_8080, BYTE_OFFSET),
        };
        store_row(s, x, r, tile.as_chunks_mut::<R>().0, inverse, |x| {
            s.pack(x, zero).map(|word| word ^ turned)
        });
        Row {
            step: span / steps,
            offset: less - zero,
        }
    }
    #[inline(always)]
    fn starts<S: QuadSimd>(&self, s: S, panel: &[i8], segment: usize, to: &mut [i32]) {
        // Otherwise all offsets are 0.
        if !self.never_negative || self.bytes == Bytes::Signed {
            starts(s, panel, segment, 1, to);
        }
    }
    #[inline(always)]
    fn multiply<S: QuadSimd>(
        &self,
        s: S,
        rows: &[[u32; R]],
        offsets: &[i32; R],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    ) {
        s.multiply_single::<R, ONE>(rows, offsets, half, to);
    }
}

/// `factor` times the sums of the weights of `panel` i8 [2, K / 4, 4, 4], as [segments, 8].
#[inline(always)]
fn starts<S: QuadSimd>(s: S, panel: &[i8], segment: usize, factor: i32, to: &mut [i32]) {
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
            *to = to.map(|sum| factor * sum);
        }
    }
}

/// How far a row reaches below 0, and above.
#[inline(always)]
fn extent<S: QuadSimd>(s: S, x: &[f32]) -> [f32; 2] {
    let zero = s.splat(0.0);
    let (mut below, mut above) = (zero, zero);
    for x in x.chunks(LANES) {
        let x = s.load_part(x);
        above = s.max(above, x);
        below = s.max(below, s.sub(zero, x));
    }
    [s.largest(below), s.largest(above)]
}

/// Stores the words of a row times `factor` as row `r` of `tile` [K / 4].
#[inline(always)]
fn store_row<S: QuadSimd, W, const R: usize>(
    s: S,
    x: &[f32],
    r: usize,
    tile: &mut [[W; R]],
    factor: f32,
    words: impl Fn(S::F) -> [W; 2],
) {
    let factor = s.splat(factor);
    for (x, to) in x.chunks(LANES).zip(tile.chunks_mut(2)) {
        for (to, word) in to.iter_mut().zip(words(s.mul(s.load_part(x), factor))) {
            to[r] = word;
        }
    }
}
