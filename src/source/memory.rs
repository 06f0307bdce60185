//! Files held in memory: for the parity check, and for tests of what a broken host does.

use std::collections::HashMap;

use super::{Fetched, RowRange, Source};
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

    async fn read_ranges(
        &self,
        file: &str,
        file_bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let bytes = self.get(file)?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            range.check(file, file_bytes)?;
            let part = bytes.get(range.first as usize..(range.first + range.bytes) as usize);
            // Another file than the caller knows: read as a whole it is found to be that.
            let Some(part) = part.filter(|_| bytes.len() as u64 == file_bytes) else {
                return Ok(None);
            };
            parts.push(part.to_vec());
        }
        Ok(Some(parts))
    }
}
