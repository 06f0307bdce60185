//! How many candidates queries need with a form of codes, counted on the sample.
//!
//! Scores are not those of the sample's rows as they would be packed but of rows as far from their leaves as those of the
//! index will be: see [`super::sample_leaves`].

use rayon::prelude::*;

use super::basis::Basis;
use super::leaf_form::LeafForm;
use super::product::Panels;
use super::residuals::leading;
use super::trial::BLOCK_ROWS;
use crate::attribution::estimate::THINNING_MOST;
use crate::format::clustered::Plan;

/// Candidates that a query reads for one that it would need if it knew how far down the last of its top is: between 1
/// and 2, measured at a million rows.
const MARGIN: f64 = 1.5;
/// Rows of the sample by which candidates are counted: one of `stride`, and all that are in the top of a query.
pub(super) struct Counted {
    /// Ascending.
    pub rows: Vec<usize>,
    stride: usize,
}

impl Counted {
    pub fn new(basis: &Basis, stride: usize) -> Self {
        let tops = basis.queries.tops.iter().flatten();
        let mut rows: Vec<usize> = tops.map(|row| *row as usize).collect();
        rows.extend((0..basis.sample.centroids.len()).step_by(stride));
        rows.sort_unstable();
        rows.dedup();
        Self { rows, stride }
    }
}

/// The candidates that queries need in all N rows, the share of their top that they then find, and the deviation of the scores of that top; `approximate` are the scores
/// [queries, n] of the `counted` rows.
pub(super) fn candidates(basis: &Basis, approximate: &[f32], counted: &Counted) -> (f64, f64, f64) {
    let held = basis.sample.centroids.len();
    let queries = basis.queries.tops.len();
    let (rows, stride) = (&counted.rows, counted.stride);
    let rows_of_one = basis.rows as f64 / held as f64;
    let by_query: Vec<(f64, usize, f64)> = (0..queries)
        .into_par_iter()
        .map(|query| {
            let scores = &approximate[query * rows.len()..][..rows.len()];
            let score_of = |row: &u32| {
                let at = rows.partition_point(|other| *other < *row as usize);
                scores[at]
            };
            let exact = &basis.queries.exact[query * held..][..held];
            let top = &basis.queries.tops[query];
            let ranks: Vec<usize> = top
                .iter()
                .map(|row| {
                    let own = score_of(row);
                    let others = rows.iter().zip(scores);
                    let above = others.filter(|(row, score)| **row % stride == 0 && **score > own);
                    above.count() * stride + 1
                })
                .collect();
            let most = THINNING_MOST as f64 / rows_of_one;
            let found = ranks.iter().filter(|rank| **rank as f64 <= most).count();
            let error = |row: &u32| f64::from(exact[*row as usize] - score_of(row));
            let squares = top.iter().map(|row| error(row).powi(2)).sum();
            (ranks.into_iter().max().unwrap_or(1) as f64, found, squares)
        })
        .collect();
    let found: usize = by_query.iter().map(|(_, found, _)| found).sum();
    let tops: usize = basis.queries.tops.iter().map(Vec::len).sum();
    // Each query reads as far as it must, so what counts is the mean and not a rank that is enough for most.
    let read = |last: &f64| (MARGIN * last * rows_of_one).min(THINNING_MOST as f64);
    let last: f64 = by_query.iter().map(|(last, ..)| read(last)).sum();
    let squares: f64 = by_query.iter().map(|(.., squares)| squares).sum();
    (
        last / queries.max(1) as f64,
        found as f64 / tops.max(1) as f64,
        (squares / tops.max(1) as f64).sqrt(),
    )
}

/// Approximate scores [queries, n] of `rows` of the sample with `codes` [n, P]: their exact scores less the error of a row whose
/// residual is stretched as its leaf says.
pub(super) fn approximate_scores(
    basis: &Basis,
    plan: &Plan,
    leaves: &LeafForm,
    codes: &[u8],
    rows: &[usize],
) -> Vec<f32> {
    let (coded, positions) = (plan.widths.dimensions(), plan.widths.row_bytes());
    let (kept, count) = (basis.kept(), plan.centroid_count());
    let held = basis.sample.centroids.len();
    let queries = basis.queries.turned.len() / kept;
    let panels = Panels::new(&leading(&basis.queries.turned, kept, coded), coded);
    let of_leaves = leaves.products(&basis.queries.turned, kept);
    let blocks = codes
        .par_chunks(BLOCK_ROWS * positions)
        .zip(rows.par_chunks(BLOCK_ROWS));
    let by_row: Vec<f32> = blocks
        .flat_map_iter(|(codes, rows)| {
            let mut values = vec![0.0; rows.len() * coded];
            let mut words = vec![0; plan.widths.words()];
            let mut fields = vec![0i16; coded];
            for (row, values) in codes
                .chunks_exact(positions)
                .zip(values.chunks_exact_mut(coded))
            {
                for (word, bytes) in words.iter_mut().zip(row[2..].as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                plan.widths.unpack(&words, &mut fields);
                let gain = f32::from(row[1]) * plan.gain_step;
                for (j, value) in values.iter_mut().enumerate() {
                    *value = gain * (f32::from(fields[j]) - plan.zeros[j]) * plan.steps[j];
                }
            }
            let mut scores = vec![0.0; rows.len() * queries];
            panels.multiply(&values, &mut scores);
            for ((scores, row), code) in scores
                .chunks_exact_mut(queries)
                .zip(rows)
                .zip(codes.chunks_exact(positions))
            {
                let along = f32::from(code[0] as i8) * plan.const_step;
                let centroid = basis.sample.centroids[*row] as usize;
                let leaf = leaves.of_row(basis, *row);
                let stretch = leaf.map_or(1.0, |(_, stretch)| stretch);
                for (query, score) in scores.iter_mut().enumerate() {
                    let base = basis.queries.bases[query * count + centroid];
                    let exact = basis.queries.exact[query * held + row];
                    let of_leaf = match leaf {
                        Some(_) => of_leaves[basis.leaves.of_row[*row] as usize * queries + query],
                        None => 0.0,
                    };
                    let found = along * base + *score;
                    *score = exact - stretch * (exact - base - of_leaf) + found;
                }
            }
            scores
        })
        .collect();
    super::basis::transposed(&by_row, queries)
}
