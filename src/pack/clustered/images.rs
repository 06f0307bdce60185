//! Packing a folder of images as a clustered index: the images are embedded into a matrix of features, which is
//! packed like any other.
//!
//! | file in `images/` of the work folder | what |
//! |---|---|
//! | database.npy, database.txt | features of the images that can be read, and their numbers for names |
//! | items | a line of JSON an image: its name, size and thumbnail |
//!
//! A file that comes out as it was is left as it was, so that a run which was killed while packing goes on with its
//! parts. Thumbnails are written into the index at once.

use std::fs::{self, File, TryLockError};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::journal::OutputFile;
use super::run::{WORK, lock_file, pack_with_items};
use super::{ClusteredOptions, Inputs, LayerSizes, Monitor};
use crate::checkpoint::NpyWriter;
use crate::error::{Error, Result};
use crate::features::{Columns, DATABASE, Duplicates, FeatureSet};
use crate::pack::images::{embed_images, find_images, none_readable};
use crate::pack::{Item, PackOptions, PackReport, read_head};

/// Folder of these files in the work folder.
const IMAGES: &str = "images";
const ITEMS: &str = "items";

/// Packs every image below `folder`, sorted by path, as a clustered index.
///
/// # Errors
/// Those of [`crate::pack::pack_images`] and [`super::pack_clustered`].
pub fn pack_images_clustered(
    folder: &Path,
    options: &PackOptions,
    clustered: &ClusteredOptions,
    monitor: &dyn Monitor,
) -> Result<(PackReport, LayerSizes)> {
    let paths = find_images(folder, options)?;
    let head = read_head(&options.model)?;
    let work = clustered.work.clone();
    let work = work.unwrap_or_else(|| options.out.join(WORK));
    let place = work.join(IMAGES);
    let lock = lock_file(&place)?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        let what = format!("{}: another run is at work there", work.display());
        return Err(Error::invalid(what));
    }
    let [rows, names, items_file] = [
        place.join(format!("{DATABASE}.npy")),
        place.join(format!("{DATABASE}.txt")),
        place.join(ITEMS),
    ];
    let new = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    };
    let mut matrix = NpyWriter::create(&new(&rows), head.dimension)?;
    let (mut numbers, mut lines) = (create(&new(&names))?, create(&new(&items_file))?);
    let mut items: Vec<Item> = Vec::new();
    let progress = |done, total| monitor.progress("embedding", done, total);
    let embedded = embed_images(&paths, options, &head, &progress, |item, feature| {
        matrix.push(feature)?;
        numbers.write(format!("{}\n", items.len()).as_bytes())?;
        let mut line =
            serde_json::to_vec(&item).map_err(|e| Error::format("item", e.to_string()))?;
        line.push(b'\n');
        lines.write(&line)?;
        items.push(item);
        Ok(())
    })?;
    if items.is_empty() {
        return Err(none_readable(folder, &embedded.left_out));
    }
    matrix.finish()?;
    numbers.finish()?;
    lines.finish()?;
    for path in [&rows, &names, &items_file] {
        keep_or_replace(path, &new(path))?;
    }
    let columns = Columns::default();
    let features = FeatureSet::open(&place, None, &columns)?;
    let inputs = Inputs {
        features: &features,
        paths: &[&rows, &names, &items_file],
        columns: &columns,
        duplicates: Some(Duplicates::Keep),
    };
    let (mut report, sizes) = pack_with_items(&inputs, Some(&items), options, clustered, monitor)?;
    // The index stands; what is left of the work is a matter of room only.
    let _ = fs::remove_dir_all(&place);
    let _ = fs::remove_dir(&work);
    report.reused = embedded.reused;
    report.left_out_count += embedded.left_out.len();
    report.left_out.extend(embedded.left_out);
    report.left_out.sort();
    Ok((report, sizes))
}

fn create(path: &Path) -> Result<OutputFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    OutputFile::create(path.parent().unwrap_or(Path::new("")), &name)
}

/// Gives the file `new` the name `path`, unless the same bytes have it already.
fn keep_or_replace(path: &Path, new: &Path) -> Result<()> {
    let done = match is_same(path, new) {
        true => fs::remove_file(new),
        false => fs::rename(new, path),
    };
    done.map_err(|e| Error::io(new, e))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let same = || -> std::io::Result<bool> {
        let (one, other) = (File::open(one)?, File::open(other)?);
        if one.metadata()?.len() != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
        let (mut a, mut b) = (vec![0; 1 << 16], Vec::new());
        loop {
            let count = one.read(&mut a)?;
            b.resize(count, 0);
            other.read_exact(&mut b)?;
            if a[..count] != b {
                return Ok(false);
            } else if count == 0 {
                return Ok(true);
            }
        }
    };
    same().unwrap_or(false)
}
