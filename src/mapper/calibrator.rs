//! Calibrators in files of their own: imported from torch, or fitted, and read again by the packer.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::files::write_json;
use crate::format::manifest::check_head;
use crate::format::shard::VERSION;
use crate::format::{Calibrator, sha256_hex};

/// `format` of a calibrator file.
pub const CALIBRATOR_FORMAT: &str = "data-attribution-calibrator";
/// Largest calibrator file that is read, in bytes.
const CALIBRATOR_BYTES_MAX: u64 = 64 << 10;

/// [`FittedFor::mapper`] of scores between features as they are.
pub const UNMAPPED: &str = "none";

/// A calibrator file; see FORMAT.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibratorFile {
    format: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of this file's compact JSON, fields in this order, with `identity` empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    identity: String,
    #[serde(default)]
    pub fitted_for: FittedFor,
    #[serde(flatten)]
    pub calibrator: Calibrator,
}

/// Which scores a calibrator was fitted to; what is not known is `None` and not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedFor {
    /// Name of the backbone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// The mapper's pair, or [`UNMAPPED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapper: Option<String>,
}

impl FittedFor {
    /// Refuses scores between features of `backbone` that went through the mapper `pair`.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`], naming both.
    pub fn check(&self, backbone: &str, pair: Option<&str>) -> Result<()> {
        let pair = pair.unwrap_or(UNMAPPED);
        let other = |known: &Option<String>, found: &str| {
            known.as_ref().is_some_and(|known| known != found)
        };
        if !other(&self.backbone, backbone) && !other(&self.mapper, pair) {
            return Ok(());
        }
        let described = |backbone: &str, pair: &str| match pair {
            UNMAPPED => format!("{backbone} without a mapper"),
            _ => format!(
                "{backbone} with the mapper pair {}",
                pair.get(..12).unwrap_or(pair)
            ),
        };
        Err(Error::IdentityMismatch {
            index: described(backbone, pair),
            model: format!(
                "a calibrator for {}",
                described(
                    self.backbone.as_deref().unwrap_or("any backbone"),
                    self.mapper.as_deref().unwrap_or("of any kind"),
                )
            ),
        })
    }
}

impl CalibratorFile {
    /// The identity that the other fields give.
    fn computed_identity(&self) -> String {
        let bare = Self {
            identity: String::new(),
            ..self.clone()
        };
        sha256_hex(&serde_json::to_vec(&bare).unwrap_or_default())
    }
}

/// Reads the calibrator of a torch-saved state_dict `{"inv_tau": [], "bias": []}`; the two scalars may
/// have the shape [1] as well.
///
/// # Errors
/// [`Error::Checkpoint`] for tensors that are missing, left over, misshapen or no floats, and for values
/// that no calibrator has; [`Error::Refused`] for a checkpoint that asks to run code; [`Error::Io`].
pub fn import_calibrator(weights: &Path) -> Result<Calibrator> {
    let checkpoint = Checkpoint::open(weights)?;
    let file = weights.display().to_string();
    let scalar = |name: &str| {
        let bad = |reason: String| Error::checkpoint(&file, format!("no calibrator: {reason}"));
        let info = checkpoint
            .info(name)
            .ok_or_else(|| bad(format!("tensor {name} is missing")))?;
        if !matches!(info.shape.as_slice(), [] | [1]) {
            let shape = &info.shape;
            return Err(bad(format!("tensor {name} has shape {shape:?}, not []")));
        }
        let values = checkpoint.read_f32(name)?;
        values
            .first()
            .copied()
            .ok_or_else(|| bad(format!("tensor {name} is empty")))
    };
    let calibrator = Calibrator {
        inv_tau: scalar("inv_tau")?,
        bias: scalar("bias")?,
        fitted: true,
    };
    let mut names = checkpoint.tensors().iter().map(|t| t.name.as_str());
    if let Some(other) = names.find(|name| !["inv_tau", "bias"].contains(name)) {
        let reason = format!("no calibrator: surplus tensor {other}");
        return Err(Error::checkpoint(file, reason));
    }
    match calibrator.is_sound() {
        true => Ok(calibrator),
        false => Err(Error::checkpoint(file, calibrator.unsound())),
    }
}

/// Writes `calibrator`, fitted for the scores `fitted_for`, to `path`.
///
/// # Errors
/// [`Error::InvalidArgument`] for values that no calibrator has, [`Error::Io`].
pub fn write_calibrator(
    path: &Path,
    calibrator: &Calibrator,
    name: Option<&str>,
    fitted_for: FittedFor,
) -> Result<()> {
    if !calibrator.is_sound() {
        return Err(Error::invalid(calibrator.unsound()));
    }
    let mut file = CalibratorFile {
        format: CALIBRATOR_FORMAT.into(),
        version: VERSION,
        name: name.map(str::to_owned),
        identity: String::new(),
        fitted_for,
        calibrator: *calibrator,
    };
    file.identity = file.computed_identity();
    write_json(path, &file)
}

/// Reads a calibrator that [`write_calibrator`] wrote.
///
/// # Errors
/// [`Error::Io`], [`Error::NewerVersion`]; [`Error::Format`] for another file, for values that no
/// calibrator has, and for another identity than theirs.
pub fn read_calibrator(path: &Path) -> Result<CalibratorFile> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path)
        .map_err(|e| Error::io(path, e))?
        .len();
    if length > CALIBRATOR_BYTES_MAX {
        let reason = format!("{length} bytes, the limit is {CALIBRATOR_BYTES_MAX}");
        return Err(Error::format(name, reason));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    check_head(&name, &bytes, CALIBRATOR_FORMAT)?;
    let file: CalibratorFile =
        serde_json::from_slice(&bytes).map_err(|e| Error::format(&name, e.to_string()))?;
    if !file.calibrator.is_sound() {
        return Err(Error::format(name, file.calibrator.unsound()));
    }
    // A calibrator that somebody wrote by hand has no identity.
    if !file.identity.is_empty() && file.identity != file.computed_identity() {
        return Err(Error::format(
            name,
            "its identity is not that of its values",
        ));
    }
    Ok(file)
}
