//! A block of a coarse file: the leaves of one cluster, and the codes of its rows.
//!
//! Invariant of what is decoded: the rows of the leaves sum to the cluster's.

use super::plan::Plan;
use super::rans::{self, Decoder};
use crate::error::{Error, Result};

/// Bytes before a block's leaves.
const HEADER_BYTES: usize = 8;
/// Most rows of a leaf.
pub const LEAF_ROWS_MAX: usize = 256;

/// What a block holds.
#[derive(Clone, Copy, Debug)]
pub struct BlockCodes<'a> {
    /// Entropy class of the rows; 0 where there are none.
    pub class: usize,
    /// [leaves, 1 + V]: rows of the leaf less 1, its code; empty where V is 0.
    pub leaves: &'a [u8],
    /// [n, P], leaf after leaf.
    pub rows: &'a [u8],
}

/// The block of a cluster.
///
/// # Errors
/// [`Error::InvalidArgument`] for leaves that do not cover the rows, rows that are not whole, or a symbol that
/// the plan's tables do not have.
pub fn encode_block(plan: &Plan, codes: BlockCodes) -> Result<Vec<u8>> {
    let row_bytes = plan.widths.row_bytes();
    let leaf_bytes = plan.leaf_tables.len();
    let (rows, leaves) = match leaf_bytes {
        0 => (codes.rows.len() / row_bytes, 0),
        _ => (
            leaf_rows(codes.leaves, leaf_bytes).sum(),
            codes.leaves.len() / leaf_bytes,
        ),
    };
    let numbers = [codes.class, leaves].map(u16::try_from);
    let whole = leaves * leaf_bytes == codes.leaves.len()
        && rows * row_bytes == codes.rows.len()
        && (plan.classes > 0 || codes.class == 0);
    let ([Ok(class), Ok(count)], true) = (numbers, whole) else {
        return Err(Error::invalid(format!(
            "{} bytes of rows of {row_bytes} and {} of leaves of {leaf_bytes} are no cluster",
            codes.rows.len(),
            codes.leaves.len()
        )));
    };
    let coded_leaves = match leaf_bytes {
        0 => Vec::new(),
        _ => rans::encode_block(&plan.leaf_tables, codes.leaves)?,
    };
    let mut block = [class, count].map(u16::to_le_bytes).concat();
    block.extend((coded_leaves.len() as u32).to_le_bytes());
    block.extend(coded_leaves);
    match plan.classes {
        0 => block.extend(codes.rows),
        _ => block.extend(rans::encode_block(plan.tables_of(codes.class), codes.rows)?),
    }
    block.resize(block.len().next_multiple_of(4), 0);
    Ok(block)
}

/// Rows of each of `leaves` [n, `leaf_bytes`].
pub(super) fn leaf_rows(leaves: &[u8], leaf_bytes: usize) -> impl Iterator<Item = usize> {
    let sizes = leaves.iter().step_by(leaf_bytes.max(1));
    sizes.map(|less| usize::from(*less) + 1)
}

/// The parts of a block.
pub(super) struct Block<'a> {
    pub class: usize,
    pub leaves: usize,
    coded_leaves: &'a [u8],
    rows: &'a [u8],
}

impl<'a> Block<'a> {
    /// # Errors
    /// What is wrong, for the caller to say of which file.
    pub fn open(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let short = "it is shorter than it says";
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let [a, b, c, d, e, f, g, h] = *header;
        let leaf_bytes = u32::from_le_bytes([e, f, g, h]) as usize;
        let (coded_leaves, rows) = rest.split_at_checked(leaf_bytes).ok_or(short)?;
        Ok(Self {
            class: usize::from(u16::from_le_bytes([a, b])),
            leaves: usize::from(u16::from_le_bytes([c, d])),
            coded_leaves,
            rows,
        })
    }

    /// Decodes the leaves of a cluster of `rows` rows into `leaves` [leaves, 1 + V], of which there are as many as the
    /// block says; `None` for a plan without.
    ///
    /// # Errors
    /// As [`Block::open`].
    pub fn decode_leaves(
        &self,
        decoder: Option<&Decoder>,
        rows: usize,
        leaves: &mut [u8],
    ) -> Result<(), &'static str> {
        let Some(decoder) = decoder else {
            return match (self.leaves, self.coded_leaves) {
                (0, []) => Ok(()),
                _ => Err("it has leaves, the plan has none"),
            };
        };
        decoder.decode(0, self.coded_leaves, leaves)?;
        match leaf_rows(leaves, decoder.positions()).sum::<usize>() == rows {
            true => Ok(()),
            false => Err("its leaves do not have its rows"),
        }
    }

    /// Decodes the rows into `rows` [n, P]; `None` for a plan whose rows are stored as they are.
    ///
    /// # Errors
    /// As [`Block::open`].
    pub fn decode_rows(
        &self,
        decoder: Option<&Decoder>,
        rows: &mut [u8],
    ) -> Result<(), &'static str> {
        if let Some(decoder) = decoder {
            return decoder.decode(self.class, self.rows, rows);
        }
        match self.rows.split_at_checked(rows.len()) {
            Some((stored, [] | [0, 0])) if self.class == 0 && self.rows.len().is_multiple_of(4) => {
                rows.copy_from_slice(stored);
                Ok(())
            }
            _ => Err("it does not have the length of its rows, or a class"),
        }
    }
}
