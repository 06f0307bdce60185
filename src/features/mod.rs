//! Features that were computed elsewhere: rows of floats, each with the name of its image.
//!
//! | what | how it is recognised | names |
//! |---|---|---|
//! | `.npy` matrix | its first bytes | a list beside it, one name a line |
//! | torch file, also safetensors | its first bytes | the list `paths` in it, or a list beside it |
//! | clip-retrieval folder | a folder `img_emb` | columns of `metadata/*.parquet` |
//! | folder of `extract` | `database.npy` | `database.txt` |
//!
//! There may be millions of rows, so nothing but names is held, and those of clip-retrieval are not:
//! rows are read where they are asked for, items in the order of the rows. Invariant after
//! [`FeatureSet::open`]: there is a row, there are as many names, and all rows have one dimension.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};

mod clip_retrieval;
mod extracted;
mod parquet_text;
mod torch_rows;

pub use clip_retrieval::Columns;
pub use extracted::{DATABASE, FEATURES_FORMAT, FEATURES_HEAD, FeaturesBackbone, FeaturesHead};

use clip_retrieval::ClipRetrieval;
use torch_rows::TorchRows;

/// Duplicates that an error names.
const NAMED: usize = 3;

/// A matrix of floating-point rows that is read in parts.
pub trait RowSource: Send + Sync {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// Rows `first .. first + count`, row-major `[count, columns]`, converted to f32.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for rows that the matrix does not have; [`Error::Io`] and those of
    /// the container.
    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>>;

    /// What the matrix is called in messages: a path.
    fn label(&self) -> String;
}

impl RowSource for NpyFile {
    fn shape(&self) -> [usize; 2] {
        self.shape()
    }

    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        self.read_rows_f32(first, count)
    }

    fn label(&self) -> String {
        self.name().to_owned()
    }
}

/// What is known of one row's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureItem {
    pub name: String,
    pub caption: Option<String>,
    pub link: Option<String>,
    /// Whatever else is known, as text, by the name of its column.
    pub fields: BTreeMap<String, String>,
}

/// Items in the order of the rows, exactly one a row unless one is an error, which is the last then.
pub type FeatureItems<'a> = Box<dyn Iterator<Item = Result<FeatureItem>> + Send + 'a>;

/// What to do about names that stand twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Refuse them.
    Stop,
    /// Keep each as a row of its own.
    Keep,
}

/// Opened features.
pub struct FeatureSet {
    label: String,
    kind: Kind,
    backbone: Option<FeaturesBackbone>,
}

enum Kind {
    /// The text of a list has one name a line.
    Npy {
        rows: NpyFile,
        list: String,
    },
    Torch {
        rows: Box<TorchRows>,
        list: Option<String>,
    },
    ClipRetrieval(ClipRetrieval),
}

impl FeatureSet {
    /// Opens the features at `path`, recognised by content. `names` is a list for those that bring
    /// none, `columns` chooses columns of clip-retrieval's tables.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`], [`Error::Checkpoint`] or [`Error::Refused`] for what is damaged
    /// or none of the above; [`Error::InvalidArgument`] for names that are missing, too many or of
    /// another count than the rows, and for columns of something without any.
    pub fn open(path: &Path, names: Option<&Path>, columns: &Columns) -> Result<Self> {
        let label = path.display().to_string();
        let (kind, backbone) = if path.is_dir() {
            open_folder(path, names, columns)?
        } else {
            (open_file(path, names)?, None)
        };
        if *columns != Columns::default() && !matches!(kind, Kind::ClipRetrieval(_)) {
            let what = format!("{label}: has no columns to choose; clip-retrieval folders have");
            return Err(Error::invalid(what));
        }
        let set = Self {
            label,
            kind,
            backbone,
        };
        let [rows, dimension] = set.shape();
        if rows == 0 || dimension == 0 {
            let reason = format!("{rows} rows of {dimension} values, where neither may be 0");
            return Err(Error::format(set.label, reason));
        }
        if let Some(known) = set.names_known()
            && known != rows
        {
            let what = format!("{}: {rows} rows but {known} names", set.label);
            return Err(Error::invalid(what));
        }
        Ok(set)
    }

    /// The backbone that made the features, where they state it.
    pub fn backbone(&self) -> Option<&FeaturesBackbone> {
        self.backbone.as_ref()
    }

    /// The items from the first row on. Any number of such passes may be made.
    ///
    /// # Errors
    /// [`Error::Io`] and those of the container, also from the iterator.
    pub fn items(&self) -> Result<FeatureItems<'_>> {
        let named = |name: &str| {
            Ok(FeatureItem {
                name: name.to_owned(),
                ..FeatureItem::default()
            })
        };
        Ok(match &self.kind {
            Kind::Npy { list, .. }
            | Kind::Torch {
                list: Some(list), ..
            } => Box::new(list.lines().map(named)),
            Kind::Torch { rows, list: None } => {
                Box::new(rows.paths().iter().map(move |name| named(name)))
            }
            Kind::ClipRetrieval(set) => Box::new(set.items()),
        })
    }

    /// What is done about duplicates unless asked otherwise. Paths name one image each, so one that
    /// stands twice is a mistake; the web addresses of clip-retrieval repeat as a matter of course.
    pub fn default_duplicates(&self) -> Duplicates {
        match self.kind {
            Kind::ClipRetrieval(_) => Duplicates::Keep,
            _ => Duplicates::Stop,
        }
    }

    /// Refuses names that stand more than once. Reads all of them; holds 16 bytes of digest for each.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the number of duplicates and the first of them; those of
    /// [`items`](Self::items).
    pub fn check_duplicates(&self) -> Result<()> {
        let mut seen = HashSet::with_capacity(self.shape()[0]);
        let (mut count, mut first) = (0usize, Vec::new());
        for item in self.items()? {
            let name = item?.name;
            let mut digest = [0; 16];
            digest.copy_from_slice(&Sha256::digest(&name)[..16]);
            if !seen.insert(digest) {
                count += 1;
                if first.len() < NAMED {
                    first.push(format!("{name:?}"));
                }
            }
        }
        if count > 0 {
            return Err(Error::invalid(format!(
                "{}: {count} of {} names stand there before, the first {}; `--duplicates keep` packs them all",
                self.label,
                self.shape()[0],
                first.join(", ")
            )));
        }
        Ok(())
    }

    fn rows(&self) -> &dyn RowSource {
        match &self.kind {
            Kind::Npy { rows, .. } => rows,
            Kind::Torch { rows, .. } => &**rows,
            Kind::ClipRetrieval(rows) => rows,
        }
    }

    /// The number of names where they are held; clip-retrieval checks it table by table.
    fn names_known(&self) -> Option<usize> {
        match &self.kind {
            Kind::Npy { list, .. }
            | Kind::Torch {
                list: Some(list), ..
            } => Some(list.lines().count()),
            Kind::Torch { rows, list: None } => Some(rows.paths().len()),
            Kind::ClipRetrieval(_) => None,
        }
    }
}

impl RowSource for FeatureSet {
    fn shape(&self) -> [usize; 2] {
        self.rows().shape()
    }

    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        self.rows().read_rows_f32(first, count)
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

fn open_folder(
    path: &Path,
    names: Option<&Path>,
    columns: &Columns,
) -> Result<(Kind, Option<FeaturesBackbone>)> {
    let label = path.display().to_string();
    let database = path.join(DATABASE).with_extension("npy");
    let clip_retrieval = path.join(clip_retrieval::EMBEDDINGS).is_dir();
    if !clip_retrieval && !database.is_file() {
        let reason = "neither img_emb/ of clip-retrieval nor database.npy of `extract` is in it";
        return Err(Error::format(label, reason));
    }
    if names.is_some() {
        return Err(Error::invalid(format!(
            "{label}: brings its own names, so --names has no place"
        )));
    }
    if clip_retrieval {
        let set = ClipRetrieval::open(path, columns)?;
        return Ok((Kind::ClipRetrieval(set), None));
    }
    let rows = NpyFile::open(&database)?;
    let list = read_list(path.join(DATABASE).with_extension("txt"))?;
    let backbone = FeaturesHead::read_beside(path, rows.shape())?.and_then(|head| head.backbone);
    Ok((Kind::Npy { rows, list }, backbone))
}

fn open_file(path: &Path, names: Option<&Path>) -> Result<Kind> {
    let mut magic = Vec::new();
    let head = File::open(path).and_then(|file| file.take(6).read_to_end(&mut magic));
    head.map_err(|e| Error::io(path, e))?;
    let list = names.map(read_list).transpose()?;
    if magic != b"\x93NUMPY" {
        let rows = TorchRows::open(path, list.is_none())?;
        let rows = Box::new(rows);
        return Ok(Kind::Torch { rows, list });
    }
    let list = list.ok_or_else(|| {
        Error::invalid(format!(
            "{}: a matrix without names; give a list of them, one a line, with --names",
            path.display()
        ))
    })?;
    let rows = NpyFile::open(path)?;
    Ok(Kind::Npy { rows, list })
}

fn read_list(path: impl Into<PathBuf>) -> Result<String> {
    let path = path.into();
    std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))
}
