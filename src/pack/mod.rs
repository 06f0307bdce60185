//! Packing an index: from images or features to a folder of static files.
//!
//! Deterministic to the byte for the same input, whatever the number of threads; another kind of
//! processor may round features differently. Shards are named by
//! content and the manifest is written last, so an interrupted or failed pack never leaves a folder
//! that reads as a whole index: either the old manifest stands with its files, or none.

pub mod clustered;
mod embed;
mod features;
mod images;
mod index_folder;
mod items;
mod mapping;
mod metadata;
mod stale;
mod write;

pub use embed::Embedder;
pub(crate) use embed::computation;
pub use features::pack_features;
pub use images::{list_images, pack_images};
pub use index_folder::MANIFEST;
pub(crate) use items::Item;
pub use mapping::PackMapper;

use std::path::{Path, PathBuf};

use crate::backbone::import::HEAD_FILE;
use crate::error::{Error, Result};
use crate::format::{Calibrator, Manifest, ModelHead};
use crate::mapper::calibrator::{CalibratorFile, FittedFor};
use crate::preprocess::DEFAULT_LIMIT_MEGAPIXELS;

/// Calibrator of an index that nobody fitted one for; the page labels it as such.
pub const DEFAULT_CALIBRATOR: Calibrator = Calibrator {
    inv_tau: 25.0,
    bias: 0.0,
    fitted: false,
};

/// What to pack and how.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Folder of the imported backbone.
    pub model: PathBuf,
    /// Folder of the imported mapper that rows and queries go through; `None` compares backbone features
    /// as they are.
    pub mapper: Option<PathBuf>,
    /// Folder of the index.
    pub out: PathBuf,
    pub title: String,
    pub description: String,
    pub calibrator: Calibrator,
    /// Which scores the calibrator was fitted to; packing others is refused.
    pub calibrator_for: FittedFor,
    /// Short side of thumbnails in pixels; 0 makes none.
    pub thumbnail: u32,
    /// CSV with the columns `path`, and optionally `caption` and `link`.
    pub metadata: Option<PathBuf>,
    /// Folder where features are kept between runs, so that only new images are embedded.
    pub cache: Option<PathBuf>,
    pub limit_megapixels: u32,
}

impl PackOptions {
    /// Packs with `model` into `out`, everything else by default.
    pub fn new(model: impl AsRef<Path>, out: impl AsRef<Path>) -> Self {
        Self {
            model: model.as_ref().to_owned(),
            mapper: None,
            out: out.as_ref().to_owned(),
            title: "Training images".into(),
            description: String::new(),
            calibrator: DEFAULT_CALIBRATOR,
            calibrator_for: FittedFor::default(),
            thumbnail: 256,
            metadata: None,
            cache: None,
            limit_megapixels: DEFAULT_LIMIT_MEGAPIXELS,
        }
    }
}

impl PackOptions {
    /// Takes the calibrator of `file`.
    pub fn calibrate(&mut self, file: CalibratorFile) {
        self.calibrator = file.calibrator;
        self.calibrator_for = file.fitted_for;
    }
}

/// What was packed.
#[derive(Debug)]
pub struct PackReport {
    pub manifest: Manifest,
    /// Inputs that were left out, with the reason: every image, of features the first ten.
    pub left_out: Vec<(String, String)>,
    /// How many were left out.
    pub left_out_count: usize,
    /// Features that came from the cache.
    pub reused: usize,
}

/// Reads the head of the model in `folder`.
///
/// # Errors
/// [`Error::Io`] when there is none, [`Error::Format`] when it is damaged.
pub fn read_head(folder: &Path) -> Result<ModelHead> {
    let path = folder.join(HEAD_FILE);
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    ModelHead::parse(&path.display().to_string(), &bytes)
}
