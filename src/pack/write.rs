//! Writing the rows of a flat index as they arrive: shards of whole rows, and items beside.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::PackOptions;
use super::index_folder::{Contents, FINE, ITEMS, IndexFolder};
use super::items::{Item, items_file};
use super::metadata::{self, Metadata};
use super::stale::content_digest;
use crate::error::{Error, Result};
use crate::format::manifest::COUNT_MAX;
use crate::format::shard::{self, row_stride};
use crate::format::{FileRef, ItemsShard, Layer, Manifest, ModelHead, Shard};

/// Bytes that a shard aims at; small sets get smaller ones, so that results can stream.
const SHARD_BYTES: usize = 2 << 20;
/// Shards that an index has at least, as far as its rows allow.
const SHARDS_MIN: usize = 8;
/// Shards that are encoded together at most; their rows are what is held in memory.
const SHARDS_AT_ONCE: usize = 8;
const ITEMS_PER_FILE: usize = 4096;
/// Why a row cannot be one.
pub(super) const NO_DIRECTION: &str = "the direction of a feature without length is not finite";

/// Takes rows and writes the index.
///
/// Shards and items are written as they fill. The rows of a shard follow from the number of rows that is
/// expected, so rows that are left out make the last shard short, or the shards fewer. Held are the rows of
/// the shards at hand, and of everything written the references alone. Files of a run that fails are
/// removed, thumbnails excepted.
pub struct IndexWriter<'a> {
    folder: IndexFolder<'a>,
    rows_per_shard: usize,
    metadata: HashMap<String, Metadata>,
    /// Unit rows that are in no shard yet, and items that are in no file yet.
    rows: Vec<f32>,
    items: Vec<Item>,
    count: usize,
    shards: Vec<Shard>,
    items_shards: Vec<ItemsShard>,
    /// The first half of each thumbnail's digest, which its name is made of.
    thumbnails: HashSet<u128>,
}

impl<'a> IndexWriter<'a> {
    /// Starts an index of at most `expected_rows` rows: writes the model.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Integrity`] for the model's files; those of the metadata;
    /// [`Error::InvalidArgument`] for more rows than an index can have.
    pub fn new(options: &'a PackOptions, head: ModelHead, expected_rows: usize) -> Result<Self> {
        if expected_rows as u64 > COUNT_MAX {
            let what = format!("{expected_rows} rows, the limit is {COUNT_MAX}");
            return Err(Error::invalid(what));
        }
        let metadata = metadata::read_if_any(options.metadata.as_deref())?;
        let folder = IndexFolder::open(options, head)?;
        let by_size = SHARD_BYTES / (4 + row_stride(folder.dimension));
        let by_count = expected_rows.div_ceil(SHARDS_MIN).max(32);
        Ok(Self {
            folder,
            rows_per_shard: by_size.min(by_count).max(1),
            metadata,
            rows: Vec::new(),
            items: Vec::new(),
            count: 0,
            shards: Vec::new(),
            items_shards: Vec::new(),
            thumbnails: HashSet::new(),
        })
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        self.count
    }

    /// Adds `features`, unmapped, one row for each of `items`; returns the names of those that cannot be
    /// rows, with the reason.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the values are not as many as the items' rows have; [`Error::Io`].
    pub fn push_rows(
        &mut self,
        items: Vec<Item>,
        features: &[f32],
    ) -> Result<Vec<(String, String)>> {
        let input = self.folder.head.dimension;
        if Some(features.len()) != items.len().checked_mul(input) {
            return Err(Error::invalid(format!(
                "{} values for {} rows of {input}",
                features.len(),
                items.len(),
            )));
        }
        let (units, sound) = self.folder.unit_rows(features)?;
        let dimension = self.folder.dimension;
        let mut left_out = Vec::new();
        let rows = units.chunks_exact(dimension.max(1)).zip(sound);
        for (item, (unit, sound)) in items.into_iter().zip(rows) {
            if sound {
                self.rows.extend_from_slice(unit);
                self.push_item(item)?;
            } else {
                left_out.push((item.name, NO_DIRECTION.into()));
            }
        }
        let at_once = rayon::current_num_threads().min(SHARDS_AT_ONCE);
        let values = self.rows_per_shard * dimension * at_once;
        while self.rows.len() >= values.max(1) {
            let rest = self.rows.split_off(values);
            let rows = std::mem::replace(&mut self.rows, rest);
            self.write_rows(&rows)?;
        }
        Ok(left_out)
    }

    fn push_item(&mut self, item: Item) -> Result<()> {
        if let Some(digest) = item.thumbnail.as_ref().and_then(content_digest) {
            self.thumbnails.insert(digest);
        }
        self.items.push(item);
        self.count += 1;
        if self.items.len() == ITEMS_PER_FILE {
            self.write_items()?;
        }
        Ok(())
    }

    /// Writes the rest and returns the manifest.
    ///
    /// # Errors
    /// [`Error::Io`]; the index that was there before then stands as it was.
    pub fn finish(mut self) -> Result<Manifest> {
        let rows = std::mem::take(&mut self.rows);
        self.write_rows(&rows)?;
        if !self.items.is_empty() {
            self.write_items()?;
        }
        let rows_bytes: u64 = self.shards.iter().map(|s| s.file.bytes).sum();
        let items_bytes: u64 = self.items_shards.iter().map(|s| s.file.bytes).sum();
        self.folder.finish(Contents {
            count: self.count as u64,
            layers: vec![Layer {
                kind: "fine".into(),
                encoding: "int8-row-scale".into(),
                rows: self.count as u64,
                shards: self.shards,
            }],
            items: self.items_shards,
            thumbnails: self.thumbnails,
            first_bytes: rows_bytes + items_bytes,
            ..Contents::default()
        })
    }

    /// Writes `rows`, which begin where the last shard ends, as shards.
    fn write_rows(&mut self, rows: &[f32]) -> Result<()> {
        let (dimension, per_shard) = (self.folder.dimension, self.rows_per_shard);
        let first_row = self.shards.last().map_or(0, |s| s.first_row + s.rows);
        let encoded: Vec<(FileRef, Vec<u8>)> = rows
            .par_chunks(per_shard * dimension.max(1))
            .enumerate()
            .map(|(at, rows)| {
                let first_row = first_row + (at * per_shard) as u64;
                let bytes = shard::encode(first_row, dimension, rows)?;
                Ok((FileRef::of(FINE, "bin", &bytes), bytes))
            })
            .collect::<Result<_>>()?;
        self.folder.write_all(&encoded)?;
        let lengths = rows.chunks(per_shard * dimension.max(1));
        let mut first_row = first_row;
        for ((file, _), values) in encoded.into_iter().zip(lengths) {
            let rows = (values.len() / dimension.max(1)) as u64;
            self.shards.push(Shard {
                file,
                first_row,
                rows,
            });
            first_row += rows;
        }
        Ok(())
    }

    /// Writes the items at hand as one file.
    fn write_items(&mut self) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        let count = items.len() as u64;
        let bytes = items_file(items, &self.metadata)?;
        let file = FileRef::of(ITEMS, "json", &bytes);
        self.folder.write_named(&file, &bytes)?;
        let last = self.items_shards.last();
        self.items_shards.push(ItemsShard {
            file,
            first_item: last.map_or(0, |s| s.first_item + s.items),
            items: count,
        });
        Ok(())
    }
}
