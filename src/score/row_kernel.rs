//! The inner loop of the scan of int8 rows on the CPU: `sum_j q_j code_j` of many rows.
//!
//! Invariant: the sum is that of [`QuantizedQuery::score`](super::QuantizedQuery::score), exact in 32 bits,
//! on every kind of machine.

use super::code_kernel::Machine;

/// Codes that are multiplied in one step.
const LANES: usize = 16;

/// Codes of a query of 13 bits, arranged for the machine.
#[derive(Clone, Debug)]
pub(super) struct RowKernel {
    /// Bytes of a row.
    stride: usize,
    /// The query's codes, zeros up to a multiple of [`LANES`].
    query: Vec<[i16; LANES]>,
    machine: Machine,
}

impl RowKernel {
    /// Arranges the query's `codes` [S].
    pub fn new(codes: &[i32]) -> Self {
        let mut query = vec![[0; LANES]; codes.len().div_ceil(LANES)];
        for (to, from) in query.as_flattened_mut().iter_mut().zip(codes) {
            *to = *from as i16;
        }
        Self {
            stride: codes.len(),
            query,
            machine: Machine::fastest(),
        }
    }

    /// The sums of the rows `codes` [n, S] into `sums` [n].
    pub fn sums(&self, codes: &[i8], sums: &mut [i32]) {
        match self.machine {
            Machine::Baseline => self.sums_baseline(codes, sums),
            // SAFETY: `Machine::fastest` gives this only where the instructions have been found.
            #[cfg(target_arch = "x86_64")]
            Machine::Avx2 => unsafe { self.sums_avx2(codes, sums) },
            #[cfg(target_feature = "simd128")]
            Machine::Simd128 => self.sums_simd128(codes, sums),
        }
    }

    fn sums_baseline(&self, codes: &[i8], sums: &mut [i32]) {
        for (sum, row) in sums.iter_mut().zip(codes.chunks_exact(self.stride)) {
            let products = row.iter().zip(self.query.as_flattened());
            *sum = products.map(|(c, q)| i32::from(*c) * i32::from(*q)).sum();
        }
    }

    /// What is left of each row behind the last whole step.
    fn add_rest(&self, row: &[i8], sum: &mut i32) {
        let whole = self.stride / LANES;
        let rest = row[whole * LANES..].iter();
        if let Some(query) = self.query.get(whole) {
            *sum += rest
                .zip(query)
                .map(|(c, q)| i32::from(*c) * i32::from(*q))
                .sum::<i32>();
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn sums_avx2(&self, codes: &[i8], sums: &mut [i32]) {
        use std::arch::x86_64::{
            __m128i, __m256i, _mm_add_epi32, _mm_hadd_epi32, _mm256_add_epi32,
            _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256,
            _mm256_madd_epi16, _mm256_setzero_si256,
        };
        for (sum, row) in sums.iter_mut().zip(codes.chunks_exact(self.stride)) {
            // Four sums, so that no addition waits for the one before.
            let mut totals = [_mm256_setzero_si256(); 4];
            let (row_blocks, row_rest) = row.as_chunks::<LANES>().0.as_chunks::<4>();
            let (query_blocks, query_rest) = self.query.as_chunks::<4>();
            let product = |codes: &[i8; LANES], query: &[i16; LANES]| {
                let codes: __m128i = bytemuck::cast(*codes);
                let query: __m256i = bytemuck::cast(*query);
                _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), query)
            };
            for (codes, query) in row_blocks.iter().zip(query_blocks) {
                for ((total, codes), query) in totals.iter_mut().zip(codes).zip(query) {
                    *total = _mm256_add_epi32(*total, product(codes, query));
                }
            }
            // Three blocks at most.
            let query_rest = query_rest.iter().take(row_rest.len());
            for ((total, codes), query) in totals.iter_mut().zip(row_rest).zip(query_rest) {
                *total = _mm256_add_epi32(*total, product(codes, query));
            }
            let pairs = [
                _mm256_add_epi32(totals[0], totals[1]),
                _mm256_add_epi32(totals[2], totals[3]),
            ];
            let total = _mm256_add_epi32(pairs[0], pairs[1]);
            let half = _mm_add_epi32(
                _mm256_castsi256_si128(total),
                _mm256_extracti128_si256::<1>(total),
            );
            let pair = _mm_hadd_epi32(half, half);
            let found: [i32; 4] = bytemuck::cast(_mm_hadd_epi32(pair, pair));
            *sum = found[0];
            self.add_rest(row, sum);
        }
    }

    #[cfg(target_feature = "simd128")]
    fn sums_simd128(&self, codes: &[i8], sums: &mut [i32]) {
        use super::code_kernel::load;
        use std::arch::wasm32::{
            i16x8_extend_high_i8x16, i16x8_extend_low_i8x16, i32x4_add, i32x4_dot_i16x8,
            i32x4_extract_lane, i32x4_shuffle, i32x4_splat,
        };
        for (sum, row) in sums.iter_mut().zip(codes.chunks_exact(self.stride)) {
            let mut totals = [i32x4_splat(0); 2];
            for (codes, query) in row.as_chunks::<LANES>().0.iter().zip(&self.query) {
                let codes = load(codes);
                let [low, high] = [0, 8].map(|at| load(&query[at..at + 8]));
                let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(codes), low);
                let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(codes), high);
                totals[0] = i32x4_add(totals[0], low);
                totals[1] = i32x4_add(totals[1], high);
            }
            let total = i32x4_add(totals[0], totals[1]);
            let halves = i32x4_add(total, i32x4_shuffle::<2, 3, 0, 1>(total, total));
            let pair = i32x4_add(halves, i32x4_shuffle::<1, 0, 3, 2>(halves, halves));
            *sum = i32x4_extract_lane::<0>(pair);
            self.add_rest(row, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_sums_the_products() {
        let mut state = 5u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as i32
        };
        for stride in [4usize, 12, 16, 20, 48, 64, 76, 112, 2048] {
            let query: Vec<i32> = (0..stride).map(|_| next() % 8191 - 4095).collect();
            let rows: Vec<i8> = (0..7 * stride).map(|_| next() as i8).collect();
            let wanted: Vec<i32> = rows
                .chunks(stride)
                .map(|row| row.iter().zip(&query).map(|(c, q)| i32::from(*c) * q).sum())
                .collect();
            for machine in [Machine::Baseline, Machine::fastest()] {
                let mut kernel = RowKernel::new(&query);
                kernel.machine = machine;
                let mut sums = vec![1; 7];
                kernel.sums(&rows, &mut sums);
                assert_eq!(sums, wanted, "{stride} {machine:?}");
            }
            // The extreme that 32 bits must hold.
            let mut sums = [0];
            RowKernel::new(&vec![-4095; stride]).sums(&vec![-127; stride], &mut sums);
            assert_eq!(sums, [4095 * 127 * stride as i32]);
        }
    }
}
