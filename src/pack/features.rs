//! Packing features that were computed elsewhere.

use std::path::Path;

use super::write::IndexWriter;
use super::{Item, PackOptions, PackReport, read_head};
use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};

/// Rows that are held at the same time.
const BATCH: usize = 4096;

/// Packs the rows of `features` (.npy, [n, D]) under the names in `names`, one a line.
///
/// Rows that are not finite or have no length are left out and reported.
///
/// # Errors
/// [`Error::Checkpoint`] or [`Error::Format`] for unreadable input, [`Error::InvalidArgument`] when
/// the dimension is not the model's, the counts differ, or no row remains.
pub fn pack_features(
    features: &Path,
    names: &Path,
    options: &PackOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<PackReport> {
    let npy = NpyFile::open(features)?;
    let [rows, dimension] = npy.shape();
    let head = read_head(&options.model)?;
    if dimension != head.dimension {
        return Err(Error::invalid(format!(
            "{} has rows of {dimension} values, {} makes {}",
            features.display(),
            head.name,
            head.dimension
        )));
    }
    let text = std::fs::read_to_string(names).map_err(|e| Error::io(names, e))?;
    let names: Vec<&str> = text.lines().collect();
    if names.len() != rows {
        return Err(Error::invalid(format!(
            "{} rows but {} names",
            rows,
            names.len()
        )));
    }
    let mut writer = IndexWriter::new(options, head)?;
    let mut left_out = Vec::new();
    for first in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - first);
        let values = npy.read_rows_f32(first, count)?;
        for (row, name) in values.chunks_exact(dimension).zip(&names[first..]) {
            let item = Item {
                name: (*name).to_owned(),
                size: None,
                thumbnail: None,
            };
            if let Err(reason) = writer.push(item, row)? {
                left_out.push(((*name).to_owned(), reason));
            }
        }
        progress(first + count, rows);
    }
    if writer.rows() == 0 {
        return Err(Error::invalid(format!(
            "{}: no usable row",
            features.display()
        )));
    }
    Ok(PackReport {
        manifest: writer.finish()?,
        left_out,
        reused: 0,
    })
}
