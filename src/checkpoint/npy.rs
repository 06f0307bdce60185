//! Rows of a NumPy `.npy` file: a feature matrix as `numpy.save` writes it.
//!
//! Rows are read some at a time, as such files are larger than the memory.

use std::io::BufReader;
use std::path::Path;

use super::npy_header::{Header, HeaderError};
use super::value_file::ValueFile;
use super::{Dtype, check_rows};
use crate::error::{Error, Result};

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
        let bad = |reason: String| Error::format(&values.name, reason);
        let header = values.with_file(0, |file| Ok(Header::read(&mut BufReader::new(file))))?;
        let header = header.map_err(|error| match error {
            HeaderError::PythonObjects => Error::Refused {
                file: values.name.clone(),
                what: "an array of Python objects, which is a pickle".into(),
            },
            HeaderError::Bad(reason) => bad(format!("has {reason}")),
        })?;
        if !header.dtype.is_float() {
            return Err(bad(format!(
                "has elements of type {}, where floating-point ones are read",
                header.descr
            )));
        }
        if header.fortran_order {
            return Err(bad(
                "a column-major (Fortran order) array; save numpy.ascontiguousarray of it".into(),
            ));
        }
        let &[rows, columns] = header.shape.as_slice() else {
            return Err(bad(format!(
                "an array of {} axes, where [rows, columns] is read",
                header.shape.len()
            )));
        };
        if header.file_bytes() != Some(values.bytes) {
            return Err(bad(format!(
                "the file's length is not that of {rows} x {columns} values"
            )));
        }
        Ok(Self {
            dtype: header.dtype,
            shape: [rows, columns],
            values_start: header.values_start,
            values,
        })
    }

    /// The path, for messages.
    pub fn name(&self) -> &str {
        &self.values.name
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
        if count == 0 {
            return Ok(Vec::new());
        }
        // No overflow, as there are rows and the whole array has been found to fit the file.
        let row_bytes = columns as u64 * self.dtype.size() as u64;
        let start = self.values_start + first as u64 * row_bytes;
        self.values
            .read(start, count as u64 * columns as u64, self.dtype)
    }
}
