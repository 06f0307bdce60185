//! What the manifest says of a clustered index.
//!
//! Invariant after [`Clusters::validate`]: the coarse files cover clusters and rows once, in order.

use serde::{Deserialize, Serialize};

use super::head::{HEAD_BYTES_MAX, Head};
use crate::error::{Error, Result};
use crate::format::digest::{FileRef, check_cover};
use crate::format::shard::SHARD_BYTES_MAX;

/// The files of a clustered index; fine and items files stand in the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    pub head: FileRef,
    pub control: FileRef,
    pub coarse: Vec<CoarseShard>,
}

/// A file with the codes of whole clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoarseShard {
    #[serde(flatten)]
    pub file: FileRef,
    pub first_cluster: u64,
    pub clusters: u64,
    pub first_row: u64,
    pub rows: u64,
}

impl Clusters {
    /// All references: head, control, coarse files.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let coarse = self.coarse.iter().map(|shard| &shard.file);
        [&self.head, &self.control].into_iter().chain(coarse)
    }

    /// Checks all that can be checked without the head; `file` is the manifest.
    ///
    /// # Errors
    /// [`Error::Format`] naming `file` and what is wrong.
    pub fn validate(&self, file: &str, count: u64) -> Result<()> {
        self.head.validate(file, HEAD_BYTES_MAX)?;
        self.control.validate(file, SHARD_BYTES_MAX)?;
        let rows = self.coarse.iter().map(|s| (&s.file, s.first_row, s.rows));
        check_cover(file, "coarse", rows, count)?;
        let mut next = 0u64;
        for shard in &self.coarse {
            // A cluster has 1 to 65536 rows, a file of them 65536 clusters at most.
            let (first, clusters) = (shard.first_cluster, shard.clusters);
            let possible = (1..=shard.rows.min(65536)).contains(&clusters)
                && shard.rows.div_ceil(65536) <= clusters;
            if first != next || !possible {
                let (name, rows) = (&shard.file.file, shard.rows);
                return Err(Error::format(
                    file,
                    format!(
                        "coarse: {name} starts at cluster {first}, expected {next}, with {clusters} clusters of {rows} rows"
                    ),
                ));
            }
            next += clusters;
        }
        Ok(())
    }

    /// Checks that the head is of an index with these rows, this dimension and these coarse files; `file` is the manifest.
    ///
    /// # Errors
    /// [`Error::Format`] naming `file` and what differs.
    pub fn check_head(&self, file: &str, head: &Head, count: u64, dimension: usize) -> Result<()> {
        let bad = |reason: String| Err(Error::format(file, reason));
        if head.rows != count || head.plan.dimension != dimension {
            return bad(format!(
                "{}: {} rows of dimension {}, expected {count} of {dimension}",
                self.head.file, head.rows, head.plan.dimension
            ));
        }
        let mut next = 0;
        for shard in &self.coarse {
            let first_row = usize::try_from(shard.first_cluster)
                .ok()
                .and_then(|first| head.first_rows.get(first));
            if first_row != Some(&shard.first_row) {
                let (name, first) = (&shard.file.file, shard.first_cluster);
                return bad(format!(
                    "coarse: {name}: cluster {first} does not start there"
                ));
            }
            next = shard.first_cluster.saturating_add(shard.clusters);
        }
        if next != head.clusters.len() as u64 {
            return bad(format!(
                "coarse: {next} clusters of {}",
                head.clusters.len()
            ));
        }
        Ok(())
    }
}
