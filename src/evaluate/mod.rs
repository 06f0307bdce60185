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
//! | `features.json` | optional: the backbone; features of two backbones are never compared |
//!
//! The values are f16, f32 or f64. The database may lie elsewhere: a `.npy` matrix, another container of
//! features, or a packed index. Mappers, where given, are applied to what is not mapped yet.
//!
//! Rankings are made twice: by the features as they are (`float32`), and as an index ranks (`int8`):
//! database and exemplars quantized to int8 rows, queries to 13 bits, scores by exact integer sums. The
//! difference is what quantization costs. A packed index has only the second; given beside a database, it
//! takes the place of the int8 rows that are made here.
//!
//! Invariants: the database is read once for each features folder, however many queries there are; the
//! ranking is the full one; equal scores rank in the order database rows, then the entry's exemplars;
//! results do not depend on the machine or on the number of threads.

mod cases;
mod clustered;
mod database;
mod features;
mod ground_truth;
mod integer_kernel;
pub(crate) mod kernel;
mod metrics;
mod plot;
mod queries;
mod ranks;
mod report;
mod scores;
mod sources;
mod split;
mod stream;
mod unit;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cases::{Case, CaseCounts, Entry, parse_cases};
pub use ground_truth::{GroundTruth, TruthOptions};
pub use metrics::RECALL_AT;
pub use report::{table, write_report};
pub use scores::QueryScores;
pub use sources::{FeatureSource, MapperName, NamedMappers};
pub use split::split_entries;
pub use stream::{Mappers, RowMap};

use crate::error::{Error, Result};
use crate::format::shard::DIMENSION_MAX;
use clustered::ClusteredRows;
use features::FeatureFolder;
use kernel::Kernel;
use metrics::MetricSums;
use queries::Plan;
use ranks::{Query, Ranks, rank};
use sources::Maps;
use stream::Wanted;
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

/// How the ranked rows are stored, which is how finely their scores are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// Unit vectors as they are.
    Float32,
    /// As in a packed index.
    Int8,
}

/// Which rankings are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowsWanted {
    #[default]
    Both,
    Float32,
    Int8,
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Test-case files.
    pub cases: Vec<PathBuf>,
    pub features: Vec<FeatureSource>,
    pub rows: RowsWanted,
    pub missing: Missing,
}

/// Metrics of one kind of query of one test case, with one kind of features and of rows.
#[derive(Clone, Debug, Serialize)]
pub struct ResultRow {
    pub case: String,
    pub name: String,
    pub feature: String,
    pub rows: Rows,
    /// Name of the mappers; `None` for features compared as they are.
    pub mapper: Option<String>,
    pub synth_type: String,
    /// Queries that the metrics are the means over.
    pub queries: usize,
    /// Exemplars of the entries of those queries, summed over the entries.
    pub exemplars: usize,
    /// N.
    pub database_items: usize,
    /// D of what was compared.
    pub dimension: usize,
    /// Recall at each of [`RECALL_AT`]; `None` without queries, and where there are no such rows: an
    /// index has no float rows, and no int8 rows have more than 2048 values.
    pub recall: Option<[f64; RECALL_AT.len()]>,
    /// mAP; `None` as for the recall.
    pub mean_average_precision: Option<f64>,
    /// Of int8 rows beside float rows: the recalls and the mAP of those less these.
    pub quantization_cost: Option<[f64; RECALL_AT.len() + 1]>,
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
    /// By features, case, synth type and rows, the first two in the order of the options.
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
        let passes = passes(source, options)?;
        let folder = &passes[0].folder;
        let plan = Plan::new(&cases, source, folder, options.missing)?;
        work.push((source, passes, plan));
    }
    let items = work.iter().flat_map(|(_, passes, _)| passes);
    let total: usize = items.map(|pass| pass.folder.database.shape()[0]).sum();
    let mut done = 0;
    let mut evaluation = Evaluation {
        recall_at: RECALL_AT,
        results: Vec::new(),
        left_out: Vec::new(),
        exemplars_in_database: BTreeMap::new(),
    };
    for (source, passes, plan) in work {
        let mut kinds = Vec::new();
        for pass in &passes {
            let ranks = pass.ranks(&plan, &|rows| progress(done + rows, total))?;
            let items = pass.folder.database.shape()[0];
            done += items;
            let of_kinds = [(Rows::Float32, ranks.float32), (Rows::Int8, ranks.int8)];
            for (rows, ranks) in of_kinds {
                let made = ranks.is_some() || passes.len() == 1;
                if options.rows.includes(rows) && made {
                    kinds.push((rows, items, plan_sums(&plan, &ranks)));
                }
            }
        }
        let dimension = passes[0].maps.dimension;
        for (number, group) in plan.groups.iter().enumerate() {
            let mut exact: Option<[f64; RECALL_AT.len() + 1]> = None;
            for (rows, database_items, sums) in &kinds {
                let means = sums.as_ref().and_then(|sums| sums[number].means());
                let all = means.map(|([a, b, c], precision)| [a, b, c, precision]);
                if *rows == Rows::Float32 {
                    exact = all;
                }
                let cost = exact.zip(all).filter(|_| *rows == Rows::Int8);
                evaluation.results.push(ResultRow {
                    case: group.case.clone(),
                    name: source.name.clone(),
                    feature: source.feature.clone(),
                    rows: *rows,
                    mapper: source
                        .mapper
                        .as_ref()
                        .map(|mapper| mapper.real.name.clone()),
                    synth_type: group.synth_type.clone(),
                    queries: group.queries,
                    exemplars: group.exemplars,
                    database_items: *database_items,
                    dimension,
                    quantization_cost: cost
                        .map(|(exact, int8)| std::array::from_fn(|at| exact[at] - int8[at])),
                    recall: means.map(|(recall, _)| recall),
                    mean_average_precision: means.map(|(_, precision)| precision),
                });
            }
        }
        if plan.exemplars_in_database > 0 {
            let known = &mut evaluation.exemplars_in_database;
            known.insert(source.label(), plan.exemplars_in_database);
        }
        evaluation.left_out.extend(plan.left_out);
    }
    Ok(evaluation)
}

impl RowsWanted {
    fn includes(self, rows: Rows) -> bool {
        match self {
            Self::Both => true,
            Self::Float32 => rows == Rows::Float32,
            Self::Int8 => rows == Rows::Int8,
        }
    }
}

/// The rankings that are wanted and that can be made; of one asked for alone, that it can.
fn wanted(rows: RowsWanted, folder: &FeatureFolder, dimension: usize) -> Result<Wanted> {
    let possible = Wanted {
        float32: folder.database.index_mappers().is_none(),
        int8: dimension <= DIMENSION_MAX,
    };
    let name = &folder.database.name;
    match rows {
        RowsWanted::Float32 if !possible.float32 => Err(Error::invalid(format!(
            "{name}: a packed index has int8 rows and no others"
        ))),
        RowsWanted::Int8 if !possible.int8 => Err(Error::invalid(format!(
            "{name}: int8 rows have at most {DIMENSION_MAX} values, not {dimension}"
        ))),
        _ => Ok(Wanted {
            float32: possible.float32 && rows.includes(Rows::Float32),
            int8: possible.int8 && rows.includes(Rows::Int8),
        }),
    }
}

/// The metrics of each group of the plan, from the ranks of its queries.
fn plan_sums(plan: &Plan, ranks: &Option<Vec<Vec<u64>>>) -> Option<Vec<MetricSums>> {
    let ranks = ranks.as_ref()?;
    let mut sums = vec![MetricSums::default(); plan.groups.len()];
    for (query, ranks) in plan.queries.iter().zip(ranks) {
        sums[query.group].add(ranks);
    }
    Some(sums)
}

/// One reading of one database.
struct Pass<'a> {
    folder: FeatureFolder,
    maps: Maps<'a>,
    wanted: Wanted,
}

/// The readings that a source needs: one, or with an index beside the database two.
fn passes<'a>(source: &'a FeatureSource, options: &EvaluateOptions) -> Result<Vec<Pass<'a>>> {
    let pass = |database: Option<&Path>, rows: RowsWanted| {
        let folder = FeatureFolder::open(&source.folder, database)?;
        let maps = source.maps(&folder)?;
        let wanted = wanted(rows, &folder, maps.dimension)?;
        Ok(Pass {
            folder,
            maps,
            wanted,
        })
    };
    let database = source.database.as_deref();
    let Some(index) = source.index.as_deref() else {
        return Ok(vec![pass(database, options.rows)?]);
    };
    let has_rows = database.is_some() || source.folder.join("database.npy").is_file();
    let mut passes = Vec::new();
    if has_rows && options.rows.includes(Rows::Float32) {
        passes.push(pass(database, RowsWanted::Float32)?);
    }
    if options.rows.includes(Rows::Int8) || passes.is_empty() {
        let rows = match passes.is_empty() {
            true => options.rows,
            false => RowsWanted::Int8,
        };
        let of_index = pass(Some(index), rows)?;
        if of_index.folder.database.index_mappers().is_none() {
            let name = &of_index.folder.database.name;
            return Err(Error::invalid(format!("{name}: no packed index")));
        }
        passes.push(of_index);
    }
    if let [rows, index] = passes.as_slice() {
        let [rows, index] = [rows, index].map(|pass| &pass.folder.database);
        if rows.shape()[0] != index.shape()[0] {
            return Err(Error::invalid(format!(
                "{} has {} rows, its index {} has {}",
                rows.name,
                rows.shape()[0],
                index.name,
                index.shape()[0]
            )));
        }
    }
    Ok(passes)
}

impl Pass<'_> {
    /// The ranks of the exemplars of each query of the plan.
    fn ranks(&self, plan: &Plan, progress: &(dyn Fn(usize) + Sync)) -> Result<Ranks> {
        // The rows of a clustered index are ranked as what they stand for, by the float kernel.
        let Some(index) = self.folder.database.clustered() else {
            return plan_ranks(plan, &self.folder, &self.maps, self.wanted, None, progress);
        };
        let restored = Wanted {
            float32: true,
            int8: false,
        };
        let through = Some(index);
        let ranks = plan_ranks(plan, &self.folder, &self.maps, restored, through, progress)?;
        Ok(Ranks {
            float32: None,
            int8: ranks.float32,
        })
    }
}

/// The ranks of the exemplars of each query of the plan; exemplars are rounded as `through` would.
fn plan_ranks(
    plan: &Plan,
    folder: &FeatureFolder,
    maps: &Maps,
    wanted: Wanted,
    through: Option<&ClusteredRows>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Ranks> {
    let (exemplar, synth) = (&folder.exemplar, &folder.synth);
    let (exemplar_rows, synth_rows) = (plan.exemplar_rows(), plan.synth_rows());
    let mut exemplars = UnitRows::read(
        &exemplar.rows,
        &exemplar.name,
        &exemplar_rows,
        maps.exemplar,
    )?;
    if let Some(index) = through {
        exemplars = exemplars.through(index)?;
    }
    let vectors = UnitRows::read(&synth.rows, &synth.name, &synth_rows, maps.synth)?;
    let codes = wanted.int8.then(|| exemplars.codes()).transpose()?;
    let queries = plan.queries.iter().map(|query| {
        let rows = &plan.exemplars_by_entry[query.entry];
        Query {
            vector: vectors.get(query.row),
            exemplars: rows.iter().map(|&row| exemplars.get(row)).collect(),
            exemplar_codes: match &codes {
                Some(codes) => rows.iter().map(|&row| codes.get(row)).collect(),
                None => Vec::new(),
            },
        }
    });
    let queries: Vec<Query> = queries.collect();
    rank(
        &folder.database,
        maps.database,
        &queries,
        wanted,
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
