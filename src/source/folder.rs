//! An index in a local folder.

use std::path::{Path, PathBuf};

use super::{Fetched, MANIFEST_BYTES_MAX, Source};
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
}
