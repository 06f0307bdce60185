//! Packing a clustered index, in three steps that may run on different machines.
//!
//! 1. `plan`: centroids, transform and tables from a sample of the rows ([`plan_folder`]);
//! 2. `pack-part i/n`: the rows of a range of centroids, ordered and coded ([`part`]), after one pass has
//!    distributed all rows over the parts ([`spill`]) or another engine has;
//! 3. `merge`: rows numbered through the parts, files cut, manifest last ([`merge`]).
//!
//! `pack` is these three, after it has embedded the images where it is given such ([`images`]), one after the other, in a folder of its own. Invariants: what an index consists of
//! depends on its rows, their order and the options alone, not on the number of parts or threads or on
//! what machine did what; and a run that was killed goes on with all that is whole ([`journal`]).

mod assign;
mod axes;
mod basis;
mod candidates;
mod classes;
mod clustering;
mod control;
mod cut;
mod encode;
mod images;
mod journal;
mod leaf_form;
mod leaves;
mod merge;
mod part;
mod plan;
mod plan_folder;
mod product;
mod quantiser;
mod residuals;
mod row_code;
mod run;
mod sample;
mod sample_leaves;
mod sampled;
mod slice;
mod spill;
mod stream;
mod trial;

pub use assign::Assigner;
pub use encode::RowEncoder;
pub use images::pack_images_clustered;
pub use merge::{LayerSizes, merge};
pub use plan::{CoarseChoice, LeafChoice, PlanOptions, make_plan};
pub use plan_folder::{OpenPlan, PartOf, Parts, PlanHead};
pub use run::{pack_clustered, pack_parts, pack_shuffled_part, plan_features};
pub use sampled::sampled_rows;

use std::path::{Path, PathBuf};

use crate::features::{Columns, Duplicates, FeatureSet};

/// Rows from which on an index is clustered unless asked otherwise: fewer are fetched whole as fast.
pub const CLUSTERED_ROWS: usize = 20_000;

/// How the rows of an index lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Shards that every query reads.
    Flat,
    /// Short codes that every query reads, and rows of which it reads the best.
    Clustered,
}

impl Structure {
    /// The usual structure for that many rows.
    pub fn usual(rows: usize) -> Self {
        match rows {
            CLUSTERED_ROWS.. => Self::Clustered,
            _ => Self::Flat,
        }
    }
}

/// Features and where they came from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub features: &'a FeatureSet,
    /// Files and folders that the features were opened from, to see when they change.
    pub paths: &'a [&'a Path],
    pub columns: &'a Columns,
    /// What to do about names that stand twice; `None` for what is usual for the container.
    pub duplicates: Option<Duplicates>,
}

/// How to pack a clustered index.
#[derive(Clone, Debug, Default)]
pub struct ClusteredOptions {
    pub plan: PlanOptions,
    /// Parts that are packed one after the other; `None` for what this machine's memory suggests.
    pub parts: Option<usize>,
    /// Folder of the intermediate files; `None` for one in the index's folder.
    pub work: Option<PathBuf>,
}

/// Hears how far a run is.
pub trait Monitor: Sync {
    /// Takes a line.
    fn say(&self, line: &str);

    /// Takes a step's name, what is done of it and all of it; from any thread.
    fn progress(&self, step: &'static str, done: usize, total: usize);
}
