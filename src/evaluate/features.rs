//! A folder of features: three matrices, and lists of the images that their rows belong to.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};

/// Features of one kind for database, exemplars and queries, opened.
pub(super) struct FeatureFolder {
    pub database: FeatureFile,
    pub exemplar: FeatureFile,
    pub synth: FeatureFile,
    /// Names of the database's rows, where they are known.
    database_names: Option<HashSet<String>>,
}

/// A matrix of features and the rows of the images.
pub(super) struct FeatureFile {
    pub rows: NpyFile,
    /// The path, for messages.
    pub name: String,
    by_path: HashMap<String, usize>,
}

impl FeatureFolder {
    /// Opens the folder and reads its lists; of the matrices only the headers.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is not there; [`Error::Format`] for one that is no matrix, for
    /// dimensions that differ, a list of another length than its matrix, an image listed twice with
    /// different features, and an empty database.
    pub fn open(folder: &Path) -> Result<Self> {
        let database = FeatureFile::open(folder.join("database.npy"), &[])?;
        let list = folder.join("database.txt");
        let database_names = if list.is_file() {
            let names = read_list(&list, database.rows.shape()[0])?;
            Some(names.into_iter().collect())
        } else {
            None
        };
        let [items, dimension] = database.rows.shape();
        if items == 0 || dimension == 0 {
            let reason = format!("a matrix of {items} x {dimension} values, where none may be 0");
            return Err(Error::format(database.name, reason));
        }
        let labelled = |stem: &str| {
            let path = folder.join(format!("{stem}.npy"));
            let rows = NpyFile::open(&path)?.shape()[0];
            let file =
                FeatureFile::open(path, &read_list(&folder.join(format!("{stem}.txt")), rows)?)?;
            let found = file.rows.shape()[1];
            if found != dimension {
                let reason = format!(
                    "rows of {found} values, where {} has rows of {dimension}",
                    database.name
                );
                return Err(Error::format(file.name, reason));
            }
            Ok(file)
        };
        Ok(Self {
            exemplar: labelled("exemplar")?,
            synth: labelled("synth")?,
            database,
            database_names,
        })
    }

    /// Whether the database's list is there and names `path`.
    pub fn in_database(&self, path: &str) -> bool {
        let names = self.database_names.as_ref();
        names.is_some_and(|names| names.contains(path))
    }
}

impl FeatureFile {
    /// Opens a matrix whose rows belong to `paths`.
    fn open(path: PathBuf, paths: &[String]) -> Result<Self> {
        let rows = NpyFile::open(&path)?;
        let name = path.display().to_string();
        let mut by_path: HashMap<String, usize> = HashMap::with_capacity(paths.len());
        for (row, path) in paths.iter().enumerate() {
            let Some(&earlier) = by_path.get(path) else {
                by_path.insert(path.clone(), row);
                continue;
            };
            let [a, b] = [earlier, row].map(|row| rows.read_rows_f32(row, 1));
            if a? != b? {
                let reason =
                    format!("rows {earlier} and {row} (from 0) differ, but both are {path}");
                return Err(Error::format(name, reason));
            }
        }
        Ok(Self {
            rows,
            name,
            by_path,
        })
    }

    /// The row of the image at `path`, as the test cases write it.
    pub fn row(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }
}

/// The lines of a list, which are as many as its matrix has rows.
fn read_list(path: &Path, rows: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() != rows {
        let reason = format!("{} lines, but the matrix has {rows} rows", lines.len());
        return Err(Error::format(path.display().to_string(), reason));
    }
    Ok(lines)
}
