//! Removing the files of an earlier pack, known by their content names.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// The first half of the digest in a content name such as `ab/<32 hex digits>.jpg`.
pub(super) fn content_digest(name: impl AsRef<Path>) -> Option<u128> {
    let stem = name.as_ref().file_stem()?.to_str()?;
    let hex = stem.len() == 32 && stem.bytes().all(|b| b"0123456789abcdef".contains(&b));
    u128::from_str_radix(stem, 16).ok().filter(|_| hex)
}

/// Whether a file has the form of name that only a pack gives; others are never touched.
fn is_content_named(path: &Path) -> bool {
    let ending = path.extension().and_then(|s| s.to_str()).unwrap_or("");
    content_digest(path).is_some() && ["bin", "json", "jpg"].contains(&ending)
}

/// Removes the files below `folder` that a pack wrote and that are not `wanted`.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be removed.
pub(super) fn remove_unwanted(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
    for entry in walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
    {
        let ours = is_content_named(entry.path()) && !wanted(entry.path());
        if entry.file_type().is_file() && ours {
            fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}
