//! Tuning a mapper pair on ground truth: two linear maps, of training images and of queries, that start as
//! the identity and bring queries nearer to the images they are made of than to others.
//!
//! The loss is contrastive (`contrastive`), over pairs of a query and one of its entry's exemplars;
//! AdamW with decay towards the identity minimises it (`train`). After each epoch the queries of the
//! validation entries, which are never trained on, are ranked against the database, of a large one a sample; training ends
//! when their mAP stops rising, and the weights of its highest point are kept, the identity included. (Their
//! loss goes on falling long after: telling a few entries apart is easier than finding one among many.)
//!
//! Features are scaled to a mean length of 1 while training, so that rates and decay mean the same for every
//! backbone; the bias is scaled back afterwards. That changes nothing: mapped rows are normalised.

mod contrastive;
mod pair;
mod plot;
mod train;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use serde::Serialize;

pub use pair::{LinearWeights, MapperPair};
pub use plot::loss_plot;

use crate::error::{Error, Result};
use crate::evaluate::{GroundTruth, LeftOut, Mappers, RECALL_AT, TruthOptions, split_entries};
use crate::files::{write_atomically, write_json};
use crate::mapper::folder::write_mapper;
use crate::random::Sequence;
use contrastive::{Model, Side};
use train::{Examples, train};

/// Rows of the database that negatives are drawn from, at most.
const SAMPLED_ROWS: usize = 16384;
/// Rows of the database that validation queries are ranked among after an epoch, at most; before and after
/// training it is the whole.
const MEASURED_ROWS: usize = 65536;
const PURPOSE: u64 = 3;
const MEASURED_PURPOSE: u64 = 4;

/// How to train.
#[derive(Clone, Debug, Serialize)]
pub struct Training {
    /// Epochs at most; in one, each query is paired once.
    pub epochs: usize,
    /// Epochs without a higher validation mAP after which training ends.
    pub patience: usize,
    /// Pairs in a batch, at most.
    pub batch: usize,
    /// Rows of the database that each batch has as further negatives; 0 for none.
    pub negatives: usize,
    pub learning_rate: f64,
    /// AdamW's decay, towards the identity.
    pub weight_decay: f64,
    /// Temperature of the loss.
    pub temperature: f64,
    /// Whether the temperature is learned, starting from the one given.
    pub learn_temperature: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            epochs: 200,
            patience: 20,
            batch: 128,
            negatives: 256,
            learning_rate: 1e-4,
            weight_decay: 1.0,
            temperature: 0.2,
            learn_temperature: false,
        }
    }
}

/// What to tune on.
pub struct TuneOptions {
    pub truth: TruthOptions,
    /// What the mapper is called.
    pub name: String,
    /// Name of the backbone that the features are of, if it is known.
    pub backbone: Option<String>,
    pub seed: u64,
    /// Share of the entries that are for validation, above 0, to 0.9.
    pub validation: f64,
    pub training: Training,
}

/// Losses of one epoch, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Epoch {
    pub epoch: usize,
    /// Mean over the epoch's pairs, each batch before its step.
    pub training: f64,
    pub validation: f64,
    /// Of the validation queries against the database, or a sample of a large one.
    pub mean_average_precision: f64,
}

/// How well queries find their exemplars among the whole database.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Mean recall at each of [`RECALL_AT`].
    pub recall: [f64; RECALL_AT.len()],
    pub mean_average_precision: f64,
}

/// A tuned pair, and how good it is.
#[derive(Clone, Debug, Serialize)]
pub struct Tuning {
    #[serde(skip)]
    pub pair: MapperPair,
    pub seed: u64,
    pub options: Training,
    pub training_entries: usize,
    pub training_queries: usize,
    pub validation_entries: usize,
    pub validation_queries: usize,
    pub database_items: usize,
    /// The K of the recalls.
    pub recall_at: [u64; RECALL_AT.len()],
    /// The validation queries, with features as they are.
    pub before: Found,
    /// The validation queries, mapped.
    pub after: Found,
    /// The epoch that was kept; 0 is the identity.
    pub kept: usize,
    pub temperature: f64,
    pub epochs: Vec<Epoch>,
    pub left_out: Vec<LeftOut>,
}

/// What [`tune`] is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Epochs, of how many at most.
    Training,
    /// Database rows, of how many.
    Measuring,
}

/// Tunes a mapper pair.
///
/// # Errors
/// Those of [`GroundTruth::open`]; [`Error::InvalidArgument`] for options out of range or fewer than two
/// entries in a part of the split, which have nothing to be told apart from; [`Error::NotFinite`]
/// when training diverges.
pub fn tune(
    options: &TuneOptions,
    progress: &(dyn Fn(Step, usize, usize) + Sync),
) -> Result<Tuning> {
    check(options)?;
    let truth = GroundTruth::open(&options.truth)?;
    let backbone = backbone(options, &truth)?;
    let entries = truth.query_entries();
    // Entries without queries have no part in the split.
    let used: BTreeSet<usize> = entries.iter().copied().collect();
    let held_out = split_entries(used.len(), options.validation, options.seed)?;
    let count = held_out.iter().filter(|&&held_out| held_out).count();
    if count < 2 || used.len() - count < 2 {
        return Err(Error::invalid(format!(
            "{} usable entries, {count} of them for validation; both parts need two, to be told apart",
            used.len()
        )));
    }
    let of_validation = used.iter().zip(held_out);
    let of_validation: BTreeSet<usize> = of_validation
        .filter_map(|(&entry, held_out)| held_out.then_some(entry))
        .collect();
    let (validation, training): (Vec<usize>, Vec<usize>) =
        (0..entries.len()).partition(|&query| of_validation.contains(&entries[query]));

    let mut queries = truth.query_features()?;
    let mut exemplars = truth.exemplar_features()?;
    let mut sampled = sampled_rows(&truth, options)?;
    let dimension = truth.dimension();
    let synth_scale = 1.0 / mean_length([queries.as_slice()].into_iter(), dimension)?;
    let real_scale = 1.0 / mean_length(exemplars.iter().map(Vec::as_slice), dimension)?;
    scale(&mut queries, synth_scale);
    scale(&mut sampled, real_scale);
    exemplars
        .iter_mut()
        .for_each(|rows| scale(rows, real_scale));
    let examples = Examples {
        dimension,
        queries,
        entries,
        exemplars,
        sampled,
        training,
        validation,
    };
    let pair_of = |model: &Model| -> Result<MapperPair> {
        Ok(MapperPair {
            name: options.name.clone(),
            backbone: backbone.clone(),
            dimension,
            real: weights(&model.real, real_scale)?,
            synth: weights(&model.synth, synth_scale)?,
        })
    };
    let found = |truth: &GroundTruth,
                 mappers: Option<&Mappers>,
                 measuring: &(dyn Fn(usize, usize) + Sync)|
     -> Result<Found> {
        let means = truth.metrics(&examples.validation, mappers, measuring)?;
        let (recall, mean_average_precision) =
            means.ok_or_else(|| Error::invalid("no validation queries"))?;
        Ok(Found {
            recall,
            mean_average_precision,
        })
    };
    let thinned = match truth.database_items() > MEASURED_ROWS {
        true => {
            let rows = drawn_rows(&truth, options.seed, MEASURED_PURPOSE, MEASURED_ROWS);
            Some(GroundTruth::open(&options.truth)?.among(&rows)?)
        }
        false => None,
    };
    let measured = thinned.as_ref().unwrap_or(&truth);
    let measure = |model: &Model| {
        let mappers = pair_of(model)?.mappers();
        Ok(found(measured, Some(&mappers), &|_, _| {})?.mean_average_precision)
    };
    let (model, kept, epochs) = train(
        &examples,
        &options.training,
        options.seed,
        &measure,
        &|done, total| progress(Step::Training, done, total),
    )?;
    let pair = pair_of(&model)?;
    let measuring = |done, total| progress(Step::Measuring, done, total);
    let log_scale = values(model.log_scale)?
        .first()
        .copied()
        .unwrap_or_default();
    Ok(Tuning {
        seed: options.seed,
        options: options.training.clone(),
        training_entries: used.len() - count,
        training_queries: examples.training.len(),
        validation_entries: count,
        validation_queries: examples.validation.len(),
        database_items: truth.database_items(),
        recall_at: RECALL_AT,
        before: found(&truth, None, &measuring)?,
        after: found(&truth, Some(&pair.mappers()), &measuring)?,
        kept,
        temperature: f64::from((-log_scale).exp()),
        epochs,
        left_out: truth.left_out().to_vec(),
        pair,
    })
}

/// Writes `report.json` and `loss.svg`, then the pair as a mapper, into `folder`; returns the paths.
///
/// # Errors
/// [`Error::Io`].
pub fn write_tuning(tuning: &Tuning, folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = ["report.json", "loss.svg"].map(|name| folder.join(name));
    write_json(&paths[0], tuning)?;
    let plot = loss_plot(&tuning.epochs, tuning.kept);
    write_atomically(&paths[1], plot.as_bytes())?;
    let pair = &tuning.pair;
    write_mapper(
        &pair.weights(),
        &pair.name,
        pair.backbone.as_deref(),
        folder,
    )?;
    Ok(paths.into())
}

fn check(options: &TuneOptions) -> Result<()> {
    let training = &options.training;
    let positive = |value: f64| value > 0.0 && value.is_finite();
    let wrong = if options.validation <= 0.0 {
        "the validation share must be above 0: it decides when training ends"
    } else if !positive(training.temperature) || training.temperature < 0.001 {
        "the temperature must be at least 0.001"
    } else if !positive(training.learning_rate) {
        "the learning rate must be above 0"
    } else if !(training.weight_decay >= 0.0 && training.weight_decay.is_finite()) {
        "the weight decay must not be below 0"
    } else if training.batch < 2 || training.epochs == 0 || training.patience == 0 {
        "a batch needs two pairs, and epochs and patience must be above 0"
    } else {
        return Ok(());
    };
    Err(Error::invalid(wrong))
}

/// The backbone's name, as the features or the options have it.
fn backbone(options: &TuneOptions, truth: &GroundTruth) -> Result<Option<String>> {
    match (truth.backbone(), &options.backbone) {
        (Some(found), Some(stated)) if found.name != *stated => Err(Error::IdentityMismatch {
            index: format!("{found} ({})", options.truth.features.display()),
            model: format!("the backbone {stated} that was asked for"),
        }),
        (Some(found), _) => Ok(Some(found.name.clone())),
        (None, stated) => Ok(stated.clone()),
    }
}

/// Database rows that are exemplars of no entry, drawn without repeats.
fn sampled_rows(truth: &GroundTruth, options: &TuneOptions) -> Result<Vec<f32>> {
    if options.training.negatives == 0 {
        return Ok(Vec::new());
    }
    truth.database_features(&drawn_rows(truth, options.seed, PURPOSE, SAMPLED_ROWS))
}

/// At most `most` rows of the database that are no exemplars, ascending.
fn drawn_rows(truth: &GroundTruth, seed: u64, purpose: u64, most: usize) -> Vec<usize> {
    let exemplars = truth.rows_of_exemplars();
    let rows = (0..truth.database_items()).filter(|row| !exemplars.contains(row));
    let mut rows: Vec<usize> = rows.collect();
    Sequence::new(seed, purpose).shuffle(&mut rows);
    rows.truncate(most);
    rows.sort_unstable();
    rows
}

/// Mean length of rows.
fn mean_length<'a>(parts: impl Iterator<Item = &'a [f32]>, dimension: usize) -> Result<f32> {
    let (mut sum, mut rows) = (0.0, 0usize);
    for row in parts.flat_map(|rows| rows.chunks_exact(dimension)) {
        sum += row
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt();
        rows += 1;
    }
    let mean = (sum / rows.max(1) as f64) as f32;
    if mean.is_normal() && (1.0 / mean).is_normal() {
        return Ok(mean);
    }
    Err(Error::NotFinite {
        what: format!("the scale of the features (a mean length of {mean})"),
    })
}

fn scale(values: &mut [f32], factor: f32) {
    values.iter_mut().for_each(|value| *value *= factor);
}

/// The weights of a side for features as they are, which training saw times `factor`.
fn weights(side: &Side, factor: f32) -> Result<LinearWeights> {
    let mut weight = values(side.delta.clone())?;
    let mut bias = values(side.bias.clone())?;
    for (row, one) in weight.chunks_exact_mut(bias.len().max(1)).zip(0..) {
        if let Some(diagonal) = row.get_mut::<usize>(one) {
            *diagonal += 1.0;
        }
    }
    scale(&mut bias, 1.0 / factor);
    if weight.iter().chain(&bias).any(|value| !value.is_finite()) {
        return Err(Error::NotFinite {
            what: "a tuned weight".into(),
        });
    }
    Ok(LinearWeights { weight, bias })
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let read = tensor.try_into_data();
    let data = read.map_err(|e| Error::device(format!("reading weights back: {e:?}")))?;
    data.try_to_vec()
        .map_err(|e| Error::device(format!("the weights have another type: {e:?}")))
}
