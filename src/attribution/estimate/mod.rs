//! What an answer from part of the data is worth: pure mathematics on scores, without any reading.
//!
//! A query of a clustered index scores rows from short codes, reads the fine rows of the best candidates
//! ("reranks" them) and knows both scores of a uniform control sample. From these follow the order in which
//! to read ([`order`]), the law of a row's exact score given its approximate one ([`error`]), how many
//! candidates to rerank and what recall that gives ([`recall`]), and the calibrator's sum over all rows
//! with an interval ([`mass`]).
//!
//! All scores are those of one query. Rows fall into four parts: reranked; waiting, which is listed with
//! its approximate score but not reranked; below, which was scored but is in no list; unread.

pub mod clusters;
pub mod curve;
pub mod draw;
pub mod error;
pub mod mass;
pub mod normal;
pub mod order;
pub mod recall;
pub mod regression;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub use curve::Curve;
pub use draw::{Draw, Drawn};
pub use error::{ErrorModel, Pair, ScoreError};
pub use mass::{Mass, Share};
pub use order::{ClusterScores, ResidualVariance, expected_hits, file_order, tail_share};
pub use recall::{Rule, THINNING_MOST};

/// A row that was scored from its code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub approximate: f32,
    /// Number of the row's cluster, as in [`Pair::cluster`].
    pub cluster: u32,
}

/// Rows that were scored from their codes but are in no list: their scores are at most `highest`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Below<'a> {
    pub rows: u64,
    /// The last listed approximate score.
    pub highest: f32,
    /// The control rows among them.
    pub control: &'a [Pair],
}

/// Rows of clusters that were not read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unread<'a> {
    pub clusters: &'a [ClusterScores],
    /// What to multiply their expected hits with, see [`order::tail_share`]; 1 where nothing is known.
    pub share: f64,
    /// The control rows among them: position in `clusters`, exact score.
    pub control: &'a [(usize, f32)],
}

/// What is known of all rows at some point of a query.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Exact scores of the reranked rows, descending.
    pub exact: &'a [f32],
    /// The listed rows that were not reranked, in descending order of their scores.
    pub waiting: &'a [Candidate],
    /// Exact scores of the reranked rows before the first waiting one, in descending order of their approximate scores.
    pub first: &'a [f32],
    pub below: Below<'a>,
    pub unread: Unread<'a>,
    pub error: &'a ErrorModel,
    /// A draw of waiting rows that was reranked last.
    pub drawn: Option<Drawn<'a>>,
}

impl State<'_> {
    /// Number of all rows.
    pub fn rows(&self) -> u64 {
        let unread: u64 = self.unread.clusters.iter().map(|c| c.rows).sum();
        (self.exact.len() + self.waiting.len()) as u64 + self.below.rows + unread
    }
}
