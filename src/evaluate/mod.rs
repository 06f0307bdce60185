//! How well features find the images that a generated image is made of: recall@K and mAP on test cases
//! whose answer is known, as in *Evaluating Data Attribution for Text-to-Image Models* (ICCV 2023).
//!
//! A test case lists fine-tuned models: the images each was taught with (exemplars) and images it then
//! generated (queries). Each query ranks the whole database plus only its own model's exemplars by
//! cosine similarity; the exemplars are the hits. Images are not read here, only features of them:
//!
//! | file of a features folder | holds |
//! |---|---|
//! | `database.npy` | `[N, D]`, the items that exemplars are hidden among |
//! | `database.txt` | optional: their paths, one a line |
//! | `exemplar.npy`, `exemplar.txt` | `[n, D]`, and the paths of the rows as the test cases write them |
//! | `synth.npy`, `synth.txt` | the same for the queries |
//!
//! Features are unmapped or mapped as the evaluation wants them; the values are f16, f32 or f64.
//!
//! Invariants: the database is read once for each features folder, however many queries there are; the
//! ranking is the full one; equal scores rank in the order database rows, then the entry's exemplars;
//! results do not depend on the machine or on the number of threads.

mod cases;
mod features;
mod kernel;
mod metrics;
mod plot;
mod queries;
mod ranks;
mod report;
mod unit;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

pub use cases::{Case, CaseCounts, Entry, parse_cases};
pub use metrics::RECALL_AT;
pub use report::{table, write_report};

use crate::error::{Error, Result};
use features::FeatureFolder;
use kernel::Kernel;
use metrics::MetricSums;
use queries::Plan;
use ranks::{Query, rank};
use unit::UnitRows;

/// What to do about images without features and entries without exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// They are an error.
    #[default]
    Stop,
    /// They are left out and listed. A missing exemplar then no longer counts as one to be found.
    Skip,
}

/// A features folder and what it is called in the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSource {
    /// What was done to the features: `untuned`, `tuned`, …
    pub name: String,
    /// Which features they are: `clip`, `dino`, …
    pub feature: String,
    pub folder: PathBuf,
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Test-case files.
    pub cases: Vec<PathBuf>,
    pub features: Vec<FeatureSource>,
    pub missing: Missing,
}

/// Metrics of one kind of query of one test case, with one kind of features.
#[derive(Clone, Debug, Serialize)]
pub struct ResultRow {
    pub case: String,
    pub name: String,
    pub feature: String,
    pub synth_type: String,
    /// Queries that the metrics are the means over.
    pub queries: usize,
    /// Exemplars of the entries of those queries, summed over the entries.
    pub exemplars: usize,
    /// N.
    pub database_items: usize,
    /// D.
    pub dimension: usize,
    /// Recall at each of [`RECALL_AT`]; `None` without queries.
    pub recall: Option<[f64; RECALL_AT.len()]>,
    /// mAP; `None` without queries.
    pub mean_average_precision: Option<f64>,
}

/// Something of a test case that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub name: String,
    pub feature: String,
    pub case: String,
    pub entry: String,
    /// `exemplar` or `synth` for an image without features; `entry` for one without exemplars.
    pub what: &'static str,
    /// The image; `None` for an entry.
    pub path: Option<String>,
}

/// Everything that an evaluation found.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The K of the recalls.
    pub recall_at: [u64; RECALL_AT.len()],
    /// By features, case and synth type, the first two in the order of the options.
    pub results: Vec<ResultRow>,
    pub left_out: Vec<LeftOut>,
    /// Exemplars that a database's list names as well: there they compete with their own exemplar.
    pub exemplars_in_database: BTreeMap<String, usize>,
}

/// Evaluates every features folder on every test case.
///
/// `progress` hears how many database rows have been read, and of how many.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] for unreadable input, matrices of different dimensions, lists of
/// another length than their matrix, and with [`Missing::Stop`] an entry without exemplars;
/// [`Error::NotFinite`] for a used row that is not finite; [`Error::InvalidArgument`] for cases or
/// features of one name, and with [`Missing::Stop`] for images without features.
pub fn evaluate(
    options: &EvaluateOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Evaluation> {
    let cases = options.cases.iter().map(|path| parse_cases(path));
    let cases: Vec<Case> = cases.collect::<Result<_>>()?;
    distinct("test cases", cases.iter().map(|case| case.name.clone()))?;
    let sources = options.features.iter();
    distinct("features", sources.map(FeatureSource::label))?;
    // All are opened and looked up before the first is computed with, to fail early.
    let mut work = Vec::new();
    for source in &options.features {
        let folder = FeatureFolder::open(&source.folder)?;
        let plan = Plan::new(&cases, source, &folder, options.missing)?;
        work.push((source, folder, plan));
    }
    let total: usize = work
        .iter()
        .map(|(_, folder, _)| folder.database.rows.shape()[0])
        .sum();
    let mut done = 0;
    let mut evaluation = Evaluation {
        recall_at: RECALL_AT,
        results: Vec::new(),
        left_out: Vec::new(),
        exemplars_in_database: BTreeMap::new(),
    };
    for (source, folder, plan) in work {
        let ranks = plan_ranks(&plan, &folder, &|rows| progress(done + rows, total))?;
        let [database_items, dimension] = folder.database.rows.shape();
        done += database_items;
        let mut sums = vec![MetricSums::default(); plan.groups.len()];
        for (query, ranks) in plan.queries.iter().zip(&ranks) {
            sums[query.group].add(ranks);
        }
        for (group, sums) in plan.groups.iter().zip(sums) {
            let means = sums.means();
            evaluation.results.push(ResultRow {
                case: group.case.clone(),
                name: source.name.clone(),
                feature: source.feature.clone(),
                synth_type: group.synth_type.clone(),
                queries: sums.queries(),
                exemplars: group.exemplars,
                database_items,
                dimension,
                recall: means.map(|(recall, _)| recall),
                mean_average_precision: means.map(|(_, precision)| precision),
            });
        }
        if plan.exemplars_in_database > 0 {
            let known = &mut evaluation.exemplars_in_database;
            known.insert(source.label(), plan.exemplars_in_database);
        }
        evaluation.left_out.extend(plan.left_out);
    }
    Ok(evaluation)
}

impl FeatureSource {
    /// `name/feature`, or the feature alone where both are the same.
    pub fn label(&self) -> String {
        if self.name == self.feature {
            self.feature.clone()
        } else {
            format!("{}/{}", self.name, self.feature)
        }
    }
}

/// The ranks of the exemplars of each query of the plan.
fn plan_ranks(
    plan: &Plan,
    folder: &FeatureFolder,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<u64>>> {
    let (exemplar, synth) = (&folder.exemplar, &folder.synth);
    let exemplars = UnitRows::read(&exemplar.rows, &exemplar.name, &plan.exemplar_rows())?;
    let vectors = UnitRows::read(&synth.rows, &synth.name, &plan.synth_rows())?;
    let entries = &plan.exemplars_by_entry;
    let queries = plan.queries.iter().map(|query| Query {
        vector: vectors.get(query.row),
        exemplars: entries[query.entry]
            .iter()
            .map(|&row| exemplars.get(row))
            .collect(),
    });
    let queries: Vec<Query> = queries.collect();
    let database = &folder.database;
    rank(
        &database.rows,
        &database.name,
        &queries,
        Kernel::fastest(),
        progress,
    )
}

/// Checks that no two names are the same: their results could not be told apart.
fn distinct(what: &str, names: impl Iterator<Item = String>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Error::invalid(format!("two {what} are named {name}")));
        }
        seen.insert(name);
    }
    if seen.is_empty() {
        return Err(Error::invalid(format!("no {what} to evaluate")));
    }
    Ok(())
}
