//! Calibrators in files of their own: imported from torch, or fitted, and read again by the packer.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::files::write_json;
use crate::format::Calibrator;
use crate::format::manifest::check_head;
use crate::format::shard::VERSION;

/// `format` of a calibrator file.
pub const CALIBRATOR_FORMAT: &str = "data-attribution-calibrator";
/// Largest calibrator file that is read, in bytes.
const CALIBRATOR_BYTES_MAX: u64 = 64 << 10;

/// A calibrator file; see FORMAT.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CalibratorFile {
    format: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    calibrator: Calibrator,
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

/// Writes `calibrator` to `path`.
///
/// # Errors
/// [`Error::InvalidArgument`] for values that no calibrator has, [`Error::Io`].
pub fn write_calibrator(path: &Path, calibrator: &Calibrator, name: Option<&str>) -> Result<()> {
    if !calibrator.is_sound() {
        return Err(Error::invalid(calibrator.unsound()));
    }
    let file = CalibratorFile {
        format: CALIBRATOR_FORMAT.into(),
        version: VERSION,
        name: name.map(str::to_owned),
        calibrator: *calibrator,
    };
    write_json(path, &file)
}

/// Reads a calibrator that [`write_calibrator`] wrote.
///
/// # Errors
/// [`Error::Io`], [`Error::NewerVersion`]; [`Error::Format`] for another file and for values that no
/// calibrator has.
pub fn read_calibrator(path: &Path) -> Result<Calibrator> {
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
    match file.calibrator.is_sound() {
        true => Ok(file.calibrator),
        false => Err(Error::format(name, file.calibrator.unsound())),
    }
}
