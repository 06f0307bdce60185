//! `data-attribution extract`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::Progress;
use crate::evaluate::Missing;
use crate::extract::{ExtractOptions, Input, extract};

/// How many images that were left out are named.
const NAMED: usize = 10;

#[derive(Args)]
pub struct Extract {
    /// Folder of the imported backbone.
    #[arg(long)]
    model: PathBuf,
    /// Folder of images, searched recursively: database.npy and database.txt.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present_any = ["list", "cases"],
        conflicts_with_all = ["list", "cases", "root"]
    )]
    images: Option<PathBuf>,
    /// Images named in a file, one path a line: database.npy and database.txt.
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    list: Option<PathBuf>,
    /// Images of test-case files (JSON), separated by commas: exemplar.npy, synth.npy and their lists.
    #[arg(long, value_delimiter = ',', value_name = "FILE.json")]
    cases: Vec<PathBuf>,
    /// Folder that the paths of --list and --cases are relative to.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Folder for the features. A run that was interrupted is taken up again.
    #[arg(short, long, value_name = "FEATURES")]
    out: PathBuf,
    /// What to do about images that are not there or cannot be read.
    #[arg(long, value_enum, default_value = "stop")]
    missing: OnMissing,
    /// Keep features in this folder by the content of the images, as `pack --cache` does.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Images with more pixels are refused.
    #[arg(long, default_value_t = crate::preprocess::DEFAULT_LIMIT_MEGAPIXELS)]
    limit_megapixels: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnMissing {
    /// Embed the others, then fail and list them.
    Stop,
    /// List them and go on without them.
    Skip,
}

impl Extract {
    pub fn run(self) -> Result<()> {
        let root = self.root;
        let input = match (self.images, self.list) {
            (Some(images), _) => Input::Folder(images),
            (None, Some(list)) => Input::List { list, root },
            (None, None) => Input::Cases {
                cases: self.cases,
                root,
            },
        };
        let options = ExtractOptions {
            missing: match self.missing {
                OnMissing::Stop => Missing::Stop,
                OnMissing::Skip => Missing::Skip,
            },
            cache: self.cache,
            limit_megapixels: self.limit_megapixels,
            ..ExtractOptions::new(&self.model, input, &self.out)
        };
        let started = std::time::Instant::now();
        let progress = Progress::new("embedding images");
        let report = extract(&options, &|done, total| progress.update(done, total));
        progress.finish();
        let report = report?;
        let seconds = started.elapsed().as_secs_f64().max(1e-3);
        for (name, reason) in report.left_out.iter().take(NAMED) {
            eprintln!("left out: {name}: {reason}");
        }
        if report.left_out.len() > NAMED {
            eprintln!("left out: {} in all", report.left_out.len());
        }
        for (matrix, rows) in &report.rows {
            let path = self.out.join(format!("{matrix}.npy"));
            println!("{}: {rows} x {}", path.display(), report.dimension);
        }
        println!(
            "{} images embedded ({:.2} a second), {} known before, {} left out, {} named again",
            report.embedded,
            report.embedded as f64 / seconds,
            report.reused,
            report.left_out.len(),
            report.repeated
        );
        Ok(())
    }
}
