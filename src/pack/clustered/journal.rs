//! What a packing run notes about its intermediate files, so that a killed run goes on with what is whole.
//!
//! An entry is a small JSON that is written after the files that it describes, with their lengths and
//! digests. It carries a stamp of all that the files were made from; an entry of another stamp is as good as
//! none. The files themselves are not flushed to the disk: what a crash leaves of them is told by the digest.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files::write_json;
use crate::format::{FileRef, sha256_hex};

/// Rises whenever the intermediate files or what is put into them change.
const VERSION: u32 = 3;
const BUFFER_BYTES: usize = 1 << 18;

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    stamp: String,
    content: T,
}

/// The digest of all that something is made from.
pub fn stamp(of: &impl Serialize) -> Result<String> {
    let text = serde_json::to_vec(&(VERSION, of));
    let text = text.map_err(|e| Error::format("stamp", e.to_string()))?;
    Ok(sha256_hex(&text))
}

/// Notes `content`, made from what `stamp` stands for.
///
/// # Errors
/// [`Error::Io`].
pub fn write_entry(path: &Path, stamp: &str, content: &impl Serialize) -> Result<()> {
    let stamp = stamp.to_owned();
    write_json(path, &Entry { stamp, content })
}

/// What an entry says of its files.
pub enum Noted<T> {
    /// There is no entry that can be read.
    Nothing,
    /// It was made from other inputs.
    Other,
    Same(T),
}

/// Reads the entry at `path`. An unreadable one, as a crash may leave it, is no entry.
pub fn read_entry<T: DeserializeOwned>(path: &Path, stamp: &str) -> Noted<T> {
    let entry = fs::read(path).ok();
    let entry = entry.and_then(|bytes| serde_json::from_slice::<Entry<T>>(&bytes).ok());
    match entry {
        None => Noted::Nothing,
        Some(entry) if entry.stamp == stamp => Noted::Same(entry.content),
        Some(_) => Noted::Other,
    }
}

/// One input file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
}

/// All files of the inputs `paths`, files or folders, in order.
///
/// # Errors
/// [`Error::Io`].
pub fn input_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Vec<InputFile>> {
    let mut files = Vec::new();
    for path in paths {
        let walk = walkdir::WalkDir::new(path).follow_links(true);
        for entry in walk.sort_by_file_name() {
            let entry = entry.map_err(|e| Error::io(path, e.into()))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.path();
            let known = fs::metadata(path).map_err(|e| Error::io(path, e))?;
            let modified = known.modified().ok();
            let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            files.push(InputFile {
                path: std::path::absolute(path).map_err(|e| Error::io(path, e))?,
                bytes: known.len(),
                modified: modified.map_or(0, |since| since.as_nanos() as u64),
            });
        }
    }
    Ok(files)
}

/// A file on the way, under a name of this process's own until it is whole.
pub struct OutputFile {
    folder: PathBuf,
    name: String,
    part: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl OutputFile {
    /// Starts `folder`/`name`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let part = folder.join(format!("{name}.{}.part", std::process::id()));
        let file = fs::create_dir_all(folder).and_then(|()| File::create(&part));
        let file = file.map_err(|e| Error::io(&part, e))?;
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            part,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            digest: Sha256::new(),
            bytes: 0,
        })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(|e| Error::io(&self.part, e))
    }

    /// The whole file under its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<FileRef> {
        let path = self.folder.join(&self.name);
        let named = self
            .file
            .flush()
            .and_then(|()| fs::rename(&self.part, &path));
        named.map_err(|e| Error::io(&self.part, e))?;
        let digest = std::mem::take(&mut self.digest).finalize();
        Ok(FileRef {
            file: std::mem::take(&mut self.name),
            bytes: self.bytes,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl Drop for OutputFile {
    /// Removes what did not become a whole file.
    fn drop(&mut self) {
        // After `finish` there is nothing under this name.
        let _ = fs::remove_file(&self.part);
    }
}

/// Reads a noted file from front to back and finds at its end whether it is the one that was noted.
pub struct NotedFile {
    path: PathBuf,
    noted: FileRef,
    file: BufReader<File>,
    digest: Sha256,
    left: u64,
}

impl NotedFile {
    /// Opens the file that `noted` says is in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Integrity`] for another length.
    pub fn open(folder: &Path, noted: &FileRef) -> Result<Self> {
        let path = folder.join(&noted.file);
        let fail = |e| Error::io(&path, e);
        let file = File::open(&path).map_err(fail)?;
        let found = file.metadata().map_err(fail)?.len();
        if found != noted.bytes {
            return Err(Error::Integrity {
                file: path.display().to_string(),
                expected: format!("{} bytes", noted.bytes),
                found: format!("{found} bytes"),
            });
        }
        Ok(Self {
            path,
            noted: noted.clone(),
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            digest: Sha256::new(),
            left: found,
        })
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Fills `bytes` with the next ones.
    ///
    /// # Errors
    /// [`Error::Io`], also at an early end; [`Error::Integrity`] at the last byte, when the content is not
    /// the noted one.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact(bytes);
        read.map_err(|e| Error::io(&self.path, e))?;
        self.digest.update(&*bytes);
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.left == 0 {
            let found: String = std::mem::take(&mut self.digest)
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if found != self.noted.sha256 {
                return Err(Error::Integrity {
                    file: self.path.display().to_string(),
                    expected: self.noted.sha256.clone(),
                    found,
                });
            }
        }
        Ok(())
    }

    /// All of a noted file, checked.
    ///
    /// # Errors
    /// Those of [`NotedFile::open`] and [`NotedFile::read`].
    pub fn read_all(folder: &Path, noted: &FileRef) -> Result<Vec<u8>> {
        let mut file = Self::open(folder, noted)?;
        let length = usize::try_from(noted.bytes).map_err(|_| {
            let reason = "is too large for this machine's memory";
            Error::format(file.path.display().to_string(), reason)
        })?;
        let mut bytes = vec![0; length];
        if length > 0 {
            file.read(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Whether a noted file is there and whole.
    pub fn is_whole(folder: &Path, noted: &FileRef) -> bool {
        let check = || -> Result<()> {
            let mut file = Self::open(folder, noted)?;
            let mut buffer = vec![0; BUFFER_BYTES];
            while file.left > 0 {
                let count = file.left.min(BUFFER_BYTES as u64) as usize;
                file.read(&mut buffer[..count])?;
            }
            Ok(())
        };
        check().is_ok()
    }
}
