//! The CPU scorer: the definition that the GPU kernels are tested against.

use super::row_kernel::RowKernel;
use super::top_k::{Hit, TopK};
use super::{Query, check_codes, check_shard};
use crate::error::{Error, Result};
use crate::format::clustered::{CodeRows, Head};
use crate::format::shard::FineShard;

/// Rows that are scored at a time; their sums stay in the nearest cache.
const BLOCK: usize = 256;

/// Scores of all rows that came, and the best k of those.
pub struct CpuScorer {
    query: Query,
    /// For int8 rows.
    kernel: RowKernel,
    count: u64,
    scores: Vec<f32>,
    top: TopK,
}

impl CpuScorer {
    /// A ranking of an index of `count` rows that keeps the best `k`.
    ///
    /// # Errors
    /// None at present; rows that do not fit into memory are one when they come.
    pub fn new(query: impl Into<Query>, count: u64, k: usize) -> Result<Self> {
        let query = query.into();
        Ok(Self {
            kernel: RowKernel::new(match &query {
                Query::Rows(query) => &query.codes,
                Query::Codes(_) => &[],
            }),
            query,
            count,
            scores: Vec::new(),
            top: TopK::new(k.min(count as usize)),
        })
    }

    /// See [`super::Scorer::add`].
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        let query = self.query.rows()?;
        check_shard(file, shard, query.dimension, self.count)?;
        let (start, scale) = (self.scores.len(), query.scale);
        let scores = grown(&mut self.scores, shard.rows())?;
        let mut sums = [0; BLOCK];
        let blocks = shard.codes.chunks(BLOCK * shard.stride);
        let scales = shard.scales.chunks(BLOCK);
        for ((codes, scales), scores) in blocks.zip(scales).zip(scores.chunks_mut(BLOCK)) {
            self.kernel.sums(codes, &mut sums[..scales.len()]);
            for ((score, sum), row_scale) in scores.iter_mut().zip(&sums).zip(scales) {
                *score = *sum as f32 * (row_scale * scale);
            }
        }
        self.top
            .extend(shard.first_row as u32, &self.scores[start..]);
        Ok(())
    }

    /// See [`super::Scorer::add_codes`].
    pub fn add_codes(&mut self, file: &str, head: &Head, rows: &CodeRows) -> Result<()> {
        let query = self.query.codes()?;
        check_codes(file, head, rows, query, self.count)?;
        let start = self.scores.len();
        query.score_rows(head, rows, grown(&mut self.scores, rows.rows())?);
        self.top
            .extend(rows.first_row as u32, &self.scores[start..]);
        Ok(())
    }

    /// The best rows so far, best first.
    pub fn hits(&self) -> Vec<Hit> {
        self.top.hits()
    }

    /// The scores of the rows that came, in the order in which they came.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}

/// Room for `rows` more scores.
fn grown(scores: &mut Vec<f32>, rows: usize) -> Result<&mut [f32]> {
    let start = scores.len();
    scores
        .try_reserve(rows)
        .map_err(|_| Error::device(format!("{} scores do not fit into memory", start + rows)))?;
    scores.resize(start + rows, 0.0);
    Ok(&mut scores[start..])
}
