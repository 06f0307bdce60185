//! Writing the files of an index, manifest last.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::metadata::{self, Metadata};
use super::{Item, PackOptions};
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::format::manifest::{BackboneRef, ItemColumns, MANIFEST_FORMAT, Totals};
use crate::format::shard::{self, VERSION, row_stride};
use crate::format::{FileRef, Items, ItemsShard, Layer, Manifest, ModelHead, Shard, Thumbnails};
use crate::score::query::normalised;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// Folder of the thumbnails.
pub const THUMBNAILS: &str = "thumbnails";
const FINE: &str = "fine";
const ITEMS: &str = "items";
const MODEL: &str = "model";

/// Bytes that a shard aims at; small sets get smaller ones, so that results can stream.
const SHARD_BYTES: usize = 2 << 20;
/// Shards that an index has at least, as far as its rows allow.
const SHARDS_MIN: usize = 8;
const ITEMS_PER_FILE: usize = 4096;

/// Collects rows and writes the index.
///
/// Rows are held as f32 until the end, because the size of the shards depends on how many there are:
/// 400 MB for 100,000 rows of 1,024.
pub struct IndexWriter<'a> {
    options: &'a PackOptions,
    head: ModelHead,
    metadata: HashMap<String, Metadata>,
    rows: Vec<f32>,
    items: Vec<Item>,
}

impl<'a> IndexWriter<'a> {
    pub fn new(options: &'a PackOptions, head: ModelHead) -> Result<Self> {
        fs::create_dir_all(&options.out).map_err(|e| Error::io(&options.out, e))?;
        Ok(Self {
            options,
            head,
            metadata: match &options.metadata {
                Some(path) => metadata::read(path)?,
                None => HashMap::new(),
            },
            rows: Vec::new(),
            items: Vec::new(),
        })
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        self.items.len()
    }

    /// Adds one feature [D]; the inner error says why it cannot be a row.
    pub fn push(&mut self, item: Item, feature: &[f32]) -> Result<Result<(), String>> {
        match normalised(feature) {
            Ok(unit) => {
                self.rows.extend_from_slice(&unit);
                self.items.push(item);
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Writes everything and returns the manifest.
    pub fn finish(mut self) -> Result<Manifest> {
        let out = &self.options.out;
        let count = self.items.len();
        let head_ref = self.write_model()?;
        let shards = self.write_rows()?;
        let items = self.write_items()?;
        let rows_bytes: u64 = shards.iter().map(|s| s.file.bytes).sum();
        let items_bytes: u64 = items.iter().map(|s| s.file.bytes).sum();
        let manifest = Manifest {
            format: MANIFEST_FORMAT.into(),
            version: VERSION,
            title: self.options.title.clone(),
            description: self.options.description.clone(),
            backbone: BackboneRef {
                name: self.head.name.clone(),
                identity: self.head.identity.clone(),
                head: head_ref.clone(),
            },
            real_mapper: None,
            synth_mapper: None,
            dimension: self.head.dimension,
            count: count as u64,
            calibrator: self.options.calibrator,
            layers: vec![Layer {
                kind: "fine".into(),
                encoding: "int8-row-scale".into(),
                rows: count as u64,
                shards,
            }],
            items: Items { shards: items },
            thumbnails: self
                .items
                .iter()
                .any(|i| i.thumbnail.is_some())
                .then(|| Thumbnails {
                    folder: THUMBNAILS.into(),
                    media_type: "image/jpeg".into(),
                    short_side: self.options.thumbnail,
                }),
            totals: Totals {
                model_bytes: head_ref.bytes + self.head.bytes(),
                index_bytes: rows_bytes + items_bytes,
            },
        };
        // A manifest that no reader would take must not replace one that they do.
        let written = serde_json::to_vec(&manifest).unwrap_or_default();
        Manifest::parse(MANIFEST, &written)?;
        write_json(&out.join(MANIFEST), &manifest)?;
        self.remove_stale(&manifest)?;
        Ok(manifest)
    }

    fn write_model(&self) -> Result<FileRef> {
        let folder = self.options.out.join(MODEL);
        for file in &self.head.files {
            let (from, to) = (self.options.model.join(&file.file), folder.join(&file.file));
            if fs::read(&to).is_ok_and(|bytes| file.verify(&bytes).is_ok()) {
                continue;
            }
            let bytes = fs::read(&from).map_err(|e| Error::io(&from, e))?;
            file.verify(&bytes)?;
            write_atomically(&to, &bytes)?;
        }
        let bytes = serde_json::to_vec(&self.head)
            .map_err(|e| Error::format("model head", e.to_string()))?;
        let head = FileRef::of(MODEL, "json", &bytes);
        write_atomically(&self.options.out.join(&head.file), &bytes)?;
        Ok(head)
    }

    fn write_rows(&self) -> Result<Vec<Shard>> {
        let dimension = self.head.dimension;
        let by_size = SHARD_BYTES / (4 + row_stride(dimension));
        let by_count = self.items.len().div_ceil(SHARDS_MIN).max(32);
        let rows_per_shard = by_size.min(by_count).max(1);
        let mut shards = Vec::new();
        let mut first_row = 0;
        for rows in self.rows.chunks(rows_per_shard * dimension) {
            let bytes = shard::encode(first_row, dimension, rows)?;
            let file = FileRef::of(FINE, "bin", &bytes);
            write_atomically(&self.options.out.join(&file.file), &bytes)?;
            let rows = (rows.len() / dimension) as u64;
            shards.push(Shard {
                file,
                first_row,
                rows,
            });
            first_row += rows;
        }
        Ok(shards)
    }

    fn write_items(&mut self) -> Result<Vec<ItemsShard>> {
        let mut shards = Vec::new();
        let mut first_item = 0;
        for items in self.items.chunks(ITEMS_PER_FILE) {
            let metadata: Vec<Metadata> = items
                .iter()
                .map(|item| self.metadata.remove(&item.name).unwrap_or_default())
                .collect();
            let sized = items.iter().all(|item| item.size.is_some());
            let size = |pick: fn((u32, u32)) -> u32| match sized {
                true => items
                    .iter()
                    .filter_map(|item| item.size.map(pick))
                    .collect(),
                false => Vec::new(),
            };
            let optional = |pick: fn(&Metadata) -> Option<String>| match metadata
                .iter()
                .any(|m| pick(m).is_some())
            {
                true => metadata.iter().map(pick).collect(),
                false => Vec::new(),
            };
            let columns = ItemColumns {
                names: items.iter().map(|item| item.name.clone()).collect(),
                widths: size(|s| s.0),
                heights: size(|s| s.1),
                thumbnails: match items.iter().any(|item| item.thumbnail.is_some()) {
                    true => items
                        .iter()
                        .map(|i| i.thumbnail.clone().unwrap_or_default())
                        .collect(),
                    false => Vec::new(),
                },
                captions: optional(|m| m.caption.clone()),
                links: optional(|m| m.link.clone()),
            };
            let bytes =
                serde_json::to_vec(&columns).map_err(|e| Error::format("items", e.to_string()))?;
            let file = FileRef::of(ITEMS, "json", &bytes);
            write_atomically(&self.options.out.join(&file.file), &bytes)?;
            let items = items.len() as u64;
            shards.push(ItemsShard {
                file,
                first_item,
                items,
            });
            first_item += items;
        }
        Ok(shards)
    }

    /// Removes files of an earlier pack that the new manifest does not name.
    fn remove_stale(&self, manifest: &Manifest) -> Result<()> {
        let out = &self.options.out;
        let thumbnails = self.items.iter().filter_map(|i| i.thumbnail.as_ref());
        let wanted: HashSet<PathBuf> = manifest
            .files(&self.head)
            .into_iter()
            .chain(thumbnails.map(|name| format!("{THUMBNAILS}/{name}")))
            .map(|name| out.join(name))
            .collect();
        for folder in [FINE, ITEMS, MODEL, THUMBNAILS] {
            remove_unwanted(&out.join(folder), &wanted)?;
        }
        Ok(())
    }
}

/// Whether a file has the form of name that only a pack gives; others are never touched.
fn is_content_named(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    let ending = path.extension().and_then(|s| s.to_str()).unwrap_or("");
    stem.len() == 32
        && stem.bytes().all(|b| b"0123456789abcdef".contains(&b))
        && ["bin", "json", "jpg"].contains(&ending)
}

fn remove_unwanted(folder: &Path, wanted: &HashSet<PathBuf>) -> Result<()> {
    for entry in walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
    {
        let ours = is_content_named(entry.path()) && !wanted.contains(entry.path());
        if entry.file_type().is_file() && ours {
            fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}
