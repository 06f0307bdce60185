//! `data-attribution import`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::Progress;
use crate::backbone::registry::{self, BackboneSpec};
use crate::backbone::{import::import, pack, sampled::sample_count};
use crate::demo;
use crate::mapper::calibrator::{FittedFor, import_calibrator, write_calibrator};
use crate::mapper::import::import_mapper;
use crate::pack::list_images;
use crate::preprocess::{DEFAULT_LIMIT_MEGAPIXELS, decode};

#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    what: What,
    /// The checkpoint: safetensors or torch-saved. A mapper's holds `real_mapper` and `synth_mapper`, a
    /// calibrator's `inv_tau` and `bias`.
    weights: PathBuf,
    /// Folder for the model pack [default: model] or the mapper [default: mapper]; file for the
    /// calibrator [default: calibrator.json].
    #[arg(short, long)]
    out: Option<PathBuf>,
    /// Name of the backbone that the mapper or calibrator is for; packing with another one is then refused.
    #[arg(long, value_name = "BACKBONE", conflicts_with = "backbone")]
    trained_for: Option<String>,
    /// How a backbone's matrices are stored.
    #[arg(long, value_enum, default_value = "int8", conflicts_with_all = ["mapper", "calibrator"])]
    precision: Precision,
    /// Folder of images that the rounding goes by, best of the kind to be searched. Default: painted ones.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["nearest", "mapper", "calibrator"])]
    samples: Option<PathBuf>,
    /// Round each weight to its nearest code: imported sooner, less exact, and slower on the CPU of browsers, as nothing is known
    /// of activations.
    #[arg(long, conflicts_with_all = ["mapper", "calibrator"])]
    nearest: bool,
}

/// What the checkpoint holds: just one of the three.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// It is the backbone of this name; an unknown name lists all.
    #[arg(long, value_name = "NAME")]
    backbone: Option<String>,
    /// It is a pair of mappers, one for training features and one for queries, to be called so.
    #[arg(long, value_name = "NAME")]
    mapper: Option<String>,
    /// It is a calibrator.
    #[arg(long)]
    calibrator: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Int8,
    Int4,
}

impl From<Precision> for pack::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Int8 => Self::Int8,
            Precision::Int4 => Self::Int4,
        }
    }
}

impl Import {
    pub fn run(self) -> Result<()> {
        let out = |default: &str| self.out.clone().unwrap_or_else(|| default.into());
        match (&self.what.backbone, &self.what.mapper) {
            (Some(name), _) => self.backbone(known(name)?, &out("model")),
            (None, Some(name)) => self.mapper(name, &out("mapper")),
            (None, None) => self.calibrator(&out("calibrator.json")),
        }
    }

    fn backbone(&self, spec: BackboneSpec, out: &Path) -> Result<()> {
        let name = spec.name;
        let samples = match self.nearest || self.precision == Precision::F32 {
            true => None,
            false => Some(samples(&spec, self.samples.as_deref())?),
        };
        let progress = Progress::new("tensors");
        let imported = import(
            spec,
            &self.weights,
            self.precision.into(),
            samples.as_deref(),
            out,
            |done, total| progress.update(done, total),
        )
        .with_context(|| self.doing())?;
        progress.finish();
        if !imported.surplus.is_empty() {
            eprintln!("not used by {name}: {}", imported.surplus.join(", "));
        }
        let head = imported.head;
        println!(
            "{}: {} tensors, {:.1} MB in {} files, identity {}",
            out.display(),
            head.tensors.len(),
            head.bytes() as f64 / 1e6,
            head.files.len(),
            &head.identity[..16]
        );
        Ok(())
    }

    fn mapper(&self, name: &str, out: &Path) -> Result<()> {
        let imported = import_mapper(&self.weights, name, self.trained_for()?, out);
        let head = imported.with_context(|| self.doing())?.synth;
        println!(
            "{}: {} mapper {name}, {} to {} values, {:.1} MB a side, pair {}",
            out.display(),
            head.kind.name(),
            head.input,
            head.output,
            head.file.bytes as f64 / 1e6,
            &head.pair[..16]
        );
        Ok(())
    }

    fn calibrator(&self, out: &Path) -> Result<()> {
        let calibrator = import_calibrator(&self.weights).with_context(|| self.doing())?;
        let fitted_for = FittedFor {
            backbone: self.trained_for()?.map(str::to_owned),
            mapper: None,
        };
        write_calibrator(out, &calibrator, None, fitted_for)?;
        println!(
            "{}: inv_tau {}, bias {} (effective {})",
            out.display(),
            calibrator.inv_tau,
            calibrator.bias,
            calibrator.effective_bias()
        );
        Ok(())
    }

    fn trained_for(&self) -> Result<Option<&'static str>> {
        let known = self.trained_for.as_deref().map(known);
        Ok(known.transpose()?.map(|spec| spec.name))
    }

    fn doing(&self) -> String {
        format!("importing {}", self.weights.display())
    }
}

/// The backbone called `name`.
fn known(name: &str) -> Result<BackboneSpec> {
    let Some(spec) = registry::find(name) else {
        let names: Vec<String> = registry::backbones()
            .iter()
            .map(|b| format!("{} ({})", b.name, b.about))
            .collect();
        bail!("no backbone {name:?}; known are {}", names.join("; "));
    };
    Ok(spec)
}

/// Sample images of `folder`, or painted ones, as the backbone reads them.
fn samples(spec: &BackboneSpec, folder: Option<&Path>) -> Result<Vec<f32>> {
    let count = sample_count(&spec.architecture);
    let mut input = Vec::new();
    let Some(folder) = folder else {
        for image in demo::samples(count) {
            input.extend(spec.preprocess.apply(&image)?);
        }
        return Ok(input);
    };
    let images = list_images(folder, None)?;
    // Evenly over the folder.
    let step = images.len().div_ceil(count).max(1);
    for (path, name) in images.iter().step_by(step) {
        let read = std::fs::read(path).map_err(anyhow::Error::from);
        match read.and_then(|bytes| Ok(decode(&bytes, DEFAULT_LIMIT_MEGAPIXELS)?)) {
            Ok(image) => input.extend(spec.preprocess.apply(&image)?),
            Err(error) => eprintln!("left out: {name}: {error}"),
        }
    }
    if input.is_empty() {
        bail!("{}: no image that can be read", folder.display());
    }
    Ok(input)
}
