//! Content hashes and references to content-named files.
//!
//! A file's name carries the first 32 hex digits of its SHA-256 so that caches never hold a stale
//! one; the full digest stands in the JSON that refers to it, and is checked after every read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
            file: format!("{folder}/{}.{extension}", &sha256[..32]),
            bytes: bytes.len() as u64,
            sha256,
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
        let found = sha256_hex(bytes);
        if found != self.sha256 {
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
