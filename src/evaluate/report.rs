//! The results as files and as a table to read.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::plot::recall_plot;
use super::{Evaluation, RECALL_AT, ResultRow, Rows};
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Writes `results.json`, `recall.svg` and, for each test case, `<case>.csv` for the ranking by float
/// rows and `<case>-int8.csv` for that by int8 rows, as far as they were made, into `folder`.
///
/// A table has a row for each (name, feature) and, for each synth type, the columns
/// `<type>-recall@5`, `-recall@10`, `-recall@100` and `<type>-mAP`; a cell without queries is empty.
/// Returns the paths.
///
/// # Errors
/// [`Error::InvalidArgument`] for two tables of one name, as of the cases `a` and `a-int8`;
/// [`Error::Io`], the files of this call are then removed again.
pub fn write_report(evaluation: &Evaluation, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut json = serde_json::to_vec_pretty(evaluation)
        .map_err(|e| Error::format("results.json", e.to_string()))?;
    json.push(b'\n');
    let mut files = vec![
        ("results.json".to_owned(), json),
        (
            "recall.svg".to_owned(),
            recall_plot(&evaluation.results).into_bytes(),
        ),
    ];
    let mut by_case: BTreeMap<(&str, &str), Vec<&ResultRow>> = BTreeMap::new();
    for row in &evaluation.results {
        let ending = match row.rows {
            Rows::Float32 => "",
            Rows::Int8 => "-int8",
        };
        by_case.entry((&row.case, ending)).or_default().push(row);
    }
    for ((case, ending), rows) in by_case {
        files.push((format!("{case}{ending}.csv"), case_csv(&rows)?));
    }
    let mut names = HashSet::new();
    if let Some((name, _)) = files.iter().find(|(name, _)| !names.insert(name)) {
        let what = format!("two test cases would have their table in {name}; rename one");
        return Err(Error::invalid(what));
    }
    let mut written: Vec<PathBuf> = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Err(error) = write_atomically(&path, &bytes) {
            for path in &written {
                // The error that matters is the first one.
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
        written.push(path);
    }
    Ok(written)
}

/// The CSV of one test case.
fn case_csv(rows: &[&ResultRow]) -> Result<Vec<u8>> {
    let bad = |reason: String| Error::format("a table of results", reason);
    let mut types: Vec<&str> = rows.iter().map(|row| row.synth_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let mut header = vec!["name".to_owned(), "feature".to_owned()];
    for synth_type in &types {
        header.extend(RECALL_AT.map(|k| format!("{synth_type}-recall@{k}")));
        header.push(format!("{synth_type}-mAP"));
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(&header)
        .map_err(|e| bad(e.to_string()))?;
    // The rows of one features folder follow each other.
    for of_one in rows.chunk_by(|a, b| (&a.name, &a.feature) == (&b.name, &b.feature)) {
        let mut record: Vec<String> = of_one
            .iter()
            .take(1)
            .flat_map(|row| [row.name.clone(), row.feature.clone()])
            .collect();
        for synth_type in &types {
            let row = of_one.iter().find(|row| row.synth_type == *synth_type);
            record.extend(cells(row.copied()).map(|cell| match cell {
                Some(value) => value.to_string(),
                None => String::new(),
            }));
        }
        writer
            .write_record(&record)
            .map_err(|e| bad(e.to_string()))?;
    }
    writer.into_inner().map_err(|e| bad(e.to_string()))
}

/// The recalls and the mAP of a row.
fn cells(row: Option<&ResultRow>) -> [Option<f64>; RECALL_AT.len() + 1] {
    let mut cells = [None; RECALL_AT.len() + 1];
    if let Some(row) = row {
        for (cell, at) in cells.iter_mut().zip(0..) {
            *cell = match &row.recall {
                Some(recall) if at < recall.len() => Some(recall[at]),
                _ => row.mean_average_precision,
            };
        }
    }
    cells
}

/// The results as text in aligned columns, for a terminal.
///
/// The last columns are what int8 rows cost: recall@10 and mAP by float rows less those by int8 rows.
pub fn table(evaluation: &Evaluation) -> String {
    let mut header = ["case", "queries of", "name", "feature", "rows"]
        .map(str::to_owned)
        .to_vec();
    header.extend(["queries", "exemplars", "N"].map(str::to_owned));
    header.extend(RECALL_AT.map(|k| format!("recall@{k}")));
    header.push("mAP".to_owned());
    header.extend(["@10 costs", "mAP costs"].map(str::to_owned));
    let mut lines = vec![header];
    for row in &evaluation.results {
        let rows = match row.rows {
            Rows::Float32 => "float32",
            Rows::Int8 => "int8",
        };
        let names = [&row.case, &row.synth_type, &row.name, &row.feature];
        let mut line: Vec<String> = names.map(String::clone).into();
        line.push(rows.to_owned());
        line.extend([row.queries, row.exemplars, row.database_items].map(|n| n.to_string()));
        line.extend(cells(Some(row)).map(|cell| match cell {
            Some(value) => format!("{value:.4}"),
            None => "-".to_owned(),
        }));
        line.extend(match (row.rows, row.quantization_cost) {
            (Rows::Float32, _) => [const { String::new() }; 2],
            (Rows::Int8, Some([_, recall, _, precision])) => {
                [recall, precision].map(|cost| format!("{cost:+.4}"))
            }
            (Rows::Int8, None) => ["-", "-"].map(str::to_owned),
        });
        lines.push(line);
    }
    let mut widths = vec![0; lines[0].len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut joined = String::new();
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Names to the left, numbers to the right.
            joined += &match at {
                0..5 => format!("{cell:<width$}  "),
                _ => format!("{cell:>width$}  "),
            };
        }
        text += joined.trim_end();
        text.push('\n');
    }
    text
}
