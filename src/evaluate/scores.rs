//! All scores of queries with the database, in bounded memory, for the calibrator.
//!
//! The calibrator sums a function over the scores of the whole database, again and again while it is
//! fitted. Up to [`EXACT_SCORES`] of them (64 MB) are kept as they are. Beyond, a query's scores are
//! counted in bins of width w = 2^-14, and each bin stands as its mean score and its count. For
//! `exp(inv_tau * s)` that is off by a factor of 1 + (inv_tau * w)^2 / 8 at most: 5e-6 at an inverse
//! temperature of 100. The best score is exact either way.

use rayon::prelude::*;

use super::database::Database;
use super::kernel::{Kernel, TILE_QUERIES, dot};
use super::stream::{RowMap, Wanted, chunk_queries, pack_tiles, stream_panels};
use crate::error::Result;

/// Most scores that are kept one by one.
const EXACT_SCORES: usize = 1 << 24;
/// Bins in a unit of score.
const BINS_PER_UNIT: usize = 1 << 14;
/// Bins of -1..=1, and of what rounding adds at both ends.
const BINS: usize = 2 * BINS_PER_UNIT + 2;
/// Queries that are binned at the same time, 256 kB each; the database is read once for so many.
const BINNED_QUERIES: usize = 1024;

/// How one query scores.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryScores {
    /// The exemplars' scores, in the entry's order.
    pub exemplars: Vec<f32>,
    /// The scores of everything else, or their bins' means.
    pub others: Vec<f32>,
    /// How many items each of `others` stands for; `None` for one each.
    pub counts: Option<Vec<f32>>,
    /// The best score of all.
    pub best: f32,
}

impl QueryScores {
    /// The scores of everything but the exemplars, with how many items have them.
    pub fn others(&self) -> impl Iterator<Item = (f32, f64)> {
        let count = |at| match &self.counts {
            Some(counts) => counts.get(at).copied().map_or(0.0, f64::from),
            None => 1.0,
        };
        let others = self.others.iter().enumerate();
        others.map(move |(at, &score)| (score, count(at)))
    }
}

/// A query to score: unit vectors, and the database rows that are its exemplars, ascending.
pub(super) struct ScoredQuery<'a> {
    pub vector: &'a [f32],
    pub exemplars: Vec<&'a [f32]>,
    pub copies: &'a [usize],
}

/// Scores `queries` with their exemplars and with the rows of `database`, mapped by `map`, that are no
/// copies of those.
///
/// # Errors
/// As [`stream_panels`].
pub(super) fn score_database(
    database: &Database,
    map: Option<&dyn RowMap>,
    queries: &[ScoredQuery],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<QueryScores>> {
    let [rows, width] = database.shape();
    let dimension = map.map_or(width, |map| map.dimensions()[1]);
    let exact = queries.len().saturating_mul(rows) <= EXACT_SCORES;
    let at_a_time = if exact { queries.len() } else { BINNED_QUERIES };
    let passes = queries.len().div_ceil(at_a_time.max(1));
    let mut scores = Vec::with_capacity(queries.len());
    for (pass, queries) in queries.chunks(at_a_time.max(1)).enumerate() {
        let collectors = collect(database, map, (queries, dimension, exact), &|done| {
            progress(pass * rows + done, passes * rows);
        })?;
        scores.extend(collectors);
    }
    Ok(scores)
}

fn collect(
    database: &Database,
    map: Option<&dyn RowMap>,
    (queries, dimension, exact): (&[ScoredQuery], usize, bool),
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<QueryScores>> {
    let kernel = Kernel::fastest();
    let rows = database.shape()[0];
    let mut chunks: Vec<Chunk> = queries
        .par_chunks(chunk_queries(queries.len()))
        .map(|queries| Chunk::new(queries, dimension, (rows, exact)))
        .collect();
    let wanted = Wanted {
        float32: true,
        int8: false,
    };
    stream_panels(
        database,
        map,
        wanted,
        kernel,
        progress,
        &mut |first, panels| {
            let chunks = chunks.par_iter_mut();
            chunks.for_each(|chunk| chunk.add(kernel, first, &panels.float32, dimension));
        },
    )?;
    Ok(chunks.into_iter().flat_map(Chunk::finish).collect())
}

/// Queries that one thread carries through a block.
struct Chunk<'a> {
    /// Tiles, one after the other, each `[dimension, TILE_QUERIES]`.
    tiles: Vec<f32>,
    collectors: Vec<Collector<'a>>,
    rows: usize,
}

impl<'a> Chunk<'a> {
    fn new(queries: &[ScoredQuery<'a>], dimension: usize, (rows, exact): (usize, bool)) -> Self {
        let vectors: Vec<&[f32]> = queries.iter().map(|query| query.vector).collect();
        let collectors = queries
            .iter()
            .map(|query| Collector::new(query, rows, exact));
        Self {
            tiles: pack_tiles(&vectors, dimension),
            collectors: collectors.collect(),
            rows,
        }
    }

    /// Scores the rows of one block, which starts at row `first`.
    fn add(&mut self, kernel: Kernel, first: usize, panels: &[f32], dimension: usize) {
        let lanes = kernel.lanes();
        let mut scores = vec![0.0; TILE_QUERIES * lanes];
        let panels = panels.chunks_exact(lanes * dimension);
        for (panel, row) in panels.zip((first..).step_by(lanes)) {
            // Lanes past the end hold no row.
            let used = lanes.min(self.rows.saturating_sub(row));
            let tiles = self.tiles.chunks_exact(TILE_QUERIES * dimension);
            for (tile, collectors) in tiles.zip(self.collectors.chunks_mut(TILE_QUERIES)) {
                kernel.scores(tile, panel, &mut scores);
                for (scores, collector) in scores.chunks_exact(lanes).zip(collectors) {
                    collector.add(row, &scores[..used]);
                }
            }
        }
    }

    fn finish(self) -> impl Iterator<Item = QueryScores> {
        self.collectors.into_iter().map(Collector::finish)
    }
}

/// The scores of one query.
struct Collector<'a> {
    exemplars: Vec<f32>,
    copies: &'a [usize],
    kept: Kept,
    best: f32,
}

enum Kept {
    All(Vec<f32>),
    /// Of each bin the count and the sum of the distances to its lower end.
    Bins(Vec<(u32, f32)>),
}

impl<'a> Collector<'a> {
    fn new(query: &ScoredQuery<'a>, rows: usize, exact: bool) -> Self {
        let exemplars = query.exemplars.iter();
        let exemplars: Vec<f32> = exemplars.map(|x| dot(query.vector, x)).collect();
        Self {
            best: exemplars.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            exemplars,
            copies: query.copies,
            kept: if exact {
                Kept::All(Vec::with_capacity(rows))
            } else {
                Kept::Bins(vec![(0, 0.0); BINS])
            },
        }
    }

    /// Takes the scores of the rows from `row` on.
    fn add(&mut self, row: usize, scores: &[f32]) {
        // Rows come in order, so the copies that were passed need no second look.
        while let [copy, rest @ ..] = self.copies
            && *copy < row
        {
            self.copies = rest;
        }
        let copied = |at: usize| {
            let here = self.copies.iter().take_while(|copy| **copy <= row + at);
            here.last() == Some(&(row + at))
        };
        for (at, &score) in scores.iter().enumerate() {
            if copied(at) {
                continue;
            }
            self.best = self.best.max(score);
            match &mut self.kept {
                Kept::All(all) => all.push(score),
                Kept::Bins(bins) => {
                    let (bin, offset) = place(score);
                    if let Some((count, sum)) = bins.get_mut(bin) {
                        *count += 1;
                        *sum += offset;
                    }
                }
            }
        }
    }

    fn finish(self) -> QueryScores {
        let (others, counts) = match self.kept {
            Kept::All(all) => (all, None),
            Kept::Bins(bins) => {
                let filled = bins.iter().zip(0..).filter(|((count, _), _)| *count > 0);
                let (means, counts) = filled
                    .map(|(&(count, sum), bin)| (mean(bin, count, sum), count as f32))
                    .unzip();
                (means, Some(counts))
            }
        };
        QueryScores {
            exemplars: self.exemplars,
            others,
            counts,
            best: self.best,
        }
    }
}

/// The bin of a score, and how far above its lower end it lies, in bins.
fn place(score: f32) -> (usize, f32) {
    let at = (score + 1.0).max(0.0) * BINS_PER_UNIT as f32;
    let bin = (at as usize).min(BINS - 1);
    (bin, at - bin as f32)
}

fn mean(bin: usize, count: u32, sum: f32) -> f32 {
    let offset = f64::from(sum) / f64::from(count.max(1));
    ((bin as f64 + offset) / BINS_PER_UNIT as f64 - 1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn bins_stand_for_their_scores_within_the_stated_error() {
        let mut chance = Sequence::new(3, 3);
        let scores: Vec<f32> = (0..20_000).map(|_| chance.unit() * 0.8 - 0.2).collect();
        let query = ScoredQuery {
            vector: &[1.0],
            exemplars: vec![&[0.55]],
            copies: &[7, 9],
        };
        let collected = [true, false].map(|exact| {
            let mut collector = Collector::new(&query, scores.len(), exact);
            for (at, scores) in scores.chunks(16).enumerate() {
                collector.add(at * 16, scores);
            }
            collector.finish()
        });
        let [exact, binned] = &collected;
        assert_eq!(exact.others.len(), scores.len() - 2);
        assert_eq!(exact.others[6..8], [scores[6], scores[8]]);
        assert_eq!(exact.best, binned.best);
        let total = |of: &QueryScores| of.others().map(|(_, count)| count).sum::<f64>();
        assert_eq!(total(exact), total(binned));
        assert!(binned.others.len() < exact.others.len());
        for inv_tau in [10.0f64, 100.0, 300.0] {
            let sum = |of: &QueryScores| -> f64 {
                let each = of.others();
                each.map(|(s, count)| count * (inv_tau * f64::from(s - of.best)).exp())
                    .sum()
            };
            let width = 1.0 / BINS_PER_UNIT as f64;
            let stated = (inv_tau * width).powi(2) / 8.0 + 1e-6;
            let error = (sum(binned) / sum(exact) - 1.0).abs();
            assert!(error < stated, "{inv_tau}: {error} above {stated}");
        }
    }

    #[test]
    fn scores_at_the_ends_have_a_bin() {
        for score in [-1.000_001, -1.0, 0.0, 1.0, 1.000_001] {
            let (bin, offset) = place(score);
            assert!(bin < BINS);
            assert!((mean(bin, 1, offset) - score).abs() < 2e-6, "{score}");
        }
    }
}
