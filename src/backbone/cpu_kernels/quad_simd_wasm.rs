//! [`QuadSimd`] in WebAssembly's relaxed 128-bit instructions, in the module that has them.
//!
//! Loads and stores take no alignment; their bounds are those of the arrays.

use std::arch::wasm32::*;

use super::activations::Pieces;
use super::quad_simd::{Bytes, GroupCodes, GroupQuads, QuadKernel, QuadSimd};
use super::quads::{self, Half};
use super::simd::{LANES, Simd};
use super::simd_wasm::{Two, Wasm128, integers};

/// Runs `kernel`, compiled for the instructions of this module.
pub fn run_quads<K: QuadKernel>(kernel: K) {
    #[target_feature(enable = "relaxed-simd")]
    fn compiled<K: QuadKernel>(kernel: K) {
        kernel.run(Wasm128);
    }
    compiled(kernel)
}

/// Whether four products of bytes and their sum are one instruction here, and how it reads the second operand. Where they are
/// several, sums of two products stop at the limits of i16 or wrap around there, which shows.
pub fn quad_instruction() -> Option<Bytes> {
    #[target_feature(enable = "relaxed-simd")]
    fn sum(a: i8, b: i8) -> i32 {
        // Not to be computed by a compiler, whose answer may be another one.
        let (a, b) = std::hint::black_box((i8x16_splat(a), i8x16_splat(b)));
        i32x4_extract_lane::<0>(i32x4_relaxed_dot_i8x16_i7x16_add(a, b, i32x4_splat(0)))
    }
    let read = |b: i8| match [sum(127, b), sum(-128, b)] {
        sums if sums == [127, -128].map(|a| 4 * a * i32::from(b)) => Some(Bytes::Signed),
        sums if sums == [127, -128].map(|a| 4 * a * i32::from(b as u8)) => Some(Bytes::Unsigned),
        _ => None,
    };
    let [least, last] = [-128, -1].map(read);
    least.filter(|_| least == last)
}

impl QuadSimd for Wasm128 {
    type Q = v128;
    type B = v128;

    #[inline(always)]
    fn load_sums(self, from: &[i32; 4]) -> v128 {
        // SAFETY: four i32 are 16 bytes; v128 loads take any alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_sums(self, sums: v128, to: &mut [i32; 4]) {
        // SAFETY: as above.
        unsafe { v128_store(to.as_mut_ptr().cast(), sums) }
    }
    #[inline(always)]
    fn times(self, sums: v128, by: i32) -> v128 {
        i32x4_mul(sums, i32x4_splat(by))
    }
    #[inline(always)]
    fn load_quads(self, from: &[i8; 16]) -> v128 {
        // SAFETY: 16 bytes; v128 loads take any alignment.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn dot_quads(self, acc: v128, w: v128, x: u32) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(w, u32x4_splat(x), acc)
    }
    #[inline(always)]
    fn dot_quads_in_steps(self, acc: v128, w: v128, x: u32) -> v128 {
        // Where the one above is several instructions, one of them makes these ones each time.
        let twos = i16x8_relaxed_dot_i8x16_i7x16(w, u32x4_splat(x));
        i32x4_add(acc, i32x4_dot_i16x8(twos, i16x8_splat(1)))
    }
    #[inline(always)]
    fn add_scaled(self, low: v128, high: v128, scale: &[f32; 4], to: &mut [f32; 4]) {
        let sum = f32x4_convert_i32x4(i32x4_add(i32x4_shl(high, 7), low));
        // SAFETY: four f32 are 16 bytes; v128 loads and stores take any alignment.
        unsafe {
            let scale = v128_load(scale.as_ptr().cast());
            let before = v128_load(to.as_ptr().cast());
            let after = f32x4_relaxed_madd(sum, scale, before);
            v128_store(to.as_mut_ptr().cast(), after);
        }
    }
    #[inline(always)]
    fn widen(self, codes: &[GroupCodes], multiples: &[[i8; 4]], to: &mut [GroupQuads]) {
        // Once for all kernels.
        #[target_feature(enable = "relaxed-simd")]
        #[inline(never)]
        fn compiled(codes: &[GroupCodes], multiples: &[[i8; 4]], to: &mut [GroupQuads]) {
            for ((codes, multiples), to) in codes.iter().zip(multiples).zip(to) {
                widen(codes, multiples, to);
            }
        }
        compiled(codes, multiples, to);
    }
    #[inline(always)]
    fn multiply_half(
        self,
        rows: &[[Pieces; quads::ROWS]],
        half: Half<'_>,
        to: &mut [[f32; LANES]; quads::ROWS],
    ) {
        // Among more variables V8 keeps some of the sums in memory, and takes twice as long.
        #[target_feature(enable = "relaxed-simd")]
        #[inline(never)]
        fn compiled(
            rows: &[[Pieces; quads::ROWS]],
            half: Half<'_>,
            to: &mut [[f32; LANES]; quads::ROWS],
        ) {
            quads::multiply_half(Wasm128, rows, half, to);
        }
        compiled(rows, half, to);
    }
    #[inline(always)]
    fn multiply_single<const R: usize, const ONE: bool>(
        self,
        rows: &[[u32; R]],
        offsets: &[i32; R],
        half: Half<'_>,
        to: &mut [[f32; LANES]; R],
    ) {
        // As above.
        #[target_feature(enable = "relaxed-simd")]
        #[inline(never)]
        fn compiled<const R: usize, const ONE: bool>(
            rows: &[[u32; R]],
            offsets: &[i32; R],
            half: Half<'_>,
            to: &mut [[f32; LANES]; R],
        ) {
            quads::multiply_single::<_, R, ONE>(Wasm128, rows, offsets, half, to);
        }
        compiled::<R, ONE>(rows, offsets, half, to);
    }
    #[inline(always)]
    fn pack(self, x: Two, zero: i32) -> [u32; 2] {
        let x = self
            .round(x)
            .map(|x| i32x4_add(integers(x), i32x4_splat(zero)));
        let words = i16x8_narrow_i32x4(x.0, x.1);
        let words = u8x16_narrow_i16x8(words, words);
        [
            u32x4_extract_lane::<0>(words),
            u32x4_extract_lane::<1>(words),
        ]
    }
    #[inline(always)]
    fn split(self, x: Two) -> [[u32; 2]; 2] {
        let x = self
            .round(x)
            .map(|x| i32x4_add(integers(x), i32x4_splat(8192)));
        let low = x.map(|x| v128_and(x, i32x4_splat(127)));
        let high = x.map(|x| u32x4_shr(x, 7));
        // Bytes 0 to 7 the low pieces, 8 to 15 the high ones.
        let words = u8x16_narrow_i16x8(
            i16x8_narrow_i32x4(low.0, low.1),
            i16x8_narrow_i32x4(high.0, high.1),
        );
        [
            [
                u32x4_extract_lane::<0>(words),
                u32x4_extract_lane::<2>(words),
            ],
            [
                u32x4_extract_lane::<1>(words),
                u32x4_extract_lane::<3>(words),
            ],
        ]
    }
}

/// What 4-bit codes stand for, by the multiple of the unit and 16.
static PRODUCTS: [[i8; 16]; 32] = {
    let mut products = [[0; 16]; 32];
    let mut multiple = 1;
    while multiple < 32 {
        let mut code = 0;
        while code < 16 {
            products[multiple][code] = (code as i8 - 8) * (multiple as i8 - 16);
            code += 1;
        }
        multiple += 1;
    }
    products
};

/// One group: the products of each output are looked up, 16 at once, and then dealt out to the quads.
#[target_feature(enable = "relaxed-simd")]
#[inline]
fn widen(codes: &GroupCodes, multiples: &[i8; 4], to: &mut GroupQuads) {
    let of_output = |output: usize| {
        let products = &PRODUCTS[(multiples[output] + 16) as usize & 31];
        // SAFETY: 16 bytes each; v128 loads take any alignment.
        let (products, codes) = unsafe {
            let codes = codes.as_ptr().add(16 * output);
            (v128_load(products.as_ptr().cast()), v128_load(codes.cast()))
        };
        [
            i8x16_relaxed_swizzle(products, v128_and(codes, i8x16_splat(15))),
            i8x16_relaxed_swizzle(products, u8x16_shr(codes, 4)),
        ]
    };
    let outputs = [of_output(0), of_output(1), of_output(2), of_output(3)];
    for half in 0..2 {
        let [a, b, c, d] = outputs.map(|halves| halves[half]);
        let (ab, cd) = (
            i32x4_shuffle::<0, 4, 1, 5>(a, b),
            i32x4_shuffle::<0, 4, 1, 5>(c, d),
        );
        let (ab_, cd_) = (
            i32x4_shuffle::<2, 6, 3, 7>(a, b),
            i32x4_shuffle::<2, 6, 3, 7>(c, d),
        );
        let quads = [
            i64x2_shuffle::<0, 2>(ab, cd),
            i64x2_shuffle::<1, 3>(ab, cd),
            i64x2_shuffle::<0, 2>(ab_, cd_),
            i64x2_shuffle::<1, 3>(ab_, cd_),
        ];
        for (i, quad) in quads.into_iter().enumerate() {
            // SAFETY: as above, with 4 quads in each half of the group.
            unsafe { v128_store(to.as_mut_ptr().add(16 * (4 * half + i)).cast(), quad) }
        }
    }
}
