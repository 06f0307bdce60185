//! `data-attribution evaluate`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::Progress;
use crate::evaluate::{EvaluateOptions, FeatureSource, Missing, evaluate, table, write_report};

/// How many things that were left out are named; all are in the results.
const NAMED: usize = 10;

#[derive(Args)]
pub struct Evaluate {
    /// Test-case files (JSON), separated by commas.
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE.json")]
    cases: Vec<PathBuf>,
    /// Folder of features under a name; `tuned/clip=DIR` sets the columns name and feature apart.
    /// Repeat to compare. The folder holds database.npy, exemplar.npy with exemplar.txt (paths, one a
    /// line) and synth.npy with synth.txt.
    #[arg(long, required = true, value_name = "NAME=DIR", value_parser = source)]
    features: Vec<FeatureSource>,
    /// Folder for the results: results.json, a .csv for each test case, recall.svg.
    #[arg(short, long, value_name = "RESULTS")]
    out: PathBuf,
    /// What to do about images without features and entries without exemplars.
    #[arg(long, value_enum, default_value = "stop")]
    missing: OnMissing,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnMissing {
    /// Fail and list them.
    Stop,
    /// List them and go on without them.
    Skip,
}

impl Evaluate {
    pub fn run(self) -> Result<()> {
        if self.out.exists() && !self.out.is_dir() {
            anyhow::bail!("{}: not a folder", self.out.display());
        }
        let options = EvaluateOptions {
            cases: self.cases,
            features: self.features,
            missing: match self.missing {
                OnMissing::Stop => Missing::Stop,
                OnMissing::Skip => Missing::Skip,
            },
        };
        let progress = Progress::new("ranking");
        let evaluation = evaluate(&options, &|done, total| progress.update(done, total));
        progress.finish();
        let evaluation = evaluation?;
        for left in evaluation.left_out.iter().take(NAMED) {
            let path = left.path.as_deref().unwrap_or("has no exemplars");
            eprintln!(
                "left out: {}/{}: {} {path} of {}, {}",
                left.name, left.feature, left.what, left.case, left.entry
            );
        }
        let count = evaluation.left_out.len();
        if count > NAMED {
            eprintln!("left out: {count} in all; results.json lists them");
        }
        for (features, count) in &evaluation.exemplars_in_database {
            eprintln!(
                "{features}: {count} exemplars are in the database as well and compete with themselves"
            );
        }
        let written = write_report(&evaluation, &self.out).context("writing the results")?;
        print!("{}", table(&evaluation));
        for path in written {
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// Parses `NAME=DIR`, where NAME may be `name/feature`.
fn source(text: &str) -> Result<FeatureSource, String> {
    let (label, folder) = text
        .split_once('=')
        .filter(|(label, folder)| !label.is_empty() && !folder.is_empty())
        .ok_or("NAME=DIR is expected")?;
    let (name, feature) = label.split_once('/').unwrap_or((label, label));
    if name.is_empty() || feature.is_empty() {
        return Err("a name before and after the slash is expected".into());
    }
    Ok(FeatureSource {
        name: name.to_owned(),
        feature: feature.to_owned(),
        folder: folder.into(),
    })
}
