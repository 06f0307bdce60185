//! Cutting the streams of all rows into the files of an index.
//!
//! What a file holds follows from the plan and the rows alone, never from where parts begin.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;

use super::control::Sample;
use super::part::{PackedCluster, PackedPart};
use super::plan_folder::OpenPlan;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::format::clustered::coarse::{CODE_BYTES_MAX, FILE_CLUSTERS_MAX, FILE_LEAVES_MAX};
use crate::format::clustered::fine::check;
use crate::format::clustered::{CoarseShard, Salt, encode_file};
use crate::format::{FileRef, sha256_hex};
use crate::pack::index_folder::{COARSE, FINE, ITEMS, IndexFolder};
use crate::pack::items::{Item, items_file};
use crate::pack::metadata::Metadata;
use crate::pack::stale::content_digest;

/// Bytes that the blocks of a coarse file have at least, but for the last file.
const COARSE_BYTES_MIN: usize = 2 << 20;
/// And that they do not exceed where another cluster can begin the next file.
const COARSE_BYTES: usize = 2_400_000;
/// Bytes of fine files that are made together.
const FINE_AT_ONCE: usize = 32 << 20;
/// Items files that are made together.
const ITEMS_AT_ONCE: usize = 32;

/// What is cut.
pub(super) struct Parts<'a> {
    pub plan: &'a OpenPlan,
    pub parts: &'a [(PathBuf, PackedPart)],
    /// N.
    pub rows: usize,
}

impl Parts<'_> {
    /// Writes the coarse files of `clusters`.
    ///
    /// # Errors
    /// Those of [`Stream::read`] and of writing.
    pub fn write_coarse(
        &self,
        index: &mut IndexFolder,
        clusters: &[PackedCluster],
    ) -> Result<Vec<CoarseShard>> {
        let mut stream = Stream::new(self.parts, |part| &part.blocks);
        let (mut shards, mut first_row) = (Vec::new(), 0u64);
        let plan = &self.plan.plan;
        let sizes = [plan.widths.row_bytes(), plan.leaf_tables.len()];
        for range in coarse_files(clusters, sizes) {
            let held = &clusters[range.clone()];
            let mut blocks = Vec::with_capacity(held.len());
            for cluster in held {
                let mut block = vec![0; cluster.bytes as usize];
                stream.read(&mut block)?;
                blocks.push(block);
            }
            let rows: u64 = held.iter().map(|cluster| u64::from(cluster.rows)).sum();
            let (first, count) = (range.start as u32, rows as u32);
            let bytes = encode_file(first, first_row, count, self.plan.salt, &blocks)?;
            let file = FileRef::of(COARSE, "bin", &bytes);
            index.write_named(&file, &bytes)?;
            shards.push(CoarseShard {
                file,
                first_cluster: range.start as u64,
                clusters: range.len() as u64,
                first_row,
                rows,
            });
            first_row += rows;
        }
        Ok(shards)
    }

    /// Writes the fine files, with checks under `salt`, and shows the rows to the control sample.
    ///
    /// # Errors
    /// Those of [`Stream::read`] and of writing.
    pub fn write_fine(
        &self,
        index: &mut IndexFolder,
        salt: &Salt,
        control: &mut Sample,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<FileRef>> {
        let mut stream = Stream::new(self.parts, |part| &part.fine);
        let row_bytes = self.plan.plan.fine_row_bytes();
        let body = row_bytes - 8;
        let per_file = self.plan.plan.fine_rows;
        let at_once = (FINE_AT_ONCE / (per_file * row_bytes)).max(1) * per_file;
        let (mut written, mut bodies) = (Vec::new(), Vec::new());
        for first in (0..self.rows).step_by(at_once) {
            let count = at_once.min(self.rows - first);
            bodies.resize(count * body, 0);
            stream.read(&mut bodies)?;
            control.take_fine(first, &bodies);
            let files: Vec<(FileRef, Vec<u8>)> = bodies
                .par_chunks(per_file * body)
                .enumerate()
                .map(|(at, bodies)| {
                    let mut bytes = Vec::with_capacity(bodies.len() / body * row_bytes);
                    for (row, body) in bodies.chunks_exact(body).enumerate() {
                        let row = (first + at * per_file + row) as u64;
                        bytes.extend_from_slice(&check(salt, row, body));
                        bytes.extend_from_slice(body);
                    }
                    (named_apart(FINE, "bin", &bytes), bytes)
                })
                .collect();
            index.write_all(&files)?;
            written.extend(files.into_iter().map(|(file, _)| file));
            progress(first + count, self.rows);
        }
        Ok(written)
    }

    /// Writes the items files; gives also the first half of the digest of each thumbnail that they name.
    ///
    /// # Errors
    /// Those of [`Stream::line`] and of writing; [`Error::Format`] for a line that is no item.
    pub fn write_items(
        &self,
        index: &mut IndexFolder,
        metadata: &HashMap<String, Metadata>,
    ) -> Result<(Vec<FileRef>, HashSet<u128>)> {
        let mut stream = Stream::new(self.parts, |part| &part.items);
        let per_file = self.plan.plan.items_per_file;
        let at_once = per_file * ITEMS_AT_ONCE;
        let (mut written, mut thumbnails) = (Vec::new(), HashSet::new());
        for first in (0..self.rows).step_by(at_once) {
            let mut items: Vec<Vec<Item>> = Vec::new();
            for first in (first..self.rows.min(first + at_once)).step_by(per_file) {
                let count = per_file.min(self.rows - first);
                let read = (0..count).map(|_| {
                    serde_json::from_slice(stream.line()?)
                        .map_err(|e| Error::format("items of a part", e.to_string()))
                });
                let read = read.collect::<Result<Vec<Item>>>()?;
                let illustrated = read.iter().filter_map(|item| item.thumbnail.as_ref());
                thumbnails.extend(illustrated.filter_map(content_digest));
                items.push(read);
            }
            let files: Vec<(FileRef, Vec<u8>)> = items
                .into_par_iter()
                .map(|items| {
                    let bytes = items_file(items, metadata)?;
                    Ok((named_apart(ITEMS, "json", &bytes), bytes))
                })
                .collect::<Result<_>>()?;
            index.write_all(&files)?;
            written.extend(files.into_iter().map(|(file, _)| file));
        }
        Ok((written, thumbnails))
    }
}

/// The clusters of each coarse file, for rows and leaves of so many bytes.
fn coarse_files(
    clusters: &[PackedCluster],
    [row_bytes, leaf_bytes]: [usize; 2],
) -> Vec<Range<usize>> {
    let (mut files, mut start) = (Vec::new(), 0);
    let (mut bytes, mut code_bytes, mut leaves) = (0, 0, 0);
    for (at, cluster) in clusters.iter().enumerate() {
        let more = cluster.bytes as usize;
        let more_codes = u64::from(cluster.rows) * row_bytes as u64;
        let full = bytes >= COARSE_BYTES_MIN && bytes + more > COARSE_BYTES;
        // Equal rows take next to nothing until they are decoded.
        let more_leaves = u64::from(cluster.leaves);
        let swollen = code_bytes + more_codes > CODE_BYTES_MAX
            || leaves + more_leaves > FILE_LEAVES_MAX as u64
            || (leaves + more_leaves) * leaf_bytes as u64 > CODE_BYTES_MAX;
        if full || swollen || at - start == FILE_CLUSTERS_MAX {
            files.push(start..at);
            (start, bytes, code_bytes, leaves) = (at, 0, 0, 0);
        }
        bytes += more;
        code_bytes += more_codes;
        leaves += more_leaves;
    }
    if start < clusters.len() {
        files.push(start..clusters.len());
    }
    files
}

/// The reference to `bytes` in `folder`, in a folder of the first two digits.
fn named_apart(folder: &str, extension: &str, bytes: &[u8]) -> FileRef {
    let sha256 = sha256_hex(bytes);
    FileRef {
        file: format!("{folder}/{}/{}.{extension}", &sha256[..2], &sha256[..32]),
        bytes: bytes.len() as u64,
        sha256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_files_have_whole_clusters_and_2_to_4_megabytes() {
        let cluster = |rows| {
            move |bytes| PackedCluster {
                centroid: 0,
                rows,
                bytes,
                leaves: 1,
                digest: [0; 16],
            }
        };
        let mixed = (0..5000u32).map(|at| at * 7919 % 40_000 + 16);
        let mixed: Vec<_> = mixed.map(cluster(1)).collect();
        let large = vec![cluster(1)(2 << 20); 7];
        let tiny = vec![cluster(1)(16); 200_000];
        let equal = vec![cluster(20_000)(16); 500];
        for clusters in [mixed, large, tiny, equal] {
            let files = coarse_files(&clusters, [100, 9]);
            let mut next = 0;
            for (at, file) in files.iter().enumerate() {
                assert_eq!(file.start, next);
                next = file.end;
                let held = &clusters[file.clone()];
                let bytes: u32 = held.iter().map(|c| c.bytes).sum();
                let codes: u64 = held.iter().map(|c| u64::from(c.rows) * 100).sum();
                let is_full = bytes >= 2 << 20
                    || file.len() == FILE_CLUSTERS_MAX
                    || codes > CODE_BYTES_MAX - 2_000_000;
                assert!(is_full || at + 1 == files.len(), "file {at}: {bytes}");
                assert!(bytes <= 4 << 20 && codes <= CODE_BYTES_MAX);
                assert!(file.len() <= FILE_CLUSTERS_MAX);
            }
            assert_eq!(next, clusters.len());
        }
        assert!(coarse_files(&[], [100, 9]).is_empty());
    }
}
