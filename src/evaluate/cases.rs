//! Test-case files: which images a fine-tuned model was taught with, and what it then generated.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// One fine-tuned model of a test case. Other keys of the JSON object are not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Paths of the images that the model was fine-tuned on: the items to be found.
    pub exemplar: Vec<String>,
    /// Paths of generated images, the queries, by how they were prompted (`gpt`, `object`, `media`).
    pub synth: BTreeMap<String, Vec<String>>,
    /// What the entry is called; a string in the published files.
    #[serde(default)]
    pub class_id: serde_json::Value,
}

/// A test-case file.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without extension, which names the case in results.
    pub name: String,
    pub entries: Vec<Entry>,
}

/// How much a test case holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseCounts {
    pub entries: usize,
    /// Exemplars, summed over the entries.
    pub exemplars: usize,
    /// Queries by synth type, summed over the entries.
    pub queries: BTreeMap<String, usize>,
}

impl Case {
    pub fn counts(&self) -> CaseCounts {
        let mut queries = BTreeMap::new();
        for (synth_type, paths) in self.entries.iter().flat_map(|entry| &entry.synth) {
            *queries.entry(synth_type.clone()).or_default() += paths.len();
        }
        CaseCounts {
            entries: self.entries.len(),
            exemplars: self.entries.iter().map(|entry| entry.exemplar.len()).sum(),
            queries,
        }
    }

    /// Entry `index` for people: its place in the file, from 0, and its `class_id`.
    pub(super) fn label(&self, index: usize) -> String {
        match self.entries.get(index).map(|entry| &entry.class_id) {
            None | Some(serde_json::Value::Null) => format!("entry {index}"),
            Some(serde_json::Value::String(name)) => format!("entry {index} ({name})"),
            Some(other) => format!("entry {index} ({other})"),
        }
    }
}

/// Reads a test-case file: a JSON list of [`Entry`].
///
/// An entry without exemplars parses; [`evaluate`](super::evaluate) decides what becomes of it.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for JSON of another form, no entries, or an entry that names an
/// exemplar, or a query of one synth type, twice: it would count twice.
pub fn parse_cases(path: &Path) -> Result<Case> {
    let bad = |reason: String| Error::format(path.display().to_string(), reason);
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes)
        .map_err(|e| bad(format!("not a list of test-case entries: {e}")))?;
    if entries.is_empty() {
        return Err(bad("has no entries".into()));
    }
    let name = path.file_stem().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let case = Case { name, entries };
    for (index, entry) in case.entries.iter().enumerate() {
        let exemplars = [("exemplar", &entry.exemplar)];
        let queries = entry
            .synth
            .iter()
            .map(|(kind, paths)| (kind.as_str(), paths));
        for (kind, paths) in exemplars.into_iter().chain(queries) {
            let mut seen = HashSet::new();
            if let Some(twice) = paths.iter().find(|path| !seen.insert(*path)) {
                let label = case.label(index);
                return Err(bad(format!("{label} names {twice} twice ({kind})")));
            }
        }
    }
    Ok(case)
}
