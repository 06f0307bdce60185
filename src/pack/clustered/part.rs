//! Packing one part of an index: its rows in their order, coded, but not numbered yet.
//!
//! | file of a part | what |
//! |---|---|
//! | codes | codes of the rows, [n, P] |
//! | leaves | leaves as in the blocks, [leaves, 1 + V] |
//! | blocks | blocks of the coarse files, cluster after cluster |
//! | fine | fine rows without their checks, which depend on the numbers of the rows: [n, 4 + S] |
//! | items | a line of JSON a row |
//!
//! Everything follows from the plan and the set of the part's rows: rows lie by centroid, slice of it, leaf, and
//! number in the features; without leaves by signs of residuals. Of the values only those of a few slices are held.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::journal::{Noted, NotedFile, OutputFile, read_entry, write_entry};
use super::plan_folder::{OpenPlan, Parts};
use super::slice::{PackedSlice, Slice, slices};
use super::spill::{KEY_BYTES, LeftOuts, SpilledPart};
use crate::error::{Error, Result};
use crate::format::FileRef;
use crate::format::clustered::Cluster;
use crate::format::clustered::fine::RowsDigest;

/// The entry of a part, written last.
const PART: &str = "part.json";
/// Rows of clusters that are encoded together.
const ROWS_AT_ONCE: usize = 1 << 14;

/// A part of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackedPart {
    /// Digest of the plan.
    pub plan: String,
    pub part: usize,
    pub parts: usize,
    pub rows: u64,
    pub clusters: Vec<PackedCluster>,
    pub codes: FileRef,
    pub leaves: FileRef,
    pub blocks: FileRef,
    pub fine: FileRef,
    pub items: FileRef,
    pub left_out: LeftOuts,
}

/// A cluster of a part, the bytes of its block, and its fine rows in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedCluster {
    pub centroid: u32,
    pub rows: u32,
    pub bytes: u32,
    /// Leaves that a decoder finds in it, 1 at least.
    pub leaves: u32,
    /// Of its fine rows: what checks are salted with.
    pub digest: RowsDigest,
}

impl PackedCluster {
    /// As the head has it.
    pub fn cluster(self) -> Cluster {
        Cluster {
            centroid: self.centroid,
            rows: self.rows,
        }
    }
}

/// The folder of part `part` among `parts` in `work`.
pub fn part_folder(work: &Path, part: usize, parts: usize) -> PathBuf {
    work.join(format!("part-{}-of-{parts}", part + 1))
}

impl PackedPart {
    /// The part that was packed under `stamp`, if it is whole, or why it has to be packed again.
    pub fn find(folder: &Path, stamp: &str) -> Result<Self, Option<&'static str>> {
        match read_entry::<Self>(&folder.join(PART), stamp) {
            Noted::Nothing => Err(None),
            Noted::Other => Err(Some("the plan, the features or an option has changed")),
            Noted::Same(part) => match part.is_whole(folder) {
                true => Ok(part),
                false => Err(Some("some of its files are not whole")),
            },
        }
    }

    /// Reads the part in `folder`, whatever it was made from but the plan.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(PART);
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let bad = |e: serde_json::Error| Error::format(path.display().to_string(), e.to_string());
        let entry: serde_json::Value = serde_json::from_slice(&bytes).map_err(bad)?;
        let content = entry.get("content").cloned().unwrap_or_default();
        serde_json::from_value(content).map_err(bad)
    }

    fn is_whole(&self, folder: &Path) -> bool {
        [
            &self.codes,
            &self.leaves,
            &self.blocks,
            &self.fine,
            &self.items,
        ]
        .into_par_iter()
        .all(|file| NotedFile::is_whole(folder, file))
    }
}

/// Packs part `part` from the files that `spilled` notes in `from`, and notes it under `stamp`.
///
/// # Errors
/// [`Error::Integrity`] for files that are not the noted ones; [`Error::InvalidArgument`] for a row that is
/// there twice; [`Error::Io`].
pub fn pack_part(
    plan: &OpenPlan,
    (part, parts): (usize, &Parts),
    (from, spilled): (&Path, &SpilledPart),
    (folder, stamp): (&Path, &str),
    progress: &(dyn Fn(usize) + Sync),
) -> Result<PackedPart> {
    let keys = read_keys(from, spilled)?;
    let items = Lines::read(from, &spilled.items, keys.len())?;
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.par_sort_unstable_by_key(|at| keys[*at as usize]);
    let groups = order.chunk_by(|a, b| keys[*a as usize].0 == keys[*b as usize].0);
    let values = from.join(&spilled.values.file);
    let mut all = Vec::new();
    for rows in groups {
        let centroid = rows.first().map_or(0, |at| keys[*at as usize].0);
        all.extend(slices(plan, &values, centroid, rows)?);
    }
    let create = |what: &str| OutputFile::create(folder, what);
    let (mut codes, mut blocks) = (create("codes")?, create("blocks")?);
    let (mut fine, mut lines) = (create("fine")?, create("items")?);
    let mut leaves = create("leaves")?;
    let mut clusters = Vec::new();
    let mut done = 0;
    for batch in batches(&all) {
        let packed: Vec<PackedSlice> = batch
            .par_iter()
            .map(|slice| PackedSlice::pack(plan, &values, slice))
            .collect::<Result<_>>()?;
        for slice in packed {
            codes.write(&slice.codes)?;
            leaves.write(&slice.leaves)?;
            fine.write(&slice.fine)?;
            for (cluster, block) in slice.blocks {
                clusters.push(cluster);
                blocks.write(&block)?;
            }
            for at in &slice.rows {
                lines.write(items.line(*at as usize))?;
            }
            done += slice.rows.len();
        }
        progress(done);
    }
    let packed = PackedPart {
        plan: plan.head.plan.sha256.clone(),
        part,
        parts: parts.count,
        rows: keys.len() as u64,
        clusters,
        codes: codes.finish()?,
        leaves: leaves.finish()?,
        blocks: blocks.finish()?,
        fine: fine.finish()?,
        items: lines.finish()?,
        left_out: spilled.left_out.clone(),
    };
    write_entry(&folder.join(PART), stamp, &packed)?;
    Ok(packed)
}

/// Centroid and number of each row.
fn read_keys(from: &Path, spilled: &SpilledPart) -> Result<Vec<(u32, u64)>> {
    let bytes = NotedFile::read_all(from, &spilled.keys)?;
    let keys: Vec<(u32, u64)> = bytes
        .as_chunks::<KEY_BYTES>()
        .0
        .iter()
        .map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| {
            let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            (u32::from_le_bytes([i, j, k, l]), number)
        })
        .collect();
    let mut numbers: Vec<u64> = keys.iter().map(|(_, number)| *number).collect();
    numbers.par_sort_unstable();
    match numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(format!("row {} is there twice", pair[0]))),
        None => Ok(keys),
    }
}

/// Slices together until they have [`ROWS_AT_ONCE`] rows.
fn batches(slices: &[Slice]) -> impl Iterator<Item = &[Slice]> {
    let mut rest = slices;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let full = |slice: &Slice| {
            rows += slice.rows.len();
            rows >= ROWS_AT_ONCE
        };
        let end = rest.iter().position(full).map_or(rest.len(), |at| at + 1);
        let (batch, after) = rest.split_at(end);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

/// A text, and where its lines are.
struct Lines {
    text: Vec<u8>,
    /// Ends of the lines.
    ends: Vec<usize>,
}

impl Lines {
    fn read(from: &Path, noted: &FileRef, count: usize) -> Result<Self> {
        let text = NotedFile::read_all(from, noted)?;
        let ends: Vec<usize> = (0..text.len())
            .filter(|at| text[*at] == b'\n')
            .map(|at| at + 1)
            .collect();
        if ends.len() != count {
            let reason = format!("{} items of {count} rows", ends.len());
            return Err(Error::format(
                from.join(&noted.file).display().to_string(),
                reason,
            ));
        }
        Ok(Self { text, ends })
    }

    /// A line with its end.
    fn line(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }
}
