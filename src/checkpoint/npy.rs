//! Rows of a NumPy `.npy` file: a feature matrix as `numpy.save` writes it.
//!
//! Format: magic, version, header length (u16, from version 2 on u32), a Python dict literal with
//! `descr`, `fortran_order` and `shape`, then the values. The literal is matched, not evaluated.

use std::path::Path;

use super::value_file::ValueFile;
use super::{Dtype, check_rows};
use crate::error::{Error, Result};

/// The longest header that is read; those of plain arrays have 118 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// An opened `.npy` file of floating-point rows.
#[derive(Debug)]
pub struct NpyFile {
    values: ValueFile,
    dtype: Dtype,
    shape: [usize; 2],
    values_start: u64,
}

impl NpyFile {
    /// Opens a file of f16, f32 or f64 values `[n, d]`, little-endian, row-major. Reads the header.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for any other array or a file of another length than its header
    /// states; [`Error::Refused`] for an array of Python objects, which is a pickle.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let values = ValueFile::open(path.as_ref())?;
        let bad = |reason: &str| Error::format(&values.name, reason);
        let head = values.head(MAX_HEADER_BYTES as u64)?;
        let (literal, values_start) = header(&head).map_err(bad)?;
        let fields =
            Fields::parse(literal).ok_or_else(|| bad("the .npy header is not understood"))?;
        let dtype = match fields.descr {
            "'<f4'" => Dtype::F32,
            "'<f2'" => Dtype::F16,
            "'<f8'" => Dtype::F64,
            descr if descr.contains("|O") => {
                let what = "an array of Python objects, which is a pickle".into();
                return Err(Error::Refused {
                    file: values.name,
                    what,
                });
            }
            descr if descr.starts_with("'>") => {
                return Err(bad("a big-endian array, which is not read"));
            }
            descr => {
                let descr = descr.replace(char::is_control, " ");
                return Err(bad(&format!(
                    "elements of type {descr}, where floating-point ones are read"
                )));
            }
        };
        if fields.fortran_order {
            return Err(bad(
                "a column-major (Fortran order) array; save numpy.ascontiguousarray of it",
            ));
        }
        let &[rows, columns] = fields.shape.as_slice() else {
            let reason = format!(
                "an array of {} axes, where [rows, columns] is read",
                fields.shape.len()
            );
            return Err(bad(&reason));
        };
        let bytes = (rows as u64).checked_mul(columns as u64);
        let bytes = bytes.and_then(|count| count.checked_mul(dtype.size() as u64));
        if bytes.and_then(|bytes| bytes.checked_add(values_start)) != Some(values.bytes) {
            return Err(bad(&format!(
                "the file's length is not that of {rows} x {columns} values"
            )));
        }
        Ok(Self {
            values,
            dtype,
            shape: [rows, columns],
            values_start,
        })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The type of the values in the file: F16, F32 or F64.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Rows `first .. first + count`, row-major `[count, columns]`, converted to f32.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for rows that the array does not have; [`Error::Io`].
    pub fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let [rows, columns] = self.shape;
        check_rows(&self.values.name, rows, first, count)?;
        // No overflow: the whole array has been found to fit the file.
        let row_bytes = columns as u64 * self.dtype.size() as u64;
        let start = self.values_start + first as u64 * row_bytes;
        self.values
            .read(start, count as u64 * columns as u64, self.dtype)
    }
}

/// The dict literal in the first bytes of a file, and where the values start.
fn header(head: &[u8]) -> std::result::Result<(&str, u64), &'static str> {
    let [0x93, b'N', b'U', b'M', b'P', b'Y', major, _minor, rest @ ..] = head else {
        return Err("not a .npy file");
    };
    let (length_bytes, length) = match (major, rest) {
        (1, &[a, b, ..]) => (2, u32::from(u16::from_le_bytes([a, b]))),
        (2 | 3, &[a, b, c, d, ..]) => (4, u32::from_le_bytes([a, b, c, d])),
        (1..=3, _) => return Err("the file ends within its header"),
        _ => return Err("a .npy version that is not read"),
    };
    let start = 8 + length_bytes;
    let end = start + length as usize;
    if end > MAX_HEADER_BYTES {
        return Err("the .npy header is too long");
    }
    let literal = head
        .get(start..end)
        .ok_or("the file ends within its header")?;
    let literal = std::str::from_utf8(literal).map_err(|_| "the .npy header is not text")?;
    Ok((literal, end as u64))
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
    parts.map(|part| part.parse().ok()).collect()
}
