//! Ranks of exemplars among the whole database, by counting instead of sorting.
//!
//! The rank of an exemplar is one more than the number of items that rank above it, so nothing has to be
//! kept of the database: it streams past in blocks, once for all queries, and each query keeps a count
//! for each of its exemplars. Held at the same time are the queries and two blocks of the database, never
//! scores of the database.
//!
//! Ties: items are in the order of the database's rows, then of the entry's exemplars, and the sort by
//! descending score is stable. A database row with the score of an exemplar is therefore above it.

use rayon::prelude::*;

use super::kernel::{Kernel, TILE_QUERIES, dot};
use super::unit::{Fault, unit_row};
use crate::checkpoint::NpyFile;
use crate::error::Result;

/// Bytes of the database that are read at a time.
const BLOCK_BYTES: usize = 8 << 20;
/// Most queries that one thread takes through a panel; with the panel they stay in its cache.
const CHUNK_QUERIES: usize = 64;

/// A query, for the ranking: a unit vector, and the unit vectors that it should find.
pub(super) struct Query<'a> {
    pub vector: &'a [f32],
    pub exemplars: Vec<&'a [f32]>,
}

/// Queries that one thread carries through a block.
struct Chunk {
    /// Tiles, one after the other, each `[dimension, TILE_QUERIES]`.
    tiles: Vec<f32>,
    /// Where the thresholds of each query start, and where the last ones end.
    offsets: Vec<usize>,
    /// Scores of the exemplars of each query, ascending.
    thresholds: Vec<f32>,
    /// Database rows above each of them.
    above: Vec<u64>,
}

impl Chunk {
    fn new(queries: &[Query], dimension: usize) -> Self {
        let tiles = queries.len().div_ceil(TILE_QUERIES);
        let mut chunk = Self {
            tiles: vec![0.0; tiles * TILE_QUERIES * dimension],
            offsets: vec![0],
            thresholds: Vec::new(),
            above: Vec::new(),
        };
        let packed = chunk.tiles.chunks_exact_mut(TILE_QUERIES * dimension);
        for (tile, queries) in packed.zip(queries.chunks(TILE_QUERIES)) {
            for (at, query) in queries.iter().enumerate() {
                let column = tile.iter_mut().skip(at).step_by(TILE_QUERIES);
                column.zip(query.vector).for_each(|(to, from)| *to = *from);
                let exemplars = query.exemplars.iter();
                let mut scores: Vec<f32> = exemplars.map(|x| dot(query.vector, x)).collect();
                scores.sort_by(f32::total_cmp);
                chunk.thresholds.extend(scores);
                chunk.offsets.push(chunk.thresholds.len());
            }
        }
        chunk.above = vec![0; chunk.thresholds.len()];
        chunk
    }

    /// Counts the rows of one block, given as panels of `[dimension, lanes]`.
    fn count(&mut self, kernel: Kernel, panels: &[f32], dimension: usize) {
        for panel in panels.chunks_exact(kernel.lanes() * dimension) {
            let tiles = self.tiles.chunks_exact(TILE_QUERIES * dimension);
            for (tile, first) in tiles.zip((0..).step_by(TILE_QUERIES)) {
                let last = (first + TILE_QUERIES).min(self.offsets.len() - 1);
                kernel.count(
                    tile,
                    panel,
                    &self.offsets[first..=last],
                    &self.thresholds,
                    &mut self.above,
                );
            }
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

/// Ranks the exemplars of each query among the rows of `database` and themselves.
///
/// Returns, for each query, the ranks of its exemplars from 1, ascending. `progress` hears how many rows
/// have been read. All vectors have the database's dimension, which is not 0.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); what [`Fault::of`] makes of a row that is not finite or zero.
pub(super) fn rank(
    database: &NpyFile,
    name: &str,
    queries: &[Query],
    kernel: Kernel,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<u64>>> {
    let [rows, dimension] = database.shape();
    let lanes = kernel.lanes();
    let share = queries.len().div_ceil(rayon::current_num_threads().max(1));
    let chunk_queries = share.clamp(1, CHUNK_QUERIES).next_multiple_of(TILE_QUERIES);
    let mut chunks: Vec<Chunk> = queries
        .par_chunks(chunk_queries)
        .map(|queries| Chunk::new(queries, dimension))
        .collect();
    let block_rows = (BLOCK_BYTES / 4 / dimension).max(1).next_multiple_of(lanes);
    let read = |first: usize| database.read_rows_f32(first, block_rows.min(rows - first));
    let mut block = read(0)?;
    let mut panels = Vec::new();
    for first in (0..rows).step_by(block_rows) {
        pack(&block, dimension, lanes, &mut panels)
            .map_err(|(row, fault)| fault.of(name, first + row))?;
        let after = first + block_rows;
        // The next block is read while this one is counted.
        let (next, ()) = rayon::join(
            || {
                if after < rows {
                    read(after)
                } else {
                    Ok(Vec::new())
                }
            },
            || {
                let chunks = chunks.par_iter_mut();
                chunks.for_each(|chunk| chunk.count(kernel, &panels, dimension));
            },
        );
        block = next?;
        progress(after.min(rows));
    }
    Ok(chunks.iter().flat_map(Chunk::ranks).collect())
}

/// Normalises the rows of a block and lays them out as panels; lanes without a row are NaN.
///
/// Fails with the first bad row of the block.
fn pack(
    block: &[f32],
    dimension: usize,
    lanes: usize,
    panels: &mut Vec<f32>,
) -> Result<(), (usize, Fault)> {
    let rows = block.len() / dimension;
    panels.clear();
    panels.resize(rows.next_multiple_of(lanes) * dimension, f32::NAN);
    let bad = panels
        .par_chunks_exact_mut(lanes * dimension)
        .zip(block.par_chunks(lanes * dimension))
        .enumerate()
        .filter_map(|(panel, (packed, rows))| {
            let mut unit = vec![0.0; dimension];
            for (lane, row) in rows.chunks_exact(dimension).enumerate() {
                if let Err(fault) = unit_row(row, &mut unit) {
                    return Some((panel * lanes + lane, fault));
                }
                let column = packed.iter_mut().skip(lane).step_by(lanes);
                column.zip(&unit).for_each(|(to, from)| *to = *from);
            }
            None
        })
        .find_first(|_| true);
    bad.map_or(Ok(()), Err)
}
