//! The mapper of an index that is being packed: its real side maps the rows, its synth side goes along.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::format::{FileRef, MapperHead, MapperRef, ModelHead};
use crate::mapper::{Mapper, MapperFolder};

/// Folder of the synth side within an index.
pub const MAPPER: &str = "mapper";

/// A mapper that fits a backbone, with the weights of its real side.
pub struct PackMapper {
    folder: MapperFolder,
    real: Mapper,
}

impl PackMapper {
    /// Opens the mapper in `folder` for features of the backbone `head`.
    ///
    /// # Errors
    /// Those of [`MapperFolder::open`] and [`Mapper::load`]; [`Error::IdentityMismatch`] when the mapper
    /// was trained for another backbone or takes features of another length.
    pub fn open(folder: &Path, head: &ModelHead) -> Result<Self> {
        let folder = MapperFolder::open(folder)?;
        folder.real.check_backbone(&head.name, head.dimension)?;
        Ok(Self {
            real: folder.load_real()?,
            folder,
        })
    }

    /// Length of the rows of the index.
    pub fn output(&self) -> usize {
        self.real.head().output
    }

    /// The side that queries go through; [`crate::format::Manifest::files`] wants it.
    pub fn synth(&self) -> &MapperHead {
        &self.folder.synth
    }

    /// Maps `block` [n, D] of unmapped features to [n, output]. A row without a finite result has no
    /// direction; it is left out where a row is normalised.
    ///
    /// # Errors
    /// See [`Mapper::apply_rows`].
    pub fn apply(&self, block: &[f32]) -> Result<Vec<f32>> {
        self.real.apply_rows(block)
    }

    /// Writes the synth side into the index folder `out`. Gives the references of the real and of the
    /// synth side for the manifest, and the bytes that a first query fetches for the mapper.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Integrity`].
    pub fn write_into(&self, out: &Path) -> Result<(MapperRef, MapperRef, u64)> {
        let synth = &self.folder.synth;
        let weights = self.folder.read_weights(synth)?;
        write_atomically(&out.join(MAPPER).join(&synth.file.file), &weights)?;
        let bytes =
            serde_json::to_vec(synth).map_err(|e| Error::format("mapper head", e.to_string()))?;
        let head = FileRef::of(MAPPER, "json", &bytes);
        write_atomically(&out.join(&head.file), &bytes)?;
        let fetched = head.bytes + synth.file.bytes;
        let real = MapperRef::of(&self.folder.real, None);
        Ok((real, MapperRef::of(synth, Some(head)), fetched))
    }
}
