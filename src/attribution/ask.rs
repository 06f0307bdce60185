//! What a caller may ask for beside the image: how many hits, and how much is read for them.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Largest number of hits that a caller may ask for.
pub const TOP_K_MAX: usize = 10_000;

/// How much of a clustered index is read. A flat index is always read whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The likeliest part of the codes, and few fine rows.
    Fast,
    /// All codes, and as many fine rows as make a miss among the hits unlikely.
    #[default]
    Balanced,
    /// All fine rows: equal to brute force on them.
    Exact,
}

/// The terms of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Hits, 1 to [`TOP_K_MAX`]; fewer where the index has fewer rows.
    pub top_k: usize,
    pub quality: Quality,
}

impl From<usize> for Ask {
    fn from(top_k: usize) -> Self {
        Self {
            top_k,
            quality: Quality::default(),
        }
    }
}

impl Ask {
    /// # Errors
    /// [`Error::InvalidArgument`] for a `top_k` out of its range.
    pub(super) fn check(self) -> Result<Self> {
        if self.top_k == 0 || self.top_k > TOP_K_MAX {
            let what = format!("topK {} is not in 1..={TOP_K_MAX}", self.top_k);
            return Err(Error::invalid(what));
        }
        Ok(self)
    }
}
