//! What the demo learns from its ground truth: a mapper and a calibrator, on the training queries alone, and what
//! difference they make to the held-out ones.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ground_truth::GroundTruthFiles;
use crate::calibrate::{
    CalibrateOptions, Calibration, Measured, assess, calibrate, reliability_plot, write_calibration,
};
use crate::error::{Error, Result};
use crate::evaluate::{GroundTruth, Mappers, Missing, TruthOptions};
use crate::files::{write_atomically, write_json};
use crate::format::Calibrator;
use crate::mapper::open_named_mappers;
use crate::pack::DEFAULT_CALIBRATOR;
use crate::tune::{Found, Training, TuneOptions, Tuning, tune, write_tuning};

const NAME: &str = "demo-tuned";
const SEED: u64 = 1;
const VALIDATION: f64 = 0.25;
/// Names of what is written, relative to the folder.
const MAPPER: &str = "mapper";
const CALIBRATOR: &str = "calibrator";
/// Stated influence against true share, before and after.
pub const HELD_OUT_PLOT: &str = "held_out.svg";

/// How well the held-out queries find their artists, and how far stated influence is true for them.
#[derive(Clone, Debug, Serialize)]
pub struct HeldOut {
    pub calibrator: Calibrator,
    pub found: Found,
    pub measured: Measured,
}

/// What was learned.
pub struct Learned {
    /// Folder of the mapper.
    pub mapper: PathBuf,
    pub tuning: Tuning,
    pub calibration: Calibration,
    /// Without mapper, with the default calibrator.
    pub before: HeldOut,
    /// With both.
    pub after: HeldOut,
}

/// Tunes a mapper and fits a calibrator to the training queries, into `folder`: `mapper/`, `calibrator/`,
/// and for the held-out ones `held_out.json` and `held_out.svg`. `backbone` is the model's name.
///
/// # Errors
/// Those of [`tune`] and [`calibrate`]; [`Error::Io`].
pub fn learn(files: &GroundTruthFiles, backbone: &str, folder: &Path) -> Result<Learned> {
    let truth = |case: &Path| TruthOptions {
        cases: vec![case.to_owned()],
        features: files.features.clone(),
        database: None,
        missing: Missing::Stop,
    };
    let tuning = tune(
        &TuneOptions {
            truth: truth(&files.training),
            name: NAME.into(),
            backbone: Some(backbone.into()),
            seed: SEED,
            validation: VALIDATION,
            training: Training::default(),
        },
        &|_, _, _| {},
    )?;
    let mapper = folder.join(MAPPER);
    write_tuning(&tuning, &mapper)?;
    let calibration = calibrate(
        &CalibrateOptions {
            truth: truth(&files.training),
            mappers: Some(open_named_mappers(&mapper)?),
            name: Some(NAME.into()),
            seed: SEED,
            validation: VALIDATION,
        },
        &|_, _| {},
    )?;
    write_calibration(&calibration, &folder.join(CALIBRATOR))?;
    let held_out = truth(&files.held_out);
    let mappers = tuning.pair.mappers();
    let before = measure(&held_out, None, DEFAULT_CALIBRATOR)?;
    let after = measure(&held_out, Some(&mappers), calibration.after.calibrator)?;
    write_json(&folder.join("held_out.json"), &[&before, &after])?;
    let curves = [("before", &before), ("after", &after)]
        .map(|(label, stage)| (label.to_owned(), &stage.measured.reliability));
    let plot = reliability_plot("held-out queries", &curves);
    write_atomically(&folder.join(HELD_OUT_PLOT), plot.as_bytes())?;
    Ok(Learned {
        mapper,
        tuning,
        calibration,
        before,
        after,
    })
}

fn measure(
    options: &TruthOptions,
    mappers: Option<&Mappers>,
    calibrator: Calibrator,
) -> Result<HeldOut> {
    let truth = GroundTruth::open(options)?;
    let all: Vec<usize> = (0..truth.query_entries().len()).collect();
    let means = truth.metrics(&all, mappers, &|_, _| {})?;
    let (recall, mean_average_precision) =
        means.ok_or_else(|| Error::invalid("the demo has no held-out queries"))?;
    Ok(HeldOut {
        calibrator,
        found: Found {
            recall,
            mean_average_precision,
        },
        measured: assess(options, mappers, &calibrator, &|_, _| {})?,
    })
}
