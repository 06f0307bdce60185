//! Ranks of exemplars among the whole database, by counting instead of sorting.
//!
//! The rank of an exemplar is one more than the number of items that rank above it, so nothing has to be
//! kept of the database: it streams past in blocks, once for all queries, and each query keeps a count
//! for each of its exemplars. Held at the same time are the queries and two blocks of the database, never
//! scores of the database.
//!
//! Ties: items are in the order of the database's rows, then of the entry's exemplars, and the sort by
//! descending score is stable. A database row with the score of an exemplar is therefore above it.
//!
//! The same counts are kept of float rows and of int8 rows, side by side. What differs is how queries are
//! packed and which kernel counts.

use rayon::prelude::*;

use super::database::Database;
use super::integer_kernel::Packed;
use super::kernel::{Kernel, TILE_QUERIES, dot};
use super::stream::{Codes, Panels, RowMap, Wanted, chunk_queries, pack_tiles, stream_panels};
use super::unit::CodeRow;
use crate::error::Result;
use crate::score::query::QuantizedQuery;

/// A query, for the ranking: a unit vector, and what it should find.
pub(super) struct Query<'a> {
    pub vector: &'a [f32],
    /// Unit vectors.
    pub exemplars: Vec<&'a [f32]>,
    /// The same as int8 rows; for a ranking without these, none.
    pub exemplar_codes: Vec<CodeRow<'a>>,
}

/// For each query the ranks of its exemplars from 1, ascending: by float rows and by int8 rows, as far as
/// they were wanted.
pub(super) struct Ranks {
    pub float32: Option<Vec<Vec<u64>>>,
    pub int8: Option<Vec<Vec<u64>>>,
}

/// Queries that one thread carries through a block.
struct Chunk<T> {
    tiles: T,
    counts: Counts,
}

/// How many rows were above each exemplar of some queries.
struct Counts {
    /// Where the thresholds of each query start, and where the last ones end.
    offsets: Vec<usize>,
    /// Scores of the exemplars of each query, ascending.
    thresholds: Vec<f32>,
    /// Database rows above each of them.
    above: Vec<u64>,
}

impl Counts {
    /// Nothing counted yet; `scores` are those of each query's exemplars.
    fn new(scores: impl Iterator<Item = Vec<f32>>) -> Self {
        let mut counts = Self {
            offsets: vec![0],
            thresholds: Vec::new(),
            above: Vec::new(),
        };
        for mut scores in scores {
            scores.sort_by(f32::total_cmp);
            counts.thresholds.extend(scores);
            counts.offsets.push(counts.thresholds.len());
        }
        counts.above = vec![0; counts.thresholds.len()];
        counts
    }

    /// Calls `count(tile, offsets, thresholds, above)` for each tile.
    fn each<T>(
        &mut self,
        tiles: impl Iterator<Item = T>,
        count: impl Fn(T, &[usize], &[f32], &mut [u64]),
    ) {
        for (tile, first) in tiles.zip((0..).step_by(TILE_QUERIES)) {
            let last = (first + TILE_QUERIES).min(self.offsets.len() - 1);
            let offsets = &self.offsets[first..=last];
            count(tile, offsets, &self.thresholds, &mut self.above);
        }
    }

    /// The ranks of each query's exemplars, from 1, ascending.
    fn ranks(&self) -> impl Iterator<Item = Vec<u64>> {
        self.offsets.windows(2).map(|range| {
            let above = self.above[range[0]..range[1]].iter().rev();
            above.zip(1..).map(|(above, hit)| above + hit).collect()
        })
    }
}

impl Chunk<Vec<f32>> {
    fn new(queries: &[Query], dimension: usize) -> Self {
        let vectors: Vec<&[f32]> = queries.iter().map(|query| query.vector).collect();
        let scores = queries.iter().map(|query| {
            let exemplars = query.exemplars.iter();
            exemplars.map(|x| dot(query.vector, x)).collect()
        });
        Self {
            tiles: pack_tiles(&vectors, dimension),
            counts: Counts::new(scores),
        }
    }

    /// Counts the rows of one block, given as panels of `[dimension, lanes]`.
    fn count(&mut self, kernel: Kernel, panels: &[f32], dimension: usize) {
        for panel in panels.chunks_exact(kernel.lanes() * dimension) {
            let tiles = self.tiles.chunks_exact(TILE_QUERIES * dimension);
            self.counts.each(tiles, |tile, offsets, thresholds, above| {
                kernel.count(tile, panel, offsets, thresholds, above);
            });
        }
    }
}

impl Chunk<Codes> {
    fn quantized(queries: &[Query], dimension: usize) -> Result<Self> {
        let codes = queries
            .iter()
            .map(|query| QuantizedQuery::new(query.vector));
        let codes: Vec<QuantizedQuery> = codes.collect::<Result<_>>()?;
        let scores = queries.iter().zip(&codes).map(|(query, codes)| {
            let exemplars = query.exemplar_codes.iter();
            exemplars.map(|(x, scale)| codes.score(x, *scale)).collect()
        });
        Ok(Self {
            counts: Counts::new(scores),
            tiles: Codes::tiles(&codes, dimension),
        })
    }

    /// Counts the rows of one block.
    fn count(&mut self, kernel: Kernel, panels: &Codes, dimension: usize) {
        for panel in panels.iter(dimension, kernel.lanes()) {
            let tiles = self.tiles.iter(dimension, TILE_QUERIES);
            self.counts
                .each(tiles, |tile: Packed, offsets, thresholds, above| {
                    kernel.count_int8(tile, panel, offsets, thresholds, above);
                });
        }
    }
}

/// Ranks the exemplars of each query among the rows of `database` and themselves.
///
/// The database goes through `map` if there is one; all vectors have the dimension that results, which is
/// not 0, and for int8 rows at most [`DIMENSION_MAX`](crate::format::shard::DIMENSION_MAX). `progress`
/// hears how many rows have been read.
///
/// # Errors
/// As [`stream_panels`].
pub(super) fn rank(
    database: &Database,
    map: Option<&dyn RowMap>,
    queries: &[Query],
    wanted: Wanted,
    kernel: Kernel,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Ranks> {
    let dimension = map.map_or(database.shape()[1], |map| map.dimensions()[1]);
    let parts = || queries.par_chunks(chunk_queries(queries.len()));
    let mut float: Vec<Chunk<Vec<f32>>> = Vec::new();
    if wanted.float32 {
        float = parts().map(|part| Chunk::new(part, dimension)).collect();
    }
    let mut int8: Vec<Chunk<Codes>> = Vec::new();
    if wanted.int8 {
        let chunks = parts().map(|part| Chunk::quantized(part, dimension));
        int8 = chunks.collect::<Result<_>>()?;
    }
    let visit = &mut |_, panels: &Panels| {
        let chunks = float.par_iter_mut();
        chunks.for_each(|chunk| chunk.count(kernel, &panels.float32, dimension));
        let chunks = int8.par_iter_mut();
        chunks.for_each(|chunk| chunk.count(kernel, &panels.int8, dimension));
    };
    stream_panels(database, map, wanted, kernel, progress, visit)?;
    let float32 = float.iter().flat_map(|chunk| chunk.counts.ranks());
    let int8 = int8.iter().flat_map(|chunk| chunk.counts.ranks());
    Ok(Ranks {
        float32: wanted.float32.then(|| float32.collect()),
        int8: wanted.int8.then(|| int8.collect()),
    })
}
