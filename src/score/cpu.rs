//! The CPU scorer: the definition that the GPU kernels are tested against.

use super::check_shard;
use super::query::QuantizedQuery;
use super::top_k::{Hit, TopK};
use crate::error::Result;
use crate::format::shard::FineShard;

/// Scores of all rows seen so far, and the best k.
pub struct CpuScorer {
    query: QuantizedQuery,
    count: u64,
    scores: Vec<f32>,
    top: TopK,
}

impl CpuScorer {
    /// A ranking of an index of `count` rows that keeps the best `k`.
    pub fn new(query: QuantizedQuery, count: u64, k: usize) -> Self {
        Self {
            query,
            count,
            scores: Vec::new(),
            top: TopK::new(k),
        }
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
            let score = self.query.score(row, *scale);
            self.scores.push(score);
            self.top.push(Hit {
                id: (shard.first_row + i as u64) as u32,
                score,
            });
        }
        Ok(())
    }

    /// The best rows so far, best first.
    pub fn hits(&self) -> Vec<Hit> {
        self.top.hits()
    }

    /// All scores, in the order in which the rows came.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}
