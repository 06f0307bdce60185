//! The CPU scorer: the definition that the GPU kernels are tested against.

use super::check_shard;
use super::query::QuantizedQuery;
use super::top_k::{Hit, TopK};
use crate::error::{Error, Result};
use crate::format::shard::FineShard;

/// Scores of all rows, and the best k of those seen so far.
pub struct CpuScorer {
    query: QuantizedQuery,
    count: u64,
    scores: Vec<f32>,
    top: TopK,
}

impl CpuScorer {
    /// A ranking of an index of `count` rows that keeps the best `k`.
    ///
    /// # Errors
    /// [`Error::Device`] when the scores do not fit into memory.
    pub fn new(query: QuantizedQuery, count: u64, k: usize) -> Result<Self> {
        let mut scores = Vec::new();
        scores
            .try_reserve_exact(count as usize)
            .map_err(|_| Error::device(format!("{count} scores do not fit into memory")))?;
        scores.resize(count as usize, 0.0);
        Ok(Self {
            query,
            count,
            scores,
            top: TopK::new(k.min(count as usize)),
        })
    }

    /// See [`super::Scorer::add`].
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        check_shard(file, shard, self.query.dimension, self.count)?;
        for (i, (row, scale)) in shard
            .codes
            .chunks_exact(shard.stride)
            .zip(&shard.scales)
            .enumerate()
        {
            let id = shard.first_row as usize + i;
            let score = self.query.score(row, *scale);
            self.scores[id] = score;
            self.top.push(Hit {
                id: id as u32,
                score,
            });
        }
        Ok(())
    }

    /// The best rows so far, best first.
    pub fn hits(&self) -> Vec<Hit> {
        self.top.hits()
    }

    /// The scores by row, whatever the order in which shards came; 0 for rows that did not come yet.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}
