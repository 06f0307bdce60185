//! Writing files so that none is ever half there: temporary name, flush to disk, rename.
//!
//! A flush takes as long as the disk needs. Where many files come before one that makes them count, they are written
//! with [`write_unflushed`] and flushed together with [`flush`].

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
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
    write(path, bytes, true)
}

/// The same, but what a crash of the machine leaves of the file is open until [`flush`] has returned.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_unflushed(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, false)
}

/// Flushes what was written to files below `folder` to the disk.
///
/// # Errors
/// [`Error::Io`], also for writes that have failed since.
pub fn flush(folder: &Path) -> Result<()> {
    let fail = |e| Error::io(folder, e);
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;

        unsafe extern "C" {
            /// Of the C library, which std links: flushes the file system that holds the open file.
            fn syncfs(descriptor: std::ffi::c_int) -> std::ffi::c_int;
        }
        let opened = File::open(folder).map_err(fail)?;
        // SAFETY: `syncfs` takes any descriptor; this one is open until after the call.
        match unsafe { syncfs(opened.as_raw_fd()) } {
            0 => Ok(()),
            _ => Err(fail(std::io::Error::last_os_error())),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        for entry in walkdir::WalkDir::new(folder) {
            let entry = entry.map_err(|e| fail(e.into()))?;
            if entry.file_type().is_file() {
                // Flushing wants a descriptor that may write on some systems.
                let opened = File::options().append(true).open(entry.path());
                opened
                    .and_then(|file| file.sync_all())
                    .map_err(|e| Error::io(entry.path(), e))?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], flushed: bool) -> Result<()> {
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
            if flushed { file.sync_all() } else { Ok(()) }
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

/// Files and folders that a run has made, removed again unless it comes to its end.
#[derive(Default)]
pub struct Made {
    files: Vec<PathBuf>,
    /// Outermost first.
    folders: Vec<PathBuf>,
}

impl Made {
    /// Makes `folder` and those above it, as far as they are not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn folder(&mut self, folder: &Path) -> Result<()> {
        let above = folder.ancestors().take_while(|path| !path.exists());
        let missing: Vec<&Path> = above.filter(|path| !path.as_os_str().is_empty()).collect();
        self.folders
            .extend(missing.into_iter().rev().map(Path::to_owned));
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
    }

    /// [`write_atomically`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        if !path.exists() {
            self.files.push(path.to_owned());
        }
        write_atomically(path, bytes)
    }

    /// The run has come to its end.
    pub fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The error that matters is the one that ended the run. Folders that hold something else stay.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
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
        write_unflushed(&path, b"newer").unwrap();
        flush(&folder).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(flush(&folder.join("none")).unwrap_err().code(), "io");
        assert_eq!(fs::read_dir(folder.join("a")).unwrap().count(), 1);
        assert_eq!(
            write_atomically(&path.join("below-a-file"), b"x")
                .unwrap_err()
                .code(),
            "io"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_a_run_made_goes_unless_it_comes_to_its_end() {
        let name = format!("data-attribution-made-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("old"), b"old").unwrap();
        let run = |whole: bool| {
            let mut made = Made::default();
            made.write(&folder.join("a/b/1"), b"x").unwrap();
            made.write(&folder.join("a/2"), b"x").unwrap();
            made.write(&folder.join("old"), b"old").unwrap();
            if whole {
                made.keep();
            }
        };
        run(false);
        assert!(!folder.join("a").exists());
        assert!(folder.join("old").exists());
        run(true);
        run(false);
        assert!(folder.join("a/b/1").exists() && folder.join("a/2").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
