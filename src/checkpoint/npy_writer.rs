//! Writing a `.npy` file row by row: float32 `[n, columns]`, row-major, header version 1.0.
//!
//! The number of rows stands in the header and is known last. Until then the file has another name and
//! zeros for a header, so that it can never be taken for a whole one.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of the header, whatever the number of rows: numpy aligns values to 64.
const HEADER_BYTES: usize = 128;

/// A `.npy` file being written. Dropped before [`NpyWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct NpyWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
    columns: usize,
    rows: u64,
}

impl NpyWriter {
    /// Starts the file `path` of rows of `columns` values; makes its folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, columns: usize) -> Result<Self> {
        let fail = |e| Error::io(path, e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(fail)?;
        let mut writer = Self {
            path: path.to_owned(),
            temporary,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            columns,
            rows: 0,
        };
        writer.write(&[0; HEADER_BYTES])?;
        Ok(writer)
    }

    /// Appends one row.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a row of another length; [`Error::Io`].
    pub fn push(&mut self, row: &[f32]) -> Result<()> {
        if row.len() != self.columns {
            return Err(Error::invalid(format!(
                "{}: a row of {} values among rows of {}",
                self.path.display(),
                row.len(),
                self.columns
            )));
        }
        for value in row {
            self.write(&value.to_le_bytes())?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the header and gives the file its name. Returns the number of rows.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn finish(mut self) -> Result<u64> {
        let header = header(self.rows, self.columns);
        let Some(file) = self.file.take() else {
            return Ok(self.rows);
        };
        let written = file.into_inner().map_err(|e| e.into_error());
        let renamed = written.and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()?;
            drop(file);
            fs::rename(&self.temporary, &self.path)
        });
        renamed.map_err(|e| {
            // The error that matters is the first one.
            let _ = fs::remove_file(&self.temporary);
            Error::io(&self.path, e)
        })?;
        Ok(self.rows)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }
}

impl Drop for NpyWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is buffered is not wanted any more.
            drop(file.into_parts());
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Magic, version, length and the padded literal, as numpy writes them.
fn header(rows: u64, columns: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((HEADER_BYTES - 10) as u16).to_le_bytes());
    header.extend(
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}")
            .into_bytes(),
    );
    // The largest shape has 41 letters, so the literal ends well before.
    header.resize(HEADER_BYTES - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::super::NpyFile;
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_finished_is_not_there() {
        let name = format!("data-attribution-npy-writer-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let path = folder.join("a.npy");
        let rows = [[0.5f32, -0.0, f32::MIN_POSITIVE], [1e30, 3.0, -7.25]];
        let mut writer = NpyWriter::create(&path, 3).unwrap();
        writer.push(&rows[0]).unwrap();
        assert_eq!(writer.push(&[1.0]).unwrap_err().code(), "invalid-argument");
        drop(writer);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let mut writer = NpyWriter::create(&path, 3).unwrap();
        for row in &rows {
            writer.push(row).unwrap();
            let part = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
            assert!(NpyFile::open(part.path()).is_err());
        }
        assert_eq!(writer.finish().unwrap(), 2);
        let file = NpyFile::open(&path).unwrap();
        assert_eq!(file.shape(), [2, 3]);
        assert_eq!(file.read_rows_f32(0, 2).unwrap(), rows.as_flattened());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(header(u64::MAX, usize::MAX).len(), HEADER_BYTES);
        fs::remove_dir_all(&folder).unwrap();
    }
}
