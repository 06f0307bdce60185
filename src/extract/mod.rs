//! Features of many images as matrices that [`crate::evaluate`] and the packer read.
//!
//! A folder or a list gives `database.npy` and `database.txt`; test cases give `exemplar` and `synth`.
//! Features are float32, unmapped and not normalised, a row for each image, in the order of the names.
//! `features.json` says which backbone made them.
//!
//! Invariants: an image is embedded once, however often it is named; a run that was interrupted at any
//! point leaves its features in a journal, and the next one embeds only what is missing; memory does not
//! grow with the number of features; a matrix is whole or absent, and `features.json`, written last, is
//! only there with whole ones.

mod inputs;
mod journal;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

pub use inputs::Input;

use crate::checkpoint::NpyWriter;
use crate::error::{Error, Result};
use crate::evaluate::Missing;
use crate::features::{FEATURES_HEAD, FeaturesBackbone, FeaturesHead};
use crate::files::{write_atomically, write_json};
use crate::format::ModelHead;
use crate::pack::{Embedder, computation, read_head};
use crate::preprocess::{DEFAULT_LIMIT_MEGAPIXELS, decode};
use inputs::{Inputs, Wanted};
use journal::{Finished, Journal, Stamp};

/// How many images that cannot be read a message names.
const NAMED_IMAGES: usize = 10;

/// What to extract and how.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// Folder of the imported backbone.
    pub model: PathBuf,
    pub input: Input,
    /// Folder of the matrices.
    pub out: PathBuf,
    /// What to do about images that are not there or cannot be decoded.
    pub missing: Missing,
    /// Folder where features are kept by the content of the images, as the packer keeps them.
    pub cache: Option<PathBuf>,
    pub limit_megapixels: u32,
}

impl ExtractOptions {
    /// Extracts `input` with `model` into `out`, everything else by default.
    pub fn new(model: impl AsRef<Path>, input: Input, out: impl AsRef<Path>) -> Self {
        Self {
            model: model.as_ref().to_owned(),
            input,
            out: out.as_ref().to_owned(),
            missing: Missing::Stop,
            cache: None,
            limit_megapixels: DEFAULT_LIMIT_MEGAPIXELS,
        }
    }
}

/// What was extracted.
#[derive(Debug)]
pub struct ExtractReport {
    /// Rows of each matrix, by its file name without ending.
    pub rows: BTreeMap<String, u64>,
    pub dimension: usize,
    /// Images that were embedded in this run.
    pub embedded: usize,
    /// Images whose features were there already.
    pub reused: usize,
    /// Times that an image was named again.
    pub repeated: usize,
    /// Images that were left out, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// An image and where it is.
struct Image<'a> {
    name: &'a str,
    path: PathBuf,
    stamp: Stamp,
}

/// Embeds the images of `options.input` and writes the matrices.
///
/// `progress(done, total)`, of the images to embed, may be called from any thread.
///
/// # Errors
/// [`Error::Io`] where something cannot be written; those of the model and of the inputs;
/// [`Error::IdentityMismatch`] for a folder with features of another backbone;
/// [`Error::InvalidArgument`] where no image can be read, and with [`Missing::Stop`] where one cannot:
/// then all others are embedded, and kept for the next run, but no matrix is written.
pub fn extract(
    options: &ExtractOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<ExtractReport> {
    let head = read_head(&options.model)?;
    let backbone = FeaturesBackbone {
        name: head.name.clone(),
        identity: head.identity.clone(),
    };
    let earlier = FeaturesHead::read(&options.out)?;
    if let Some(of_folder) = earlier.as_ref().and_then(|head| head.backbone.as_ref()) {
        let (folder, model) = (options.out.display(), options.model.display());
        of_folder.check_same(&folder.to_string(), &backbone, &model.to_string())?;
    }
    let inputs = Inputs::read(&options.input, &options.out)?;
    let mut left_out = Vec::new();
    let mut images: Vec<Image> = Vec::new();
    let mut places = HashMap::new();
    for name in inputs.wanted.iter().flat_map(|wanted| &wanted.names) {
        if places.contains_key(name.as_str()) {
            continue;
        }
        let path = inputs.root.join(name);
        match Stamp::of(&path) {
            Ok(stamp) => {
                places.insert(name.as_str(), Some(images.len()));
                images.push(Image { name, path, stamp });
            }
            Err(e) => {
                places.insert(name, None);
                left_out.push((name.clone(), Error::io(&path, e).to_string()));
            }
        }
    }
    // Found before hours are spent on the others.
    stop_at(&left_out, options.missing, places.len())?;

    let computation = computation(&head.identity);
    let mut known = Known::open(options, &head, earlier.as_ref(), &computation)?;
    let todo: Vec<&Image> = images
        .iter()
        .filter(|image| known.place(image).is_none())
        .collect();
    let unreadable = embed(options, &head, &todo, &mut known.journal, progress)?;
    let embedded = todo.len() - unreadable.len();
    let reused = images.len() - todo.len();
    left_out.extend(unreadable);
    stop_at(&left_out, options.missing, places.len())?;
    if left_out.len() == places.len() {
        let first = left_out.first().map_or("", |(_, reason)| reason);
        return Err(Error::invalid(format!(
            "none of {} images can be read; the first: {first}",
            places.len()
        )));
    }
    let mut files = earlier.map(|head| head.files).unwrap_or_default();
    let mut rows = BTreeMap::new();
    // From here on the folder is not whole until its head is back.
    remove(&options.out.join(FEATURES_HEAD))?;
    for wanted in &inputs.wanted {
        let image = |name: &str| images.get(places.get(name).copied().flatten()?);
        let count = write_matrix(options, &head, wanted, &image, &mut known)?;
        rows.insert(wanted.stem.to_owned(), count);
        files.insert(wanted.stem.to_owned(), count);
    }
    let described = FeaturesHead::new(backbone, &computation, head.dimension, files);
    write_json(&options.out.join(FEATURES_HEAD), &described)?;
    known.journal.remove()?;
    Ok(ExtractReport {
        rows,
        dimension: head.dimension,
        embedded,
        reused,
        repeated: inputs.repeated,
        left_out,
    })
}

/// Fails with [`Missing::Stop`] if an image is left out.
fn stop_at(left_out: &[(String, String)], missing: Missing, total: usize) -> Result<()> {
    if missing == Missing::Skip || left_out.is_empty() {
        return Ok(());
    }
    let named = left_out.iter().take(NAMED_IMAGES);
    let mut names: String = named
        .map(|(name, reason)| format!("\n  {name}: {reason}"))
        .collect();
    if left_out.len() > NAMED_IMAGES {
        names += &format!("\n  and {} more", left_out.len() - NAMED_IMAGES);
    }
    Err(Error::invalid(format!(
        "{} of {total} images cannot be read; --missing skip goes on without them{names}",
        left_out.len()
    )))
}

/// Embeds `todo` on all processors into the journal. Returns the images that cannot be read, in order.
fn embed(
    options: &ExtractOptions,
    head: &ModelHead,
    todo: &[&Image],
    journal: &mut Journal,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<(String, String)>> {
    if todo.is_empty() {
        return Ok(Vec::new());
    }
    let embedder = Embedder::open(&options.model, head, options.cache.as_deref())?;
    let (journal, done) = (Mutex::new(journal), AtomicUsize::new(0));
    progress(0, todo.len());
    let results = todo.par_iter().map(|image| {
        let readable = std::fs::read(&image.path)
            .map_err(|e| Error::io(&image.path, e))
            .and_then(|encoded| Ok((decode(&encoded, options.limit_megapixels)?, encoded)));
        let failed = match readable {
            Err(error) => Some(error),
            Ok((pixels, encoded)) => match embedder.embed(&encoded, &pixels) {
                Ok((feature, _)) => {
                    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                    journal.push(image.name, image.stamp, &feature)?;
                    None
                }
                Err(error @ (Error::Io { .. } | Error::Device { .. })) => return Err(error),
                Err(error) => Some(error),
            },
        };
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, todo.len());
        Ok(failed.map(|error| (image.name.to_owned(), error.to_string())))
    });
    let results = results.collect::<Result<Vec<_>>>()?;
    Ok(results.into_iter().flatten().collect())
}

/// Features that need not be embedded.
struct Known {
    journal: Journal,
    finished: Vec<Finished>,
}

enum Place {
    Journal(u64),
    Finished { matrix: usize, row: usize },
}

impl Known {
    fn open(
        options: &ExtractOptions,
        head: &ModelHead,
        earlier: Option<&FeaturesHead>,
        computation: &str,
    ) -> Result<Self> {
        let journal = Journal::open(&options.out, computation, head.dimension)?;
        let earlier = earlier.filter(|head| head.computation.as_deref() == Some(computation));
        let stems = earlier.into_iter().flat_map(|head| head.files.keys());
        let finished = stems.filter_map(|stem| Finished::open(&options.out, stem, head.dimension));
        Ok(Self {
            journal,
            finished: finished.collect(),
        })
    }

    fn place(&self, image: &Image) -> Option<Place> {
        if let Some(row) = self.journal.row(image.name, image.stamp) {
            return Some(Place::Journal(row));
        }
        let mut finished = self.finished.iter().enumerate();
        finished.find_map(|(matrix, known)| {
            let row = known.row(image.name, image.stamp)?;
            Some(Place::Finished { matrix, row })
        })
    }

    fn feature(&mut self, image: &Image) -> Result<Option<Vec<f32>>> {
        match self.place(image) {
            None => Ok(None),
            Some(Place::Journal(row)) => self.journal.read(row).map(Some),
            Some(Place::Finished { matrix, row }) => self.finished[matrix].read(row).map(Some),
        }
    }
}

/// Writes a matrix and its list. Returns the number of rows.
///
/// The old matrix goes first and the new one comes last, so that none lies beside another's list.
fn write_matrix<'a>(
    options: &ExtractOptions,
    head: &ModelHead,
    wanted: &Wanted,
    image: &dyn Fn(&str) -> Option<&'a Image<'a>>,
    known: &mut Known,
) -> Result<u64> {
    let path = options.out.join(format!("{}.npy", wanted.stem));
    let mut writer = NpyWriter::create(&path, head.dimension)?;
    let mut names = String::new();
    for name in &wanted.names {
        let Some(image) = image(name) else { continue };
        if let Some(feature) = known.feature(image)? {
            writer.push(&feature)?;
            names.push_str(name);
            names.push('\n');
        }
    }
    remove(&path)?;
    write_atomically(&path.with_extension("txt"), names.as_bytes())?;
    writer.finish()
}

/// Removes a file that may be there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}
