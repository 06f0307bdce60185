//! Content hashes and references to content-named files.
//!
//! A file's name carries the first 32 hex digits of its SHA-256 so that caches never hold a stale
//! one; the full digest stands in the JSON that refers to it, and is checked after every read. The
//! many files of a clustered index are named by its head with those 32 digits only, which pin them as well.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::shard::SHARD_BYTES_MAX;
use crate::error::{Error, Result};

/// A SHA-256 as 64 lower-case hex digits.
pub type Sha256Hex = String;

/// SHA-256 of `bytes` as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> Sha256Hex {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hex digits of a digest that a file's name carries.
const NAME_DIGITS: usize = 32;

/// One immutable file: its path relative to the JSON that names it, its length and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    pub file: String,
    pub bytes: u64,
    pub sha256: Sha256Hex,
}

impl FileRef {
    /// The reference to `bytes` stored in `folder` under its content name, such as
    /// `fine/3b1f….bin`.
    pub fn of(folder: &str, extension: &str, bytes: &[u8]) -> Self {
        let sha256 = sha256_hex(bytes);
        Self {
            file: format!("{folder}/{}.{extension}", &sha256[..NAME_DIGITS]),
            bytes: bytes.len() as u64,
            sha256,
        }
    }

    /// The reference to a file that is known by the first 16 bytes of its digest.
    pub fn named(file: &str, bytes: u64, name: &[u8; NAME_DIGITS / 2]) -> Self {
        Self {
            file: file.into(),
            bytes,
            sha256: hex(name),
        }
    }

    /// This file, named relative to the folder of `owner`, as seen from where `owner` is: beside
    /// `model/head.json`, `w/a.bin` is `model/w/a.bin`.
    pub fn beside(&self, owner: &str) -> Self {
        let folder = owner.rfind('/').map_or("", |slash| &owner[..=slash]);
        Self {
            file: format!("{folder}{}", self.file),
            ..self.clone()
        }
    }

    /// Checks that `bytes` are the pinned content.
    ///
    /// # Errors
    /// [`Error::Integrity`] when length or digest differ.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 != self.bytes {
            return Err(Error::Integrity {
                file: self.file.clone(),
                expected: format!("{} bytes", self.bytes),
                found: format!("{} bytes", bytes.len()),
            });
        }
        self.check_digest(&Sha256::digest(bytes).into())
    }

    /// Checks that `found`, a SHA-256 of content of this length, is the pinned one.
    ///
    /// # Errors
    /// [`Error::Integrity`] when it is not.
    pub(crate) fn check_digest(&self, found: &[u8; 32]) -> Result<()> {
        let found = hex(found);
        // A reference of `named` has the digits of a name; in JSON only whole digests pass `validate`.
        let pinned = [NAME_DIGITS, found.len()].contains(&self.sha256.len());
        if !pinned || !found.starts_with(&self.sha256) {
            return Err(Error::Integrity {
                file: self.file.clone(),
                expected: self.sha256.clone(),
                found,
            });
        }
        Ok(())
    }

    /// Refuses names that leave the index folder and sizes that no shard has.
    ///
    /// # Errors
    /// [`Error::Format`] naming `owner`, the JSON that holds this reference.
    pub fn validate(&self, owner: &str, bytes_max: u64) -> Result<()> {
        let plain = !self.file.is_empty()
            && self
                .file
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
            && self
                .file
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
        if !plain {
            return Err(Error::format(
                owner,
                format!("{:?} is not a plain relative file name", self.file),
            ));
        }
        if self.bytes > bytes_max {
            return Err(Error::format(
                owner,
                format!(
                    "{} states {} bytes, the limit is {bytes_max}",
                    self.file, self.bytes
                ),
            ));
        }
        let digest_ok = self.sha256.len() == 64
            && self
                .sha256
                .bytes()
                .all(|b| b"0123456789abcdef".contains(&b));
        if !digest_ok {
            return Err(Error::format(
                owner,
                format!("{}: malformed sha256", self.file),
            ));
        }
        Ok(())
    }
}

/// Checks that files `(file, first, number)` cover 0..count once, in order.
pub(super) fn check_cover<'a>(
    file: &str,
    what: &str,
    shards: impl Iterator<Item = (&'a FileRef, u64, u64)>,
    count: u64,
) -> Result<()> {
    let mut next = 0u64;
    for (shard, first, rows) in shards {
        shard.validate(file, SHARD_BYTES_MAX)?;
        if first != next || rows == 0 {
            return Err(Error::format(
                file,
                format!(
                    "{what}: {} starts at {first}, expected {next}, with {rows} rows",
                    shard.file
                ),
            ));
        }
        next = first
            .checked_add(rows)
            .ok_or_else(|| Error::format(file, format!("{what}: row numbers overflow")))?;
    }
    if next != count {
        return Err(Error::format(
            file,
            format!("{what}: {next} rows of {count}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_standard_test_vector() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_flipped_bit_and_a_cut_end_are_found() {
        let bytes = b"some shard".to_vec();
        let file = FileRef::of("fine", "bin", &bytes);
        assert!(file.verify(&bytes).is_ok());
        let mut flipped = bytes.clone();
        flipped[3] ^= 1;
        assert_eq!(file.verify(&flipped).unwrap_err().code(), "integrity");
        assert_eq!(file.verify(&bytes[..9]).unwrap_err().code(), "integrity");
    }

    #[test]
    fn a_name_pins_its_file_and_less_than_a_name_does_not() {
        let bytes = b"some shard".to_vec();
        let whole = FileRef::of("fine", "bin", &bytes);
        let digest = Sha256::digest(&bytes);
        let named = FileRef::named(&whole.file, 10, digest[..16].as_array().unwrap());
        assert!(whole.sha256.starts_with(&named.sha256));
        assert!(named.verify(&bytes).is_ok());
        assert_eq!(named.verify(b"some shart").unwrap_err().code(), "integrity");
        assert_eq!(named.verify(&bytes[1..]).unwrap_err().code(), "integrity");
        assert!(
            named.validate("m", 10).is_err(),
            "in JSON a digest is whole"
        );
        for digits in [0, 1, 31, 33, 63] {
            let sha256 = whole.sha256[..digits].into();
            let short = FileRef {
                sha256,
                ..whole.clone()
            };
            assert!(short.verify(&bytes).is_err(), "{digits} digits passed");
        }
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let good = FileRef::of("fine", "bin", b"x");
        assert!(good.validate("m", 10).is_ok());
        for name in [
            "../x",
            "/etc/passwd",
            "a//b",
            "http://h/x",
            "a\\b",
            "",
            "a/./b",
            "x?y",
        ] {
            let bad = FileRef {
                file: name.into(),
                ..good.clone()
            };
            assert!(bad.validate("m", 10).is_err(), "{name:?} passed");
        }
        assert!(FileRef { bytes: 11, ..good }.validate("m", 10).is_err());
    }
}
