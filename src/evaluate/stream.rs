//! The database as a stream of unit rows, laid out for the kernels, and queries laid out likewise.
//!
//! The database is read once, in blocks; while one is worked on, the next is read. A mapper, where there
//! is one, sees the rows as they are in the file; what it makes of them is then normalised, and for int8
//! rows quantized as the packer does it. The rows of a packed index are int8 already and taken as they are.

use rayon::prelude::*;

use super::database::{Block, Database};
use super::integer_kernel::{Packed, Pair, pack_column};
use super::kernel::{Kernel, TILE_QUERIES};
use super::unit::{Fault, unit_row};
use crate::error::{Error, Result};
use crate::format::shard::{quantize_row, row_stride};
use crate::score::query::QuantizedQuery;

/// Bytes of float rows that are read at a time.
const BLOCK_BYTES: usize = 8 << 20;
/// Most queries that one thread takes through a panel; with the panel they stay in its cache.
const CHUNK_QUERIES: usize = 64;
/// Rows that one thread maps at a time.
const MAP_ROWS: usize = 512;

/// A mapper as the evaluation sees it: rows of features to rows of features.
pub trait RowMap: Send + Sync {
    /// Values of a row before and after; neither is 0.
    fn dimensions(&self) -> [usize; 2];

    /// Maps `rows`, `[n, before]`, to `[n, after]`. A row's result does not depend on the other rows.
    ///
    /// # Errors
    /// Those of the mapper.
    fn map(&self, rows: &[f32]) -> Result<Vec<f32>>;
}

/// The two mappers that belong together: of training images and of queries.
pub struct Mappers {
    pub real: Box<dyn RowMap>,
    pub synth: Box<dyn RowMap>,
}

/// Maps `rows`, `[n, width]`, on all processors; `name` is for messages.
///
/// # Errors
/// Those of the mapper; [`Error::InvalidArgument`] where it takes rows of another width or makes other
/// than it says.
pub(super) fn map_rows(
    map: &dyn RowMap,
    rows: &[f32],
    width: usize,
    name: &str,
) -> Result<Vec<f32>> {
    let [before, after] = map.dimensions();
    if before != width || after == 0 {
        return Err(Error::invalid(format!(
            "the mapper takes rows of {before} values, {name} has rows of {width}"
        )));
    }
    let parts = rows.par_chunks(MAP_ROWS * width).map(|part| map.map(part));
    let mapped = parts.collect::<Result<Vec<_>>>()?.concat();
    if mapped.len() != rows.len() / width * after {
        return Err(Error::invalid(format!(
            "the mapper made {} values of {} rows of {name}, not {after} of each",
            mapped.len(),
            rows.len() / width
        )));
    }
    Ok(mapped)
}

/// How many of `queries` one thread should take at a time.
pub(super) fn chunk_queries(queries: usize) -> usize {
    let share = queries.div_ceil(rayon::current_num_threads().max(1));
    share.clamp(1, CHUNK_QUERIES).next_multiple_of(TILE_QUERIES)
}

/// Lays queries out as tiles, one after the other, each `[dimension, TILE_QUERIES]`; padded with zeros.
pub(super) fn pack_tiles(queries: &[&[f32]], dimension: usize) -> Vec<f32> {
    let count = queries.len().div_ceil(TILE_QUERIES);
    let mut tiles = vec![0.0; count * TILE_QUERIES * dimension];
    let packed = tiles.chunks_exact_mut(TILE_QUERIES * dimension);
    for (tile, queries) in packed.zip(queries.chunks(TILE_QUERIES)) {
        for (at, query) in queries.iter().enumerate() {
            let column = tile.iter_mut().skip(at).step_by(TILE_QUERIES);
            column.zip(*query).for_each(|(to, from)| *to = *from);
        }
    }
    tiles
}

/// Tiles or panels of int8 rows or their queries, one after the other.
#[derive(Default)]
pub(super) struct Codes {
    /// Each `[pairs, width]`.
    codes: Vec<Pair>,
    /// Each `[width]`.
    scales: Vec<f32>,
}

impl Codes {
    /// Lays queries out as tiles, padded with zeros.
    pub fn tiles(queries: &[QuantizedQuery], dimension: usize) -> Self {
        let count = queries.len().div_ceil(TILE_QUERIES);
        let size = pairs(dimension) * TILE_QUERIES;
        let mut tiles = Self {
            codes: vec![[0; 2]; count * size],
            scales: vec![0.0; count * TILE_QUERIES],
        };
        let packed = tiles.codes.chunks_exact_mut(size);
        for (tile, queries) in packed.zip(queries.chunks(TILE_QUERIES)) {
            for (at, query) in queries.iter().enumerate() {
                pack_column(tile, TILE_QUERIES, at, &query.codes);
            }
        }
        for (scale, query) in tiles.scales.iter_mut().zip(queries) {
            *scale = query.scale;
        }
        tiles
    }

    /// Each tile or panel, of `width` columns.
    pub fn iter(&self, dimension: usize, width: usize) -> impl Iterator<Item = Packed<'_>> {
        let codes = self.codes.chunks_exact(pairs(dimension) * width);
        codes
            .zip(self.scales.chunks_exact(width))
            .map(|(codes, scales)| Packed { codes, scales })
    }
}

/// Pairs of codes in a row, which is padded to whole 32-bit words.
fn pairs(dimension: usize) -> usize {
    row_stride(dimension) / 2
}

/// Which rows are wanted of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub float32: bool,
    pub int8: bool,
}

/// The rows of a block as panels, of each kind that is wanted.
#[derive(Default)]
pub(super) struct Panels {
    /// Panels of `[dimension, lanes]`; lanes without a row are NaN.
    pub float32: Vec<f32>,
    /// Panels of `lanes` rows; lanes without a row have the scale NaN.
    pub int8: Codes,
}

/// Calls `visit(first row, panels)` for each block of `database`, in order. `progress` hears how many
/// rows have been read.
///
/// # Errors
/// Those of reading; what [`Fault::of`] makes of a row that is not finite or zero;
/// [`Error::InvalidArgument`] for float rows, or a mapper, of a packed index.
pub(super) fn stream_panels(
    database: &Database,
    map: Option<&dyn RowMap>,
    wanted: Wanted,
    kernel: Kernel,
    progress: &(dyn Fn(usize) + Sync),
    visit: &mut (dyn FnMut(usize, &Panels) + Send),
) -> Result<()> {
    let [rows, width] = database.shape();
    let lanes = kernel.lanes();
    let dimension = map.map_or(width, |map| map.dimensions()[1]);
    let block_rows = (BLOCK_BYTES / 4 / width).max(1).next_multiple_of(lanes);
    let blocks = database.blocks(block_rows)?;
    let mut block = database.read(&blocks, 0)?;
    let mut panels = Panels::default();
    let mut first = 0;
    for next in 1..=blocks.len() {
        let count = match block {
            Block::Rows(mut values) => {
                if let Some(map) = map {
                    values = map_rows(map, &values, width, &database.name)?;
                }
                panels
                    .pack(&values, dimension, lanes, wanted, unit_row)
                    .map_err(|(row, fault)| fault.of(&database.name, first + row))?;
                values.len() / dimension
            }
            Block::Shard(shard) => {
                if wanted.float32 || map.is_some() {
                    let what = "a packed index has int8 rows, mapped already, and no others";
                    return Err(Error::invalid(format!("{}: {what}", database.name)));
                }
                let columns = shard.codes.chunks_exact(shard.stride);
                let columns: Vec<&[i8]> = columns.collect();
                panels.pack_codes(&columns, &shard.scales, dimension, lanes);
                shard.rows()
            }
            Block::Restored(values) => {
                if wanted.int8 || map.is_some() {
                    let what = "a clustered index has rows of its own form, mapped already";
                    return Err(Error::invalid(format!("{}: {what}", database.name)));
                }
                let as_it_is = |row: &[f32], unit: &mut [f32]| {
                    unit.copy_from_slice(row);
                    Ok(())
                };
                panels
                    .pack(&values, dimension, lanes, wanted, as_it_is)
                    .map_err(|(row, fault)| fault.of(&database.name, first + row))?;
                values.len() / dimension
            }
        };
        // The next block is read while this one is worked on.
        let (read, ()) = rayon::join(|| database.read(&blocks, next), || visit(first, &panels));
        block = read?;
        first += count;
        progress(first.min(rows));
    }
    Ok(())
}

impl Panels {
    /// Lays the rows of a block out as panels; `prepare` writes a row, normalised, into its place.
    ///
    /// Fails with the first bad row of the block.
    fn pack(
        &mut self,
        block: &[f32],
        dimension: usize,
        lanes: usize,
        wanted: Wanted,
        prepare: impl Fn(&[f32], &mut [f32]) -> Result<(), Fault> + Sync,
    ) -> Result<(), (usize, Fault)> {
        let rows = (block.len() / dimension).next_multiple_of(lanes);
        let [float, int8] =
            [wanted.float32, wanted.int8].map(|wanted| if wanted { rows } else { 0 });
        self.float32.clear();
        self.float32.resize(float * dimension, f32::NAN);
        self.int8.clear(int8, dimension);
        let mut float = self.float32.chunks_exact_mut(lanes * dimension);
        let codes = self.int8.codes.chunks_exact_mut(pairs(dimension) * lanes);
        let mut int8 = codes.zip(self.int8.scales.chunks_exact_mut(lanes));
        let blocks = block.chunks(lanes * dimension);
        let panels: Vec<_> = blocks
            .map(|rows| (rows, float.next(), int8.next()))
            .collect();
        let bad = panels
            .into_par_iter()
            .enumerate()
            .filter_map(|(panel, (rows, mut float, mut int8))| {
                let mut unit = vec![0.0; dimension];
                let mut row_codes = Vec::with_capacity(row_stride(dimension));
                for (lane, row) in rows.chunks_exact(dimension).enumerate() {
                    let fail = |fault| Some((panel * lanes + lane, fault));
                    if let Err(fault) = prepare(row, &mut unit) {
                        return fail(fault);
                    }
                    if let Some(packed) = &mut float {
                        let column = packed.iter_mut().skip(lane).step_by(lanes);
                        column.zip(&unit).for_each(|(to, from)| *to = *from);
                    }
                    if let Some((packed, scales)) = &mut int8 {
                        row_codes.clear();
                        match quantize_row(&unit, &mut row_codes) {
                            Ok(scale) => scales[lane] = scale,
                            Err(_) => return fail(Fault::NotFinite),
                        }
                        pack_column(packed, lanes, lane, &row_codes);
                    }
                }
                None
            })
            .find_first(|_| true);
        bad.map_or(Ok(()), Err)
    }

    /// Lays int8 rows out as panels.
    fn pack_codes(&mut self, rows: &[&[i8]], scales: &[f32], dimension: usize, lanes: usize) {
        self.float32.clear();
        self.int8
            .clear(rows.len().next_multiple_of(lanes), dimension);
        for (to, scale) in self.int8.scales.iter_mut().zip(scales) {
            *to = *scale;
        }
        let size = pairs(dimension) * lanes;
        let panels = self.int8.codes.par_chunks_exact_mut(size);
        panels
            .zip(rows.par_chunks(lanes))
            .for_each(|(panel, rows)| {
                for (lane, row) in rows.iter().enumerate() {
                    pack_column(panel, lanes, lane, row);
                }
            });
    }
}

impl Codes {
    /// Makes room for `rows` rows, all of them padding.
    fn clear(&mut self, rows: usize, dimension: usize) {
        self.codes.clear();
        self.codes.resize(rows * pairs(dimension), [0; 2]);
        self.scales.clear();
        self.scales.resize(rows, f32::NAN);
    }
}
