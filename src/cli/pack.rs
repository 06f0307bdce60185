//! `data-attribution pack`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Progress;
use crate::pack::{PackOptions, PackReport, pack_features, pack_images};

#[derive(Args)]
pub struct Pack {
    /// Folder of the imported backbone.
    #[arg(long)]
    model: PathBuf,
    /// Folder of training images, searched recursively.
    #[arg(
        long,
        required_unless_present = "features",
        conflicts_with = "features"
    )]
    images: Option<PathBuf>,
    /// Features instead of images: .npy of float rows, unmapped.
    #[arg(long, requires = "names")]
    features: Option<PathBuf>,
    /// Names of the features' images, one a line.
    #[arg(long)]
    names: Option<PathBuf>,
    /// Folder for the index.
    #[arg(short, long)]
    out: PathBuf,
    /// Title that the page shows.
    #[arg(long, default_value = "Training images")]
    title: String,
    /// A sentence on where the images come from.
    #[arg(long, default_value = "")]
    description: String,
    /// CSV with the columns path, caption, link.
    #[arg(long)]
    metadata: Option<PathBuf>,
    /// Short side of thumbnails in pixels; 0 for none.
    #[arg(long, default_value_t = 256)]
    thumbnail: u32,
    /// The calibrator's inverse temperature.
    #[arg(long, requires = "bias")]
    inv_tau: Option<f32>,
    /// The calibrator's stored bias (a thousand times the effective one).
    #[arg(long, requires = "inv_tau", allow_negative_numbers = true)]
    bias: Option<f32>,
    /// Folder where features are kept between runs.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Images with more pixels are left out.
    #[arg(long, default_value_t = crate::preprocess::DEFAULT_LIMIT_MEGAPIXELS)]
    limit_megapixels: u32,
}

impl Pack {
    pub fn run(self) -> Result<()> {
        let mut options = PackOptions {
            title: self.title,
            description: self.description,
            thumbnail: self.thumbnail,
            metadata: self.metadata,
            cache: self.cache,
            limit_megapixels: self.limit_megapixels,
            ..PackOptions::new(&self.model, &self.out)
        };
        if let (Some(inv_tau), Some(bias)) = (self.inv_tau, self.bias) {
            options.calibrator = crate::format::Calibrator {
                inv_tau,
                bias,
                fitted: true,
            };
        }
        let progress = Progress::new("packing");
        let report = match (&self.images, &self.features, &self.names) {
            (Some(images), _, _) => pack_images(images, &options, &|done, total| {
                progress.update(done, total)
            })?,
            (None, Some(features), Some(names)) => {
                pack_features(features, names, &options, &|done, total| {
                    progress.update(done, total)
                })?
            }
            _ => anyhow::bail!("either --images or --features with --names is needed"),
        };
        progress.finish();
        summarise(&self.out, &report);
        Ok(())
    }
}

/// Prints what was packed and what was left out.
pub fn summarise(out: &std::path::Path, report: &PackReport) {
    for (name, reason) in &report.left_out {
        eprintln!("left out: {name}: {reason}");
    }
    let manifest = &report.manifest;
    println!(
        "{}: {} images, {} left out, {} embedded before; index {:.1} kB in {} shards, model {:.1} MB",
        out.display(),
        manifest.count,
        report.left_out.len(),
        report.reused,
        manifest.totals.index_bytes as f64 / 1e3,
        manifest.layers[0].shards.len(),
        manifest.totals.model_bytes as f64 / 1e6,
    );
}
