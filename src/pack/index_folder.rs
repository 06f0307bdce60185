//! What every index has, whatever the structure of its rows: model and mapper, and the manifest last.
//!
//! Invariant: until [`IndexFolder::finish`] has written the manifest, what stood in the folder before
//! stands as it was; files of a run that does not get there are removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::PackOptions;
use super::mapping::{MAPPER, PackMapper};
use super::stale::{content_digest, remove_unwanted};
use crate::error::{Error, Result};
use crate::files::{flush, write_json, write_unflushed};
use crate::format::clustered::Clusters;
use crate::format::manifest::{BackboneRef, MANIFEST_FORMAT, Totals};
use crate::format::shard::{SHARD_BYTES_MAX, VERSION};
use crate::format::{FileRef, Items, ItemsShard, Layer, Manifest, ModelHead, Thumbnails};
use crate::score::query::normalise;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// Folder of the thumbnails.
pub const THUMBNAILS: &str = "thumbnails";
const MODEL: &str = "model";
/// Folders of the other files, all named by content.
pub(super) const FINE: &str = "fine";
pub(super) const ITEMS: &str = "items";
pub(super) const HEAD: &str = "head";
pub(super) const COARSE: &str = "coarse";
pub(super) const CONTROL: &str = "control";

/// Files that are written at the same time.
const WRITERS: usize = 8;

/// An index that is being written.
pub(super) struct IndexFolder<'a> {
    pub options: &'a PackOptions,
    pub head: ModelHead,
    head_file: FileRef,
    mapper: Option<PackMapper>,
    /// Values of a row.
    pub dimension: usize,
    /// Files that were not there before.
    made: Vec<PathBuf>,
}

/// The rows and items of an index, as its manifest has them.
#[derive(Default)]
pub(super) struct Contents {
    pub count: u64,
    pub layers: Vec<Layer>,
    pub items: Vec<ItemsShard>,
    pub clusters: Option<Clusters>,
    /// Files that the head of the clusters names.
    pub in_head: Vec<String>,
    /// The first half of each thumbnail's digest, which its name is made of.
    pub thumbnails: HashSet<u128>,
    /// What a first query fetches of all that.
    pub first_bytes: u64,
}

impl<'a> IndexFolder<'a> {
    /// Starts an index: opens the mapper and writes the model.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Integrity`] for the model's files; those of [`PackMapper::open`].
    pub fn open(options: &'a PackOptions, head: ModelHead) -> Result<Self> {
        let mapper = options.mapper.as_ref();
        let mapper = mapper
            .map(|folder| PackMapper::open(folder, &head))
            .transpose()?;
        let pair = mapper.as_ref().map(|mapper| mapper.synth().pair.as_str());
        options.calibrator_for.check(&head.name, pair)?;
        fs::create_dir_all(&options.out).map_err(|e| Error::io(&options.out, e))?;
        let bytes =
            serde_json::to_vec(&head).map_err(|e| Error::format("model head", e.to_string()))?;
        let mut folder = Self {
            options,
            dimension: mapper.as_ref().map_or(head.dimension, PackMapper::output),
            head_file: FileRef::of(MODEL, "json", &bytes),
            head,
            mapper,
            made: Vec::new(),
        };
        folder.write_weights()?;
        folder.write_named(&folder.head_file.clone(), &bytes)?;
        Ok(folder)
    }

    /// Rows of unit length from features of the backbone; see [`unit_rows`].
    ///
    /// # Errors
    /// See [`PackMapper::apply`].
    pub fn unit_rows(&self, features: &[f32]) -> Result<(Vec<f32>, Vec<bool>)> {
        unit_rows(self.mapper.as_ref(), self.dimension, features)
    }

    /// Writes a file under its content name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_named(&mut self, file: &FileRef, bytes: &[u8]) -> Result<()> {
        let path = self.options.out.join(&file.file);
        self.note(&path);
        put(&path, bytes)
    }

    /// Writes files under their content names, some at a time.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_all(&mut self, files: &[(FileRef, Vec<u8>)]) -> Result<()> {
        let out = &self.options.out;
        let paths: Vec<PathBuf> = files.iter().map(|(file, _)| out.join(&file.file)).collect();
        paths.iter().for_each(|path| self.note(path));
        let next = AtomicUsize::new(0);
        let write = || -> Result<()> {
            while let Some((path, (_, bytes))) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                paths.get(at).zip(files.get(at))
            } {
                put(path, bytes)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS.min(files.len()))
                .map(|_| scope.spawn(write))
                .collect();
            writers
                .into_iter()
                .try_for_each(|writer| match writer.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })
    }

    /// Writes the manifest, removes what is left of an earlier pack and returns the manifest.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for contents that no reader would take. The index that was there
    /// before then stands as it was.
    pub fn finish(mut self, contents: Contents) -> Result<Manifest> {
        let (mut real_mapper, mut synth_mapper, mut mapper_bytes) = (None, None, 0);
        if let Some(mapper) = &self.mapper {
            let (real, synth, bytes) = mapper.write_into(&self.options.out)?;
            (real_mapper, synth_mapper) = (Some(real), Some(synth));
            mapper_bytes = bytes;
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT.into(),
            version: VERSION,
            title: self.options.title.clone(),
            description: self.options.description.clone(),
            backbone: BackboneRef {
                name: self.head.name.clone(),
                identity: self.head.identity.clone(),
                head: self.head_file.clone(),
            },
            real_mapper,
            synth_mapper,
            dimension: self.dimension,
            count: contents.count,
            calibrator: self.options.calibrator,
            layers: contents.layers,
            clusters: contents.clusters,
            items: Items {
                shards: contents.items,
            },
            thumbnails: (!contents.thumbnails.is_empty()).then(|| Thumbnails {
                folder: THUMBNAILS.into(),
                media_type: "image/jpeg".into(),
                short_side: self.options.thumbnail,
            }),
            totals: Totals {
                model_bytes: self.head_file.bytes + self.head.bytes() + mapper_bytes,
                index_bytes: contents.first_bytes,
            },
        };
        // A manifest that no reader would take must not replace one that they do.
        let written = serde_json::to_vec(&manifest).unwrap_or_default();
        Manifest::parse(MANIFEST, &written)?;
        // The manifest must not be on the disk before what it names.
        flush(&self.options.out)?;
        write_json(&self.options.out.join(MANIFEST), &manifest)?;
        self.made.clear();
        self.remove_stale(&manifest, contents.in_head, &contents.thumbnails)?;
        Ok(manifest)
    }

    fn write_weights(&mut self) -> Result<()> {
        let folder = self.options.out.join(MODEL);
        for file in self.head.files.clone() {
            let (from, to) = (self.options.model.join(&file.file), folder.join(&file.file));
            if fs::read(&to).is_ok_and(|bytes| file.verify(&bytes).is_ok()) {
                continue;
            }
            let bytes = fs::read(&from).map_err(|e| Error::io(&from, e))?;
            file.verify(&bytes)?;
            self.note(&to);
            put(&to, &bytes)?;
        }
        Ok(())
    }

    /// Notes that a file is about to be written.
    fn note(&mut self, path: &Path) {
        if !path.exists() {
            self.made.push(path.to_owned());
        }
    }

    /// Removes files of an earlier pack that the new manifest does not name.
    fn remove_stale(
        &self,
        manifest: &Manifest,
        in_head: Vec<String>,
        thumbnails: &HashSet<u128>,
    ) -> Result<()> {
        let out = &self.options.out;
        let wanted: HashSet<PathBuf> = manifest
            .files(&self.head, self.mapper.as_ref().map(PackMapper::synth))
            .into_iter()
            .chain(in_head)
            .map(|name| out.join(name))
            .collect();
        for folder in [FINE, ITEMS, HEAD, COARSE, CONTROL, MODEL, MAPPER] {
            remove_unwanted(&out.join(folder), |path| wanted.contains(path))?;
        }
        remove_unwanted(&out.join(THUMBNAILS), |path| {
            content_digest(path).is_some_and(|digest| thumbnails.contains(&digest))
        })
    }
}

/// Writes a file that has a content name, unless it is larger than static hosts take. One that is there already may be part of an index that stands: it is not
/// replaced by what a crash could still take back.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > SHARD_BYTES_MAX {
        return Err(Error::format(
            path.display().to_string(),
            format!(
                "{} bytes, where static hosts take {SHARD_BYTES_MAX}",
                bytes.len()
            ),
        ));
    }
    match fs::read(path) {
        Ok(found) if found == bytes => Ok(()),
        _ => write_unflushed(path, bytes),
    }
}

impl Drop for IndexFolder<'_> {
    /// Removes what a run that did not get to its manifest has made.
    fn drop(&mut self) {
        for path in &self.made {
            // The error that matters is the one that ended the run.
            let _ = fs::remove_file(path);
        }
    }
}

/// `features` [n, d] through the mapper, at unit length: rows [n, `dimension`], and which of them have a
/// direction; the others hold nothing of use.
///
/// # Errors
/// See [`PackMapper::apply`].
pub(super) fn unit_rows(
    mapper: Option<&PackMapper>,
    dimension: usize,
    features: &[f32],
) -> Result<(Vec<f32>, Vec<bool>)> {
    let mapped = match mapper {
        Some(mapper) => &mapper.apply(features)?,
        None => features,
    };
    let mut units = vec![0.0; mapped.len()];
    let sound = units
        .par_chunks_exact_mut(dimension.max(1))
        .zip(mapped.par_chunks_exact(dimension.max(1)))
        .map(|(unit, row)| normalise(row, unit))
        .collect();
    Ok((units, sound))
}
