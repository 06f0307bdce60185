//! Reading the fields of a binary file in order, none beyond its end.

use std::ops::RangeInclusive;

use super::{Salt, VERSION};
use crate::error::{Error, Result};

/// The rest of a file, and the name that its errors state.
pub(super) struct Fields<'a> {
    file: &'a str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields behind magic and version.
    ///
    /// # Errors
    /// [`Error::Format`] for another magic or an earlier version, [`Error::NewerVersion`] for a later one.
    pub(super) fn open(file: &'a str, bytes: &'a [u8], magic: &[u8; 8]) -> Result<Self> {
        let mut fields = Self { file, rest: bytes };
        if fields.take(8, "magic")? != magic {
            let name = String::from_utf8_lossy(magic);
            return Err(fields.bad(format!("not a file of the kind {name} (wrong magic)")));
        }
        match fields.u32("version")? {
            version if version > VERSION => Err(Error::NewerVersion {
                file: file.into(),
                found: version,
                supported: VERSION,
            }),
            VERSION => Ok(fields),
            old => Err(fields.bad(format!(
                "`version` is {old}: the index has to be packed again"
            ))),
        }
    }

    pub(super) fn bad(&self, reason: impl Into<String>) -> Error {
        Error::format(self.file, reason)
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let left = self.rest.len();
            return Err(self.bad(format!("`{what}` takes {count} bytes, {left} are left")));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `count` elements of `size` bytes each.
    pub(super) fn elements(&mut self, count: usize, size: usize, what: &str) -> Result<&'a [u8]> {
        match count.checked_mul(size) {
            Some(bytes) => self.take(bytes, what),
            None => Err(self.bad(format!("`{what}` of {count} elements is too large"))),
        }
    }

    /// That `count` elements of `size` bytes each can still follow.
    ///
    /// # Errors
    /// [`Error::Format`] where they cannot.
    pub(super) fn expect(&self, count: usize, size: usize, what: &str) -> Result<()> {
        let mut ahead = Self {
            file: self.file,
            rest: self.rest,
        };
        ahead.elements(count, size, what).map(drop)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn f32(&mut self, what: &str) -> Result<f32> {
        Ok(f32::from_le_bytes(self.array(what)?))
    }

    /// The salt, which must be the head's.
    pub(super) fn salt(&mut self, expected: &Salt) -> Result<()> {
        if self.array("salt")? != *expected {
            return Err(self.bad("`salt` is another than the head's: a file of another index"));
        }
        Ok(())
    }

    /// A count, 32-bit in the file, in `range`.
    pub(super) fn count(&mut self, what: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let count = self.u32(what)? as usize;
        if !range.contains(&count) {
            let (low, high) = range.into_inner();
            return Err(self.bad(format!("`{what}` is {count}, not in {low}..={high}")));
        }
        Ok(count)
    }

    pub(super) fn u32s(&mut self, count: usize, what: &str) -> Result<Vec<u32>> {
        let bytes = self.elements(count, 4, what)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    pub(super) fn f32s(&mut self, count: usize, what: &str) -> Result<Vec<f32>> {
        let bytes = self.elements(count, 4, what)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// Padding, which must be zero.
    pub(super) fn zeros(&mut self, count: usize, what: &str) -> Result<()> {
        if self.take(count, what)?.iter().any(|byte| *byte != 0) {
            return Err(self.bad(format!("the padding of `{what}` is not zero")));
        }
        Ok(())
    }

    /// That the file ends here.
    pub(super) fn finish(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.bad(format!("{left} bytes after the end"))),
        }
    }
}

/// Zeros that fill `bytes` up to a multiple of 4.
pub(super) fn padding(bytes: usize) -> usize {
    bytes.wrapping_neg() % 4
}
