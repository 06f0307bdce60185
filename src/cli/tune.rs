//! `data-attribution tune`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::Progress;
use super::evaluate::{OnMissing, report_left_out};
use crate::evaluate::TruthOptions;
use crate::tune::{Found, Step, Training, TuneOptions, Tuning, tune, write_tuning};

#[derive(Args)]
pub struct Tune {
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
    /// Folder for the mapper, report.json and loss.svg.
    #[arg(short, long, value_name = "RESULTS")]
    out: PathBuf,
    /// A name for the mapper.
    #[arg(long, default_value = "tuned")]
    name: String,
    /// Name of the backbone that the features are of, such as dinov2-s14; where the features say it
    /// themselves, it must be the same.
    #[arg(long)]
    backbone: Option<String>,
    /// Decides which entries are held out for validation, and all chance of the training.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Share of the entries held out for validation, which ends the training; to 0.9.
    #[arg(long, default_value_t = 0.2)]
    validation: f64,
    /// What to do about images without features and entries without exemplars.
    #[arg(long, value_enum, default_value = "stop")]
    missing: OnMissing,
    /// Most epochs; in one, each query is paired with one of its exemplars.
    #[arg(long, default_value_t = Training::default().epochs)]
    epochs: usize,
    /// Epochs without a higher validation mAP after which training ends.
    #[arg(long, default_value_t = Training::default().patience)]
    patience: usize,
    /// Most pairs in a batch; those of other entries are each other's negatives.
    #[arg(long, default_value_t = Training::default().batch)]
    batch: usize,
    /// Database rows that each batch has as further negatives.
    #[arg(long, default_value_t = Training::default().negatives)]
    negatives: usize,
    #[arg(long, default_value_t = Training::default().learning_rate)]
    learning_rate: f64,
    /// Decay of the weights towards the identity.
    #[arg(long, default_value_t = Training::default().weight_decay)]
    weight_decay: f64,
    /// Temperature of the loss.
    #[arg(long, default_value_t = Training::default().temperature)]
    temperature: f64,
    /// Learn the temperature, starting from the one given.
    #[arg(long)]
    learn_temperature: bool,
}

impl Tune {
    pub fn run(self) -> Result<()> {
        if self.out.exists() && !self.out.is_dir() {
            anyhow::bail!("{}: not a folder", self.out.display());
        }
        let options = TuneOptions {
            truth: TruthOptions {
                cases: self.cases,
                features: self.features,
                database: self.database,
                missing: self.missing.into(),
            },
            name: self.name,
            backbone: self.backbone,
            seed: self.seed,
            validation: self.validation,
            training: Training {
                epochs: self.epochs,
                patience: self.patience,
                batch: self.batch,
                negatives: self.negatives,
                learning_rate: self.learning_rate,
                weight_decay: self.weight_decay,
                temperature: self.temperature,
                learn_temperature: self.learn_temperature,
            },
        };
        let training = Progress::new("training");
        let tuning = tune(&options, &|step, done, total| match step {
            Step::Training => training.update(done, total),
            Step::Measuring => {}
        });
        training.finish();
        let tuning = tuning?;
        report_left_out(&tuning.left_out);
        let written = write_tuning(&tuning, &self.out).context("writing the results")?;
        print!("{}", summary(&tuning));
        for path in written {
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// The result for people.
pub fn summary(tuning: &Tuning) -> String {
    let mut text = format!(
        "{} queries of {} entries trained on; weights of epoch {} of {} kept\n",
        tuning.training_queries,
        tuning.training_entries,
        tuning.kept,
        tuning.epochs.len().saturating_sub(1)
    );
    let stages: [(&str, &Found); 2] = [("before", &tuning.before), ("after", &tuning.after)];
    for (when, found) in stages {
        text += &format!("  {when}:");
        for (k, recall) in tuning.recall_at.iter().zip(found.recall) {
            text += &format!(" recall@{k} {recall:.4},");
        }
        text += &format!(
            " mAP {:.4} ({} validation queries of {} entries)\n",
            found.mean_average_precision, tuning.validation_queries, tuning.validation_entries
        );
    }
    text
}
