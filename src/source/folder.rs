//! An index in a local folder.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Fetched, MANIFEST_BYTES_MAX, RowRange, Source};
use crate::error::{Error, Result};
use crate::format::FileRef;

/// The folder that holds `manifest.json`.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Refers to `path`; nothing is read yet.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
        }
    }

    fn load(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        let length = std::fs::metadata(&path)
            .map_err(|e| Error::io(&path, e))?
            .len();
        if length > bytes_max {
            return Err(Error::format(
                path.display().to_string(),
                format!("{length} bytes, the limit is {bytes_max}"),
            ));
        }
        std::fs::read(&path).map_err(|e| Error::io(&path, e))
    }
}

impl Source for Folder {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched> {
        let bytes = self.load(&file.file, u64::MAX)?;
        file.verify(&bytes)?;
        on_bytes(bytes.len() as u64);
        Ok(Fetched {
            bytes,
            cached: false,
        })
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>> {
        self.load(name, MANIFEST_BYTES_MAX)
    }

    async fn read_ranges(
        &self,
        file: &str,
        file_bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let path = self.path.join(file);
        let failed = |e| Error::io(&path, e);
        let mut opened = File::open(&path).map_err(failed)?;
        if opened.metadata().map_err(failed)?.len() != file_bytes {
            // Another file than the caller knows: read as a whole it is found to be that.
            return Ok(None);
        }
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            range.check(file, file_bytes)?;
            let mut part = vec![0; range.bytes as usize];
            opened.seek(SeekFrom::Start(range.first)).map_err(failed)?;
            opened.read_exact(&mut part).map_err(failed)?;
            parts.push(part);
        }
        Ok(Some(parts))
    }

    fn gives_ranges(&self) -> bool {
        true
    }
}
