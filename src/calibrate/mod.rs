//! Fitting the calibrator, the two scalars that turn similarities into shares of influence, to ground
//! truth: test cases that say which training images each generated image is made of.
//!
//! Each query is scored with its entry's exemplars and with the whole database, as the evaluation does;
//! the seed's loss (`objective`) is minimised over the queries of the training entries, and the
//! queries of the validation entries tell whether that carries over. Besides the loss the report says how
//! far the stated influence is true (`reliability`), before and after, where *before* is the default.
//!
//! Invariants: the same input gives the same calibrator, whatever the number of threads; results are
//! written with `calibrator.json` last, so a folder that has one is whole.

mod fit;
mod objective;
mod plot;
mod reliability;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use plot::reliability_plot;
pub use reliability::{Bin, Reliability, reliability};

use crate::error::{Error, Result};
use crate::evaluate::{
    GroundTruth, LeftOut, Mappers, NamedMappers, QueryScores, TruthOptions, split_entries,
};
use crate::files::{write_atomically, write_json};
use crate::format::Calibrator;
use crate::mapper::calibrator::{FittedFor, UNMAPPED, write_calibrator};
use crate::pack::DEFAULT_CALIBRATOR;
use objective::{Point, evaluate};

/// Name of the calibrator's file in the folder of results.
pub const CALIBRATOR_FILE: &str = "calibrator.json";
/// What to fit to.
pub struct CalibrateOptions {
    pub truth: TruthOptions,
    /// Mappers that the features go through first.
    pub mappers: Option<NamedMappers>,
    /// What the calibrator is called, if anything.
    pub name: Option<String>,
    /// Decides which entries are for validation.
    pub seed: u64,
    /// Share of the entries that are for validation, 0 to 0.9.
    pub validation: f64,
}

/// How a calibrator does on some queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub entries: usize,
    /// The training loss: mean over the queries, in nats.
    pub loss: f64,
    pub reliability: Reliability,
}

/// One calibrator on both parts of the split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    pub calibrator: Calibrator,
    pub training: Measured,
    /// `None` where no entry is for validation.
    pub validation: Option<Measured>,
}

/// What was fitted, and how good it is.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub seed: u64,
    pub database_items: usize,
    /// D of the features before mappers.
    pub dimension: usize,
    pub fitted_for: FittedFor,
    pub before: Stage,
    pub after: Stage,
    /// Evaluations of the loss that the fit took.
    pub evaluations: usize,
    pub left_out: Vec<LeftOut>,
}

/// Fits a calibrator.
///
/// `progress` hears how many database rows have been scored, and of how many.
///
/// # Errors
/// Those of [`GroundTruth::open`] and [`GroundTruth::scores`]; [`Error::InvalidArgument`] for a split that
/// cannot be made; [`Error::NotFinite`] when the loss is nowhere finite.
pub fn calibrate(
    options: &CalibrateOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Calibration> {
    let truth = GroundTruth::open(&options.truth)?;
    let named = options.mappers.as_ref();
    if let Some(named) = named {
        named.check_backbone(truth.backbone(), &options.truth.features)?;
    }
    let mappers = named.map(|named| &named.mappers);
    let entries = truth.query_entries();
    // Entries without queries have no part in the split.
    let used: Vec<usize> = entries
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let held_out = split_entries(used.len(), options.validation, options.seed)?;
    let of_validation: BTreeSet<usize> = used
        .iter()
        .zip(held_out)
        .filter_map(|(&entry, held_out)| held_out.then_some(entry))
        .collect();
    let all: Vec<usize> = (0..entries.len()).collect();
    let scores = truth.scores(&all, mappers, progress)?;
    let part = |validation: bool| -> (usize, Vec<&QueryScores>) {
        let part = scores.iter().zip(&entries);
        let part = part.filter(|(_, entry)| of_validation.contains(entry) == validation);
        let count = if validation {
            of_validation.len()
        } else {
            used.len() - of_validation.len()
        };
        (count, part.map(|(scores, _)| scores).collect())
    };
    let (training, validation) = (part(false), part(true));
    let first = point(&DEFAULT_CALIBRATOR);
    let fit = fit::fit(&training.1, first)?;
    let fitted = Calibrator {
        inv_tau: fit.at.inv_tau as f32,
        bias: (1000.0 * fit.at.b) as f32,
        fitted: true,
    };
    let stage = |calibrator: Calibrator| -> Result<Stage> {
        Ok(Stage {
            calibrator,
            // The fit has refused an empty part.
            training: measure(&training, &calibrator)
                .ok_or_else(|| Error::invalid("no queries to fit a calibrator to"))?,
            validation: measure(&validation, &calibrator),
        })
    };
    Ok(Calibration {
        name: options.name.clone(),
        seed: options.seed,
        database_items: truth.database_items(),
        dimension: truth.dimension(),
        fitted_for: FittedFor {
            backbone: truth.backbone().map(|backbone| backbone.name.clone()),
            mapper: Some(named.map_or(UNMAPPED, |named| &named.pair).to_owned()),
        },
        before: stage(DEFAULT_CALIBRATOR)?,
        after: stage(fitted)?,
        evaluations: fit.evaluations,
        left_out: truth.left_out().to_vec(),
    })
}

/// Loss and reliability of `calibrator` on all queries of `truth`, mapped by `mappers`.
///
/// `progress` hears how many database rows have been scored, and of how many.
///
/// # Errors
/// Those of [`GroundTruth::open`] and [`GroundTruth::scores`].
pub fn assess(
    truth: &TruthOptions,
    mappers: Option<&Mappers>,
    calibrator: &Calibrator,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Measured> {
    let truth = GroundTruth::open(truth)?;
    let entries = truth.query_entries();
    let all: Vec<usize> = (0..entries.len()).collect();
    let scores = truth.scores(&all, mappers, progress)?;
    let used: BTreeSet<usize> = entries.into_iter().collect();
    measure(&(used.len(), scores.iter().collect()), calibrator)
        .ok_or_else(|| Error::invalid("no queries to assess a calibrator with"))
}

/// Loss and reliability of `calibrator` on some queries of so many entries; `None` without queries.
fn measure(
    (entries, queries): &(usize, Vec<&QueryScores>),
    calibrator: &Calibrator,
) -> Option<Measured> {
    Some(Measured {
        entries: *entries,
        loss: evaluate(queries, point(calibrator))?.loss,
        reliability: reliability(queries, calibrator)?,
    })
}

fn point(calibrator: &Calibrator) -> Point {
    Point {
        inv_tau: f64::from(calibrator.inv_tau),
        b: 0.001 * f64::from(calibrator.bias),
    }
}

/// Writes `report.json`, `reliability.svg` and last [`CALIBRATOR_FILE`] into `folder`; returns the paths.
///
/// # Errors
/// [`Error::Io`]; an earlier calibrator in the folder is gone by then.
pub fn write_calibration(calibration: &Calibration, folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = ["report.json", "reliability.svg", CALIBRATOR_FILE].map(|name| folder.join(name));
    let [report, plot, calibrator] = &paths;
    match std::fs::remove_file(calibrator) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(calibrator, e));
        }
        _ => {}
    }
    write_json(report, calibration)?;
    let (before, after) = (&calibration.before, &calibration.after);
    let curves = [("before: ", before), ("after: ", after)].map(|(when, stage)| {
        let Calibrator { inv_tau, bias, .. } = stage.calibrator;
        let label = format!("{when}inv_tau {inv_tau:.2}, bias {bias:.2}");
        let measured = stage.validation.as_ref().unwrap_or(&stage.training);
        (label, &measured.reliability)
    });
    let of = match &before.validation {
        Some(_) => "validation queries",
        None => "training queries",
    };
    write_atomically(plot, reliability_plot(of, &curves).as_bytes())?;
    write_calibrator(
        calibrator,
        &calibration.after.calibrator,
        calibration.name.as_deref(),
        calibration.fitted_for.clone(),
    )?;
    Ok(paths.into())
}
