//! `data-attribution evaluate`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::Progress;
use crate::error::Error;
use crate::evaluate::{
    EvaluateOptions, FeatureSource, LeftOut, Missing, RowsWanted, evaluate, table, write_report,
};
use crate::mapper::open_named_mappers;

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
    /// Database in place of database.npy: a .npy matrix, a torch file of feats and paths, a
    /// clip-retrieval folder, or a packed index. For the features of that name; without a name, for all
    /// that have none of their own.
    #[arg(long, value_name = "[NAME=]PATH", value_parser = placed)]
    database: Vec<Placed>,
    /// Packed index of the same database, flat or clustered: the int8 rows are then its rows, beside the
    /// float32 rows of the database. Named like --database.
    #[arg(long, value_name = "[NAME=]PATH", value_parser = placed)]
    index: Vec<Placed>,
    /// Folder of a pair of mappers, which the features of that name go through; without a name, all
    /// that have none of their own. A packed index is mapped already and wants its own pair.
    #[arg(long, value_name = "[NAME=]DIR", value_parser = placed)]
    mapper: Vec<Placed>,
    /// Rankings to make: by the features as they are, and as an index ranks, by int8 rows.
    #[arg(long, value_enum, default_value = "both")]
    rows: OfRows,
    /// Folder for the results: results.json, a .csv for each test case, recall.svg.
    #[arg(short, long, value_name = "RESULTS")]
    out: PathBuf,
    /// What to do about images without features and entries without exemplars.
    #[arg(long, value_enum, default_value = "stop")]
    missing: OnMissing,
}

/// The choice of `--missing`.
#[derive(Clone, Copy, ValueEnum)]
pub enum OnMissing {
    /// Fail and list them.
    Stop,
    /// List them and go on without them.
    Skip,
}

#[derive(Clone, Copy, ValueEnum)]
enum OfRows {
    Both,
    Float32,
    Int8,
}

/// A path, and which features it is for.
#[derive(Clone)]
struct Placed {
    name: Option<String>,
    path: PathBuf,
}

impl Evaluate {
    pub fn run(self) -> Result<()> {
        if self.out.exists() && !self.out.is_dir() {
            anyhow::bail!("{}: not a folder", self.out.display());
        }
        let options = EvaluateOptions {
            features: self.sources()?,
            cases: self.cases,
            rows: match self.rows {
                OfRows::Both => RowsWanted::Both,
                OfRows::Float32 => RowsWanted::Float32,
                OfRows::Int8 => RowsWanted::Int8,
            },
            missing: self.missing.into(),
        };
        let progress = Progress::new("ranking");
        let evaluation = evaluate(&options, &|done, total| progress.update(done, total));
        progress.finish();
        let evaluation = evaluation?;
        report_left_out(&evaluation.left_out);
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

    /// The features with their databases and mappers.
    fn sources(&self) -> Result<Vec<FeatureSource>> {
        let labels: Vec<String> = self.features.iter().map(FeatureSource::label).collect();
        for (option, all) in [
            ("database", &self.database),
            ("index", &self.index),
            ("mapper", &self.mapper),
        ] {
            for (at, one) in all.iter().enumerate() {
                let earlier = all.iter().take(at);
                let name = one.name.as_deref();
                if earlier
                    .map(|one| one.name.as_deref())
                    .any(|other| other == name)
                {
                    let name = name.unwrap_or("all features");
                    return Err(Error::invalid(format!("two of --{option} are for {name}")).into());
                }
                if let Some(name) = name
                    && !labels.iter().any(|label| label == name)
                {
                    let what = format!("--{option} {name}=: no --features of that name");
                    return Err(Error::invalid(what).into());
                }
            }
        }
        let mut sources = self.features.clone();
        for (source, label) in sources.iter_mut().zip(&labels) {
            source.database = find(&self.database, label).cloned();
            source.index = find(&self.index, label).cloned();
            if let Some(folder) = find(&self.mapper, label) {
                source.mapper = Some(Arc::new(open_named_mappers(folder)?));
            }
        }
        Ok(sources)
    }
}

/// The path for the features called `label`.
fn find<'a>(all: &'a [Placed], label: &str) -> Option<&'a PathBuf> {
    let own = all.iter().find(|one| one.name.as_deref() == Some(label));
    let general = || all.iter().find(|one| one.name.is_none());
    own.or_else(general).map(|one| &one.path)
}

impl From<OnMissing> for Missing {
    fn from(choice: OnMissing) -> Self {
        match choice {
            OnMissing::Stop => Self::Stop,
            OnMissing::Skip => Self::Skip,
        }
    }
}

/// Names what was left out on standard error.
pub fn report_left_out(left_out: &[LeftOut]) {
    for left in left_out.iter().take(NAMED) {
        let path = left.path.as_deref().unwrap_or("has no exemplars");
        eprintln!(
            "left out: {}/{}: {} {path} of {}, {}",
            left.name, left.feature, left.what, left.case, left.entry
        );
    }
    let count = left_out.len();
    if count > NAMED {
        eprintln!("left out: {count} in all; the results list them");
    }
}

/// Parses `NAME=PATH` or `PATH`.
fn placed(text: &str) -> Result<Placed, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (Some(name.to_owned()), path),
        None => (None, text),
    };
    if path.is_empty() || name.as_deref() == Some("") {
        return Err("PATH or NAME=PATH is expected".into());
    }
    Ok(Placed {
        name,
        path: path.into(),
    })
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
    Ok(FeatureSource::new(name, feature, folder))
}
