//! A folder of features: three matrices, and lists of the images that their rows belong to. The database
//! may lie elsewhere, in another container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::database::Database;
use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};
use crate::features::{DATABASE, FeaturesBackbone, FeaturesHead};

/// Features of one kind for database, exemplars and queries, opened.
pub(super) struct FeatureFolder {
    pub database: Database,
    pub exemplar: FeatureFile,
    pub synth: FeatureFile,
    /// The backbone that made exemplars and queries, where it is known.
    pub backbone: Option<FeaturesBackbone>,
}

/// A matrix of features and the rows of the images.
pub(super) struct FeatureFile {
    pub rows: NpyFile,
    /// The path, for messages.
    pub name: String,
    by_path: HashMap<String, usize>,
}

impl FeatureFolder {
    /// Opens the folder and reads its lists; of the matrices only the headers. The database is the one at
    /// `database`, and `database.npy` of the folder without.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is not there; [`Error::Format`] for one that is no matrix, for
    /// dimensions that differ, a list of another length than its matrix, an image listed twice with
    /// different features, and an empty database; [`Error::IdentityMismatch`] for features of different
    /// backbones.
    pub fn open(folder: &Path, database: Option<&Path>) -> Result<Self> {
        let own = folder.join(DATABASE).with_extension("npy");
        let database = Database::open(database.unwrap_or(&own))?;
        let head = FeaturesHead::read(folder)?;
        let labelled = |stem: &str| {
            let path = folder.join(format!("{stem}.npy"));
            let shape = NpyFile::open(&path)?.shape();
            if let Some(head) = &head {
                head.check(folder, stem, shape)?;
            }
            let list = folder.join(format!("{stem}.txt"));
            FeatureFile::open(path, &read_list(&list, shape[0])?)
        };
        let (exemplar, synth) = (labelled("exemplar")?, labelled("synth")?);
        let like = |name: &str, dimension: usize, file: &FeatureFile| {
            let found = file.rows.shape()[1];
            if found == dimension {
                return Ok(());
            }
            let reason = format!("rows of {found} values, where {name} has rows of {dimension}");
            Err(Error::format(&file.name, reason))
        };
        // The rows of an index may have gone through a mapper.
        if database.index_mappers().is_none() {
            like(&database.name, database.shape()[1], &exemplar)?;
        }
        like(&exemplar.name, exemplar.rows.shape()[1], &synth)?;
        let backbone = head.and_then(|head| head.backbone);
        if let (Some(of_rows), Some(of_queries)) = (&database.backbone, &backbone) {
            of_rows.check_same(&database.name, of_queries, &folder.display().to_string())?;
        }
        Ok(Self {
            database,
            exemplar,
            synth,
            backbone,
        })
    }

    /// Whether the names of the database's rows are known and one is `path`.
    pub fn in_database(&self, path: &str) -> bool {
        self.database.names(path)
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
pub(super) fn read_list(path: &Path, rows: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() != rows {
        let reason = format!("{} lines, but the matrix has {rows} rows", lines.len());
        return Err(Error::format(path.display().to_string(), reason));
    }
    Ok(lines)
}
