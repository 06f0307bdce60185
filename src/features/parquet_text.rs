//! Columns of a Parquet table as text, some rows at a time.
//!
//! A table comes from outside and may be damaged or hostile. Only the pages at hand are held. Columns
//! that do not lie inside the file are refused; the decoder panics at some other damage, and a panic in it
//! becomes an error of the file.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Once};

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::error::{Error, Result};

/// An opened table.
pub(super) struct Table {
    /// The path, for messages.
    file: String,
    reader: Arc<SerializedFileReader<File>>,
    rows: usize,
    /// Length of the file.
    bytes: u64,
}

/// A column of a table, read from front to back.
pub(super) struct TextColumn {
    file: String,
    name: String,
    reader: Arc<SerializedFileReader<File>>,
    leaf: usize,
    /// The row group to open next.
    next_group: usize,
    open: Option<ColumnReader>,
    /// Rows of the open row group that are still to come.
    left: usize,
}

impl Table {
    /// Opens a table and reads its description.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] when it is damaged or no Parquet table.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let bytes = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let reader = guarded(&name, || SerializedFileReader::new(file))?;
        let groups = reader.metadata().row_groups().iter();
        let rows = groups
            .map(|group| usize::try_from(group.num_rows()).ok())
            .try_fold(0usize, |sum, rows| sum.checked_add(rows?))
            .ok_or_else(|| Error::format(&name, "a row group has an impossible number of rows"))?;
        Ok(Self {
            file: name,
            reader: Arc::new(reader),
            rows,
            bytes,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is a column `name`.
    pub fn has(&self, name: &str) -> bool {
        self.column_names().any(|column| column == name)
    }

    /// The columns that there are, for messages.
    pub fn listed(&self) -> String {
        let names: Vec<&str> = self.column_names().collect();
        names.join(", ")
    }

    fn column_names(&self) -> impl Iterator<Item = &str> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields().iter();
        fields.map(|field| field.name())
    }

    /// The columns that [`text`](Self::text) reads and that state that they hold text, numbers or truth values.
    pub fn text_columns(&self) -> Vec<String> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter();
        columns
            .filter(|column| is_flat(column) && is_readable(column) && !is_plain_bytes(column))
            .filter_map(|column| match column.path().parts() {
                [only] => Some(only.clone()),
                _ => None,
            })
            .collect()
    }

    /// The column `name`, of text, numbers or truth values.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when there is none, [`Error::Format`] when it holds something else.
    pub fn text(&self, name: &str) -> Result<TextColumn> {
        let columns = self.reader.metadata().file_metadata().schema_descr();
        let leaf = columns
            .columns()
            .iter()
            .position(|c| matches!(c.path().parts(), [only] if only == name));
        let Some((leaf, column)) = leaf.and_then(|at| Some((at, columns.columns().get(at)?)))
        else {
            return Err(match self.has(name) {
                true => self.not_text(name, "nested values"),
                false => Error::invalid(format!(
                    "{}: no column `{name}`; there are {}",
                    self.file,
                    self.listed()
                )),
            });
        };
        let kind = (column.physical_type(), column.converted_type());
        if !is_readable(column) {
            let held = match kind {
                (physical, ConvertedType::NONE) => physical.to_string(),
                (physical, converted) => format!("{physical} as {converted}"),
            };
            return Err(self.not_text(name, &held));
        }
        if !is_flat(column) {
            return Err(self.not_text(name, "lists"));
        }
        let groups = self.reader.metadata().row_groups().iter();
        let mut chunks = groups.map(|group| group.columns().get(leaf));
        if !chunks.all(|chunk| chunk.is_some_and(|chunk| lies_inside(chunk, self.bytes))) {
            let reason = format!("column `{name}` does not lie in the file");
            return Err(Error::format(&self.file, reason));
        }
        Ok(TextColumn {
            file: self.file.clone(),
            name: name.to_owned(),
            reader: Arc::clone(&self.reader),
            leaf,
            next_group: 0,
            open: None,
            left: 0,
        })
    }

    fn not_text(&self, name: &str, held: &str) -> Error {
        let reason =
            format!("column `{name}` holds {held}, where text, numbers or truth values are read");
        Error::format(&self.file, reason)
    }
}

impl TextColumn {
    /// The next `count` values; `None` for nulls and empty text.
    ///
    /// # Errors
    /// [`Error::Format`] when the column is damaged, ends before that, or holds text that is not UTF-8.
    pub fn read(&mut self, count: usize) -> Result<Vec<Option<String>>> {
        let mut texts = Vec::new();
        while texts.len() < count {
            if self.left == 0 {
                self.open_next_group()?;
                continue;
            }
            let wanted = (count - texts.len()).min(self.left);
            let part = self.read_part(wanted)?;
            // The group's description states more rows than its pages hold.
            if part.is_empty() || part.len() > wanted {
                return Err(self.bad("ends early"));
            }
            self.left -= part.len();
            texts.extend(part);
        }
        Ok(texts)
    }

    fn bad(&self, reason: &str) -> Error {
        Error::format(&self.file, format!("column `{}` {reason}", self.name))
    }

    fn open_next_group(&mut self) -> Result<()> {
        let groups = self.reader.metadata().row_groups();
        let Some(group) = groups.get(self.next_group) else {
            return Err(self.bad("ends early"));
        };
        self.left = usize::try_from(group.num_rows()).unwrap_or(0);
        self.open = Some(guarded(&self.file, || {
            self.reader
                .get_row_group(self.next_group)?
                .get_column_reader(self.leaf)
        })?);
        self.next_group += 1;
        Ok(())
    }

    fn read_part(&mut self, wanted: usize) -> Result<Vec<Option<String>>> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let unsigned = match schema.columns().get(self.leaf).map(|c| c.converted_type()) {
            Some(ConvertedType::UINT_32 | ConvertedType::UINT_64) => true,
            // The narrower ones are never negative.
            _ => false,
        };
        let Some(open) = &mut self.open else {
            return Ok(Vec::new());
        };
        let values = guarded(&self.file, || match open {
            ColumnReader::ByteArrayColumnReader(column) => {
                records(column, wanted, |bytes: &ByteArray| {
                    String::from_utf8(bytes.data().to_vec()).ok()
                })
            }
            ColumnReader::Int32ColumnReader(column) => records(column, wanted, |&value| {
                Some(match unsigned {
                    true => (value as u32).to_string(),
                    false => value.to_string(),
                })
            }),
            ColumnReader::Int64ColumnReader(column) => records(column, wanted, |&value| {
                Some(match unsigned {
                    true => (value as u64).to_string(),
                    false => value.to_string(),
                })
            }),
            ColumnReader::FloatColumnReader(column) => {
                records(column, wanted, |value| Some(value.to_string()))
            }
            ColumnReader::DoubleColumnReader(column) => {
                records(column, wanted, |value| Some(value.to_string()))
            }
            ColumnReader::BoolColumnReader(column) => {
                records(column, wanted, |value| Some(value.to_string()))
            }
            _ => Ok(None),
        })?;
        values.ok_or_else(|| self.bad("holds text that is not UTF-8"))
    }
}

/// Whether a column has one value or null a row.
fn is_flat(column: &ColumnDescriptor) -> bool {
    column.max_rep_level() == 0 && column.max_def_level() <= 1
}

/// Whether a column holds bytes of which nothing says that they are text.
fn is_plain_bytes(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Type::BYTE_ARRAY && column.converted_type() == ConvertedType::NONE
}

/// Whether a column holds text, numbers or truth values.
fn is_readable(column: &ColumnDescriptor) -> bool {
    use ConvertedType as C;
    match (column.physical_type(), column.converted_type()) {
        (Type::FLOAT | Type::DOUBLE | Type::BOOLEAN, kind) => kind == C::NONE,
        (Type::BYTE_ARRAY, kind) => matches!(kind, C::NONE | C::UTF8 | C::ENUM | C::JSON),
        // A column that is null throughout has the logical type Unknown.
        (Type::INT32 | Type::INT64, C::NONE) => {
            matches!(column.logical_type_ref(), None | Some(LogicalType::Unknown))
        }
        (Type::INT32, kind) => {
            matches!(
                kind,
                C::INT_8 | C::INT_16 | C::INT_32 | C::UINT_8 | C::UINT_16 | C::UINT_32
            )
        }
        (Type::INT64, kind) => matches!(kind, C::INT_64 | C::UINT_64),
        _ => false,
    }
}

/// Whether a part of a column lies in a file of `bytes` bytes.
fn lies_inside(chunk: &ColumnChunkMetaData, bytes: u64) -> bool {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(chunk.compressed_size()).ok());
    range
        .and_then(|(start, length)| start.checked_add(length))
        .is_some_and(|end| end <= bytes)
}

/// Reads up to `wanted` rows; `None` if `text` is for one of them.
fn records<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    wanted: usize,
    text: impl Fn(&T::T) -> Option<String>,
) -> Result<Option<Vec<Option<String>>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (rows, _, _) = column.read_records(wanted, Some(&mut levels), None, &mut values)?;
    let mut values = values.iter();
    let mut texts = Vec::with_capacity(rows);
    for row in 0..rows {
        // Columns without nulls have no levels.
        let value = match levels.get(row) {
            Some(0) => None,
            _ => Some(
                values
                    .next()
                    .ok_or(ParquetError::General("too few values".into()))?,
            ),
        };
        let value = match value.map(&text) {
            Some(None) => return Ok(None),
            Some(Some(text)) => Some(text).filter(|text| !text.is_empty()),
            None => None,
        };
        texts.push(value);
    }
    Ok(Some(texts))
}

/// Runs the decoder; what it reports, and a panic, become errors of `file`.
fn guarded<T>(file: &str, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    thread_local! {
        static GUARDED: Cell<bool> = const { Cell::new(false) };
    }
    static QUIET: Once = Once::new();
    // A panic that becomes an error is not to be reported twice.
    QUIET.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                report(panic);
            }
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let reason = error.to_string().replace(char::is_control, " ");
            Err(Error::format(file, reason))
        }
        Err(_) => Err(Error::format(file, "the Parquet table is damaged")),
    }
}
