//! One kind of file of all parts, read as one stream.

use std::path::{Path, PathBuf};

use super::journal::NotedFile;
use super::part::PackedPart;
use crate::error::{Error, Result};
use crate::format::FileRef;

/// Bytes of lines that are read together.
const TEXT_BYTES: usize = 1 << 16;

/// The files, read one after the other and checked against what the parts noted.
pub(super) struct Stream<'a> {
    files: std::vec::IntoIter<(&'a Path, &'a FileRef)>,
    open: Option<NotedFile>,
    /// Bytes that are still to come.
    left: u64,
    /// Text that was read for lines but not given yet, from `start` on.
    text: Vec<u8>,
    start: usize,
}

impl<'a> Stream<'a> {
    /// The file that `file` chooses, of each part.
    pub fn new(parts: &'a [(PathBuf, PackedPart)], file: impl Fn(&PackedPart) -> &FileRef) -> Self {
        let files: Vec<_> = parts
            .iter()
            .map(|(folder, part)| (&**folder, file(part)))
            .collect();
        Self {
            left: files.iter().map(|(_, file)| file.bytes).sum(),
            files: files.into_iter(),
            open: None,
            text: Vec::new(),
            start: 0,
        }
    }

    /// Fills `bytes` with the next ones.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Integrity`] when a file is not the noted one; [`Error::InvalidArgument`] at
    /// the end.
    pub fn read(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(open) = self.open.as_mut().filter(|open| open.left() > 0) else {
                let Some((folder, file)) = self.files.next() else {
                    return Err(Error::invalid("the parts have fewer values than rows"));
                };
                self.open = Some(NotedFile::open(folder, file)?);
                continue;
            };
            let count = (bytes.len() as u64).min(open.left()) as usize;
            let (now, rest) = bytes.split_at_mut(count);
            open.read(now)?;
            self.left = self.left.saturating_sub(count as u64);
            bytes = rest;
        }
        Ok(())
    }

    /// The next line without its end. Not to be mixed with [`Stream::read`].
    ///
    /// # Errors
    /// Those of [`Stream::read`].
    pub fn line(&mut self) -> Result<&[u8]> {
        let mut searched = self.start;
        let end = loop {
            let found = self.text[searched..].iter().position(|b| *b == b'\n');
            if let Some(at) = found {
                break searched + at;
            }
            searched = self.text.len() - self.start;
            self.text.drain(..self.start);
            self.start = 0;
            let more = self.left.min(TEXT_BYTES as u64) as usize;
            if more == 0 {
                return Err(Error::invalid("the parts have fewer items than rows"));
            }
            let mut text = std::mem::take(&mut self.text);
            let before = text.len();
            text.resize(before + more, 0);
            let read = self.read(&mut text[before..]);
            self.text = text;
            read?;
        };
        let line = self.start..end;
        self.start = end + 1;
        Ok(&self.text[line])
    }
}
