//! Fine rows of a clustered index: in memory, in the source's cache, or fetched by ranges.
//!
//! Rows are asked for by number; what is missing is fetched with few requests, and kept. Invariant: a
//! row leaves only through [`decode_row`], whose check ties it to its number and its index. Bytes
//! that fail the check, from wherever, are fetched again, then taken from the whole file, which is
//! pinned by its hash, and are else an error that names the file.

mod known;
mod reading;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use super::Source;
use crate::error::{Error, Result};
use crate::format::clustered::{FileName, FineFile, FineRow, Head, decode_row};
pub use known::KnownRows;
use reading::Reading;

/// How a [`RowStore`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct RowStoreOptions {
    /// Bound of the rows kept in memory between reads.
    pub memory_bytes: usize,
    /// Rows with at most so many bytes between them share a request, and more where a request costs more
    /// ([`Source::request_bytes`]), up to `gap_bytes_max`.
    pub gap_bytes: u64,
    pub gap_bytes_max: u64,
    /// Requests that run at the same time.
    pub requests: usize,
}

impl Default for RowStoreOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 48 << 20,
            // 40 ms with 64 requests under way: .6 ms each, 4 kB at 50 Mbit/s, and a request costs a browser and a host a
            // part of a millisecond's work too. With 8 kB an eighth of the requests fall away, and come a sixth more bytes.
            gap_bytes: 6 << 10,
            // With the six of HTTP/1.1 it would be 42 kB. But bytes have a price of their own: so a first query of a million
            // rows of 768 stays within 30 MB and a further one within 5; a tenth of the requests fall away, of 16 kB a quarter.
            gap_bytes_max: 11 << 10,
            requests: 64,
        }
    }
}

/// What a read has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests for ranges and for whole files.
    pub requests: u64,
    /// Bytes that came over the network, of gaps and of what failed its check too.
    pub fetched_bytes: u64,
    /// Bytes of the rows that came from memory or the cache.
    pub cached_bytes: u64,
}

/// Rows in the order in which they were asked for.
#[derive(Clone, Debug)]
pub struct FineRows {
    stride: usize,
    /// [n].
    pub scales: Vec<f32>,
    /// [n, S].
    pub codes: Vec<i8>,
    pub traffic: Traffic,
}

impl FineRows {
    /// Row `i` of those asked for.
    pub fn get(&self, i: usize) -> Option<FineRow<'_>> {
        let start = i.checked_mul(self.stride)?;
        Some(FineRow {
            scale: *self.scales.get(i)?,
            codes: self.codes.get(start..start + self.stride)?,
        })
    }
}

/// Fine rows of an index that were read, and the way to read more.
#[derive(Default)]
pub struct RowStore {
    options: RowStoreOptions,
    files: RefCell<HashMap<FileName, Entry>>,
    /// Number of the last read.
    clock: Cell<u64>,
    /// Reads under way: what they took in must not go before they end.
    readers: Cell<usize>,
}

/// A fine file in memory. It exists once the source's cache was asked for the file.
struct Entry {
    path: String,
    row_bytes: usize,
    known: KnownRows,
    /// The last read that asked for rows of this file.
    used: u64,
    /// Knows more than the source's cache.
    unsaved: bool,
}

/// Rows of one file that were asked for, ascending, each once.
struct Wanted {
    file: FineFile,
    rows: Vec<u32>,
}

impl RowStore {
    /// An empty store.
    pub fn new(options: RowStoreOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// The fine rows `rows` (numbers in the index, any order), each checked; `on_bytes` hears of
    /// what arrives over the network.
    ///
    /// Rows that arrived before an error are kept, so that a second try fetches the rest only.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a row that the index does not have; [`Error::NotFound`],
    /// [`Error::Network`], [`Error::Io`], [`Error::Integrity`] or [`Error::Format`], each naming the
    /// file; [`Error::Cancelled`].
    pub async fn rows(
        &self,
        source: &impl Source,
        head: &Head,
        rows: &[u64],
        on_bytes: &dyn Fn(u64),
    ) -> Result<FineRows> {
        let wanted = wanted_by_file(head, rows)?;
        self.clock.set(self.clock.get() + 1);
        let _reader = Reader::of(self);
        let reading = Reading::new(self, source, head, on_bytes);
        reading.fetch(&wanted).await?;
        let stride = head.plan.stride();
        let mut fine = FineRows {
            stride,
            scales: Vec::with_capacity(rows.len()),
            codes: Vec::with_capacity(rows.len() * stride),
            traffic: reading.traffic(),
        };
        let files = self.files.borrow();
        for row in rows {
            let (index, at) = place(head, *row);
            let file = head.fine_file(index);
            let bytes = files
                .get(&file.name)
                .and_then(|entry| entry.known.get(at))
                .unwrap_or_default();
            let row = decode_row(&file.path, &head.row_salt, *row, head.plan.dimension, bytes)?;
            fine.scales.push(row.scale);
            fine.codes.extend_from_slice(row.codes);
        }
        Ok(fine)
    }

    /// Hands what was fetched to the source's cache. Meant for the time after an answer: the next one
    /// does not wait for it.
    pub async fn save(&self, source: &impl Source) {
        while let Some((path, entry)) = self.next_unsaved() {
            source.keep_rows(&path, Some(&entry)).await;
        }
        self.evict();
    }

    /// Bytes that the rows in memory take, about.
    pub fn memory(&self) -> usize {
        let files = self.files.borrow();
        files.values().map(|entry| entry.known.memory()).sum()
    }

    fn next_unsaved(&self) -> Option<(String, Vec<u8>)> {
        let mut files = self.files.borrow_mut();
        let entry = files.values_mut().find(|entry| entry.unsaved)?;
        entry.unsaved = false;
        Some((entry.path.clone(), entry.known.encode(entry.row_bytes)))
    }

    /// Forgets files down to the bound: saved before unsaved ones, those not used for long first.
    fn evict(&self) {
        if self.readers.get() > 0 {
            return;
        }
        let mut memory = self.memory();
        let mut files = self.files.borrow_mut();
        let mut order: Vec<(bool, u64, FileName)> = files
            .iter()
            .map(|(name, entry)| (entry.unsaved, entry.used, *name))
            .collect();
        order.sort_unstable();
        for (_, _, name) in order {
            if memory <= self.options.memory_bytes {
                break;
            }
            if let Some(entry) = files.remove(&name) {
                memory -= entry.known.memory();
            }
        }
    }

    /// Those of `rows` in `file` that are not in memory; the file counts as used.
    fn missing(&self, file: &FineFile, rows: &[u32]) -> Vec<u32> {
        let mut files = self.files.borrow_mut();
        let Some(entry) = files.get_mut(&file.name) else {
            return rows.to_vec();
        };
        entry.used = self.clock.get();
        let known = &entry.known;
        let rows = rows.iter().copied();
        rows.filter(|row| known.get(*row).is_none()).collect()
    }
}

/// A read under way, until it is dropped.
struct Reader<'a>(&'a RowStore);

impl<'a> Reader<'a> {
    fn of(store: &'a RowStore) -> Self {
        store.readers.set(store.readers.get() + 1);
        Self(store)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.readers.set(self.0.readers.get() - 1);
        self.0.evict();
    }
}

/// The file of row `row`, and the row in it.
fn place(head: &Head, row: u64) -> (usize, u32) {
    // A plan has 1 to 65536 rows a file.
    let rows = head.plan.fine_rows as u64;
    ((row / rows) as usize, (row % rows) as u32)
}

fn wanted_by_file(head: &Head, rows: &[u64]) -> Result<Vec<Wanted>> {
    let mut files: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for row in rows {
        if *row >= head.rows {
            let what = format!("there is no row {row}: the index has {}", head.rows);
            return Err(Error::invalid(what));
        }
        let (index, at) = place(head, *row);
        files.entry(index).or_default().push(at);
    }
    let wanted = files.into_iter().map(|(index, mut rows)| {
        rows.sort_unstable();
        rows.dedup();
        Wanted {
            file: head.fine_file(index),
            rows,
        }
    });
    Ok(wanted.collect())
}
