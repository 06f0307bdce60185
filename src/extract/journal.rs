//! Features that are known before an image is read: those of an interrupted run, and of a finished one.
//!
//! The journal is two files: rows of f32 one after another, and a list with a line for each row: length
//! and time of change of the image file, a digest of the row, the image's name. The row is written first.
//! Rows whose digest is not that of their line do not count, so an interruption at any point, of the
//! machine too, costs what was being written and nothing else.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};
use crate::format::sha256_hex;

const ROWS: &str = "features.part";
const LIST: &str = "features.part.txt";

/// What tells a file from a changed one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    /// Since 1970, in nanoseconds.
    changed: u128,
}

impl Stamp {
    /// The stamp of the file at `path`.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        Ok(Self {
            bytes: metadata.len(),
            changed: nanoseconds(metadata.modified()?),
        })
    }
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

/// The features of a run, as they come.
pub(super) struct Journal {
    folder: PathBuf,
    rows: File,
    list: File,
    dimension: usize,
    count: u64,
    known: HashMap<String, (u64, Stamp)>,
}

impl Journal {
    /// Opens the journal in `folder`, or starts it. One of another `computation` or dimension is cleared.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidArgument`] while another process has it open.
    pub fn open(folder: &Path, computation: &str, dimension: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let open = |name: &str| {
            let path = folder.join(name);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path).map_err(|e| Error::io(&path, e))
        };
        let (rows, list) = (open(ROWS)?, open(LIST)?);
        match list.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another run writes into it", folder.display());
                return Err(Error::invalid(what));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(folder, e)),
        }
        let mut journal = Self {
            folder: folder.to_owned(),
            rows,
            list,
            dimension,
            count: 0,
            known: HashMap::new(),
        };
        let head = format!("{computation} {dimension}\n");
        journal
            .load(&head)
            .map_err(|e| Error::io(folder.join(LIST), e))?;
        Ok(journal)
    }

    /// Reads what is there and cuts off what is not whole.
    fn load(&mut self, head: &str) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        self.list.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut kept_bytes = head.len() as u64;
        if let Some(lines) = text.strip_prefix(head) {
            let mut rows = BufReader::with_capacity(1 << 20, &self.rows);
            let mut row = vec![0; 4 * self.dimension];
            for line in lines.split_inclusive('\n') {
                let Some(entry) = line.strip_suffix('\n') else {
                    break;
                };
                if rows.read_exact(&mut row).is_err() {
                    break;
                }
                if let Some((name, digest, stamp)) = parse(entry)
                    && digest == digest_of(&row)
                {
                    self.known.insert(name.to_owned(), (self.count, stamp));
                }
                self.count += 1;
                kept_bytes += line.len() as u64;
            }
        } else {
            self.list.set_len(0)?;
            self.list.seek(SeekFrom::Start(0))?;
            self.list.write_all(head.as_bytes())?;
        }
        self.list.set_len(kept_bytes)?;
        self.list.seek(SeekFrom::End(0))?;
        self.rows.set_len(self.count * 4 * self.dimension as u64)?;
        Ok(())
    }

    /// The row of an image that has not changed since.
    pub fn row(&self, name: &str, stamp: Stamp) -> Option<u64> {
        let (row, known) = self.known.get(name)?;
        (*known == stamp).then_some(*row)
    }

    /// Adds the feature of an image.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn push(&mut self, name: &str, stamp: Stamp, feature: &[f32]) -> Result<()> {
        let bytes = bytes_of(feature);
        let Stamp {
            bytes: size,
            changed,
        } = stamp;
        let line = format!("{size}\t{changed}\t{}\t{name}\n", digest_of(&bytes));
        let written = self
            .rows
            .seek(SeekFrom::Start(self.count * bytes.len() as u64))
            .and_then(|_| self.rows.write_all(&bytes))
            .and_then(|()| self.list.write_all(line.as_bytes()));
        written.map_err(|e| Error::io(self.folder.join(ROWS), e))?;
        self.known.insert(name.to_owned(), (self.count, stamp));
        self.count += 1;
        Ok(())
    }

    /// The feature in row `row`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&mut self, row: u64) -> Result<Vec<f32>> {
        let mut bytes = vec![0; 4 * self.dimension];
        let start = row * bytes.len() as u64;
        let read = self.rows.seek(SeekFrom::Start(start));
        read.and_then(|_| self.rows.read_exact(&mut bytes))
            .map_err(|e| Error::io(self.folder.join(ROWS), e))?;
        let values = bytes.as_chunks::<4>().0;
        Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// Removes the journal: its features are in the matrices now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<()> {
        for name in [ROWS, LIST] {
            let path = self.folder.join(name);
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
        Ok(())
    }
}

fn bytes_of(feature: &[f32]) -> Vec<u8> {
    feature.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn digest_of(bytes: &[u8]) -> String {
    sha256_hex(bytes).chars().take(16).collect()
}

/// Name, digest and stamp of a line.
fn parse(line: &str) -> Option<(&str, &str, Stamp)> {
    let mut parts = line.splitn(4, '\t');
    let stamp = Stamp {
        bytes: parts.next()?.parse().ok()?,
        changed: parts.next()?.parse().ok()?,
    };
    let digest = parts.next()?;
    Some((parts.next()?, digest, stamp))
}

/// A matrix that an earlier run finished.
pub(super) struct Finished {
    file: NpyFile,
    rows: HashMap<String, usize>,
    /// When it was finished, in nanoseconds since 1970.
    written: u128,
}

impl Finished {
    /// Opens `stem`.npy and `stem`.txt in `folder`; `None` where they are not whole.
    pub fn open(folder: &Path, stem: &str, dimension: usize) -> Option<Self> {
        let path = folder.join(format!("{stem}.npy"));
        let names = fs::read_to_string(folder.join(format!("{stem}.txt"))).ok()?;
        let file = NpyFile::open(&path).ok()?;
        let rows: HashMap<String, usize> = names.lines().map(str::to_owned).zip(0..).collect();
        let written = fs::metadata(&path).and_then(|m| m.modified()).ok()?;
        let whole = file.shape() == [names.lines().count(), dimension];
        whole.then_some(Self {
            file,
            rows,
            written: nanoseconds(written),
        })
    }

    /// The row of an image that was last changed before the matrix was written.
    pub fn row(&self, name: &str, stamp: Stamp) -> Option<usize> {
        let row = self.rows.get(name)?;
        (stamp.changed < self.written).then_some(*row)
    }

    /// The feature in row `row`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, row: usize) -> Result<Vec<f32>> {
        self.file.read_rows_f32(row, 1)
    }
}
