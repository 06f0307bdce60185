//! The output of clip-retrieval: `img_emb/img_emb_<i>.npy` with `metadata/metadata_<i>.parquet` beside.
//!
//! The parts follow each other by number. Each is opened when it is read, as there may be more of them
//! than files may be open. Invariant: a matrix and its table have equally many rows, and every table has
//! the columns that are read.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::parquet_text::{Table, TextColumn};
use super::{FeatureItem, RowSource};
use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};

/// Folder of the matrices.
pub(super) const EMBEDDINGS: &str = "img_emb";
const METADATA: &str = "metadata";
/// Columns that a name is taken from, the first that there is.
const NAMES: [&str; 3] = ["image_path", "url", "key"];
const CAPTION: &str = "caption";
const LINK: &str = "url";
/// Items that are held at the same time.
const BATCH: usize = 4096;

/// Columns of the tables; `None` chooses by the usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Columns {
    /// By default the first of `image_path`, `url` and `key` that the first table has.
    pub name: Option<String>,
    /// By default `caption`, if the first table has it.
    pub caption: Option<String>,
    /// By default `url`, if the first table has it.
    pub link: Option<String>,
    /// Further columns, by default all others of text, numbers or truth values that the first table has.
    pub fields: Option<Vec<String>>,
}

/// An opened folder.
pub(super) struct ClipRetrieval {
    label: String,
    parts: Vec<Part>,
    shape: [usize; 2],
    name: String,
    caption: Option<String>,
    link: Option<String>,
    fields: Vec<String>,
}

struct Part {
    matrix: PathBuf,
    table: PathBuf,
    /// Rows of the parts before.
    first: usize,
    rows: usize,
}

impl ClipRetrieval {
    /// Opens `folder`: finds its parts and compares their descriptions.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a part that is damaged, lacks its table, or differs from the
    /// others in dimension or from its table in rows; [`Error::InvalidArgument`] for a column that is not
    /// there.
    pub fn open(folder: &Path, columns: &Columns) -> Result<Self> {
        let matrices = numbered(&folder.join(EMBEDDINGS), "img_emb_", "npy")?;
        let mut tables = numbered(&folder.join(METADATA), "metadata_", "parquet")?;
        let mut set = Self {
            label: folder.display().to_string(),
            parts: Vec::new(),
            shape: [0, 0],
            name: String::new(),
            caption: None,
            link: None,
            fields: Vec::new(),
        };
        for (number, matrix) in matrices {
            let Some(table) = tables.remove(&number) else {
                let reason = format!("has no {METADATA}/metadata_{number}.parquet beside");
                return Err(Error::format(matrix.display().to_string(), reason));
            };
            set.add(matrix, table, columns)?;
        }
        if let Some(table) = tables.values().next() {
            let reason = format!("has no matrix beside in {EMBEDDINGS}");
            return Err(Error::format(table.display().to_string(), reason));
        }
        Ok(set)
    }

    fn add(&mut self, matrix: PathBuf, table: PathBuf, columns: &Columns) -> Result<()> {
        let [rows, dimension] = NpyFile::open(&matrix)?.shape();
        let [first, expected] = self.shape;
        let bad = |reason: String| Error::format(matrix.display().to_string(), reason);
        if !self.parts.is_empty() && dimension != expected {
            let reason = format!("rows of {dimension} values, those before have {expected}");
            return Err(bad(reason));
        }
        let opened = Table::open(&table)?;
        if opened.rows() != rows {
            let (table, found) = (table.display(), opened.rows());
            return Err(bad(format!("{rows} rows, but {table} has {found}")));
        }
        if self.parts.is_empty() {
            self.choose(&opened, columns)?;
        }
        let optional = [&self.caption, &self.link];
        for column in optional
            .into_iter()
            .flatten()
            .chain([&self.name])
            .chain(&self.fields)
        {
            opened.text(column)?;
        }
        let total = first.checked_add(rows);
        self.shape = [total.ok_or_else(|| bad("too many rows".into()))?, dimension];
        self.parts.push(Part {
            matrix,
            table,
            first,
            rows,
        });
        Ok(())
    }

    fn choose(&mut self, table: &Table, columns: &Columns) -> Result<()> {
        let usual = |name: &str| table.has(name).then(|| name.to_owned());
        let name = columns.name.clone();
        self.name = name
            .or_else(|| NAMES.into_iter().find_map(usual))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{}: no column {} to name the images; there are {}; choose one with --name-column",
                    self.label,
                    NAMES.join(" or "),
                    table.listed()
                ))
            })?;
        self.caption = columns.caption.clone().or_else(|| usual(CAPTION));
        self.link = columns.link.clone().or_else(|| usual(LINK));
        let taken = [Some(&self.name), self.caption.as_ref(), self.link.as_ref()];
        let others = table.text_columns().into_iter();
        let others = others.filter(|column| !taken.contains(&Some(column)));
        self.fields = columns.fields.clone().unwrap_or_else(|| others.collect());
        Ok(())
    }

    /// The items in order. A row without a name gets that of its place, such as `metadata_0/17`.
    pub fn items(&self) -> impl Iterator<Item = Result<FeatureItem>> + Send + '_ {
        let mut batches = self.parts.iter().map(|part| Batches::new(self, part));
        let mut current: Option<Batches> = None;
        let mut ready = VecDeque::new();
        let mut failed = false;
        std::iter::from_fn(move || {
            while ready.is_empty() && !failed {
                let batch = match &mut current {
                    Some(open) if open.next < open.rows => open.read(),
                    _ => batches.next()?.map(|open| {
                        current = Some(open);
                        Vec::new()
                    }),
                };
                match batch {
                    Ok(items) => ready.extend(items),
                    Err(error) => {
                        failed = true;
                        return Some(Err(error));
                    }
                }
            }
            ready.pop_front().map(Ok)
        })
    }
}

impl RowSource for ClipRetrieval {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let outside = || {
            let rows = self.shape[0];
            let label = &self.label;
            Error::invalid(format!(
                "{count} rows from row {first} of {label}, which has {rows}"
            ))
        };
        let end = first.checked_add(count).filter(|&end| end <= self.shape[0]);
        let end = end.ok_or_else(outside)?;
        let mut values = Vec::new();
        let from = self
            .parts
            .partition_point(|part| part.first + part.rows <= first);
        for part in self
            .parts
            .iter()
            .skip(from)
            .take_while(|part| part.first < end)
        {
            let start = first.max(part.first);
            let stop = end.min(part.first + part.rows);
            let matrix = NpyFile::open(&part.matrix)?;
            if matrix.shape() != [part.rows, self.shape[1]] {
                let reason = "has changed since it was opened";
                return Err(Error::format(matrix.name(), reason));
            }
            let part = matrix.read_rows_f32(start - part.first, stop - start)?;
            if values.is_empty() {
                values = part;
            } else {
                values.extend(part);
            }
        }
        Ok(values)
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

/// The items of one part, read in batches.
struct Batches {
    /// The table's file name without ending.
    stem: String,
    rows: usize,
    next: usize,
    name: TextColumn,
    caption: Option<TextColumn>,
    link: Option<TextColumn>,
    fields: Vec<(String, TextColumn)>,
}

impl Batches {
    fn new(set: &ClipRetrieval, part: &Part) -> Result<Self> {
        let table = Table::open(&part.table)?;
        let open = |column: &Option<String>| column.as_ref().map(|c| table.text(c)).transpose();
        Ok(Self {
            stem: part
                .table
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            rows: part.rows,
            next: 0,
            name: table.text(&set.name)?,
            caption: open(&set.caption)?,
            link: open(&set.link)?,
            fields: set
                .fields
                .iter()
                .map(|column| Ok((column.clone(), table.text(column)?)))
                .collect::<Result<_>>()?,
        })
    }

    fn read(&mut self) -> Result<Vec<FeatureItem>> {
        let count = BATCH.min(self.rows - self.next);
        let names = self.name.read(count)?;
        let read = |column: &mut Option<TextColumn>| match column {
            Some(column) => column.read(count),
            None => Ok(vec![None; count]),
        };
        let (captions, links) = (read(&mut self.caption)?, read(&mut self.link)?);
        let mut fields = vec![BTreeMap::new(); count];
        for (name, column) in &mut self.fields {
            for (fields, text) in fields.iter_mut().zip(column.read(count)?) {
                fields.extend(text.map(|text| (name.clone(), text)));
            }
        }
        let rows = self.next..;
        self.next += count;
        let columns = names.into_iter().zip(captions).zip(links).zip(fields);
        Ok(columns
            .zip(rows)
            .map(|((((name, caption), link), fields), row)| FeatureItem {
                name: name.unwrap_or_else(|| format!("{}/{row}", self.stem)),
                caption,
                link,
                fields,
            })
            .collect())
    }
}

/// The files `<prefix><number>.<ending>` of a folder by number.
fn numbered(folder: &Path, prefix: &str, ending: &str) -> Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let number = path
            .file_name()
            .and_then(|name| {
                name.to_str()?
                    .strip_prefix(prefix)?
                    .strip_suffix(ending)?
                    .strip_suffix('.')
            })
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        let Some(number) = number else { continue };
        if files.insert(number, path).is_some() {
            let reason = format!("two files are {prefix}{number}.{ending} but for leading zeros");
            return Err(Error::format(folder.display().to_string(), reason));
        }
    }
    Ok(files)
}
