//! The inner loop of the ranking by int8 rows: what [`super::kernel`] is for float rows.
//!
//! Codes lie in pairs along the dimension, because processors multiply and add pairs of 16-bit integers
//! in one step: a *tile* holds [`TILE_QUERIES`] queries as `[pairs, TILE_QUERIES]`, a *panel* holds
//! `lanes` rows as `[pairs, lanes]`; an odd dimension ends in a zero.
//!
//! Invariant: a score is that of [`QuantizedQuery::score`](crate::score::query::QuantizedQuery::score),
//! bit for bit: an exact 32-bit sum, converted to f32, times the product of the two scales.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm512_add_epi32, _mm512_madd_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
};

use super::kernel::{Kernel, TILE_QUERIES, count_scores};

/// Two codes that follow each other along the dimension.
pub(super) type Pair = [i16; 2];

/// Codes of a tile or a panel, and the scale of each query or row. A scale of NaN marks a lane without
/// a row, which is never counted.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub codes: &'a [Pair],
    pub scales: &'a [f32],
}

/// Exact sums of the products of a tile and a panel.
type Sums<const L: usize> = [[i32; L]; TILE_QUERIES];

impl Kernel {
    /// Adds to `above[j]` how many rows of `panel` score at least `thresholds[j]` with its query; see
    /// [`Kernel::count`].
    pub(super) fn count_int8(
        self,
        tile: Packed,
        panel: Packed,
        offsets: &[usize],
        thresholds: &[f32],
        above: &mut [u64],
    ) {
        match self {
            Self::Baseline => {
                let sums = sums::<8>(tile.codes, panel.codes);
                count(&sums, tile, panel, offsets, thresholds, above);
            }
            // SAFETY: as for `Kernel::count`.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { count_avx2(tile, panel, offsets, thresholds, above) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { count_avx512(tile, panel, offsets, thresholds, above) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn count_avx2(
    tile: Packed,
    panel: Packed,
    offsets: &[usize],
    thresholds: &[f32],
    above: &mut [u64],
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE_QUERIES];
    let queries = tile.codes.as_chunks::<TILE_QUERIES>().0;
    for (q, x) in queries.iter().zip(panel.codes.as_chunks::<16>().0) {
        // SAFETY: both are 64 bytes, and any bytes are integers.
        let x: [__m256i; 2] = unsafe { std::mem::transmute::<[Pair; 16], _>(*x) };
        for (sums, q) in sums.iter_mut().zip(q) {
            let q = _mm256_set1_epi32(bytemuck::cast(*q));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, x));
            }
        }
    }
    // SAFETY: both are 256 bytes, and any bytes are integers.
    let sums: Sums<16> = unsafe { std::mem::transmute(sums) };
    count(&sums, tile, panel, offsets, thresholds, above);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn count_avx512(
    tile: Packed,
    panel: Packed,
    offsets: &[usize],
    thresholds: &[f32],
    above: &mut [u64],
) {
    let mut sums = [[_mm512_setzero_si512(); 2]; TILE_QUERIES];
    let queries = tile.codes.as_chunks::<TILE_QUERIES>().0;
    for (q, x) in queries.iter().zip(panel.codes.as_chunks::<32>().0) {
        // SAFETY: both are 128 bytes, and any bytes are integers.
        let x: [__m512i; 2] = unsafe { std::mem::transmute::<[Pair; 32], _>(*x) };
        for (sums, q) in sums.iter_mut().zip(q) {
            let q = _mm512_set1_epi32(bytemuck::cast(*q));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(q, x));
            }
        }
    }
    // SAFETY: both are 512 bytes, and any bytes are integers.
    let sums: Sums<32> = unsafe { std::mem::transmute(sums) };
    count(&sums, tile, panel, offsets, thresholds, above);
}

/// The sums for panels of `L` rows, on any machine.
fn sums<const L: usize>(tile: &[Pair], panel: &[Pair]) -> Sums<L> {
    let mut sums = [[0i32; L]; TILE_QUERIES];
    let queries = tile.as_chunks::<TILE_QUERIES>().0;
    for (q, x) in queries.iter().zip(panel.as_chunks::<L>().0) {
        for (sums, q) in sums.iter_mut().zip(q) {
            for (sum, x) in sums.iter_mut().zip(x) {
                let products = [0, 1].map(|at| i32::from(q[at]) * i32::from(x[at]));
                *sum += products[0] + products[1];
            }
        }
    }
    sums
}

/// Counts the scores that `sums` give; inlined into its callers, whose instructions it then uses.
#[inline(always)]
fn count<const L: usize>(
    sums: &Sums<L>,
    tile: Packed,
    panel: Packed,
    offsets: &[usize],
    thresholds: &[f32],
    above: &mut [u64],
) {
    let mut scores = [[0f32; L]; TILE_QUERIES];
    for ((scores, sums), query_scale) in scores.iter_mut().zip(sums).zip(tile.scales) {
        for ((score, sum), row_scale) in scores.iter_mut().zip(sums).zip(panel.scales) {
            *score = *sum as f32 * (row_scale * query_scale);
        }
    }
    count_scores(&scores, offsets, thresholds, above);
}

/// Writes `codes` into column `at` of `packed`, a tile or panel of `width` columns.
pub(super) fn pack_column<T: Copy>(packed: &mut [Pair], width: usize, at: usize, codes: &[T])
where
    i16: TryFrom<T>,
{
    // Codes of rows have 8 bits and those of queries 13, so that none is out of range.
    let narrow = |code: &T| i16::try_from(*code).unwrap_or_default();
    let column = packed.iter_mut().skip(at).step_by(width);
    for (pair, codes) in column.zip(codes.chunks(2)) {
        *pair = [narrow(&codes[0]), codes.get(1).map_or(0, narrow)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::shard::quantize_row;
    use crate::score::query::{QuantizedQuery, normalised};

    #[test]
    fn every_kernel_counts_what_the_scorer_counts() {
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for (kernel, dimension) in Kernel::available()
            .into_iter()
            .flat_map(|kernel| [1usize, 4, 37, 2048].map(|dimension| (kernel, dimension)))
        {
            let lanes = kernel.lanes();
            let pairs = dimension.div_ceil(4) * 2;
            let mut random = || -> Vec<f32> { (0..dimension).map(|_| next()).collect() };
            let mut tile = vec![[0; 2]; pairs * TILE_QUERIES];
            let mut panel = vec![[0; 2]; pairs * lanes];
            let queries: [QuantizedQuery; TILE_QUERIES] =
                std::array::from_fn(|_| QuantizedQuery::new(&random()).unwrap());
            for (at, query) in queries.iter().enumerate() {
                pack_column(&mut tile, TILE_QUERIES, at, &query.codes);
            }
            // The last lane is padding.
            let mut row_scales = vec![f32::NAN; lanes];
            let mut scores = Vec::new();
            let mut rows = Vec::new();
            for (at, scale) in row_scales.iter_mut().take(lanes - 1).enumerate() {
                let mut codes: Vec<i8> = Vec::new();
                *scale = quantize_row(&normalised(&random()).unwrap(), &mut codes).unwrap();
                pack_column(&mut panel, lanes, at, &codes);
                rows.push((codes, *scale));
            }
            for query in &queries {
                let mut row: Vec<f32> = rows.iter().map(|(x, s)| query.score(x, *s)).collect();
                row.sort_by(f32::total_cmp);
                scores.extend(row);
            }
            let offsets: Vec<usize> = (0..=TILE_QUERIES).map(|m| m * (lanes - 1)).collect();
            let mut above = vec![0; scores.len()];
            let tile = Packed {
                codes: &tile,
                scales: &queries.each_ref().map(|query| query.scale),
            };
            let panel = Packed {
                codes: &panel,
                scales: &row_scales,
            };
            kernel.count_int8(tile, panel, &offsets, &scores, &mut above);
            // Equal scores all count; a row of one value has the score ±1 of many others.
            let expected = scores.chunks(lanes - 1).flat_map(|row| {
                let reached = |t: &f32| row.iter().filter(|score| *score >= t).count() as u64;
                row.iter().map(reached).collect::<Vec<_>>()
            });
            let expected: Vec<u64> = expected.collect();
            // Counting ends at the first threshold that no row reaches, and each is reached here.
            assert_eq!(above, expected, "{kernel:?} {dimension}");
        }
    }
}
