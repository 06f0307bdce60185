//! Captions, links and whatever else a CSV knows, by the path of the image.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::error::{Error, Result};

/// What is known of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    pub caption: Option<String>,
    pub link: Option<String>,
    /// The other columns that are not empty, by name.
    pub fields: BTreeMap<String, String>,
}

/// Reads `path`; nothing where there is none.
///
/// # Errors
/// Those of [`read`].
pub fn read_if_any(path: Option<&Path>) -> Result<HashMap<String, Metadata>> {
    path.map_or_else(|| Ok(HashMap::new()), read)
}

/// Reads `path`, a CSV with a header that has the column `path`.
///
/// # Errors
/// [`Error::Format`] for a malformed file, one without that column, or a path that stands twice.
pub fn read(path: &Path) -> Result<HashMap<String, Metadata>> {
    let file = path.display().to_string();
    let bad = |e: csv::Error| Error::format(&file, e.to_string());
    let mut reader = csv::Reader::from_path(path).map_err(bad)?;
    let headers = reader.headers().map_err(bad)?.clone();
    let column = |name: &str| headers.iter().position(|h| h.trim() == name);
    let key = column("path").ok_or_else(|| Error::format(&file, "no column `path`"))?;
    let (caption, link) = (column("caption"), column("link"));
    let others = headers.iter().enumerate();
    let others: Vec<(usize, &str)> = others
        .map(|(at, name)| (at, name.trim()))
        .filter(|(at, name)| ![Some(key), caption, link].contains(&Some(*at)) && !name.is_empty())
        .collect();
    let mut all = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(bad)?;
        let field = |at: Option<usize>| {
            at.and_then(|at| record.get(at))
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let Some(path) = field(Some(key)) else {
            continue;
        };
        let entry = Metadata {
            caption: field(caption),
            link: field(link),
            fields: others
                .iter()
                .filter_map(|&(at, name)| Some((name.to_owned(), field(Some(at))?)))
                .collect(),
        };
        if all.insert(path.clone(), entry).is_some() {
            return Err(Error::format(&file, format!("{path} stands twice")));
        }
    }
    Ok(all)
}
