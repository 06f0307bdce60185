//! `features.json`, the head of a folder of features that `extract` wrote.
//!
//! Beside it lie `<name>.npy` and `<name>.txt` for each matrix that it lists. A folder without the head
//! but with `database.npy` and `database.txt` is features of an unknown backbone.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `format` of a features head.
pub const FEATURES_FORMAT: &str = "data-attribution-features";
/// The head's file name.
pub const FEATURES_HEAD: &str = "features.json";
/// The matrix of the training images, without its file name's ending.
pub const DATABASE: &str = "database";
const VERSION: u32 = 1;

/// What the features of a folder are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesHead {
    pub format: String,
    pub version: u32,
    /// `None` where nobody knows.
    #[serde(default)]
    pub backbone: Option<FeaturesBackbone>,
    /// What computed the features, down to the version of the arithmetic: `extract` takes over only rows
    /// of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computation: Option<String>,
    /// Length D of a feature.
    pub dimension: usize,
    /// Rows of each matrix, by its file name without ending.
    #[serde(default)]
    pub files: BTreeMap<String, u64>,
}

/// The backbone that computed features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeaturesBackbone {
    pub name: String,
    /// [`crate::format::ModelHead::identity`].
    pub identity: String,
}

impl FeaturesHead {
    /// The head of matrices that `backbone` made, with the rows of each.
    pub fn new(
        backbone: FeaturesBackbone,
        computation: &str,
        dimension: usize,
        files: BTreeMap<String, u64>,
    ) -> Self {
        Self {
            format: FEATURES_FORMAT.into(),
            version: VERSION,
            backbone: Some(backbone),
            computation: Some(computation.into()),
            dimension,
            files,
        }
    }

    /// Reads the head in `folder`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::NewerVersion`], or [`Error::Format`] for a head that is none; [`Error::Io`].
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FEATURES_HEAD);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path, error)),
            Ok(bytes) => Self::parse(&path.display().to_string(), &bytes).map(Some),
        }
    }

    /// Compares the head, which was read in `folder`, with the shape of the matrix `name`.npy there.
    ///
    /// # Errors
    /// [`Error::Format`] where they differ.
    pub fn check(&self, folder: &Path, name: &str, [rows, dimension]: [usize; 2]) -> Result<()> {
        let bad = |reason: String| {
            let file = folder.join(FEATURES_HEAD);
            Err(Error::format(file.display().to_string(), reason))
        };
        if self.dimension != dimension {
            let stated = self.dimension;
            return bad(format!(
                "`dimension` is {stated}, {name}.npy has rows of {dimension}"
            ));
        }
        match self.files.get(name) {
            Some(&stated) if stated != rows as u64 => {
                bad(format!("{stated} rows in `files`, {name}.npy has {rows}"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the head in `folder` and compares it with the shape of the database; `None` when there is no head.
    ///
    /// # Errors
    /// Those of [`FeaturesHead::read`] and [`FeaturesHead::check`].
    pub(super) fn read_beside(folder: &Path, shape: [usize; 2]) -> Result<Option<Self>> {
        let head = Self::read(folder)?;
        if let Some(head) = &head {
            head.check(folder, DATABASE, shape)?;
        }
        Ok(head)
    }

    fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Start {
            format: Option<String>,
            version: Option<u32>,
        }
        let bad = |e: serde_json::Error| Error::format(file, e.to_string());
        let start: Start = serde_json::from_slice(bytes).map_err(bad)?;
        if start.format.as_deref() != Some(FEATURES_FORMAT) {
            let reason = format!("`format` is not {FEATURES_FORMAT:?}");
            return Err(Error::format(file, reason));
        }
        match start.version {
            Some(found) if found > VERSION => Err(Error::NewerVersion {
                file: file.into(),
                found,
                supported: VERSION,
            }),
            Some(1..) => serde_json::from_slice(bytes).map_err(bad),
            _ => Err(Error::format(file, "`version` is missing or 0")),
        }
    }
}

impl FeaturesBackbone {
    /// Checks that features at two places are of one backbone.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`] with both names and places.
    pub fn check_same(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        if self.identity == other.identity {
            return Ok(());
        }
        Err(Error::IdentityMismatch {
            index: format!("{self} ({here})"),
            model: format!("{other} ({there})"),
        })
    }
}

impl std::fmt::Display for FeaturesBackbone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.identity.get(..12).unwrap_or(&self.identity);
        write!(f, "{} {short}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backbone_may_be_absent_and_later_versions_are_named_as_such() {
        let code = |json: &[u8]| FeaturesHead::parse("f", json).map_err(|e| e.code());
        let head = code(br#"{"format":"data-attribution-features","version":1,"dimension":3}"#);
        assert_eq!(head.unwrap().backbone, None);
        let newer = br#"{"format":"data-attribution-features","version":2,"anything":[]}"#;
        assert_eq!(code(newer).unwrap_err(), "newer-version");
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            br#"{"format":"data-attribution-index","version":1,"dimension":3}"#,
            br#"{"format":"data-attribution-features","dimension":3}"#,
            br#"{"format":"data-attribution-features","version":1,"dimension":-3}"#,
        ] {
            assert_eq!(code(bad).unwrap_err(), "format");
        }
    }
}
