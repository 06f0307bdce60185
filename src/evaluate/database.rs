//! The items that exemplars are hidden among: float rows of any container, or a packed index.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::clustered::ClusteredRows;
use super::features::read_list;
use super::sources::MapperName;
use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};
use crate::features::{Columns, FeatureSet, FeaturesBackbone, FeaturesHead, RowSource};
use crate::format::manifest::ItemColumns;
use crate::format::shard::{self, FineShard};
use crate::format::{FileRef, Manifest};
use crate::source::folder::Folder;
use crate::source::{MANIFEST_BYTES_MAX, Source};

/// The manifest of a packed index.
const MANIFEST: &str = "manifest.json";

/// An opened database.
pub(super) struct Database {
    /// The path, for messages.
    pub name: String,
    /// The backbone that made the rows, where it is known.
    pub backbone: Option<FeaturesBackbone>,
    /// Names of the rows, where they are known.
    names: Option<HashSet<String>>,
    content: Content,
}

enum Content {
    /// With the list of its rows' names, if there is one.
    Matrix {
        rows: Box<NpyFile>,
        list: Option<PathBuf>,
    },
    Set(Box<FeatureSet>),
    /// `[rows, dimension]`
    Held(Vec<f32>, usize),
    Index {
        folder: Folder,
        manifest: Box<Manifest>,
    },
    Clustered {
        manifest: Box<Manifest>,
        rows: Box<ClusteredRows>,
    },
}

/// Rows that were read at a time.
pub(super) enum Block {
    /// `[rows, dimension]`
    Rows(Vec<f32>),
    /// Of a flat index.
    Shard(FineShard),
    /// Of a clustered index, `[rows, dimension]`: what the int8 rows stand for, to be compared as it is.
    Restored(Vec<f32>),
}

impl Database {
    /// Opens a `.npy` matrix (with the list `.txt` beside it, if there is one), a packed index (its folder
    /// or its manifest), or anything else that [`FeatureSet`] reads.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] and those of the containers for what is none of these, has no
    /// rows, or a list of another length.
    pub fn open(path: &Path) -> Result<Self> {
        let database = if path.extension().is_some_and(|ending| ending == "npy") {
            Self::open_matrix(path)?
        } else if path.file_name().is_some_and(|name| name == MANIFEST) {
            Self::open_index(path.parent().unwrap_or(Path::new("")), path)?
        } else if path.join(MANIFEST).is_file() {
            Self::open_index(path, path)?
        } else {
            let rows = FeatureSet::open(path, None, &Columns::default())?;
            let names = rows.items()?.map(|item| Ok(item?.name));
            Self {
                name: path.display().to_string(),
                backbone: match rows.backbone() {
                    Some(backbone) => Some(backbone.clone()),
                    None => backbone_beside(path)?,
                },
                names: Some(names.collect::<Result<_>>()?),
                content: Content::Set(Box::new(rows)),
            }
        };
        let [items, dimension] = database.shape();
        if items == 0 || dimension == 0 {
            let reason = format!("a matrix of {items} x {dimension} values, where none may be 0");
            return Err(Error::format(database.name, reason));
        }
        Ok(database)
    }

    /// A database of `values`, `[rows, dimension]`, which stand for those of `whole`; its rows have no names.
    pub(super) fn held(values: Vec<f32>, dimension: usize, whole: &Self) -> Self {
        Self {
            name: whole.name.clone(),
            backbone: whole.backbone.clone(),
            names: None,
            content: Content::Held(values, dimension),
        }
    }

    fn open_matrix(path: &Path) -> Result<Self> {
        let rows = NpyFile::open(path)?;
        let list = path.with_extension("txt");
        let list = list.is_file().then_some(list);
        let names = match &list {
            Some(list) => Some(read_list(list, rows.shape()[0])?),
            None => None,
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let head = FeaturesHead::read(folder)?;
        if let (Some(head), Some(stem)) = (&head, path.file_stem()) {
            head.check(folder, &stem.to_string_lossy(), rows.shape())?;
        }
        Ok(Self {
            name: path.display().to_string(),
            backbone: head.and_then(|head| head.backbone),
            names: names.map(|names| names.into_iter().collect()),
            content: Content::Matrix {
                rows: Box::new(rows),
                list,
            },
        })
    }

    fn open_index(folder: &Path, path: &Path) -> Result<Self> {
        let manifest_file = folder.join(MANIFEST);
        let source = Folder::new(folder);
        let bytes = pollster::block_on(source.read_manifest(MANIFEST))?;
        let manifest = Manifest::parse(&manifest_file.display().to_string(), &bytes)?;
        let rows = manifest
            .clusters
            .as_ref()
            .map(|clusters| ClusteredRows::open(source.clone(), clusters, &manifest))
            .transpose()?;
        let flat = manifest.items.shards.iter().map(|items| items.file.clone());
        let files: Vec<FileRef> = match &rows {
            Some(rows) => rows.items_files(),
            None => flat.collect(),
        };
        let mut names = HashSet::new();
        for file in files {
            let bytes = read_file(&source, &file)?;
            let columns: ItemColumns = serde_json::from_slice(&bytes)
                .map_err(|e| Error::format(&file.file, e.to_string()))?;
            names.extend(columns.names);
        }
        Ok(Self {
            name: path.display().to_string(),
            backbone: Some(FeaturesBackbone {
                name: manifest.backbone.name.clone(),
                identity: manifest.backbone.identity.clone(),
            }),
            names: Some(names),
            content: match rows {
                Some(rows) => Content::Clustered {
                    manifest: Box::new(manifest),
                    rows: Box::new(rows),
                },
                None => Content::Index {
                    folder: source,
                    manifest: Box::new(manifest),
                },
            },
        })
    }

    /// Rows and the values of each, as they are stored.
    pub fn shape(&self) -> [usize; 2] {
        match &self.content {
            Content::Matrix { rows, .. } => rows.shape(),
            Content::Set(rows) => rows.shape(),
            Content::Held(values, dimension) => [values.len() / dimension, *dimension],
            // At most 2^31 rows.
            Content::Index { manifest, .. } | Content::Clustered { manifest, .. } => {
                [manifest.count as usize, manifest.dimension]
            }
        }
    }

    /// The float rows.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a packed index, which has none.
    pub fn rows(&self) -> Result<&dyn RowSource> {
        match &self.content {
            Content::Matrix { rows, .. } => Ok(&**rows),
            Content::Set(rows) => Ok(&**rows),
            Content::Held(..) => Err(Error::invalid(format!("{}: rows in memory", self.name))),
            Content::Index { .. } | Content::Clustered { .. } => Err(Error::invalid(format!(
                "{}: a packed index, where float rows are needed",
                self.name
            ))),
        }
    }

    /// Whether it is a packed index, and then the pair of mappers, real and synth, that it was made with.
    pub fn index_mappers(&self) -> Option<[Option<MapperName>; 2]> {
        let (Content::Index { manifest, .. } | Content::Clustered { manifest, .. }) = &self.content
        else {
            return None;
        };
        let sides = [&manifest.real_mapper, &manifest.synth_mapper];
        Some(sides.map(|side| {
            side.as_ref().map(|mapper| MapperName {
                name: mapper.name.clone(),
                identity: mapper.identity.clone(),
            })
        }))
    }

    /// Names of the float rows, in order; none where they are not known.
    ///
    /// # Errors
    /// [`Error::Io`] and those of the container, also from the iterator.
    pub fn row_names(&self) -> Result<Box<dyn Iterator<Item = Result<String>> + '_>> {
        Ok(match &self.content {
            // Read again rather than held in order by everyone who opens a database.
            Content::Matrix {
                rows,
                list: Some(list),
            } => Box::new(read_list(list, rows.shape()[0])?.into_iter().map(Ok)),
            Content::Set(rows) => Box::new(rows.items()?.map(|item| Ok(item?.name))),
            _ => Box::new(std::iter::empty()),
        })
    }

    /// The rows of a clustered index.
    pub(super) fn clustered(&self) -> Option<&ClusteredRows> {
        match &self.content {
            Content::Clustered { rows, .. } => Some(rows),
            _ => None,
        }
    }

    /// Whether the names of the rows are known and one is `path`.
    pub fn names(&self, path: &str) -> bool {
        self.names
            .as_ref()
            .is_some_and(|names| names.contains(path))
    }

    /// The rows in parts, in order: of about `block_rows` float rows, or one shard of a flat index.
    ///
    /// # Errors
    /// [`Error::Format`] for an index without rows that can be read.
    pub(super) fn blocks(&self, block_rows: usize) -> Result<Vec<Range<usize>>> {
        Ok(match &self.content {
            Content::Matrix { .. } | Content::Set(_) | Content::Held(..) => {
                let count = self.shape()[0];
                let starts = (0..count).step_by(block_rows.max(1));
                starts
                    .map(|first| first..count.min(first.saturating_add(block_rows)))
                    .collect()
            }
            Content::Index { manifest, .. } => {
                let shards = manifest.fine(&self.name)?.shards.iter();
                shards
                    .map(|s| s.first_row as usize..(s.first_row + s.rows) as usize)
                    .collect()
            }
            Content::Clustered { rows, .. } => rows.blocks(block_rows),
        })
    }

    /// Reads part `at` of `blocks`; past the last there is nothing.
    ///
    /// # Errors
    /// Those of the container; [`Error::Integrity`] and [`Error::Format`] for a shard.
    pub(super) fn read(&self, blocks: &[Range<usize>], at: usize) -> Result<Block> {
        let Some(range) = blocks.get(at) else {
            return Ok(Block::Rows(Vec::new()));
        };
        match &self.content {
            Content::Matrix { .. } | Content::Set(_) => {
                let values = self.rows()?.read_rows_f32(range.start, range.len())?;
                Ok(Block::Rows(values))
            }
            Content::Held(values, dimension) => {
                let values = &values[range.start * dimension..range.end * dimension];
                Ok(Block::Rows(values.to_vec()))
            }
            Content::Index { folder, manifest } => {
                let layer = manifest.fine(&self.name)?;
                let file = layer.shards.get(at).map(|shard| &shard.file);
                let file = file.ok_or_else(|| Error::format(&self.name, "a shard is missing"))?;
                let decoded = shard::decode(&file.file, &read_file(folder, file)?)?;
                let found = (decoded.first_row, decoded.rows(), decoded.dimension);
                if found != (range.start as u64, range.len(), manifest.dimension) {
                    let reason = "its rows are not those that the manifest says";
                    return Err(Error::format(&file.file, reason));
                }
                Ok(Block::Shard(decoded))
            }
            Content::Clustered { rows, .. } => Ok(Block::Restored(rows.read(range.clone())?)),
        }
    }
}

/// The content of a file of an index, verified.
pub(super) fn read_file(source: &Folder, file: &FileRef) -> Result<Vec<u8>> {
    if file.bytes > MANIFEST_BYTES_MAX {
        let reason = format!("{} bytes, the limit is {MANIFEST_BYTES_MAX}", file.bytes);
        return Err(Error::format(&file.file, reason));
    }
    Ok(pollster::block_on(source.read(file, &|_| {}))?.bytes)
}

/// The backbone that the head beside the container at `path` names.
fn backbone_beside(path: &Path) -> Result<Option<FeaturesBackbone>> {
    let folder = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(Path::new("")),
    };
    Ok(FeaturesHead::read(folder)?.and_then(|head| head.backbone))
}
