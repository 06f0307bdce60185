//! The rows that a plan is made after.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::features::RowSource;
use crate::random::Sequence;

/// Consecutive rows that are read together: far fewer reads than rows one by one.
const BLOCK_ROWS: usize = 64;
/// Rows that are mapped together.
const MAPPED_ROWS: usize = 2048;
/// Most values of a sample, 256 MiB of f32.
const VALUES_MAX: usize = 1 << 26;
/// Purpose of chance.
const CHANCE: u64 = 0x7361_6d70;

/// The blocks of consecutive rows that [`draw`] takes of `count` rows, in order.
pub(super) fn blocks(
    count: usize,
    dimension: usize,
    wanted: usize,
    seed: u64,
) -> Vec<Range<usize>> {
    let wanted = wanted.clamp(1, (VALUES_MAX / dimension.max(1)).max(BLOCK_ROWS));
    let blocks = count.div_ceil(BLOCK_ROWS);
    let drawn = wanted.div_ceil(BLOCK_ROWS).min(blocks);
    let mut chance = Sequence::new(seed, CHANCE);
    // Products of numbers of blocks stay in 64 bits: there are at most 2^58 blocks of 2^20 drawn.
    let edge = |part: usize| (part as u128 * blocks as u128 / drawn as u128) as usize;
    (0..drawn)
        .map(|part| {
            let block = edge(part) + chance.below(edge(part + 1) - edge(part));
            let first = block * BLOCK_ROWS;
            first..count.min(first + BLOCK_ROWS)
        })
        .collect()
}

/// About `wanted` rows of `rows`, mapped to unit rows [n, dimension]: one block of consecutive rows drawn out
/// of each of equally many parts of the file, in the order of the file; all rows where that many are wanted.
///
/// # Errors
/// Those of reading and of `map`; [`Error::Format`] for a matrix without rows and where `map` gives
/// another number of values.
pub(super) fn draw(
    rows: &dyn RowSource,
    map: &(dyn Fn(&[f32]) -> Result<Vec<f32>> + Sync),
    dimension: usize,
    wanted: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let [count, _] = rows.shape();
    if count == 0 {
        return Err(Error::format(rows.label(), "no rows to make an index of"));
    }
    let blocks = blocks(count, dimension, wanted, seed);
    let mut unit = Vec::with_capacity(blocks.len() * BLOCK_ROWS * dimension);
    let mut raw = Vec::new();
    let mut held = 0;
    for (part, block) in blocks.iter().enumerate() {
        raw.extend(rows.read_rows_f32(block.start, block.len())?);
        held += block.len();
        if held >= MAPPED_ROWS || part + 1 == blocks.len() {
            let mapped = map(&raw)?;
            if mapped.len() != held * dimension {
                let reason = format!(
                    "{held} rows were mapped to {} values, which are not rows of {dimension}",
                    mapped.len()
                );
                return Err(Error::format(rows.label(), reason));
            }
            unit.extend(mapped);
            raw.clear();
            held = 0;
        }
    }
    Ok(unit)
}
