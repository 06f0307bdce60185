//! One read of fine rows: what is missing is recalled, then fetched, by ranges or by whole files, and by whole files where
//! ranges fail.

use std::cell::Cell;

use futures_util::{StreamExt, stream};

use super::known::KnownRows;
use super::{Entry, RowStore, Traffic, Wanted};
use crate::error::Result;
use crate::format::FileRef;
use crate::format::clustered::{FineFile, Head, decode_row};
use crate::source::Source;
use crate::source::row_range::{RowRange, coalesce};

/// Ranges that make up so much of a file are read as the file: one hash instead of many checks, and it
/// is kept as it is.
const WHOLE_SHARE: (u64, u64) = (3, 4);
/// So many ranges show what a request costs here, where that is not known.
const FIRST_RANGES: usize = 32;
/// Times that a range is asked for before the whole file is.
const RANGE_TRIES: usize = 2;

/// A range of a file with its rows, or the whole file.
type Part<'w> = (&'w Wanted, Option<(RowRange, Vec<u32>)>);

pub(super) struct Reading<'a, S> {
    store: &'a RowStore,
    source: &'a S,
    head: &'a Head,
    on_bytes: &'a dyn Fn(u64),
    requests: Cell<u64>,
    fetched_bytes: Cell<u64>,
    cached_rows: Cell<u64>,
}

impl<'a, S: Source> Reading<'a, S> {
    pub(super) fn new(
        store: &'a RowStore,
        source: &'a S,
        head: &'a Head,
        on_bytes: &'a dyn Fn(u64),
    ) -> Self {
        Self {
            store,
            source,
            head,
            on_bytes,
            requests: Cell::new(0),
            fetched_bytes: Cell::new(0),
            cached_rows: Cell::new(0),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.requests.get(),
            fetched_bytes: self.fetched_bytes.get(),
            cached_bytes: self.cached_rows.get() * self.row_bytes(),
        }
    }

    /// Brings the rows of `wanted` into the store.
    pub(super) async fn fetch(&self, wanted: &[Wanted]) -> Result<()> {
        let at_once = self.store.options.requests.max(1);
        stream::iter(wanted)
            .for_each_concurrent(at_once, |wanted| self.recall(wanted))
            .await;
        let first = match self.source.request_bytes() {
            None => FIRST_RANGES,
            Some(_) => usize::MAX,
        };
        let rest = self.fetch_some(wanted, first).await?;
        self.fetch_some(rest, usize::MAX).await.map(drop)
    }

    /// Fetches the missing rows of the first of `wanted`, up to the file whose parts make it `parts_max`; gives those left.
    async fn fetch_some<'w>(&self, wanted: &'w [Wanted], parts_max: usize) -> Result<&'w [Wanted]> {
        let gap_bytes = self.gap_bytes();
        let mut parts: Vec<Part> = Vec::new();
        let mut left = wanted;
        while let Some((wanted, rest)) = left.split_first()
            && parts.len() < parts_max
        {
            left = rest;
            let rows = self.store.missing(&wanted.file, &wanted.rows);
            let known = wanted.rows.len() - rows.len();
            self.cached_rows.set(self.cached_rows.get() + known as u64);
            let ranges = coalesce(&rows, self.row_bytes(), gap_bytes);
            let bytes: u64 = ranges.iter().map(|range| range.bytes).sum();
            let (share, of) = WHOLE_SHARE;
            if rows.is_empty() {
                continue;
            } else if self.is_whole(&wanted.file) || bytes * of >= wanted.file.bytes * share {
                parts.push((wanted, None));
                continue;
            }
            let mut rows = rows.as_slice();
            for range in ranges {
                let end = range.first + range.bytes;
                let inside = rows.partition_point(|row| u64::from(*row) * self.row_bytes() < end);
                let (rows_here, rest) = rows.split_at(inside);
                parts.push((wanted, Some((range, rows_here.to_vec()))));
                rows = rest;
            }
        }
        let refused = self.fetch_parts(parts).await?;
        self.fetch_parts(refused).await?;
        Ok(left)
    }

    /// Fetches `parts`, several at a time; gives the files whose ranges failed.
    async fn fetch_parts<'w>(&self, parts: Vec<Part<'w>>) -> Result<Vec<Part<'w>>> {
        let at_once = self.store.options.requests.max(1);
        let mut arriving = stream::iter(parts)
            .map(|(wanted, part)| async move {
                let done = match part {
                    Some((range, rows)) => self.fetch_range(&wanted.file, range, &rows).await?,
                    None => {
                        self.fetch_whole(wanted).await?;
                        true
                    }
                };
                Ok::<_, crate::Error>((!done).then_some(wanted))
            })
            .buffer_unordered(at_once);
        let mut refused: Vec<Part> = Vec::new();
        while let Some(arrived) = arriving.next().await {
            let Some(wanted) = arrived? else { continue };
            if !refused.iter().any(|other| other.0.file == wanted.file) {
                refused.push((wanted, None));
            }
        }
        Ok(refused)
    }

    /// Bytes between rows that share a request.
    fn gap_bytes(&self) -> u64 {
        let options = self.store.options;
        let cost = self.source.request_bytes().unwrap_or(0);
        cost.min(options.gap_bytes_max).max(options.gap_bytes)
    }

    fn row_bytes(&self) -> u64 {
        self.head.plan.fine_row_bytes() as u64
    }

    /// Takes what the source's cache has of a file, once; what is damaged there is deleted there.
    async fn recall(&self, wanted: &Wanted) {
        let file = &wanted.file;
        if self.store.files.borrow().contains_key(&file.name) {
            return;
        }
        let mut known = KnownRows::default();
        if let Some(kept) = self.source.kept_rows(&file.path).await {
            let mut sound = false;
            if let Some(found) = KnownRows::parse(&kept, self.row_bytes() as usize) {
                known = found;
                sound = known.retain(|row, bytes| self.is_right(file, row, bytes));
            }
            if !sound {
                self.source.keep_rows(&file.path, None).await;
            }
        }
        let mut files = self.store.files.borrow_mut();
        let entry = files.entry(file.name).or_insert_with(|| Entry {
            path: file.path.clone(),
            row_bytes: self.row_bytes() as usize,
            known: KnownRows::default(),
            used: 0,
            unsaved: false,
        });
        entry.known.merge(known);
    }

    fn is_right(&self, file: &FineFile, row: u32, bytes: &[u8]) -> bool {
        self.check(file, row, bytes).is_ok() && (row as usize) < file.rows
    }

    fn check(&self, file: &FineFile, row: u32, bytes: &[u8]) -> Result<()> {
        let number = file.first_row + u64::from(row);
        let dimension = self.head.plan.dimension;
        decode_row(&file.path, &self.head.row_salt, number, dimension, bytes).map(drop)
    }

    fn is_whole(&self, file: &FineFile) -> bool {
        let files = self.store.files.borrow();
        files.get(&file.name).is_some_and(|entry| entry.known.whole)
    }

    fn keep(&self, file: &FineFile, row: u32, bytes: &[u8]) {
        if let Some(entry) = self.store.files.borrow_mut().get_mut(&file.name) {
            entry.unsaved |= entry.known.insert(row, bytes);
        }
    }

    fn count(&self, bytes: u64) {
        self.fetched_bytes.set(self.fetched_bytes.get() + bytes);
        (self.on_bytes)(bytes);
    }

    /// Fetches `range` of `file`, in which `rows` are wanted; `false` when only the whole file can help.
    async fn fetch_range(&self, file: &FineFile, range: RowRange, rows: &[u32]) -> Result<bool> {
        for _ in 0..RANGE_TRIES {
            let answer = self
                .source
                .read_ranges(&file.path, file.bytes, &[range])
                .await?;
            let Some(bytes) = answer.and_then(|mut parts| parts.pop()) else {
                return Ok(false);
            };
            self.requests.set(self.requests.get() + 1);
            self.count(bytes.len() as u64);
            let first = range.first / self.row_bytes();
            // Rows of gaps are kept where they are right: they were paid for.
            for (row, bytes) in (first..).zip(bytes.chunks(self.row_bytes() as usize)) {
                if let Ok(row) = u32::try_from(row)
                    && self.is_right(file, row, bytes)
                {
                    self.keep(file, row, bytes);
                }
            }
            if self.store.missing(file, rows).is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a file as a whole and takes the wanted rows that are still missing.
    async fn fetch_whole(&self, wanted: &Wanted) -> Result<()> {
        let file = &wanted.file;
        let rows = self.store.missing(file, &wanted.rows);
        let pinned = FileRef::named(&file.path, file.bytes, &file.name);
        let fetched = self
            .source
            .read(&pinned, &|bytes| self.count(bytes))
            .await?;
        if fetched.cached {
            self.cached_rows
                .set(self.cached_rows.get() + rows.len() as u64);
        } else {
            self.requests.set(self.requests.get() + 1);
        }
        let row_bytes = self.row_bytes() as usize;
        for row in rows {
            let start = row as usize * row_bytes;
            let bytes = fetched
                .bytes
                .get(start..start + row_bytes)
                .unwrap_or_default();
            self.check(file, row, bytes)?;
            self.keep(file, row, bytes);
        }
        if let Some(entry) = self.store.files.borrow_mut().get_mut(&file.name) {
            entry.unsaved |= !entry.known.whole;
            entry.known.whole = true;
        }
        Ok(())
    }
}
