//! The inner loop of the ranking: scores of a few queries with a few database rows, and their counts.
//! Calibration takes the scores themselves.
//!
//! Both operands are packed so that the loop runs along the dimension with the rows side by side: a
//! *tile* holds [`TILE_QUERIES`] unit queries as `[dimension, TILE_QUERIES]`, a *panel* holds `lanes`
//! unit database rows as `[dimension, lanes]`.
//!
//! Invariant: a score is the f32 sum q0*x0 + q1*x1 + … in that order, each product and each sum
//! rounded, whatever the machine: the widths differ in how many rows are computed at once, never in
//! the order within a row, and fused multiply-add, which rounds once, is not used. [`dot`] is the same
//! sum, so equal rows have equal scores and ranks are the same everywhere.

/// Queries of a tile. With 4, the compiler keeps the sums of a tile and a panel in registers for every
/// width below; with 8 it keeps them in memory, and the loop is some 15 times slower.
pub(crate) const TILE_QUERIES: usize = 4;

/// The widths that the loop is compiled for. The wider ones need instructions found at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// What every machine of the target has (SSE2, NEON).
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// The kernels that this machine can run, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has more than one")]
        let mut kernels = vec![Self::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            // The integer kernel needs the second one; no server or desktop has only the first.
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                kernels.push(Self::Avx512);
            }
        }
        kernels
    }

    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self::Baseline)
    }

    /// Database rows of a panel.
    pub fn lanes(self) -> usize {
        match self {
            Self::Baseline => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 32,
        }
    }

    /// Adds to `above[j]` how many rows of `panel` score at least `thresholds[j]` with its query.
    ///
    /// Query `m` of `tile` owns `thresholds[offsets[m]..offsets[m + 1]]`, ascending; queries past the
    /// end of `offsets` are padding. A row of NaN is never counted.
    pub fn count(
        self,
        tile: &[f32],
        panel: &[f32],
        offsets: &[usize],
        thresholds: &[f32],
        above: &mut [u64],
    ) {
        match self {
            Self::Baseline => count::<8>(tile, panel, offsets, thresholds, above),
            // SAFETY: `available` gives these kernels only where the instructions have been found, and
            // nothing else makes them outside the tests, which ask it too.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { count_avx2(tile, panel, offsets, thresholds, above) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { count_avx512(tile, panel, offsets, thresholds, above) },
        }
    }

    /// Writes the scores of `tile` with `panel` to `scores`, `[TILE_QUERIES, lanes]`.
    pub fn scores(self, tile: &[f32], panel: &[f32], scores: &mut [f32]) {
        match self {
            Self::Baseline => write_sums::<8>(tile, panel, scores),
            // SAFETY: as for `count`.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { scores_avx2(tile, panel, scores) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { scores_avx512(tile, panel, scores) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn count_avx2(q: &[f32], x: &[f32], offsets: &[usize], thresholds: &[f32], above: &mut [u64]) {
    count::<16>(q, x, offsets, thresholds, above);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn count_avx512(q: &[f32], x: &[f32], offsets: &[usize], thresholds: &[f32], above: &mut [u64]) {
    count::<32>(q, x, offsets, thresholds, above);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scores_avx2(tile: &[f32], panel: &[f32], scores: &mut [f32]) {
    write_sums::<16>(tile, panel, scores);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scores_avx512(tile: &[f32], panel: &[f32], scores: &mut [f32]) {
    write_sums::<32>(tile, panel, scores);
}

#[inline(always)]
fn write_sums<const L: usize>(tile: &[f32], panel: &[f32], scores: &mut [f32]) {
    let sums = sums::<L>(tile, panel);
    for (scores, sums) in scores.chunks_exact_mut(L).zip(&sums) {
        scores.copy_from_slice(sums);
    }
}

/// The loop for panels of `L` rows; inlined into its callers, whose instructions it then uses.
#[inline(always)]
fn sums<const L: usize>(tile: &[f32], panel: &[f32]) -> [[f32; L]; TILE_QUERIES] {
    let mut sums = [[0f32; L]; TILE_QUERIES];
    for (q, x) in tile
        .as_chunks::<TILE_QUERIES>()
        .0
        .iter()
        .zip(panel.as_chunks::<L>().0)
    {
        for (sums, q) in sums.iter_mut().zip(q) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += q * x;
            }
        }
    }
    sums
}

/// What [`Kernel::count`] does, for panels of `L` rows.
#[inline(always)]
fn count<const L: usize>(
    tile: &[f32],
    panel: &[f32],
    offsets: &[usize],
    thresholds: &[f32],
    above: &mut [u64],
) {
    count_scores(&sums::<L>(tile, panel), offsets, thresholds, above);
}

/// Adds the scores of a tile and a panel that reach the thresholds; see [`Kernel::count`].
#[inline(always)]
pub(crate) fn count_scores<const L: usize>(
    scores: &[[f32; L]; TILE_QUERIES],
    offsets: &[usize],
    thresholds: &[f32],
    above: &mut [u64],
) {
    for (scores, range) in scores.iter().zip(offsets.windows(2)) {
        let [start, end] = [range[0], range[1]];
        for (threshold, above) in thresholds[start..end].iter().zip(&mut above[start..end]) {
            let count: u32 = scores.iter().map(|s| u32::from(s >= threshold)).sum();
            // The thresholds ascend, so no row reaches the next one either. Most panels end at the first.
            if count == 0 {
                break;
            }
            *above += u64::from(count);
        }
    }
}

/// The score of two unit vectors, summed as the kernel does.
pub(crate) fn dot(q: &[f32], x: &[f32]) -> f32 {
    q.iter().zip(x).fold(0.0, |sum, (q, x)| sum + q * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_counts_what_the_plain_sum_counts() {
        let dimension = 37;
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for kernel in Kernel::available() {
            let (queries, lanes) = (TILE_QUERIES, kernel.lanes());
            let tile: Vec<f32> = (0..dimension * queries).map(|_| next()).collect();
            let mut panel: Vec<f32> = (0..dimension * lanes).map(|_| next()).collect();
            // The last lane is padding.
            let padding = panel.iter_mut().skip(lanes - 1).step_by(lanes);
            padding.for_each(|value| *value = f32::NAN);
            let column = |packed: &[f32], width: usize, at: usize| -> Vec<f32> {
                packed.iter().skip(at).step_by(width).copied().collect()
            };
            // Thresholds are the very scores, so a different order of summation changes the counts.
            let mut scores = Vec::new();
            for m in 0..queries {
                let q = column(&tile, queries, m);
                let row = (0..lanes - 1).map(|l| dot(&q, &column(&panel, lanes, l)));
                let mut row: Vec<f32> = row.collect();
                row.sort_by(f32::total_cmp);
                scores.extend(row);
            }
            let offsets: Vec<usize> = (0..=queries).map(|m| m * (lanes - 1)).collect();
            let mut above = vec![0; scores.len()];
            kernel.count(&tile, &panel, &offsets, &scores, &mut above);
            let expected: Vec<u64> = (0..scores.len())
                .map(|at| (lanes - 1 - at % (lanes - 1)) as u64)
                .collect();
            assert_eq!(above, expected, "{kernel:?}");
            let mut written = vec![0.0; queries * lanes];
            kernel.scores(&tile, &panel, &mut written);
            for (m, row) in written.chunks_exact(lanes).enumerate() {
                let q = column(&tile, queries, m);
                let sums = (0..lanes - 1).map(|l| dot(&q, &column(&panel, lanes, l)));
                assert_eq!(row[..lanes - 1], sums.collect::<Vec<_>>(), "{kernel:?}");
            }
        }
    }
}
