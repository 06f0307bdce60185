//! The inner loop of the scan of coarse codes on the CPU: `sum_j Q_j code_j` of many rows.
//!
//! Four words of a row fill one vector, whatever widths they have. A *step* takes the fields at one shift
//! out of them, which are 16 unsigned bytes, and multiplies by the 16 values of Q that belong there; words of
//! a width that has no field at this shift have a mask of 0. Codes of 8 bits are made unsigned by flipping
//! their highest bit, which adds 128: what that adds to the sum is known beforehand.
//!
//! Invariant: the result is the exact sum wherever that fits into 32 bits, on every kind of machine.

use crate::format::clustered::Widths;

/// Words of a vector.
const WORDS: usize = 4;

/// Fields at one shift of four words.
#[derive(Clone, Debug)]
struct Step {
    /// The first word.
    word: usize,
    shift: u32,
    mask: [u32; WORDS],
    flip: [u32; WORDS],
    query: [i16; 16],
}

/// Codes of a query, arranged for the machine.
#[derive(Clone, Debug)]
pub(super) struct CodeKernel {
    /// Words of a row.
    words: usize,
    steps: Vec<Step>,
    /// What flipping adds to each sum.
    excess: i32,
    machine: Machine,
}

/// What the loop is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// What every machine of the target has.
    #[cfg_attr(target_feature = "simd128", allow(dead_code, reason = "for the tests"))]
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_feature = "simd128")]
    Simd128,
}

impl Machine {
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        #[cfg(target_feature = "simd128")]
        return Self::Simd128;
        #[cfg(not(target_feature = "simd128"))]
        Self::Baseline
    }
}

impl CodeKernel {
    /// Arranges the query's `codes` [M], each of 13 bits.
    pub fn new(widths: Widths, codes: &[i32]) -> Self {
        let words = widths.words();
        let groups = words.div_ceil(WORDS);
        let mut steps: Vec<Step> = Vec::new();
        for word in (0..groups).map(|group| group * WORDS) {
            steps.extend([0, 2, 4, 6].map(|shift| Step {
                word,
                shift,
                mask: [0; WORDS],
                flip: [0; WORDS],
                query: [0; 16],
            }));
        }
        let mut excess = 0i32;
        for (j, q) in codes.iter().enumerate() {
            let (word, place) = widths.place(j);
            let bits = widths.bits(j);
            // `place` is 8 times the byte plus the shift.
            let (byte, shift) = (place / 8, place % 8);
            let (group, lane) = (word / WORDS, word % WORDS);
            let Some(step) = steps.get_mut(group * 4 + shift as usize / 2) else {
                continue;
            };
            step.mask[lane] |= ((1 << bits) - 1) << (8 * byte);
            step.query[lane * 4 + byte as usize] = *q as i16;
            if bits == 8 {
                step.flip[lane] |= 0x80 << (8 * byte);
                excess = excess.wrapping_add(q.wrapping_mul(128));
            }
        }
        steps.retain(|step| step.mask != [0; WORDS]);
        Self {
            words,
            steps,
            excess,
            machine: Machine::fastest(),
        }
    }

    /// The sums of the rows `words` [n, W] into `sums` [n]; missing words count as zeros.
    pub fn sums(&self, words: &[u32], sums: &mut [i32]) {
        let padded = self.words.div_ceil(WORDS) * WORDS;
        if padded == 0 {
            sums.fill(0);
            return;
        }
        // Rows behind which the vectors of the last one may still read.
        let whole = match words.len().checked_sub(padded) {
            Some(room) => (room / self.words + 1).min(sums.len()),
            None => 0,
        };
        let (fast, rest) = sums.split_at_mut(whole);
        self.run(words, fast);
        let mut row = vec![0; padded];
        for (i, sum) in rest.iter_mut().enumerate() {
            let start = (whole + i) * self.words;
            let end = (start + self.words).min(words.len());
            let found = words.get(start..end).unwrap_or_default();
            row.fill(0);
            row[..found.len()].copy_from_slice(found);
            self.run(&row, std::slice::from_mut(sum));
        }
        for sum in sums {
            *sum = sum.wrapping_sub(self.excess);
        }
    }

    /// The sums with what flipping adds. Each row's vectors must lie within `words`.
    fn run(&self, words: &[u32], sums: &mut [i32]) {
        match self.machine {
            Machine::Baseline => self.run_baseline(words, sums),
            // SAFETY: `Machine::fastest` gives this only where the instructions have been found.
            #[cfg(target_arch = "x86_64")]
            Machine::Avx2 => unsafe { self.run_avx2(words, sums) },
            #[cfg(target_feature = "simd128")]
            Machine::Simd128 => self.run_simd128(words, sums),
        }
    }

    fn run_baseline(&self, words: &[u32], sums: &mut [i32]) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let mut lanes = [0i32; 4];
            for step in &self.steps {
                let start = i * self.words + step.word;
                for (lane, word) in words[start..start + WORDS].iter().enumerate() {
                    let fields = ((word >> step.shift) & step.mask[lane]) ^ step.flip[lane];
                    let query = &step.query[lane * 4..lane * 4 + 4];
                    for (b, q) in query.iter().enumerate() {
                        let field = ((fields >> (8 * b)) & 255) as i32;
                        lanes[b] = lanes[b].wrapping_add(field * i32::from(*q));
                    }
                }
            }
            *sum = lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane));
        }
    }

    /// Four rows at a time, so that a step's constants are loaded once for them.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn run_avx2(&self, words: &[u32], sums: &mut [i32]) {
        use std::arch::x86_64::{
            __m128i, __m256i, _mm_add_epi32, _mm_and_si128, _mm_cvtsi32_si128, _mm_hadd_epi32,
            _mm_srl_epi32, _mm_xor_si128, _mm256_add_epi32, _mm256_castsi256_si128,
            _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_madd_epi16,
            _mm256_setzero_si256,
        };
        let vector = |words: &[u32; WORDS]| bytemuck::cast::<[u32; WORDS], __m128i>(*words);
        for (block, sums) in sums.chunks_mut(4).enumerate() {
            // A block of fewer rows computes its last one again.
            let rows: [usize; 4] =
                std::array::from_fn(|i| (block * 4 + i.min(sums.len() - 1)) * self.words);
            let mut totals = [_mm256_setzero_si256(); 4];
            for step in &self.steps {
                let (mask, flip) = (vector(&step.mask), vector(&step.flip));
                let shift = _mm_cvtsi32_si128(step.shift as i32);
                let query: __m256i = bytemuck::cast(step.query);
                for (total, row) in totals.iter_mut().zip(rows) {
                    let start = row + step.word;
                    let Some(found) = words[start..].first_chunk::<WORDS>() else {
                        continue;
                    };
                    let fields = _mm_and_si128(_mm_srl_epi32(vector(found), shift), mask);
                    let fields = _mm256_cvtepu8_epi16(_mm_xor_si128(fields, flip));
                    *total = _mm256_add_epi32(*total, _mm256_madd_epi16(fields, query));
                }
            }
            let halves = totals.map(|total| {
                _mm_add_epi32(
                    _mm256_castsi256_si128(total),
                    _mm256_extracti128_si256::<1>(total),
                )
            });
            let pairs = [
                _mm_hadd_epi32(halves[0], halves[1]),
                _mm_hadd_epi32(halves[2], halves[3]),
            ];
            let found: [i32; 4] = bytemuck::cast(_mm_hadd_epi32(pairs[0], pairs[1]));
            sums.copy_from_slice(&found[..sums.len()]);
        }
    }

    #[cfg(target_feature = "simd128")]
    fn run_simd128(&self, words: &[u32], sums: &mut [i32]) {
        use std::arch::wasm32::{
            i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_shuffle, i32x4_splat,
            u16x8_extend_high_u8x16, u16x8_extend_low_u8x16, u32x4_shr, v128_and, v128_xor,
        };
        for (block, sums) in sums.chunks_mut(4).enumerate() {
            // A block of fewer rows computes its last one again.
            let rows: [usize; 4] =
                std::array::from_fn(|i| (block * 4 + i.min(sums.len() - 1)) * self.words);
            let mut totals = [i32x4_splat(0); 4];
            for step in &self.steps {
                let (mask, flip) = (load(&step.mask), load(&step.flip));
                let [low, high] = [0, 8].map(|at| load(&step.query[at..at + 8]));
                for (total, row) in totals.iter_mut().zip(rows) {
                    let start = row + step.word;
                    let found = load(&words[start..start + WORDS]);
                    let fields = v128_and(u32x4_shr(found, step.shift), mask);
                    let fields = v128_xor(fields, flip);
                    let low = i32x4_dot_i16x8(u16x8_extend_low_u8x16(fields), low);
                    let high = i32x4_dot_i16x8(u16x8_extend_high_u8x16(fields), high);
                    *total = i32x4_add(*total, i32x4_add(low, high));
                }
            }
            for (sum, total) in sums.iter_mut().zip(totals) {
                let halves = i32x4_add(total, i32x4_shuffle::<2, 3, 0, 1>(total, total));
                let pair = i32x4_add(halves, i32x4_shuffle::<1, 0, 3, 2>(halves, halves));
                *sum = i32x4_extract_lane::<0>(pair);
            }
        }
    }
}

/// The vector of 16 bytes that `values` are.
#[cfg(target_feature = "simd128")]
#[inline(always)]
pub(super) fn load<T: bytemuck::Pod>(values: &[T]) -> std::arch::wasm32::v128 {
    debug_assert_eq!(size_of_val(values), 16);
    // SAFETY: it reads 16 bytes at any alignment; all callers pass as many.
    unsafe { std::arch::wasm32::v128_load(values.as_ptr().cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_sums_what_the_fields_say() {
        let mut state = 11u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for (eight, four, two) in [
            (4, 0, 0),
            (0, 8, 0),
            (0, 0, 16),
            (4, 8, 16),
            (12, 24, 64),
            (0, 40, 160),
            (16, 0, 176),
            (2048, 0, 0),
            (0, 0, 0),
        ] {
            let widths = Widths { eight, four, two };
            let (m, w) = (widths.dimensions(), widths.words());
            let codes: Vec<i32> = (0..m).map(|_| next() as i32 % 8191 - 4095).collect();
            let mut kernel = CodeKernel::new(widths, &codes);
            for rows in [0usize, 1, 3, 4, 5, 9] {
                let words: Vec<u32> = (0..rows * w).map(|_| (next() << 16) ^ next()).collect();
                let mut fields = vec![0i16; m];
                let wanted: Vec<i32> = (0..rows)
                    .map(|i| {
                        widths.unpack(&words[i * w..][..w], &mut fields);
                        let products = codes.iter().zip(&fields);
                        products.map(|(q, c)| q * i32::from(*c)).sum()
                    })
                    .collect();
                for machine in [Machine::Baseline, Machine::fastest()] {
                    kernel.machine = machine;
                    let mut sums = vec![7; rows];
                    kernel.sums(&words, &mut sums);
                    assert_eq!(sums, wanted, "{widths:?} {rows} {machine:?}");
                }
            }
        }
    }
}
