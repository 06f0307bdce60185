//! How the rows that enter a matrix in quads become integers, for each form that the instructions multiply.
//!
//! A form rounds a row to steps of its largest magnitude, packs four of the integers in each word, and says what sums begin with
//! so that they come out as the sums of products. Invariant: pieces are within 0..=127, where the relaxed instruction is exact on
//! all machines, but for bytes of either sign, which are made as this machine reads them.

use super::linear::{inverse, largest};
use super::quad_simd::QuadSimd;
use super::quads::{HALF, Half, ROWS};
use super::simd::LANES;

/// Largest magnitude of an activation of two pieces as an integer.
const PEAK: f32 = 8191.0;
/// Largest magnitude of an activation of one piece.
pub const ONE_PEAK: f32 = 127.0;
const _: () = assert!(ONE_PEAK < 128.0, "the instruction takes seven bits");
/// What the high pieces are too large by.
pub const HIGH_OFFSET: i32 = 64;
/// What unsigned bytes are too large by.
const BYTE_OFFSET: i32 = 128;

/// Pieces of four activations: the low ones, then the high ones, the first activation in the lowest byte.
pub type Pieces = [u32; 2];

/// How activations become integers, in tiles of R rows.
pub trait Activations<const R: usize> {
    /// Of four activations.
    type Word: Copy + Default;

    /// Rounds a row to integers, `x = step * code`, and stores them as row `r` of `tile` [K / 4, R]; returns the step.
    /// Inputs beyond the row are whatever: their weights are zero.
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [Self::Word]) -> f32;
    /// What the sums begin with, [segments, 8], of `panel` i8 [2, K / 4, 4, 4]; `to` holds zeros or another panel's.
    fn starts<S: QuadSimd>(&self, s: S, panel: &[i8], segment: usize, to: &mut [i32]);
    /// Adds the products of `rows` [K / 4] and half a panel to one side of `to`, without the rows' steps.
    fn multiply<S: QuadSimd>(
        &self,
        s: S,
        rows: &[[Self::Word; R]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    );
}

/// Of either sign, in two pieces.
pub struct TwoPieces;

impl Activations<ROWS> for TwoPieces {
    type Word = Pieces;

    #[inline(always)]
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [Pieces]) -> f32 {
        let tile = tile.as_chunks_mut::<ROWS>().0;
        store_row(s, x, r, tile, PEAK, |x| s.split(x))
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
        half: Half<'_>,
        to: &mut [[f32; LANES]; ROWS],
    ) {
        s.multiply_half(rows, half, to);
    }
}

/// In one byte, multiplied by ONE instruction or in steps.
pub struct OnePiece<const ONE: bool> {
    /// Of either sign, where the instruction reads bytes as unsigned: 128 is added.
    pub shifted: bool,
}

impl<const R: usize, const ONE: bool> Activations<R> for OnePiece<ONE> {
    type Word = u32;

    #[inline(always)]
    fn store_row<S: QuadSimd>(&self, s: S, x: &[f32], r: usize, tile: &mut [u32]) -> f32 {
        let tile = tile.as_chunks_mut::<R>().0;
        // The sign's bit turned over is 128 added.
        let turned = if self.shifted { 0x8080_8080 } else { 0 };
        store_row(s, x, r, tile, ONE_PEAK, |x| {
            s.pack(x).map(|word| word ^ turned)
        })
    }
    #[inline(always)]
    fn starts<S: QuadSimd>(&self, s: S, panel: &[i8], segment: usize, to: &mut [i32]) {
        if self.shifted {
            starts(s, panel, segment, -BYTE_OFFSET, to);
        }
    }
    #[inline(always)]
    fn multiply<S: QuadSimd>(
        &self,
        s: S,
        rows: &[[u32; R]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    ) {
        s.multiply_single::<R, ONE>(rows, half, to);
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
