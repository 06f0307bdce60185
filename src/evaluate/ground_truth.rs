//! Test cases with their features as ground truth to learn from: which exemplars each query should find,
//! and how it scores them and everything else.
//!
//! Where the database's list names an exemplar of the query's own entry, that row is the exemplar itself
//! and not something else to be told from it, so it counts once: as the exemplar.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::database::Database;
use super::features::FeatureFolder;
use super::kernel::{Kernel, dot};
use super::metrics::{MetricSums, RECALL_AT};
use super::queries::Plan;
use super::ranks::{Query, rank};
use super::scores::{QueryScores, ScoredQuery, score_database};
use super::stream::{Mappers, RowMap, Wanted};
use super::unit::{UnitRows, read_rows};
use super::{Case, FeatureSource, LeftOut, Missing, parse_cases};
use crate::error::{Error, Result};
use crate::features::FeaturesBackbone;

/// Where ground truth is.
#[derive(Clone, Debug)]
pub struct TruthOptions {
    /// Test-case files.
    pub cases: Vec<PathBuf>,
    /// Features folder, as [`evaluate`](super::evaluate) reads it; the features are unmapped.
    pub features: PathBuf,
    /// The database, where it is not `database.npy` of the folder; no packed index, which has no float rows.
    pub database: Option<PathBuf>,
    pub missing: Missing,
}

/// Test cases, looked up in a features folder.
pub struct GroundTruth {
    folder: FeatureFolder,
    plan: Plan,
    /// For each entry, the database rows that are its exemplars, ascending.
    copies: Vec<Vec<usize>>,
}

impl GroundTruth {
    /// Reads the test cases and opens the features.
    ///
    /// # Errors
    /// As [`evaluate`](super::evaluate); [`Error::InvalidArgument`] where no query remains.
    pub fn open(options: &TruthOptions) -> Result<Self> {
        let cases = options.cases.iter().map(|path| parse_cases(path));
        let cases: Vec<Case> = cases.collect::<Result<_>>()?;
        let folder = FeatureFolder::open(&options.features, options.database.as_deref())?;
        folder.database.rows()?;
        let source = FeatureSource::new("features", "features", &options.features);
        let plan = Plan::new(&cases, &source, &folder, options.missing)?;
        if plan.queries.is_empty() {
            return Err(Error::invalid(format!(
                "{}: no query of the test cases has features and exemplars",
                options.features.display()
            )));
        }
        let by_exemplar = copies(&folder)?;
        let copies = plan.exemplars_by_entry.iter().map(|exemplars| {
            let rows = exemplars.iter().filter_map(|row| by_exemplar.get(row));
            let rows: BTreeSet<usize> = rows.flatten().copied().collect();
            rows.into_iter().collect()
        });
        Ok(Self {
            copies: copies.collect(),
            folder,
            plan,
        })
    }

    /// The same queries and exemplars, with the database rows `rows` (ascending, without repeats, none of an
    /// exemplar) in memory in place of all of it: for measuring again and again.
    ///
    /// # Errors
    /// As [`GroundTruth::query_features`].
    pub fn among(mut self, rows: &[usize]) -> Result<Self> {
        let values = self.database_features(rows)?;
        let whole = &self.folder.database;
        self.folder.database = Database::held(values, self.dimension(), whole);
        self.copies.iter_mut().for_each(Vec::clear);
        Ok(self)
    }

    /// D of the features as they are in the folder.
    pub fn dimension(&self) -> usize {
        self.folder.database.shape()[1]
    }

    /// N.
    pub fn database_items(&self) -> usize {
        self.folder.database.shape()[0]
    }

    /// The backbone that made the features, where it is known.
    pub fn backbone(&self) -> Option<&FeaturesBackbone> {
        self.folder.backbone.as_ref()
    }

    /// Entries that have exemplars.
    pub fn entries(&self) -> usize {
        self.plan.exemplars_by_entry.len()
    }

    /// The entry of each query.
    pub fn query_entries(&self) -> Vec<usize> {
        self.plan.queries.iter().map(|query| query.entry).collect()
    }

    /// What was left out by [`Missing::Skip`].
    pub fn left_out(&self) -> &[LeftOut] {
        &self.plan.left_out
    }

    /// Features of the queries `[queries, D]`, in order.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotFinite`] for a value that is not finite.
    pub fn query_features(&self) -> Result<Vec<f32>> {
        let rows = self.plan.synth_rows();
        let file = &self.folder.synth;
        let values = finite(read_rows(&file.rows, &rows)?, &file.name)?;
        let used = self.plan.queries.iter().map(|query| query.row);
        Ok(self.gather(&values, &rows, used))
    }

    /// Features of the exemplars of each entry, `[exemplars, D]`.
    ///
    /// # Errors
    /// As [`GroundTruth::query_features`].
    pub fn exemplar_features(&self) -> Result<Vec<Vec<f32>>> {
        let rows = self.plan.exemplar_rows();
        let file = &self.folder.exemplar;
        let values = finite(read_rows(&file.rows, &rows)?, &file.name)?;
        let entries = self.plan.exemplars_by_entry.iter();
        Ok(entries
            .map(|used| self.gather(&values, &rows, used.iter().copied()))
            .collect())
    }

    /// Features of some rows of the database (ascending, without repeats).
    ///
    /// # Errors
    /// As [`GroundTruth::query_features`].
    pub fn database_features(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let database = &self.folder.database;
        finite(read_rows(database.rows()?, rows)?, &database.name)
    }

    /// Rows of the database that are an exemplar of some entry.
    pub fn rows_of_exemplars(&self) -> BTreeSet<usize> {
        self.copies.iter().flatten().copied().collect()
    }

    /// Picks the rows `used` out of `values`, the rows `rows` of a matrix.
    fn gather(
        &self,
        values: &[f32],
        rows: &[usize],
        used: impl Iterator<Item = usize>,
    ) -> Vec<f32> {
        let dimension = self.dimension();
        let places = used.filter_map(|row| rows.binary_search(&row).ok());
        places
            .flat_map(|at| &values[at * dimension..(at + 1) * dimension])
            .copied()
            .collect()
    }

    /// The scores of the queries numbered `queries`, with their exemplars and with the database.
    ///
    /// `progress` hears how many database rows have been read, and of how many.
    ///
    /// # Errors
    /// [`Error::Io`]; a used row that is not finite or zero; [`Error::InvalidArgument`] for mappers of
    /// another dimension.
    pub fn scores(
        &self,
        queries: &[usize],
        mappers: Option<&Mappers>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<QueryScores>> {
        let vectors = self.vectors(mappers)?;
        let queries = queries.iter().filter_map(|&at| self.plan.queries.get(at));
        let queries: Vec<ScoredQuery> = queries
            .map(|query| ScoredQuery {
                vector: vectors.queries.get(query.row),
                exemplars: vectors.exemplars_of(&self.plan, query.entry),
                copies: &self.copies[query.entry],
            })
            .collect();
        let real = mappers.map(|mappers| &*mappers.real);
        score_database(&self.folder.database, real, &queries, progress)
    }

    /// The ranks of the exemplars of the queries numbered `queries`, from 1, ascending, as
    /// [`evaluate`](super::evaluate) has them but without the database's copies of the exemplars.
    ///
    /// # Errors
    /// As [`GroundTruth::scores`].
    pub fn ranks(
        &self,
        queries: &[usize],
        mappers: Option<&Mappers>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Vec<u64>>> {
        let vectors = self.vectors(mappers)?;
        let real = mappers.map(|mappers| &*mappers.real);
        let database = &self.folder.database;
        let copied: Vec<usize> = self.rows_of_exemplars().into_iter().collect();
        let copies = match copied.is_empty() {
            true => UnitRows::default(),
            false => UnitRows::read(database.rows()?, &database.name, &copied, real)?,
        };
        let queries = queries.iter().filter_map(|&at| self.plan.queries.get(at));
        let queries: Vec<_> = queries.collect();
        let ranked = queries.iter().map(|query| Query {
            vector: vectors.queries.get(query.row),
            exemplars: vectors.exemplars_of(&self.plan, query.entry),
            exemplar_codes: Vec::new(),
        });
        let ranked: Vec<Query> = ranked.collect();
        let rows = self.database_items();
        let wanted = Wanted {
            float32: true,
            int8: false,
        };
        let hear = |done| progress(done, rows);
        let ranks = rank(database, real, &ranked, wanted, Kernel::fastest(), &hear)?;
        let mut ranks = ranks.float32.unwrap_or_default();
        for ((query, planned), ranks) in ranked.iter().zip(&queries).zip(&mut ranks) {
            let descending = |mut scores: Vec<f32>| {
                scores.sort_by(|a, b| b.total_cmp(a));
                scores
            };
            let scored = |x: &[f32]| dot(query.vector, x);
            let own = descending(query.exemplars.iter().map(|x| scored(x)).collect());
            let rows = self.copies[planned.entry].iter();
            let copied = descending(rows.map(|&row| scored(copies.get(row))).collect());
            for (rank, score) in ranks.iter_mut().zip(own) {
                let above = copied.iter().take_while(|copy| **copy >= score).count();
                *rank = rank.saturating_sub(above as u64);
            }
        }
        Ok(ranks)
    }

    /// Means of recall@[`RECALL_AT`] and of the average precision over the queries numbered `queries`,
    /// from [`GroundTruth::ranks`]; `None` without queries.
    ///
    /// # Errors
    /// As [`GroundTruth::scores`].
    pub fn metrics(
        &self,
        queries: &[usize],
        mappers: Option<&Mappers>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Option<([f64; RECALL_AT.len()], f64)>> {
        let mut sums = MetricSums::default();
        for ranks in self.ranks(queries, mappers, progress)? {
            sums.add(&ranks);
        }
        Ok(sums.means())
    }

    fn vectors(&self, mappers: Option<&Mappers>) -> Result<Vectors> {
        let check = |map: &dyn RowMap, file: &str| {
            let [before, after] = map.dimensions();
            if before != self.dimension() || after == 0 {
                return Err(Error::invalid(format!(
                    "the mapper takes rows of {before} values, {file} has rows of {}",
                    self.dimension()
                )));
            }
            Ok(after)
        };
        let (exemplar, synth) = (&self.folder.exemplar, &self.folder.synth);
        if let Some(mappers) = mappers {
            let real = check(&*mappers.real, &self.folder.database.name)?;
            let synth = check(&*mappers.synth, &synth.name)?;
            if real != synth {
                return Err(Error::invalid(format!(
                    "the mappers make rows of {real} and of {synth} values, which cannot be compared"
                )));
            }
        }
        let (real, map) = match mappers {
            Some(mappers) => (Some(&*mappers.real), Some(&*mappers.synth)),
            None => (None, None),
        };
        let exemplar_rows = self.plan.exemplar_rows();
        Ok(Vectors {
            exemplars: UnitRows::read(&exemplar.rows, &exemplar.name, &exemplar_rows, real)?,
            queries: UnitRows::read(&synth.rows, &synth.name, &self.plan.synth_rows(), map)?,
        })
    }
}

/// The unit vectors that are compared.
struct Vectors {
    exemplars: UnitRows,
    queries: UnitRows,
}

impl Vectors {
    fn exemplars_of(&self, plan: &Plan, entry: usize) -> Vec<&[f32]> {
        let rows = plan.exemplars_by_entry[entry].iter();
        rows.map(|&row| self.exemplars.get(row)).collect()
    }
}

/// Rows of the database that its list names as an exemplar, by the exemplar's row; none without a list.
fn copies(folder: &FeatureFolder) -> Result<HashMap<usize, Vec<usize>>> {
    let mut copies: HashMap<usize, Vec<usize>> = HashMap::new();
    for (row, name) in (0..).zip(folder.database.row_names()?) {
        if let Some(exemplar) = folder.exemplar.row(&name?) {
            copies.entry(exemplar).or_default().push(row);
        }
    }
    Ok(copies)
}

fn finite(values: Vec<f32>, name: &str) -> Result<Vec<f32>> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(Error::NotFinite {
        what: format!("{name}: a value"),
    })
}
