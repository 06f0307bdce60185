//! Scores of all rows against one query, the best k of them, and the calibrator's sums.
//!
//! Two scorers behind one interface: [`cpu`] defines the result, [`gpu`] computes the same on the
//! device that the backbone runs on. Both multiply integers (int8 rows, a 13-bit query), so a score
//! is one exact 32-bit sum and two roundings, equal on every machine; ties go to the smaller id.

pub mod calibrator;
pub mod cpu;
pub mod gpu;
pub mod kernels;
pub mod query;
pub mod top_k;

pub use calibrator::{influence, normaliser};
pub use cpu::CpuScorer;
pub use gpu::GpuScorer;
pub use query::QuantizedQuery;
pub use top_k::{Hit, TopK};

use crate::error::Result;
use crate::format::{Calibrator, shard::FineShard};

/// A running ranking on one of the two devices.
pub enum Scorer {
    Cpu(CpuScorer),
    Gpu(Box<GpuScorer>),
}

impl Scorer {
    /// Scores the rows of `shard` and merges them into the ranking.
    ///
    /// # Errors
    /// [`crate::Error::Format`] when the shard's dimension is not the query's or its rows lie outside
    /// of the index.
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        match self {
            Self::Cpu(scorer) => scorer.add(file, shard),
            Self::Gpu(scorer) => scorer.add(file, shard),
        }
    }

    /// The best rows so far, best first.
    pub async fn hits(&mut self) -> Result<Vec<Hit>> {
        match self {
            Self::Cpu(scorer) => Ok(scorer.hits()),
            Self::Gpu(scorer) => scorer.hits().await,
        }
    }

    /// Sum of the calibrator's unnormalised influences over all scores, where `best` is the largest.
    pub async fn normaliser(&mut self, calibrator: &Calibrator, best: f32) -> Result<f64> {
        match self {
            Self::Cpu(scorer) => Ok(normaliser(calibrator, scorer.scores(), best)),
            Self::Gpu(scorer) => scorer.normaliser(calibrator, best).await,
        }
    }
}

/// Refuses a shard that does not belong to the query or the index.
fn check_shard(file: &str, shard: &FineShard, dimension: usize, count: u64) -> Result<()> {
    let end = shard.first_row.checked_add(shard.rows() as u64);
    if shard.dimension != dimension || end.is_none_or(|end| end > count) {
        return Err(crate::Error::format(
            file,
            format!(
                "rows {}+{} of dimension {} do not belong to an index of {count} rows of dimension {dimension}",
                shard.first_row,
                shard.rows(),
                shard.dimension
            ),
        ));
    }
    Ok(())
}
