//! The rows of a clustered index as vectors: what its int8 rows stand for, `c + scale * code`.
//!
//! A query's own exemplars are in no index, so they are rounded as the packer would: to the nearest centroid
//! and an int8 residual. Scores are then float products of what is stored; the searching side rounds the
//! query to 13 bits as well, which changes a score by less than 1e-4 of a step of the rows.

use std::ops::Range;

use rayon::prelude::*;

use super::database::read_file;
use super::kernel::dot;
use crate::error::{Error, Result};
use crate::format::clustered::{Clusters, Head, decode_row};
use crate::format::shard::quantize_row;
use crate::format::{FileRef, Manifest};
use crate::source::folder::Folder;

/// An opened clustered index.
pub(super) struct ClusteredRows {
    folder: Folder,
    head: Head,
    /// `[K, D]`
    centroids: Vec<f32>,
    /// `[K]`: half the squared length.
    halves: Vec<f32>,
}

impl ClusteredRows {
    /// Reads the head that `clusters` names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Integrity`]; [`Error::Format`] for a head of other rows than the manifest's.
    pub fn open(folder: Folder, clusters: &Clusters, manifest: &Manifest) -> Result<Self> {
        let file = &clusters.head;
        let head = Head::parse(&file.file, &read_file(&folder, file)?)?;
        let plan = &head.plan;
        if (head.rows, plan.dimension) != (manifest.count, manifest.dimension) {
            let reason = format!("{} rows of {} values", head.rows, plan.dimension);
            return Err(Error::format(&file.file, reason));
        }
        let mut centroids = vec![0.0; plan.centroid_count() * plan.dimension];
        for (k, out) in centroids.chunks_exact_mut(plan.dimension).enumerate() {
            plan.centroid(k, out);
        }
        let rows = centroids.chunks_exact(plan.dimension);
        Ok(Self {
            halves: rows.map(|c| 0.5 * dot(c, c)).collect(),
            centroids,
            head,
            folder,
        })
    }

    /// The items files, in order.
    pub fn items_files(&self) -> Vec<FileRef> {
        (0..self.head.items.len())
            .map(|number| {
                let (path, _, _, bytes, name) = self.head.items_file(number);
                FileRef::named(&path, bytes, &name)
            })
            .collect()
    }

    /// Whole fine files of about `block_rows` rows together.
    pub fn blocks(&self, block_rows: usize) -> Vec<Range<usize>> {
        let per_file = self.head.plan.fine_rows;
        let step = (block_rows / per_file).max(1) * per_file;
        let count = self.head.rows as usize;
        let starts = (0..count).step_by(step);
        starts.map(|first| first..count.min(first + step)).collect()
    }

    /// The rows `range`, one of [`ClusteredRows::blocks`], as `[rows, D]`.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`decode_row`].
    pub fn read(&self, range: Range<usize>) -> Result<Vec<f32>> {
        let (head, plan) = (&self.head, &self.head.plan);
        let files = range.start / plan.fine_rows..range.end.div_ceil(plan.fine_rows);
        let files: Vec<usize> = files.collect();
        let rows = files.into_par_iter().map(|number| {
            let fine = head.fine_file(number);
            let file = FileRef::named(&fine.path, fine.bytes, &fine.name);
            let bytes = read_file(&self.folder, &file)?;
            let mut values = Vec::with_capacity(fine.rows * plan.dimension);
            let rows = bytes.chunks_exact(plan.fine_row_bytes());
            for (row, bytes) in (fine.first_row..).zip(rows) {
                let decoded = decode_row(&fine.path, &head.row_salt, row, plan.dimension, bytes)?;
                let cluster = head.clusters[head.cluster_of(row)];
                let centroid = self.centroid(cluster.centroid as usize);
                let codes = decoded.codes.iter().map(|code| f32::from(*code));
                values.extend(
                    centroid
                        .iter()
                        .zip(codes)
                        .map(|(c, x)| c + decoded.scale * x),
                );
            }
            Ok(values)
        });
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    }

    /// The unit row `unit` as this index would hold it.
    ///
    /// # Errors
    /// None in practice: unit rows are finite.
    pub fn rounded(&self, unit: &[f32]) -> Result<Vec<f32>> {
        let nearest = (0..self.halves.len())
            .map(|k| (k, dot(unit, self.centroid(k)) - self.halves[k]))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |best| best.0);
        let centroid = self.centroid(nearest);
        let residual: Vec<f32> = unit.iter().zip(centroid).map(|(x, c)| x - c).collect();
        let mut codes = Vec::new();
        let scale = quantize_row(&residual, &mut codes)?;
        let restored = centroid.iter().zip(&codes);
        Ok(restored.map(|(c, x)| c + scale * f32::from(*x)).collect())
    }

    fn centroid(&self, k: usize) -> &[f32] {
        let dimension = self.head.plan.dimension;
        &self.centroids[k * dimension..][..dimension]
    }
}
