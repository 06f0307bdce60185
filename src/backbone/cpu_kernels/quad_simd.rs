//! Instructions on four outputs by four inputs, whatever the machine calls them: what `quads` is written over.

use super::activations::{HIGH_OFFSET, Pieces};
use super::panels::GROUP;
use super::quads::{HALF, Half, ROWS, multiply_half, multiply_single};
use super::simd::{LANES, Plain, Simd};

/// Instructions on four outputs by four inputs.
pub trait QuadSimd: Simd {
    /// Four i32.
    type Q: Copy;
    /// i8 [4 outputs, 4 inputs].
    type B: Copy;

    fn load_sums(self, from: &[i32; HALF]) -> Self::Q;
    fn store_sums(self, sums: Self::Q, to: &mut [i32; HALF]);
    fn times(self, sums: Self::Q, by: i32) -> Self::Q;
    fn load_quads(self, from: &[i8; 4 * HALF]) -> Self::B;
    /// `acc + sum_i w[..][i] * x[i]`; `x` holds four values, the first in the lowest byte: within 0..=127, or bytes as this
    /// machine reads them ([`Bytes`]).
    fn dot_quads(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q;
    /// The same by sums of two products and then of two of those, for values within 0..=127.
    fn dot_quads_in_steps(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q;
    /// Adds `scale * (128 high + low)`.
    fn add_scaled(self, low: Self::Q, high: Self::Q, scale: &[f32; HALF], to: &mut [f32; HALF]);
    /// Rounds eight activations within -8191..=8191 and splits them.
    fn split(self, x: Self::F) -> [Pieces; 2];
    /// Rounds eight activations, adds `zero` and stops at 0 and 255; four to a word, the first in the lowest byte.
    fn pack(self, x: Self::F, zero: i32) -> [u32; 2];
    /// 4-bit codes times the multiples of their outputs as quads [8, 4, 4], group by group, while there are all three.
    fn widen(self, codes: &[GroupCodes], multiples: &[[i8; HALF]], to: &mut [GroupQuads]);
    /// [`multiply_half`], and a function of its own where that helps to keep the sums in registers.
    fn multiply_half(self, rows: &[[Pieces; ROWS]], half: Half<'_>, to: &mut [[f32; LANES]; ROWS]);
    /// [`multiply_single`], likewise.
    fn multiply_single<const R: usize, const ONE: bool>(
        self,
        rows: &[[u32; R]],
        offsets: &[i32; R],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    );
}

/// The 4-bit codes of four outputs in a group of 32 inputs, [4, 16]: 8 added, the first 16 inputs' in the low halves.
pub type GroupCodes = [u8; HALF * GROUP / 2];
/// Weights of four outputs in a group of 32 inputs, as quads [8, 4, 4].
pub type GroupQuads = [i8; HALF * GROUP];

/// A computation over any [`QuadSimd`].
pub trait QuadKernel {
    fn run<S: QuadSimd>(self, s: S);
}

/// What multiplies by quads on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "a module has either loops or instructions")]
pub enum Support {
    /// Nothing: loops.
    None,
    /// Instructions for two products.
    Steps,
    /// One instruction, which reads bytes beyond 127 so.
    One(Bytes),
}

/// How a machine reads the bytes of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "as above")]
pub enum Bytes {
    Unsigned,
    Signed,
}

/// Whether this build ever lays matrices out in quads.
pub const HAS_QUADS: bool =
    cfg!(test) || cfg!(all(target_arch = "wasm32", feature = "relaxed-simd"));

/// What this machine has.
pub fn support() -> Support {
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    return super::quad_simd_wasm::quad_instruction().map_or(Support::Steps, Support::One);
    #[cfg(not(all(target_arch = "wasm32", feature = "relaxed-simd")))]
    return Support::None;
}

pub(super) fn dispatch<K: QuadKernel>(kernel: K) {
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    super::quad_simd_wasm::run_quads(kernel);
    #[cfg(not(all(target_arch = "wasm32", feature = "relaxed-simd")))]
    kernel.run(Plain);
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
    fn times(self, sums: Self::Q, by: i32) -> Self::Q {
        sums.map(|sum| sum * by)
    }
    #[inline(always)]
    fn load_quads(self, from: &[i8; 4 * HALF]) -> Self::B {
        *from
    }
    #[inline(always)]
    fn dot_quads(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q {
        #[cfg(test)]
        let signed = super::tests::SIGNED.get();
        #[cfg(not(test))]
        let signed = false;
        let x = x.to_le_bytes();
        let x = x.map(|x| {
            if signed {
                i32::from(x as i8)
            } else {
                i32::from(x)
            }
        });
        std::array::from_fn(|o| {
            let products = x.iter().zip(&w[4 * o..]).map(|(x, w)| x * i32::from(*w));
            acc[o] + products.sum::<i32>()
        })
    }
    #[inline(always)]
    fn dot_quads_in_steps(self, acc: Self::Q, w: Self::B, x: u32) -> Self::Q {
        #[cfg(any(test, debug_assertions))]
        assert_eq!(x & 0x8080_8080, 0, "pieces have seven bits");
        let x = x.to_le_bytes().map(i16::from);
        // As the instruction does it: sums of two stop at the limits of i16.
        let two = |w: &[i8], x: &[i16]| {
            let [a, b] = [0, 1].map(|i| i16::from(w[i]) * x[i]);
            i32::from(a.saturating_add(b))
        };
        std::array::from_fn(|o| acc[o] + two(&w[4 * o..], &x) + two(&w[4 * o + 2..], &x[2..]))
    }
    #[inline(always)]
    fn add_scaled(self, low: Self::Q, high: Self::Q, scale: &[f32; HALF], to: &mut [f32; HALF]) {
        for (o, to) in to.iter_mut().enumerate() {
            *to += scale[o] * ((high[o] << 7) + low[o]) as f32;
        }
    }
    #[inline(always)]
    fn widen(self, codes: &[GroupCodes], multiples: &[[i8; HALF]], to: &mut [GroupQuads]) {
        for ((codes, multiples), to) in codes.iter().zip(multiples).zip(to) {
            let outputs = codes.as_chunks::<{ GROUP / 2 }>().0.iter().zip(multiples);
            for (output, (codes, multiple)) in outputs.enumerate() {
                for (i, byte) in codes.iter().enumerate() {
                    for (input, code) in [(i, byte & 15), (GROUP / 2 + i, byte >> 4)] {
                        let place = (input / 4 * HALF + output) * 4 + input % 4;
                        to[place] = (code as i8 - 8) * multiple;
                    }
                }
            }
        }
    }
    #[inline(always)]
    fn multiply_half(self, rows: &[[Pieces; ROWS]], half: Half<'_>, to: &mut [[f32; LANES]; ROWS]) {
        multiply_half(self, rows, half, to);
    }
    #[inline(always)]
    fn multiply_single<const R: usize, const ONE: bool>(
        self,
        rows: &[[u32; R]],
        offsets: &[i32; R],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    ) {
        multiply_single::<_, R, ONE>(self, rows, offsets, half, to);
    }
    #[inline(always)]
    fn pack(self, x: Self::F, zero: i32) -> [u32; 2] {
        let x = x.map(|x| (x.round_ties_even() as i32 + zero).clamp(0, 255) as u8);
        [0, 4].map(|first| u32::from_le_bytes(std::array::from_fn(|i| x[first + i])))
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
