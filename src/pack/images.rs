//! Packing a folder of images.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::embed::Embedder;
use super::index_folder::THUMBNAILS;
use super::write::IndexWriter;
use super::{Item, PackOptions, PackReport, read_head};
use crate::error::{Error, Result};
use crate::files::write_unflushed;
use crate::format::{ModelHead, sha256_hex};
use crate::preprocess::{Filter, Pixels, decode, resize, thumbnail_size};

/// File name endings that are taken for images.
const ENDINGS: [&str; 11] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "pnm", "tif", "tiff", "webp", "gif",
];
const THUMBNAIL_QUALITY: u8 = 85;
const THUMBNAIL_LONG_SIDE: u32 = 8192;
/// Images that are held at the same time.
const BATCH: usize = 256;

/// Packs every image below `folder`, sorted by path.
///
/// `progress(done, total)` may be called from any thread.
///
/// # Errors
/// [`Error::InvalidArgument`] when no image is there or none can be read; [`Error::Io`] when the
/// index cannot be written; those of the model.
pub fn pack_images(
    folder: &Path,
    options: &PackOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<PackReport> {
    let paths = find_images(folder, options)?;
    let head = read_head(&options.model)?;
    let mut writer = IndexWriter::new(options, head.clone(), paths.len())?;
    let mut refused = Vec::new();
    let embedded = embed_images(&paths, options, &head, progress, |item, feature| {
        refused.extend(writer.push_rows(vec![item], feature)?);
        Ok(())
    })?;
    let mut left_out = embedded.left_out;
    left_out.extend(refused);
    left_out.sort();
    if writer.rows() == 0 {
        return Err(none_readable(folder, &left_out));
    }
    Ok(PackReport {
        manifest: writer.finish()?,
        left_out_count: left_out.len(),
        left_out,
        reused: embedded.reused,
    })
}

/// The images below `folder`, as [`list_images`].
pub(super) fn find_images(folder: &Path, options: &PackOptions) -> Result<Vec<(PathBuf, String)>> {
    let paths = list_images(folder, Some(&options.out))?;
    match paths.is_empty() {
        false => Ok(paths),
        true => Err(Error::invalid(format!(
            "{}: no image found",
            folder.display()
        ))),
    }
}

/// The error where all images were left out.
pub(super) fn none_readable(folder: &Path, left_out: &[(String, String)]) -> Error {
    Error::invalid(format!(
        "{}: none of {} images can be read; the first: {}",
        folder.display(),
        left_out.len(),
        left_out.first().map_or("", |(_, reason)| reason)
    ))
}

/// What became of images beside features.
pub(super) struct Embedded {
    /// Those that cannot be read, with the reason.
    pub left_out: Vec<(String, String)>,
    /// Features that came from the cache.
    pub reused: usize,
}

/// Embeds images, writes their thumbnails into the index, and gives `take` each image's item and feature, in order.
///
/// # Errors
/// [`Error::Io`], those of the model and those of `take`.
pub(super) fn embed_images(
    paths: &[(PathBuf, String)],
    options: &PackOptions,
    head: &ModelHead,
    progress: &(dyn Fn(usize, usize) + Sync),
    mut take: impl FnMut(Item, &[f32]) -> Result<()>,
) -> Result<Embedded> {
    let embedder = Embedder::open(&options.model, head, options.cache.as_deref())?;
    let (done, reused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut left_out = Vec::new();
    for batch in paths.chunks(BATCH) {
        let packed: Vec<_> = batch
            .par_iter()
            .map(|(path, name)| {
                let result = one(path, name, options, &embedder, &reused);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, paths.len());
                result
            })
            .collect();
        for ((_, name), result) in batch.iter().zip(packed) {
            match result {
                Ok((item, feature)) => take(item, &feature)?,
                Err(Failure::Image(error)) => left_out.push((name.clone(), error.to_string())),
                Err(Failure::Index(error)) => return Err(error),
            }
        }
    }
    Ok(Embedded {
        left_out,
        reused: reused.into_inner(),
    })
}

/// An unreadable image is left out; a failure to write or to compute ends the pack.
enum Failure {
    Image(Error),
    Index(Error),
}

fn one(
    path: &Path,
    name: &str,
    options: &PackOptions,
    embedder: &Embedder,
    reused: &AtomicUsize,
) -> Result<(Item, Vec<f32>), Failure> {
    let encoded = std::fs::read(path).map_err(|e| Failure::Image(Error::io(path, e)))?;
    let pixels = decode(&encoded, options.limit_megapixels).map_err(Failure::Image)?;
    let (feature, known) = embedder
        .embed(&encoded, &pixels)
        .map_err(|error| match error {
            Error::Io { .. } | Error::Device { .. } => Failure::Index(error),
            _ => Failure::Image(error),
        })?;
    reused.fetch_add(usize::from(known), Ordering::Relaxed);
    let thumbnail = match options.thumbnail {
        0 => None,
        side => {
            let jpeg = thumbnail(&pixels, side).map_err(Failure::Image)?;
            Some(write_thumbnail(&jpeg, &options.out).map_err(Failure::Index)?)
        }
    };
    let item = Item {
        size: Some((pixels.width, pixels.height)),
        thumbnail,
        ..Item::named(name.to_owned())
    };
    Ok((item, feature))
}

/// The thumbnail of `pixels` as JPEG.
fn thumbnail(pixels: &Pixels, side: u32) -> Result<Vec<u8>> {
    let (mut width, mut height) = thumbnail_size(pixels.width, pixels.height, side);
    // Strips, which no gallery shows in full, stay within what JPEG can hold.
    width = width.min(THUMBNAIL_LONG_SIDE);
    height = height.min(THUMBNAIL_LONG_SIDE);
    let small = resize(pixels, width, height, Filter::Bicubic)?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY)
        .encode(&small.pixels, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::invalid(format!("thumbnail: {e}")))?;
    Ok(jpeg)
}

/// Writes a thumbnail under its content name and returns that.
fn write_thumbnail(jpeg: &[u8], out: &Path) -> Result<String> {
    let digest = sha256_hex(jpeg);
    let name = format!("{}/{}.jpg", &digest[..2], &digest[..32]);
    let path = out.join(THUMBNAILS).join(&name);
    // A crash may have left a file that is too short.
    let whole = |found: std::fs::Metadata| found.len() == jpeg.len() as u64;
    if !path.metadata().is_ok_and(whole) {
        // Flushed with the rest of the index.
        write_unflushed(&path, jpeg)?;
    }
    Ok(name)
}

/// Image files below `folder`, but not below `out`, with their names relative to it, sorted by name.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read.
pub fn list_images(folder: &Path, out: Option<&Path>) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let out = out.and_then(|out| out.canonicalize().ok());
    let is_index = |path: &Path| out.is_some() && path.canonicalize().ok() == out;
    let walk = WalkDir::new(folder).follow_links(true).into_iter();
    for entry in
        walk.filter_entry(|e| !(e.depth() > 0 && e.file_type().is_dir() && is_index(e.path())))
    {
        let entry = entry.map_err(|e| Error::io(folder, e.into()))?;
        let is_image = entry
            .path()
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ENDINGS.contains(&e.to_ascii_lowercase().as_str()));
        if is_image && entry.file_type().is_file() {
            let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            found.push((entry.path().to_owned(), parts.join("/")));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}
