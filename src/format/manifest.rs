//! The manifest of an index: the one JSON file that a query starts from.
//!
//! It pins everything else: the backbone by identity, the mappers, the calibrator, and each shard by
//! size and SHA-256. Invariant after [`Manifest::parse`]: the shards of a layer cover the rows
//! 0..count once, in order, and every file name stays inside the index folder.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::digest::FileRef;
use super::model::ModelHead;
use super::shard::{DIMENSION_MAX, SHARD_BYTES_MAX, VERSION, shard_bytes};
use crate::error::{Error, Result};

/// `format` of a manifest.
pub const MANIFEST_FORMAT: &str = "data-attribution-index";
/// More rows than this need another index structure; also keeps row ids within 32 bits.
pub const COUNT_MAX: u64 = 1 << 31;

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
    pub layers: Vec<Layer>,
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

/// A mapper by name and content hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapperRef {
    pub name: String,
    pub identity: String,
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

    /// Names of all files that queries read, relative to the manifest; without thumbnails.
    pub fn files(&self, head: &ModelHead) -> HashSet<String> {
        let head_file = &self.backbone.head.file;
        let weights = head.files.iter().map(|file| file.beside(head_file).file);
        let rows = self
            .layers
            .iter()
            .flat_map(|l| &l.shards)
            .map(|s| s.file.file.clone());
        let items = self.items.shards.iter().map(|s| s.file.file.clone());
        weights
            .chain(rows)
            .chain(items)
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
        let c = &self.calibrator;
        if !c.inv_tau.is_finite() || c.inv_tau < 0.0 || !c.bias.is_finite() {
            return bad(format!("calibrator inv_tau {} bias {}", c.inv_tau, c.bias));
        }
        self.backbone.head.validate(file, 4 << 20)?;
        let fine = self.fine(file)?;
        for shard in &fine.shards {
            if shard_bytes(shard.rows, self.dimension) != Some(shard.file.bytes) {
                let (name, bytes, rows) = (&shard.file.file, shard.file.bytes, shard.rows);
                return bad(format!("{name}: {rows} rows do not take {bytes} bytes"));
            }
        }
        let ranges = fine.shards.iter().map(|s| (&s.file, s.first_row, s.rows));
        check_cover(file, "fine", ranges, self.count)?;
        if fine.rows != self.count {
            return bad(format!(
                "layer fine has {} rows of {}",
                fine.rows, self.count
            ));
        }
        let ranges = self
            .items
            .shards
            .iter()
            .map(|s| (&s.file, s.first_item, s.items));
        check_cover(file, "items", ranges, self.count)?;
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
}

/// The start of every JSON file of ours: which format, which version.
pub(super) fn check_head(file: &str, bytes: &[u8], format: &str) -> Result<()> {
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

fn check_cover<'a>(
    file: &str,
    what: &str,
    shards: impl Iterator<Item = (&'a FileRef, u64, u64)>,
    count: u64,
) -> Result<()> {
    let mut next = 0u64;
    for (shard, first, rows) in shards {
        shard.validate(file, SHARD_BYTES_MAX)?;
        if first != next || rows == 0 {
            return Err(Error::format(
                file,
                format!(
                    "{what}: {} starts at {first}, expected {next}, with {rows} rows",
                    shard.file
                ),
            ));
        }
        next = first
            .checked_add(rows)
            .ok_or_else(|| Error::format(file, format!("{what}: row numbers overflow")))?;
    }
    if next != count {
        return Err(Error::format(
            file,
            format!("{what}: {next} rows of {count}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest of two shards and one items file.
    pub(crate) fn sample() -> Manifest {
        let shard = |first_row, rows| Shard {
            file: FileRef::of(
                "fine",
                "bin",
                &vec![first_row as u8; 32 + 8 * rows as usize],
            ),
            first_row,
            rows,
        };
        Manifest {
            format: MANIFEST_FORMAT.into(),
            version: VERSION,
            title: "t".into(),
            description: String::new(),
            backbone: BackboneRef {
                name: "b".into(),
                identity: "i".into(),
                head: FileRef::of("model", "json", b"{}"),
            },
            real_mapper: None,
            synth_mapper: None,
            dimension: 4,
            count: 5,
            calibrator: Calibrator {
                inv_tau: 1.0,
                bias: 0.0,
                fitted: false,
            },
            layers: vec![Layer {
                kind: "fine".into(),
                encoding: "int8-row-scale".into(),
                rows: 5,
                shards: vec![shard(0, 3), shard(3, 2)],
            }],
            items: Items {
                shards: vec![ItemsShard {
                    file: FileRef::of("items", "json", b"x"),
                    first_item: 0,
                    items: 5,
                }],
            },
            thumbnails: None,
            totals: Totals::default(),
        }
    }

    fn parse(manifest: &Manifest) -> Result<Manifest> {
        Manifest::parse("m.json", &serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn a_good_manifest_survives_the_round_trip() {
        assert_eq!(parse(&sample()).unwrap(), sample());
    }

    #[test]
    fn gaps_overlaps_and_missing_rows_are_refused() {
        type Break = fn(&mut Manifest);
        let breaks: [Break; 8] = [
            |m| m.layers[0].shards[1].first_row = 4,
            |m| m.layers[0].shards[1].first_row = 2,
            |m| m.layers[0].shards[1].rows = 1,
            |m| m.layers[0].shards[1].rows = u64::MAX,
            |m| m.items.shards.clear(),
            |m| m.layers[0].kind = "coarse".into(),
            |m| m.dimension = 0,
            |m| m.layers[0].shards[0].file.file = "../up".into(),
        ];
        for (i, damage) in breaks.iter().enumerate() {
            let mut manifest = sample();
            damage(&mut manifest);
            assert_eq!(parse(&manifest).unwrap_err().code(), "format", "break {i}");
        }
    }

    #[test]
    fn a_later_version_is_named_as_such_whatever_else_it_holds() {
        let json = br#"{"format":"data-attribution-index","version":2,"anything":[]}"#;
        assert_eq!(
            Manifest::parse("m", json).unwrap_err().code(),
            "newer-version"
        );
        assert_eq!(Manifest::parse("m", b"[]").unwrap_err().code(), "format");
        assert_eq!(Manifest::parse("m", b"").unwrap_err().code(), "format");
    }
}
