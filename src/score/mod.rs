//! Scores of rows against one query, the best k of them, and the calibrator's sums.
//!
//! Two scorers behind one interface: [`cpu`] defines the result, [`gpu`] computes the same on the
//! device that the backbone runs on. Both multiply integers (int8 rows or coarse codes, a 13-bit query), so a
//! score is one exact 32-bit sum and two roundings, equal on every machine; ties go to the smaller id. No f16 for that reason: its 11 bits
//! hold no such sum.

pub mod calibrator;
mod code_kernel;
pub mod codes;
pub mod cpu;
pub mod gpu;
mod kernel_texts;
pub mod kernels;
mod planes;
pub mod query;
mod row_kernel;
mod select_gpu;
pub mod top_k;

#[cfg(feature = "cli")]
pub mod bandwidth;
#[cfg(feature = "cli")]
pub use kernel_texts::texts;

use std::rc::Rc;

pub use calibrator::{influence, normaliser};
pub use codes::{CodeQuery, FineQuery};
pub use cpu::CpuScorer;
pub use gpu::GpuScorer;
pub use query::QuantizedQuery;
pub use top_k::{Hit, TopK};

use crate::error::{Error, Result};
use crate::format::clustered::{CodeRows, Head};
use crate::format::{Calibrator, shard::FineShard};

/// What rows are scored with: the query for the one form or for the other.
#[derive(Clone, Debug)]
pub enum Query {
    /// For int8 rows.
    Rows(QuantizedQuery),
    /// For the coarse codes of a clustered index.
    Codes(Rc<CodeQuery>),
}

impl From<QuantizedQuery> for Query {
    fn from(query: QuantizedQuery) -> Self {
        Self::Rows(query)
    }
}

impl From<Rc<CodeQuery>> for Query {
    fn from(query: Rc<CodeQuery>) -> Self {
        Self::Codes(query)
    }
}

impl Query {
    fn rows(&self) -> Result<&QuantizedQuery> {
        match self {
            Self::Rows(query) => Ok(query),
            Self::Codes(_) => Err(Error::invalid("a query for codes met int8 rows")),
        }
    }

    fn codes(&self) -> Result<&CodeQuery> {
        match self {
            Self::Codes(query) => Ok(query),
            Self::Rows(_) => Err(Error::invalid("a query for int8 rows met codes")),
        }
    }
}

/// A running ranking on one of the two devices. Rows may come in any order, each once.
pub enum Scorer {
    Cpu(CpuScorer),
    Gpu(Box<GpuScorer>),
}

impl Scorer {
    /// Scores the rows of `shard` and merges them into the ranking.
    ///
    /// # Errors
    /// [`Error::Format`] when the shard's dimension is not the query's or its rows lie outside
    /// of the index; [`Error::InvalidArgument`] when the query is one for codes.
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        match self {
            Self::Cpu(scorer) => scorer.add(file, shard),
            Self::Gpu(scorer) => scorer.add(file, shard),
        }
    }

    /// Scores the coarse codes `rows` of the index of `head` and merges them into the ranking.
    ///
    /// # Errors
    /// [`Error::Format`] when the codes are not of the query's widths or their rows or clusters lie outside
    /// of the index; [`Error::InvalidArgument`] when the query is one for int8 rows.
    pub fn add_codes(&mut self, file: &str, head: &Head, rows: &CodeRows) -> Result<()> {
        match self {
            Self::Cpu(scorer) => scorer.add_codes(file, head, rows),
            Self::Gpu(scorer) => scorer.add_codes(file, head, rows),
        }
    }

    /// The best rows so far, best first.
    pub async fn hits(&mut self) -> Result<Vec<Hit>> {
        match self {
            Self::Cpu(scorer) => Ok(scorer.hits()),
            Self::Gpu(scorer) => scorer.hits().await,
        }
    }

    /// Sum of the calibrator's unnormalised influences over the rows that came; their largest score is
    /// `best`, or near it. Rows that did not come count nothing, whatever the bias.
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
        return Err(Error::format(
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

/// Refuses codes that do not belong to the query or the index.
fn check_codes(
    file: &str,
    head: &Head,
    rows: &CodeRows,
    query: &CodeQuery,
    count: u64,
) -> Result<()> {
    let (n, words) = (rows.rows(), rows.words_per_row);
    let end = rows.first_row.checked_add(n as u64);
    let last = rows.terms.iter().map(|term| CodeRows::leaf(*term)).max();
    let leaves = last.map_or(0, |last| last + 1);
    let last = rows.leaves.iter().max().map(|last| *last as usize);
    let clusters = last.map_or(Some(0), |last| {
        rows.first_cluster.checked_add(last.checked_add(1)?)
    });
    if words != query.widths().words()
        || n.checked_mul(words) != Some(rows.words.len())
        || end.is_none_or(|end| end > count)
        || leaves > rows.leaves.len()
        || rows.leaves.len().checked_mul(head.plan.leaf_axes()) != Some(rows.leaf_codes.len())
        || clusters.is_none_or(|clusters| clusters > head.clusters.len())
    {
        return Err(Error::format(
            file,
            format!(
                "rows {}+{n} of {words} words do not belong to an index of {count} rows of {} words",
                rows.first_row,
                query.widths().words()
            ),
        ));
    }
    Ok(())
}
