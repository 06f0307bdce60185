//! Writing files so that none is ever half there: temporary name, flush to disk, rename.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::error::{Error, Result};

/// Tells the temporary files of one process apart.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Writes `bytes` to `path`, which appears whole or not at all; makes its folder.
///
/// # Errors
/// [`Error::Io`], a full disk included; the temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::io(path, e);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{}-{}.part",
        std::process::id(),
        WRITES.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        fail(e)
    })
}

/// Writes `value` as indented JSON with a final newline.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::format(path.display().to_string(), e.to_string()))?;
    text.push(b'\n');
    write_atomically(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_other() {
        let folder =
            std::env::temp_dir().join(format!("data-attribution-files-{}", std::process::id()));
        let path = folder.join("a/b.txt");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.join("a")).unwrap().count(), 1);
        assert_eq!(
            write_atomically(&path.join("below-a-file"), b"x")
                .unwrap_err()
                .code(),
            "io"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
