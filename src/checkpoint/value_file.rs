//! Reading floating-point values out of a large file, a megabyte at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use half::{bf16, f16};

use super::Dtype;
use crate::error::{Error, Result};

/// Bytes read from the file at a time; a multiple of every element's size.
const READ_BYTES: usize = 1 << 20;

/// A file that floating-point values are read from.
#[derive(Debug)]
pub(super) struct ValueFile {
    /// The path, for messages.
    pub name: String,
    /// Length of the file.
    pub bytes: u64,
    /// Locked from seek to read, as both share one position.
    file: Mutex<File>,
}

impl ValueFile {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let bytes = file
            .metadata()
            .map_err(|source| Error::io(path, source))?
            .len();
        Ok(Self {
            name: path.display().to_string(),
            bytes,
            file: Mutex::new(file),
        })
    }

    /// The first `limit` bytes, or all of a shorter file.
    pub fn head(&self, limit: u64) -> Result<Vec<u8>> {
        self.with_file(0, |file| {
            let mut head = Vec::new();
            file.take(limit).read_to_end(&mut head)?;
            Ok(head)
        })
    }

    /// `count` values of type `dtype` from byte `start` on. Any other than a float reads as nothing.
    pub fn read(&self, start: u64, count: u64, dtype: Dtype) -> Result<Vec<f32>> {
        let bytes = count
            .checked_mul(dtype.size() as u64)
            .filter(|&bytes| bytes <= self.bytes);
        let bytes = bytes
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.too_large())?;
        let mut values = Vec::new();
        values
            .try_reserve_exact(bytes / dtype.size())
            .map_err(|_| self.too_large())?;
        self.with_file(start, |file| read_values(file, bytes, dtype, &mut values))?;
        Ok(values)
    }

    pub fn with_file<T>(
        &self,
        start: u64,
        read: impl FnOnce(&mut File) -> std::io::Result<T>,
    ) -> Result<T> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let done = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| read(&mut file));
        done.map_err(|source| Error::io(&self.name, source))
    }

    pub fn too_large(&self) -> Error {
        Error::checkpoint(
            &self.name,
            "a tensor is too large for this machine's memory",
        )
    }
}

/// Appends the values of type `dtype` in the next `bytes` bytes.
pub(super) fn read_values(
    file: &mut impl Read,
    bytes: usize,
    dtype: Dtype,
    values: &mut Vec<f32>,
) -> std::io::Result<()> {
    let mut left = bytes;
    let mut buffer = vec![0; left.min(READ_BYTES)];
    while left > 0 {
        let part = &mut buffer[..left.min(READ_BYTES)];
        file.read_exact(part)?;
        decode(dtype, part, values);
        left -= part.len();
    }
    Ok(())
}

/// Appends the little-endian floats in `bytes` to `values`.
fn decode(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) {
    fn each<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, convert: fn([u8; N]) -> f32) {
        values.extend(
            bytes
                .as_chunks::<N>()
                .0
                .iter()
                .map(|&element| convert(element)),
        );
    }
    match dtype {
        Dtype::F32 => each(bytes, values, f32::from_le_bytes),
        Dtype::F16 => each(bytes, values, |element| {
            f16::from_le_bytes(element).to_f32()
        }),
        Dtype::BF16 => each(bytes, values, |element| {
            bf16::from_le_bytes(element).to_f32()
        }),
        Dtype::F64 => each(bytes, values, |element| f64::from_le_bytes(element) as f32),
        Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::Bool | Dtype::I8 | Dtype::I16 => {}
    }
}
