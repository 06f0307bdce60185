//! Files held in memory: for the parity check, and for tests of what a broken host does.

use std::collections::HashMap;

use super::{Fetched, Source};
use crate::error::{Error, Result};
use crate::format::FileRef;

/// Files by name.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub files: HashMap<String, Vec<u8>>,
}

impl Memory {
    fn get(&self, name: &str) -> Result<Vec<u8>> {
        self.files
            .get(name)
            .cloned()
            .ok_or_else(|| Error::NotFound {
                file: name.into(),
                status: 404,
            })
    }
}

impl Source for Memory {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched> {
        let bytes = self.get(&file.file)?;
        file.verify(&bytes)?;
        on_bytes(file.bytes);
        Ok(Fetched {
            bytes,
            cached: false,
        })
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>> {
        self.get(name)
    }
}
