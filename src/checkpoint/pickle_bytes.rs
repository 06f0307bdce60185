//! The bytes of a pickle, taken from front to back.

use crate::error::{Error, Result};

/// Bytes of a module's or global's name.
const MAX_NAME_BYTES: usize = 256;

/// What is left of a pickle.
pub(super) struct PickleBytes<'f, 'a> {
    /// The file that it is of, for messages.
    pub(super) file: &'f str,
    bytes: &'a [u8],
    at: usize,
}

impl<'f, 'a> PickleBytes<'f, 'a> {
    pub(super) fn new(file: &'f str, bytes: &'a [u8]) -> Self {
        Self { file, bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The error of a pickle that `reason`; completes "the pickle …".
    pub(super) fn bad(&self, reason: &str) -> Error {
        Error::checkpoint(self.file, format!("the pickle {reason}"))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or_else(|| self.bad("ends early"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }

    /// A little-endian unsigned number of up to 8 bytes.
    pub(super) fn number(&mut self, size: usize) -> Result<u64> {
        let bytes = self.take(size)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| (number << 8) | u64::from(byte)))
    }

    /// The bytes after a count of `size` bytes.
    pub(super) fn counted(&mut self, size: usize) -> Result<&'a [u8]> {
        let count = self.number(size)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .take(MAX_NAME_BYTES + 1)
            .position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or_else(|| self.bad("has a name that does not end"))?)?;
        self.at += 1;
        Ok(line)
    }
}
