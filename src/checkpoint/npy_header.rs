//! The header of a NumPy `.npy` file: what array it holds.
//!
//! Format: magic, version, header length (u16, from version 2 on u32), a Python dict literal with
//! `descr`, `fortran_order` and `shape`, then the values. The literal is matched, not evaluated.

use std::io::Read;

use super::Dtype;

/// The longest header that is read; those of plain arrays have 118 bytes.
const MAX_HEADER_BYTES: u32 = 1 << 16;
/// The most axes that an array of NumPy can have.
const MAX_DIMENSIONS: usize = 64;

/// Why a header is not read.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// The values are a pickle.
    PythonObjects,
    /// Anything else; completes "the file has …".
    Bad(String),
}

impl From<&str> for HeaderError {
    fn from(reason: &str) -> Self {
        Self::Bad(reason.into())
    }
}

/// A header of an array of little-endian numbers.
#[derive(Debug)]
pub(super) struct Header {
    pub dtype: Dtype,
    /// The element type as the file has it, for messages.
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
    /// Bytes of the file before the values.
    pub values_start: u64,
}

impl Header {
    /// Reads a header from the start of a file.
    pub fn read(file: &mut impl Read) -> Result<Self, HeaderError> {
        let (literal, values_start) = literal(file)?;
        let literal = std::str::from_utf8(&literal).map_err(|_| "a .npy header that is no text")?;
        let fields = Fields::parse(literal).ok_or("a .npy header that is not understood")?;
        let dtype = match fields.descr {
            "'<f4'" => Dtype::F32,
            "'<f2'" => Dtype::F16,
            "'<f8'" => Dtype::F64,
            "'<i8'" => Dtype::I64,
            "'<i4'" => Dtype::I32,
            "'<i2'" => Dtype::I16,
            "'|i1'" => Dtype::I8,
            "'|u1'" => Dtype::U8,
            "'|b1'" => Dtype::Bool,
            descr if descr.contains("|O") => return Err(HeaderError::PythonObjects),
            descr if descr.starts_with("'>") => {
                return Err("a big-endian array, which is not read".into());
            }
            descr => {
                let descr = descr.replace(char::is_control, " ");
                let reason =
                    format!("elements of type {descr}, where floating-point ones are read");
                return Err(HeaderError::Bad(reason));
            }
        };
        Ok(Self {
            dtype,
            descr: fields.descr.to_string(),
            fortran_order: fields.fortran_order,
            shape: fields.shape,
            values_start,
        })
    }

    /// Bytes of a file with this header; `None` if they overflow.
    pub fn file_bytes(&self) -> Option<u64> {
        let mut bytes = self.dtype.size() as u64;
        for &size in &self.shape {
            bytes = bytes.checked_mul(size as u64)?;
        }
        bytes.checked_add(self.values_start)
    }
}

/// The dict literal, and where the values start.
fn literal(file: &mut impl Read) -> Result<(Vec<u8>, u64), HeaderError> {
    let ends = |_| HeaderError::from("an end within its .npy header");
    let mut magic = [0; 8];
    let is_npy = file.read_exact(&mut magic).is_ok();
    let (true, [0x93, b'N', b'U', b'M', b'P', b'Y', major, _minor]) = (is_npy, magic) else {
        return Err("no .npy header: it is not a .npy file".into());
    };
    let mut length = [0; 4];
    let length_bytes: u32 = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return Err("a .npy version that is not read".into()),
    };
    let stated = length.split_at_mut(length_bytes as usize).0;
    file.read_exact(stated).map_err(ends)?;
    let (before, length) = (8 + length_bytes, u32::from_le_bytes(length));
    if length > MAX_HEADER_BYTES - before {
        return Err("a .npy header that is too long".into());
    }
    let mut literal = vec![0; length as usize];
    file.read_exact(&mut literal).map_err(ends)?;
    Ok((literal, u64::from(before + length)))
}

/// The three fields of the literal, which numpy writes in any order.
struct Fields<'a> {
    /// The literal of the element type, quotes included; a list for records.
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Fields<'a> {
    fn parse(literal: &'a str) -> Option<Self> {
        let mut rest = literal.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = rest.strip_prefix('\'')?.split_once('\'')?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            let end = value_end(value)?;
            let (value, after) = (value.get(..end)?.trim(), value.get(end..)?);
            match key {
                "descr" => descr = Some(value),
                "fortran_order" => fortran_order = Some(matches!(value, "True")),
                "shape" => shape = Some(sizes(value)?),
                _ => return None,
            }
            rest = after.strip_prefix(',').unwrap_or(after).trim();
        }
        Some(Self {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

/// Where a value ends: at the first comma outside brackets and quotes, or with the text.
fn value_end(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0usize, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    Some(text.len())
}

/// The sizes in a tuple literal.
fn sizes(tuple: &str) -> Option<Vec<usize>> {
    let inside = tuple.strip_prefix('(')?.strip_suffix(')')?;
    let parts = inside
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let sizes: Option<Vec<usize>> = parts
        .take(MAX_DIMENSIONS + 1)
        .map(|part| part.parse().ok())
        .collect();
    sizes.filter(|sizes| sizes.len() <= MAX_DIMENSIONS)
}
