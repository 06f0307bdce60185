//! A coarse file: the codes of whole clusters, one block a cluster.
//!
//! Decoding gives rows as the scorers take them: one word of terms and W words of codes a row. The file's
//! header must agree with its entry in the manifest and with the head, so that no row is scored as
//! another.

use super::blocks::{Block, leaf_rows};
use super::entries::CoarseShard;
use super::fields::Fields;
use super::head::{Cluster, Head};
use super::rans::Decoder;
use super::{Salt, VERSION};
use crate::error::{Error, Result};

/// Most bytes that the codes of one file take when decoded, rows * P, and those of its leaves, likewise: what is coded of one
/// symbol takes 16 bytes for any number of rows.
pub const CODE_BYTES_MAX: u64 = 128 << 20;
/// Most clusters of one file.
pub const FILE_CLUSTERS_MAX: usize = 65536;
/// Most leaves of one file: a row's terms have 16 bits for its leaf.
pub const FILE_LEAVES_MAX: usize = 65536;

const MAGIC: &[u8; 8] = b"DATTRCO1";

/// The decoded rows of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeRows {
    pub first_row: u64,
    pub first_cluster: usize,
    /// W.
    pub words_per_row: usize,
    /// [rows]: `const` as u8 | gain << 8 | leaf << 16.
    pub terms: Vec<u32>,
    /// [rows, W].
    pub words: Vec<u32>,
    /// [leaves]: the cluster of each leaf, counted from `first_cluster`.
    pub leaves: Vec<u32>,
    /// [leaves, V].
    pub leaf_codes: Vec<i8>,
}

impl CodeRows {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.terms.len()
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> usize {
        4 * (self.terms.len() + self.words.len() + self.leaves.len()) + self.leaf_codes.len()
    }

    /// `const` of a row.
    pub fn constant(term: u32) -> i8 {
        term as u8 as i8
    }

    /// `gain` of a row.
    pub fn gain(term: u32) -> u8 {
        (term >> 8) as u8
    }

    /// The row's leaf.
    pub fn leaf(term: u32) -> usize {
        (term >> 16) as usize
    }
}

/// Decodes the coarse files of one index; holds its slot tables.
pub struct CoarseDecoder {
    salt: Salt,
    /// `None` where rows are stored as they are.
    rows: Option<Decoder>,
    /// `None` for a plan without leaves.
    leaves: Option<Decoder>,
}

impl CoarseDecoder {
    /// Builds the tables.
    pub fn new(head: &Head) -> Self {
        let plan = &head.plan;
        let of = |tables: &[_], positions| match tables {
            [] => None,
            tables => Some(Decoder::new(tables, positions)),
        };
        Self {
            salt: head.salt,
            rows: of(&plan.tables, plan.widths.row_bytes()),
            leaves: of(&plan.leaf_tables, plan.leaf_tables.len()),
        }
    }

    /// Decodes a file, which `shard` of the manifest describes.
    ///
    /// # Errors
    /// [`Error::Format`] for anything but the file that is described, [`Error::NewerVersion`] for a later
    /// version, [`Error::InvalidArgument`] for another `head` than the decoder was made for.
    pub fn decode(&self, head: &Head, shard: &CoarseShard, bytes: &[u8]) -> Result<CodeRows> {
        if self.salt != head.salt {
            return Err(Error::invalid("the decoder was made for another head"));
        }
        let file = Opened::new(head, shard, bytes)?;
        let row_bytes = head.plan.widths.row_bytes();
        let words_per_row = head.plan.widths.words();
        let rows = (file.spans[file.clusters.len()] - shard.first_row) as usize;
        let mut decoded = CodeRows {
            first_row: shard.first_row,
            first_cluster: shard.first_cluster as usize,
            words_per_row,
            terms: vec![0; rows],
            words: vec![0; rows * words_per_row],
            ..CodeRows::default()
        };
        let bad = |number: usize, reason| {
            Error::format(&shard.file.file, format!("block {number}: {reason}"))
        };
        let block = |number: usize| {
            &file.blocks[file.starts[number] as usize..file.starts[number + 1] as usize]
        };
        let open = |number| Block::open(block(number)).map_err(|reason| bad(number, reason));
        let blocks: Vec<Block> = (0..file.clusters.len()).map(open).collect::<Result<_>>()?;
        self.decode_leaves(&file, &blocks, &mut decoded)
            .map_err(|(number, reason)| bad(number, reason))?;
        // Class by class: the tables of one stay in the processor's cache.
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|number| blocks[*number].class);
        let mut codes = Vec::new();
        for number in order {
            codes.resize(file.clusters[number].rows as usize * row_bytes, 0);
            let result = blocks[number].decode_rows(self.rows.as_ref(), &mut codes);
            result.map_err(|reason| bad(number, reason))?;
            let start = (file.spans[number] - shard.first_row) as usize;
            let terms = decoded.terms[start..].iter_mut();
            let words = decoded.words[start * words_per_row..].chunks_exact_mut(words_per_row);
            for ((row, term), words) in codes.chunks_exact(row_bytes).zip(terms).zip(words) {
                let (terms, bytes) = row.split_at(2);
                *term |= u32::from(terms[0]) | u32::from(terms[1]) << 8;
                for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
            }
        }
        Ok(decoded)
    }

    /// Decodes the leaves of all blocks, and writes to each row's term which one it is of. A block's number comes with what is
    /// wrong with it.
    fn decode_leaves(
        &self,
        file: &Opened,
        blocks: &[Block],
        decoded: &mut CodeRows,
    ) -> Result<(), (usize, &'static str)> {
        let leaf_bytes = self.leaves.as_ref().map_or(0, Decoder::positions);
        let total: usize = blocks.iter().map(|block| block.leaves).sum();
        if total > FILE_LEAVES_MAX || total as u64 * leaf_bytes as u64 > CODE_BYTES_MAX {
            return Err((0, "the file has too many leaves"));
        }
        let mut leaves = Vec::new();
        let mut terms = decoded.terms.as_mut_slice();
        for (number, (block, cluster)) in blocks.iter().zip(file.clusters).enumerate() {
            let rows = cluster.rows as usize;
            if block.leaves > rows {
                return Err((number, "it has too many leaves"));
            }
            leaves.resize(block.leaves * leaf_bytes, 0);
            block
                .decode_leaves(self.leaves.as_ref(), rows, &mut leaves)
                .map_err(|reason| (number, reason))?;
            let sizes: Vec<usize> = match leaf_bytes {
                0 => vec![rows],
                _ => leaf_rows(&leaves, leaf_bytes).collect(),
            };
            for rows in sizes {
                let leaf = decoded.leaves.len();
                if leaf >= FILE_LEAVES_MAX {
                    return Err((number, "the file has too many leaves"));
                }
                let (here, rest) = std::mem::take(&mut terms)
                    .split_at_mut_checked(rows)
                    .ok_or((number, "its leaves do not have its rows"))?;
                here.fill((leaf as u32) << 16);
                terms = rest;
                decoded.leaves.push(number as u32);
            }
            for leaf in leaves.chunks_exact(leaf_bytes.max(1)) {
                decoded
                    .leaf_codes
                    .extend_from_slice(bytemuck::cast_slice(&leaf[1..]));
            }
        }
        Ok(())
    }
}

/// A file whose header is right.
struct Opened<'a> {
    /// [n].
    clusters: &'a [Cluster],
    /// [n + 1]: first rows of the clusters, and the end; ascending from the file's first row.
    spans: &'a [u64],
    /// [n + 1]: where the blocks start in `blocks`, and where the last ends; ascending.
    starts: Vec<u32>,
    blocks: &'a [u8],
}

impl<'a> Opened<'a> {
    fn new(head: &'a Head, shard: &'a CoarseShard, bytes: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::open(&shard.file.file, bytes, MAGIC)?;
        let first_cluster = fields.u32("first cluster")? as usize;
        let count = fields.count("clusters", 0..=FILE_CLUSTERS_MAX)?;
        let rows = u64::from(fields.u32("rows")?);
        let first_row = fields.u64("first row")?;
        fields.salt(&head.salt)?;
        let stated = [first_cluster as u64, count as u64, first_row, rows];
        let expected = [
            shard.first_cluster,
            shard.clusters,
            shard.first_row,
            shard.rows,
        ];
        if stated != expected {
            return Err(fields.bad(format!(
                "first cluster, clusters, first row, rows are {stated:?}, the manifest says {expected:?}"
            )));
        }
        let end = first_cluster.checked_add(count);
        let held = end.and_then(|end| {
            let clusters = head.clusters.get(first_cluster..end)?;
            Some((clusters, head.first_rows.get(first_cluster..=end)?))
        });
        let Some((clusters, spans)) = held else {
            let clusters = head.clusters.len();
            return Err(fields.bad(format!("it goes beyond the {clusters} clusters")));
        };
        if spans[0] != first_row || spans[count] - spans[0] != rows {
            return Err(fields.bad(format!("{rows} rows from {first_row} are not the head's")));
        }
        if rows * head.plan.widths.row_bytes() as u64 > CODE_BYTES_MAX {
            return Err(fields.bad(format!("{rows} rows are too many for one file")));
        }
        let starts = fields.u32s(count + 1, "starts of blocks")?;
        let blocks = fields.take(fields.left(), "blocks")?;
        let covers = starts[0] == 0 && starts[count] as usize == blocks.len();
        if !covers || !starts.is_sorted() {
            return Err(fields.bad("the blocks do not cover the file"));
        }
        Ok(Self {
            clusters,
            spans,
            starts,
            blocks,
        })
    }
}

/// The file of the clusters from `first_cluster` with these blocks, which have `rows` rows from
/// `first_row`.
///
/// # Errors
/// [`Error::InvalidArgument`] where the file would be larger than its numbers can say.
pub fn encode_file(
    first_cluster: u32,
    first_row: u64,
    rows: u32,
    salt: Salt,
    blocks: &[Vec<u8>],
) -> Result<Vec<u8>> {
    let mut starts = vec![0u32];
    let mut end = 0u32;
    for block in blocks {
        end = u32::try_from(block.len())
            .ok()
            .and_then(|bytes| end.checked_add(bytes))
            .ok_or_else(|| Error::invalid("a coarse file of more than 4 GB"))?;
        starts.push(end);
    }
    if blocks.len() > FILE_CLUSTERS_MAX {
        return Err(Error::invalid(format!(
            "{} clusters in one file, the limit is {FILE_CLUSTERS_MAX}",
            blocks.len()
        )));
    }
    let mut bytes = MAGIC.to_vec();
    for word in [VERSION, first_cluster, blocks.len() as u32, rows] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&first_row.to_le_bytes());
    bytes.extend_from_slice(&salt);
    for start in starts {
        bytes.extend_from_slice(&start.to_le_bytes());
    }
    bytes.extend_from_slice(blocks.concat().as_slice());
    Ok(bytes)
}
