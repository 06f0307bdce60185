//! `data-attribution pack`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::Progress;
use super::clustered::{ClusteredArguments, Steps, described};
use super::feature_arguments::ColumnArguments;
use crate::features::RowSource;
use crate::mapper::calibrator::read_calibrator;
use crate::pack::clustered::{
    CLUSTERED_ROWS, Inputs, Structure, pack_clustered, pack_images_clustered,
};
use crate::pack::{PackOptions, PackReport, list_images, pack_features, pack_images};

#[derive(Args)]
pub struct Pack {
    /// Folder of the imported backbone.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the imported mapper: its real side maps the rows, its synth side goes into the index.
    #[arg(long, value_name = "DIR")]
    mapper: Option<PathBuf>,
    /// Folder of training images, searched recursively.
    #[arg(
        long,
        required_unless_present = "features",
        conflicts_with = "features"
    )]
    images: Option<PathBuf>,
    /// Features instead of images, unmapped: a .npy matrix, a torch file with `feats` and `paths`, a
    /// folder of clip-retrieval, or one that `extract` wrote.
    #[arg(long)]
    features: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArguments,
    /// How the rows lie in files.
    #[arg(long, value_enum, default_value = "auto")]
    structure: OfRows,
    #[command(flatten)]
    clustered: ClusteredArguments,
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
    /// File of the calibrator, as `import --calibrator` and `calibrate` write it.
    #[arg(long, value_name = "FILE", conflicts_with = "inv_tau")]
    calibrator: Option<PathBuf>,
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

#[derive(Clone, Copy, ValueEnum)]
enum OfRows {
    /// Clustered from 20,000 rows on.
    Auto,
    /// Shards that every query reads.
    Flat,
    /// Short codes that every query reads, and rows of which it reads the best.
    Clustered,
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
            mapper: self.mapper,
            ..PackOptions::new(&self.model, &self.out)
        };
        if let (Some(inv_tau), Some(bias)) = (self.inv_tau, self.bias) {
            options.calibrator = crate::format::Calibrator {
                inv_tau,
                bias,
                fitted: true,
            };
        }
        if let Some(file) = &self.calibrator {
            options.calibrate(read_calibrator(file)?);
        }
        let Some(features) = &self.features else {
            let Some(images) = &self.images else {
                anyhow::bail!("either --images or --features is needed");
            };
            let found = list_images(images, Some(&self.out))?.len();
            if self.structure.is_clustered(found, "images") {
                let steps = Steps::default();
                let clustered = self.clustered.options();
                let packed = pack_images_clustered(images, &options, &clustered, &steps)?;
                steps.finish();
                summarise(&self.out, &packed.0);
                println!("{}", described(&packed.1));
                return Ok(());
            }
            let progress = Progress::new("packing");
            let report = pack_images(images, &options, &|done, total| {
                progress.update(done, total);
            })?;
            progress.finish();
            summarise(&self.out, &report);
            return Ok(());
        };
        let set = self.columns.open(features)?;
        let [rows, _] = set.shape();
        let duplicates = self.columns.duplicates();
        if self.structure.is_clustered(rows, "rows") {
            let inputs = Inputs {
                features: &set,
                paths: &self.columns.paths(features),
                columns: &self.columns.columns(),
                duplicates,
            };
            let steps = Steps::default();
            let clustered = self.clustered.options();
            let (report, sizes) = pack_clustered(&inputs, &options, &clustered, &steps)?;
            steps.finish();
            summarise(&self.out, &report);
            println!("{}", described(&sizes));
            return Ok(());
        }
        let progress = Progress::new("packing");
        let update = |done, total| progress.update(done, total);
        let report = pack_features(&set, duplicates, &options, &update)?;
        progress.finish();
        summarise(&self.out, &report);
        Ok(())
    }
}

impl OfRows {
    /// Whether so many of `what` make a clustered index; says which it is and why.
    fn is_clustered(self, count: usize, what: &str) -> bool {
        let (structure, why) = match self {
            Self::Auto => {
                let why = format!("clustered from {CLUSTERED_ROWS} rows on");
                (Structure::usual(count), why)
            }
            Self::Flat => (Structure::Flat, "as asked".into()),
            Self::Clustered => (Structure::Clustered, "as asked".into()),
        };
        let (clustered, name) = match structure {
            Structure::Flat => (false, "flat"),
            Structure::Clustered => (true, "clustered"),
        };
        eprintln!("{count} {what}: a {name} index ({why})");
        clustered
    }
}

/// Prints what was packed and what was left out.
pub fn summarise(out: &std::path::Path, report: &PackReport) {
    for (name, reason) in &report.left_out {
        eprintln!("left out: {name}: {reason}");
    }
    let unnamed = report.left_out_count.saturating_sub(report.left_out.len());
    if unnamed > 0 {
        eprintln!("left out: {unnamed} more");
    }
    let manifest = &report.manifest;
    println!(
        "{}: {} images, {} left out, {} embedded before; index {:.1} kB in {} files, model {:.1} MB",
        out.display(),
        manifest.count,
        report.left_out_count,
        report.reused,
        manifest.totals.index_bytes as f64 / 1e3,
        manifest.layers.first().map_or_else(
            || manifest.clusters.iter().flat_map(|c| c.files()).count(),
            |layer| layer.shards.len(),
        ),
        manifest.totals.model_bytes as f64 / 1e6,
    );
}
