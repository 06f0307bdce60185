//! The import itself: a checkpoint file in, a folder with a model pack out.

use std::path::Path;

use super::{Opened, Tensors};
use crate::backbone::pack::{Encoded, Precision, pack};
use crate::backbone::registry::BackboneSpec;
use crate::backbone::sampled::Sampled;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::files::{Made, write_json};
use crate::format::{Architecture, ModelHead};

/// The model head's file name.
pub const HEAD_FILE: &str = "backbone.json";

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    pub head: ModelHead,
    /// What the checkpoint holds beside the backbone, as [`Opened::surplus`] says it.
    pub surplus: Vec<String>,
}

/// Imports the checkpoint `weights` as the backbone `spec` into the folder `out`.
///
/// `samples` are images, preprocessed [n, 3, H, W], that the rounding goes by; without any, each weight
/// goes to its nearest code. `progress(done, total)` hears of each tensor.
///
/// # Errors
/// Those of [`Opened::open`], [`Opened::read`] and [`Sampled::encode`]; [`crate::Error::Io`]. No file is
/// left then that was not there before.
pub fn import(
    spec: BackboneSpec,
    weights: &Path,
    precision: Precision,
    samples: Option<&[f32]>,
    out: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Imported> {
    let opened = Opened::open(&spec.architecture, spec.name, weights)?;
    let mut made = Made::default();
    made.folder(out)?;
    let (total, mut done) = (spec.architecture.tensors().len(), 0);
    let read = |name: &str, shape: &[usize]| opened.read(name, shape);
    let mut sampled = match samples {
        Some(images) if precision != Precision::F32 => {
            Some(Sampled::new(&spec.architecture, precision, images, &read)?)
        }
        _ => None,
    };
    let head = pack(
        spec.name,
        spec.architecture.clone(),
        spec.preprocess,
        |name, shape| {
            done += 1;
            progress(done, total);
            match &mut sampled {
                Some(sampled) => sampled.encode(name, shape),
                None => Encoded::new(name, &read(name, shape)?, shape, precision),
            }
        },
        |file, bytes| made.write(&out.join(&file.file), bytes),
    )?;
    write_json(&out.join(HEAD_FILE), &head)?;
    made.keep();
    Ok(Imported {
        head,
        surplus: opened.surplus(),
    })
}

impl Opened {
    /// Opens the checkpoint `weights` and finds the tensors of `architecture`, a backbone called `name`.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`] and [`Opened::matched`].
    pub fn open(architecture: &Architecture, name: &str, weights: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(weights)?;
        Self::matched(
            architecture,
            name,
            &weights.display().to_string(),
            checkpoint,
        )
    }
}

impl Tensors for Checkpoint {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors().iter().map(|tensor| tensor.name.as_str())
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.info(name)?.shape)
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        self.read_f32(name)
    }
}
