//! From test cases to rows of feature files: which rows are queries, and which ones each should find.

use std::collections::{BTreeMap, BTreeSet};

use super::features::{FeatureFile, FeatureFolder};
use super::{Case, FeatureSource, LeftOut, Missing};
use crate::error::{Error, Result};

/// How many missing images a message names.
const NAMED_IMAGES: usize = 10;

/// The queries of all test cases, looked up in one features folder.
pub(super) struct Plan {
    pub queries: Vec<PlannedQuery>,
    /// Rows of the exemplars of each entry of all cases that has some, in the entry's order.
    pub exemplars_by_entry: Vec<Vec<usize>>,
    /// By case, then synth type.
    pub groups: Vec<Group>,
    pub left_out: Vec<LeftOut>,
    pub exemplars_in_database: usize,
}

/// A query: its row, and what it belongs to as indexes into the plan.
pub(super) struct PlannedQuery {
    pub row: usize,
    pub entry: usize,
    pub group: usize,
}

/// The queries that metrics are averaged over.
pub(super) struct Group {
    pub case: String,
    pub synth_type: String,
    pub queries: usize,
    pub exemplars: usize,
}

impl Plan {
    /// Looks up every image of `cases` in `folder`.
    ///
    /// # Errors
    /// With [`Missing::Stop`]: [`Error::Format`] for an entry without exemplars,
    /// [`Error::InvalidArgument`] for images without features.
    pub fn new(
        cases: &[Case],
        source: &FeatureSource,
        folder: &FeatureFolder,
        missing: Missing,
    ) -> Result<Self> {
        let mut plan = Self {
            queries: Vec::new(),
            exemplars_by_entry: Vec::new(),
            groups: Vec::new(),
            left_out: Vec::new(),
            exemplars_in_database: 0,
        };
        for case in cases {
            let synth_types = case.entries.iter().flat_map(|entry| entry.synth.keys());
            let mut groups = BTreeMap::new();
            for synth_type in synth_types.collect::<BTreeSet<_>>() {
                groups.insert(synth_type, plan.groups.len());
                plan.groups.push(Group {
                    case: case.name.clone(),
                    synth_type: synth_type.clone(),
                    queries: 0,
                    exemplars: 0,
                });
            }
            for (index, entry) in case.entries.iter().enumerate() {
                let label = case.label(index);
                if entry.exemplar.is_empty() && missing == Missing::Stop {
                    let reason = format!("{label} has no exemplars; --missing skip leaves it out");
                    return Err(Error::format(&case.name, reason));
                }
                let leave_out = |what, path: Option<&String>| LeftOut {
                    name: source.name.clone(),
                    feature: source.feature.clone(),
                    case: case.name.clone(),
                    entry: label.clone(),
                    what,
                    path: path.cloned(),
                };
                let in_database = entry
                    .exemplar
                    .iter()
                    .filter(|path| folder.in_database(path));
                plan.exemplars_in_database += in_database.count();
                let mut find = |file: &FeatureFile, what, paths: &[String]| -> Vec<usize> {
                    let rows = paths.iter().filter_map(|path| {
                        let row = file.row(path);
                        if row.is_none() {
                            plan.left_out.push(leave_out(what, Some(path)));
                        }
                        row
                    });
                    rows.collect()
                };
                let exemplars = find(&folder.exemplar, "exemplar", &entry.exemplar);
                let synth = entry.synth.iter().map(|(synth_type, paths)| {
                    (groups[synth_type], find(&folder.synth, "synth", paths))
                });
                let synth: Vec<_> = synth.collect();
                if exemplars.is_empty() {
                    plan.left_out.push(leave_out("entry", None));
                    continue;
                }
                let number = plan.exemplars_by_entry.len();
                for (group, rows) in synth {
                    plan.groups[group].queries += rows.len();
                    if !rows.is_empty() {
                        plan.groups[group].exemplars += exemplars.len();
                    }
                    plan.queries
                        .extend(rows.into_iter().map(|row| PlannedQuery {
                            row,
                            entry: number,
                            group,
                        }));
                }
                plan.exemplars_by_entry.push(exemplars);
            }
        }
        match missing {
            Missing::Stop => plan.stop(source)?,
            Missing::Skip => {}
        }
        Ok(plan)
    }

    /// Fails if an image has no features.
    fn stop(&self, source: &FeatureSource) -> Result<()> {
        let images = self.left_out.iter().filter(|left| left.path.is_some());
        let count = images.clone().count();
        if count == 0 {
            return Ok(());
        }
        let named = images.take(NAMED_IMAGES).map(|left| {
            let path = left.path.as_deref().unwrap_or_default();
            format!("\n  {} {path} of {}, {}", left.what, left.case, left.entry)
        });
        let mut names: String = named.collect();
        if count > NAMED_IMAGES {
            names += &format!("\n  and {} more", count - NAMED_IMAGES);
        }
        Err(Error::invalid(format!(
            "{}: images of the test cases without features: {count}; --missing skip goes on without them{names}",
            source.folder.display()
        )))
    }

    /// Rows of the exemplar matrix that are needed, ascending.
    pub fn exemplar_rows(&self) -> Vec<usize> {
        let rows: BTreeSet<usize> = self.exemplars_by_entry.iter().flatten().copied().collect();
        rows.into_iter().collect()
    }

    /// Rows of the query matrix that are needed, ascending.
    pub fn synth_rows(&self) -> Vec<usize> {
        let rows: BTreeSet<usize> = self.queries.iter().map(|query| query.row).collect();
        rows.into_iter().collect()
    }
}
