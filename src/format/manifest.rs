//! The manifest of an index: the one JSON file that a query starts from.
//!
//! It pins everything else: the backbone by identity, the mappers, the calibrator, and each shard by
//! size and SHA-256. Invariant after [`Manifest::parse`]: the shards of a layer cover the rows
//! 0..count once, in order, and every file name stays inside the index folder.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::clustered::Clusters;
use super::digest::{FileRef, check_cover};
use super::mapper::{MapperHead, MapperRef, check_pair};
use super::model::ModelHead;
pub use super::shard::COUNT_MAX;
use super::shard::{DIMENSION_MAX, VERSION, shard_bytes};
use crate::error::{Error, Result};

/// `format` of a manifest.
pub const MANIFEST_FORMAT: &str = "data-attribution-index";

/// The index as a whole; see FORMAT.md for each field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    pub version: u32,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub backbone: BackboneRef,
    /// Mapper that was applied to the rows; `None` is "untuned".
    pub real_mapper: Option<MapperRef>,
    /// Mapper that a query must go through; pairs with `real_mapper`.
    pub synth_mapper: Option<MapperRef>,
    pub dimension: usize,
    pub count: u64,
    pub calibrator: Calibrator,
    /// Empty in a clustered index.
    pub layers: Vec<Layer>,
    /// The files of a clustered index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Clusters>,
    pub items: Items,
    pub thumbnails: Option<Thumbnails>,
    pub totals: Totals,
}

/// The backbone that made the rows, and where its weights are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackboneRef {
    pub name: String,
    /// [`super::ModelHead::identity`] of the backbone.
    pub identity: String,
    /// The model head (`backbone.json`), relative to the manifest.
    pub head: FileRef,
}

/// `influence_i = t_i / sum_j t_j` with `t_i = max(exp(inv_tau * (s_i - max s)) + 0.001 * bias, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    pub inv_tau: f32,
    /// The stored bias; the effective one is a thousandth of it.
    pub bias: f32,
    /// Whether the two were fitted to ground truth or are defaults.
    pub fitted: bool,
}

/// One representation of all rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// `fine` is the only kind of version 1; readers skip kinds they do not know.
    pub kind: String,
    pub encoding: String,
    pub rows: u64,
    pub shards: Vec<Shard>,
}

/// A file with the rows `first_row .. first_row + rows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    #[serde(flatten)]
    pub file: FileRef,
    pub first_row: u64,
    pub rows: u64,
}

/// Names and sizes of the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Items {
    pub shards: Vec<ItemsShard>,
}

/// A JSON file with the items `first_item .. first_item + items`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemsShard {
    #[serde(flatten)]
    pub file: FileRef,
    pub first_item: u64,
    pub items: u64,
}

/// Columns of an items file, all of one length except the optional ones, which may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemColumns {
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heights: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thumbnails: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captions: Vec<Option<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Option<String>>,
    /// Whatever else is known, as text, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Vec<Option<String>>>,
}

/// Where thumbnails are: `<folder>/<name of the item's thumbnails column>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thumbnails {
    pub folder: String,
    pub media_type: String,
    pub short_side: u32,
}

/// Bytes that a first query fetches, for the page to say beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub model_bytes: u64,
    pub index_bytes: u64,
}

impl Manifest {
    /// Parses and checks a manifest; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::NewerVersion`] for a later format version (checked before anything else, so that a
    /// later manifest is never reported as broken), [`Error::Format`] for every other defect.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        check_head(file, bytes, MANIFEST_FORMAT)?;
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::format(file, e.to_string()))?;
        manifest.validate(file)?;
        Ok(manifest)
    }

    /// The layer that holds exact rows.
    ///
    /// # Errors
    /// [`Error::Format`] when there is none in an encoding that this build reads.
    pub fn fine(&self, file: &str) -> Result<&Layer> {
        self.layers
            .iter()
            .find(|layer| layer.kind == "fine" && layer.encoding == "int8-row-scale")
            .ok_or_else(|| Error::format(file, "no layer `fine` in the encoding `int8-row-scale`"))
    }

    /// The head of the mapper that a query must go through; `None` for an index without mappers.
    pub fn mapper_head(&self) -> Option<&FileRef> {
        self.synth_mapper.as_ref()?.head.as_ref()
    }

    /// Names of all files that queries read, relative to the manifest; without thumbnails. `mapper` is
    /// what [`Manifest::mapper_head`] refers to. Those of a clustered index's fine and items files stand in
    /// its head.
    pub fn files(&self, head: &ModelHead, mapper: Option<&MapperHead>) -> HashSet<String> {
        let head_file = &self.backbone.head.file;
        let weights = head.files.iter().map(|file| file.beside(head_file).file);
        let rows = self
            .layers
            .iter()
            .flat_map(|l| &l.shards)
            .map(|s| s.file.file.clone());
        let items = self.items.shards.iter().map(|s| s.file.file.clone());
        let clusters = self.clusters.iter().flat_map(Clusters::files);
        let mapper_head = self.mapper_head();
        let mapper_weights = mapper_head
            .zip(mapper)
            .map(|(at, mapper)| mapper.file.beside(&at.file).file);
        weights
            .chain(mapper_weights)
            .chain(mapper_head.map(|at| at.file.clone()))
            .chain(rows)
            .chain(items)
            .chain(clusters.map(|file| file.file.clone()))
            .chain([head_file.clone()])
            .collect()
    }

    fn validate(&self, file: &str) -> Result<()> {
        let bad = |reason: String| Err(Error::format(file, reason));
        if self.dimension == 0 || self.dimension > DIMENSION_MAX {
            return bad(format!(
                "dimension {} is not in 1..={DIMENSION_MAX}",
                self.dimension
            ));
        }
        if self.count > COUNT_MAX {
            return bad(format!("{} rows, the limit is {COUNT_MAX}", self.count));
        }
        if !self.calibrator.is_sound() {
            return bad(self.calibrator.unsound());
        }
        self.backbone.head.validate(file, 4 << 20)?;
        check_pair(file, self.real_mapper.as_ref(), self.synth_mapper.as_ref())?;
        match &self.clusters {
            Some(clusters) => self.validate_clusters(file, clusters)?,
            None => self.validate_shards(file)?,
        }
        if let Some(thumbnails) = &self.thumbnails {
            let folder = FileRef {
                file: thumbnails.folder.clone(),
                bytes: 0,
                sha256: "0".repeat(64),
            };
            folder.validate(file, 0)?;
        }
        Ok(())
    }

    fn validate_clusters(&self, file: &str, clusters: &Clusters) -> Result<()> {
        if self.layers.iter().any(|layer| layer.kind == "fine") || !self.items.shards.is_empty() {
            return Err(Error::format(
                file,
                "`clusters` stands beside a layer `fine` or `items.shards`",
            ));
        }
        clusters.validate(file, self.count)
    }

    fn validate_shards(&self, file: &str) -> Result<()> {
        let fine = self.fine(file)?;
        for shard in &fine.shards {
            if shard_bytes(shard.rows, self.dimension) != Some(shard.file.bytes) {
                let (name, bytes, rows) = (&shard.file.file, shard.file.bytes, shard.rows);
                return Err(Error::format(
                    file,
                    format!("{name}: {rows} rows do not take {bytes} bytes"),
                ));
            }
        }
        let ranges = fine.shards.iter().map(|s| (&s.file, s.first_row, s.rows));
        check_cover(file, "fine", ranges, self.count)?;
        if fine.rows != self.count {
            return Err(Error::format(
                file,
                format!("layer fine has {} rows of {}", fine.rows, self.count),
            ));
        }
        let shards = &self.items.shards;
        let ranges = shards.iter().map(|s| (&s.file, s.first_item, s.items));
        check_cover(file, "items", ranges, self.count)
    }
}

impl Calibrator {
    /// Whether the two values are ones that a calibrator can have.
    pub fn is_sound(&self) -> bool {
        self.inv_tau.is_finite() && self.inv_tau >= 0.0 && self.bias.is_finite()
    }

    /// What an error says of a calibrator that is not sound.
    pub(crate) fn unsound(&self) -> String {
        format!("calibrator inv_tau {} bias {}", self.inv_tau, self.bias)
    }
}

/// The start of every JSON file of ours: which format, which version.
pub(crate) fn check_head(file: &str, bytes: &[u8], format: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        format: Option<String>,
        version: Option<u32>,
    }
    let head: Head =
        serde_json::from_slice(bytes).map_err(|e| Error::format(file, format!("not JSON: {e}")))?;
    if head.format.as_deref() != Some(format) {
        return Err(Error::format(file, format!("`format` is not {format:?}")));
    }
    match head.version {
        Some(version) if version > VERSION => Err(Error::NewerVersion {
            file: file.into(),
            found: version,
            supported: VERSION,
        }),
        Some(1..) => Ok(()),
        _ => Err(Error::format(file, "`version` is missing or 0")),
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(crate) mod tests;
