//! The arguments that say where features are and which of their columns are read.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::error::Result;
use crate::features::{Columns, Duplicates, FeatureSet};

#[derive(Args, Clone)]
pub struct ColumnArguments {
    /// Names of the features' images, one a line, for features that bring none.
    #[arg(long, requires = "features")]
    names: Option<PathBuf>,
    /// Column of clip-retrieval's tables that names the images [default: image_path, url or key,
    /// whichever is there first].
    #[arg(long, requires = "features", value_name = "COLUMN")]
    name_column: Option<String>,
    /// Column with the captions [default: caption].
    #[arg(long, requires = "features", value_name = "COLUMN")]
    caption_column: Option<String>,
    /// Column with the links [default: url].
    #[arg(long, requires = "features", value_name = "COLUMN")]
    link_column: Option<String>,
    /// Further columns to keep, separated by commas; nothing keeps none [default: all others of text, numbers or
    /// truth values].
    #[arg(
        long,
        requires = "features",
        value_name = "COLUMNS",
        value_delimiter = ','
    )]
    field_columns: Option<Vec<String>>,
    /// What to do about features of one name [default: keep for clip-retrieval, stop for others].
    #[arg(long, requires = "features", value_enum)]
    duplicates: Option<OnDuplicates>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnDuplicates {
    /// Fail and name the first.
    Stop,
    /// Pack each of them.
    Keep,
}

impl ColumnArguments {
    /// The columns that are read.
    pub fn columns(&self) -> Columns {
        Columns {
            name: self.name_column.clone(),
            caption: self.caption_column.clone(),
            link: self.link_column.clone(),
            fields: self.field_columns.as_ref().map(|columns| {
                let named = columns.iter().filter(|column| !column.is_empty());
                named.cloned().collect()
            }),
        }
    }

    /// Opens `features` with these columns.
    ///
    /// # Errors
    /// See [`FeatureSet::open`].
    pub fn open(&self, features: &Path) -> Result<FeatureSet> {
        FeatureSet::open(features, self.names.as_deref(), &self.columns())
    }

    /// The files that `features` are opened from.
    pub fn paths<'a>(&'a self, features: &'a Path) -> Vec<&'a Path> {
        let names = self.names.as_deref();
        [features].into_iter().chain(names).collect()
    }

    /// What to do about duplicates, where that was said.
    pub fn duplicates(&self) -> Option<Duplicates> {
        self.duplicates.map(|duplicates| match duplicates {
            OnDuplicates::Stop => Duplicates::Stop,
            OnDuplicates::Keep => Duplicates::Keep,
        })
    }
}
