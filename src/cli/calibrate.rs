//! `data-attribution calibrate`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::Progress;
use super::evaluate::{OnMissing, report_left_out};
use crate::calibrate::{CalibrateOptions, Stage, calibrate, write_calibration};
use crate::evaluate::TruthOptions;
use crate::mapper::open_named_mappers;

#[derive(Args)]
pub struct Calibrate {
    /// Test-case files (JSON), separated by commas: which exemplars each query is made of.
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE.json")]
    cases: Vec<PathBuf>,
    /// Folder of unmapped features: database.npy, exemplar.npy with exemplar.txt (paths, one a line) and
    /// synth.npy with synth.txt; a database.txt tells which rows are exemplars themselves.
    #[arg(long, value_name = "DIR")]
    features: PathBuf,
    /// Database in place of database.npy: a .npy matrix, a torch file of feats and paths, or a clip-retrieval
    /// folder.
    #[arg(long, value_name = "PATH")]
    database: Option<PathBuf>,
    /// Folder of a mapper that the features go through first, as `import --mapper` and `tune` write it.
    #[arg(long, value_name = "DIR")]
    mapper: Option<PathBuf>,
    /// Folder for the results: calibrator.json, report.json, reliability.svg.
    #[arg(short, long, value_name = "RESULTS")]
    out: PathBuf,
    /// A name for the calibrator.
    #[arg(long)]
    name: Option<String>,
    /// Decides which entries are held out for validation.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Share of the entries held out for validation, 0 to 0.9.
    #[arg(long, default_value_t = 0.2)]
    validation: f64,
    /// What to do about images without features and entries without exemplars.
    #[arg(long, value_enum, default_value = "stop")]
    missing: OnMissing,
}

impl Calibrate {
    pub fn run(self) -> Result<()> {
        if self.out.exists() && !self.out.is_dir() {
            anyhow::bail!("{}: not a folder", self.out.display());
        }
        let mappers = self.mapper.as_deref().map(open_named_mappers);
        let options = CalibrateOptions {
            truth: TruthOptions {
                cases: self.cases,
                features: self.features,
                database: self.database,
                missing: self.missing.into(),
            },
            mappers: mappers.transpose()?,
            name: self.name,
            seed: self.seed,
            validation: self.validation,
        };
        let progress = Progress::new("scoring");
        let calibration = calibrate(&options, &|done, total| progress.update(done, total));
        progress.finish();
        let calibration = calibration?;
        report_left_out(&calibration.left_out);
        let written = write_calibration(&calibration, &self.out).context("writing the results")?;
        let stages = [
            ("before", &calibration.before),
            ("after", &calibration.after),
        ];
        for (when, stage) in stages {
            print!("{}", summary(when, stage));
        }
        for path in written {
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// A stage for people, a line for each part of the split.
pub fn summary(when: &str, stage: &Stage) -> String {
    let calibrator = &stage.calibrator;
    let mut text = format!(
        "{when}: inv_tau {:.3}, bias {:.3}\n",
        calibrator.inv_tau, calibrator.bias
    );
    let parts = [
        ("training", Some(&stage.training)),
        ("validation", stage.validation.as_ref()),
    ];
    for (part, measured) in parts {
        let Some(measured) = measured else { continue };
        let found = &measured.reliability;
        text += &format!(
            "  {part}: {} queries of {} entries, loss {:.4}, calibration error {:.1} %, {:.1} % of the influence on exemplars\n",
            found.queries,
            measured.entries,
            measured.loss,
            100.0 * found.error,
            100.0 * found.on_exemplars
        );
    }
    text
}
