//! The zip archives among the containers: which one a file is, and reading its members.
//!
//! The `zip` crate reads the directory and decompresses. Values that are stored as they are get read
//! straight from the file at their place; deflated ones are decompressed as a stream, one tensor at a
//! time. What a member states of itself is checked before memory is asked for.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Mutex, PoisonError};

use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::value_file::{ValueFile, read_values};
use super::{Contents, Dtype, npz, torch_zip};
use crate::error::{Error, Result};

type Member<'z> = ZipFile<'z, BufReader<File>>;

/// A deflated member of up to this many bytes may have been compressed to anything.
const MAX_FREE_EXPANSION: u64 = 64 << 20;
/// A larger one is at most this many times its compressed bytes: weights and features do not compress so
/// well, and what does is made to fill the memory.
const MAX_EXPANSION: u64 = 64;

/// Reads what the zip archive describes: of torch, of TorchScript or of NumPy.
pub(super) fn read(values: &ValueFile) -> Result<Contents> {
    let bad = |reason: &str| Err(Error::checkpoint(&values.name, reason));
    let archive = Archive::open(values)?;
    let mut pickles = archive
        .names
        .iter()
        .filter_map(|name| name.strip_suffix("/data.pkl"));
    let prefix = match (pickles.next(), pickles.next()) {
        (Some(prefix), None) => prefix.to_string(),
        (Some(_), Some(_)) => return bad("a zip archive with more than one data.pkl"),
        (None, _) if archive.names.iter().any(|name| name.ends_with(".npy")) => {
            return npz::read(values, archive);
        }
        (None, _) if archive.names.iter().any(|n| n.ends_with("/model.json")) => {
            return bad("a TorchScript archive of before torch 1.4, which is not read");
        }
        (None, _) => {
            return bad("a zip archive without data.pkl or .npy, so neither of torch nor of NumPy");
        }
    };
    torch_zip::read(values, &archive, &prefix)
}

/// How a member is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberInfo {
    pub deflated: bool,
    /// First byte of it in the file.
    pub start: u64,
    /// Bytes of it in the file.
    pub stored_bytes: u64,
    /// Bytes of its content.
    pub bytes: u64,
}

/// An opened zip archive.
#[derive(Debug)]
pub(super) struct Archive {
    /// The path, for messages.
    file: String,
    file_bytes: u64,
    /// The names of the members, in the order of the directory.
    pub names: Vec<String>,
    /// Locked while a member is read, as all share one position.
    zip: Mutex<ZipArchive<BufReader<File>>>,
}

impl Archive {
    fn open(values: &ValueFile) -> Result<Self> {
        let file = values.name.as_str();
        let reader = File::open(file).map_err(|source| Error::io(file, source))?;
        let zip = ZipArchive::new(BufReader::new(reader)).map_err(|error| {
            Error::checkpoint(file, format!("the zip archive is damaged: {error}"))
        })?;
        Ok(Self {
            file: file.to_string(),
            file_bytes: values.bytes,
            names: zip.file_names().map(String::from).collect(),
            zip: Mutex::new(zip),
        })
    }

    /// The index of the member `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.lock().index_for_name(name)
    }

    /// How the member `index` is held; what it states is inside the file and in proportion to it.
    pub fn info(&self, index: usize) -> Result<MemberInfo> {
        let mut zip = self.lock();
        let member = zip.by_index_raw(index).map_err(|e| self.bad(index, e))?;
        let deflated = match member.compression() {
            _ if member.encrypted() => return Err(self.bad(index, "is encrypted")),
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                let reason = format!("is compressed by {other}, which is not read");
                return Err(self.bad(index, reason));
            }
        };
        let info = MemberInfo {
            deflated,
            start: member.data_start(),
            stored_bytes: member.compressed_size(),
            bytes: member.size(),
        };
        let end = info.start.checked_add(info.stored_bytes);
        if end.is_none_or(|end| end > self.file_bytes) {
            return Err(self.bad(index, "reaches past the end of the file"));
        }
        if !deflated && info.stored_bytes != info.bytes {
            return Err(self.bad(index, "states two lengths"));
        }
        let most = info.stored_bytes.saturating_mul(MAX_EXPANSION);
        if info.bytes > most.max(MAX_FREE_EXPANSION) {
            let reason = format!(
                "states that its {} bytes expand to {}, which is refused; save it uncompressed",
                info.stored_bytes, info.bytes
            );
            return Err(self.bad(index, reason));
        }
        Ok(info)
    }

    /// The content of a member that must be stored as it is and of up to `limit` bytes.
    pub fn small_member(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let index = self.index(name);
        let index = index.ok_or_else(|| self.missing(name))?;
        let info = self.info(index)?;
        if info.deflated {
            return Err(self.bad(index, "is compressed, which torch does not do"));
        }
        if info.bytes > limit {
            let reason = format!("is longer than the limit of {limit} bytes");
            return Err(self.bad(index, reason));
        }
        self.with_member(index, |member| {
            let mut content = Vec::new();
            member.take(limit).read_to_end(&mut content)?;
            Ok(content)
        })
    }

    /// `count` values of type `dtype` from byte `start` of the deflated member `index` on. All bytes before
    /// them are decompressed too.
    pub fn read_deflated(
        &self,
        index: usize,
        start: u64,
        count: u64,
        dtype: Dtype,
    ) -> Result<Vec<f32>> {
        // `info` has bounded the member, and `Place::new` the values in it.
        let bytes = count.saturating_mul(dtype.size() as u64);
        let bytes = usize::try_from(bytes).map_err(|_| self.bad(index, "is too large"))?;
        let mut values = Vec::new();
        values
            .try_reserve_exact(bytes / dtype.size())
            .map_err(|_| self.bad(index, "is too large for this machine's memory"))?;
        self.with_member(index, |member| {
            let length = member.size();
            let skipped = io::copy(&mut member.take(start), &mut io::sink())?;
            if skipped < start {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read_values(member, bytes, dtype, &mut values)?;
            // The checksum is compared at the end, and there must be no more than was stated.
            if start + bytes as u64 == length && member.read(&mut [0])? != 0 {
                return Err(io::Error::other("longer than it states"));
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Reads from the start of a member's content.
    pub fn with_member<T>(
        &self,
        index: usize,
        read: impl FnOnce(&mut Member<'_>) -> io::Result<T>,
    ) -> Result<T> {
        let mut zip = self.lock();
        let mut member = zip.by_index(index).map_err(|e| self.bad(index, e))?;
        read(&mut member).map_err(|e| self.bad(index, format!("is damaged: {e}")))
    }

    pub fn missing(&self, name: &str) -> Error {
        Error::checkpoint(&self.file, format!("member {name} is missing"))
    }

    /// The error of a member; completes "member NAME …".
    pub fn bad(&self, index: usize, reason: impl Display) -> Error {
        let name = self.names.get(index).map_or("?", String::as_str);
        let name = name.escape_debug();
        Error::checkpoint(&self.file, format!("member {name} {reason}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ZipArchive<BufReader<File>>> {
        self.zip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
