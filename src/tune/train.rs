//! Training of a mapper pair: AdamW on the contrastive loss, and the end by the validation queries' mAP.
//!
//! Chance is in the order of the queries, in which of its exemplars a query is paired with, and in which
//! training images are sampled; it comes from the seed alone, by epoch, so that an epoch does not depend on
//! how the ones before drew. The same seed gives the same bytes on one machine with one number of threads.

use burn::optim::{AdamW, AdamWConfig, AdamWState, Optimizer};
use burn::tensor::{Device, Tensor};

use super::contrastive::{Batch, Model, Side};
use super::{Epoch, Training};
use crate::error::{Error, Result};
use crate::random::Sequence;

/// Tells this module's chance from that of the split; epochs follow.
const PURPOSE: u64 = 1 << 32;
const VALIDATION_PURPOSE: u64 = 2;
/// Times that each validation query is paired with an exemplar.
const VALIDATION_DRAWS: usize = 4;
/// Inverse temperatures above it are not learned, as in CLIP.
const SCALE_MAX: f32 = 100.0;
/// AdamW's, far below the gradients of a matrix of this size.
const EPSILON: f32 = 1e-8;

/// Features to train with, scaled to a length of about 1.
pub(super) struct Examples {
    pub dimension: usize,
    /// `[queries, D]`
    pub queries: Vec<f32>,
    /// The entry of each query.
    pub entries: Vec<usize>,
    /// Of each entry, `[exemplars, D]`.
    pub exemplars: Vec<Vec<f32>>,
    /// `[any, D]`, of no entry.
    pub sampled: Vec<f32>,
    /// Numbers of the queries of each part.
    pub training: Vec<usize>,
    pub validation: Vec<usize>,
}

impl Examples {
    fn row<'a>(&self, values: &'a [f32], at: usize) -> &'a [f32] {
        let end = (at + 1) * self.dimension;
        values.get(at * self.dimension..end).unwrap_or_default()
    }

    /// Pairs each of `queries` with an exemplar by chance, and takes `negatives` sampled rows.
    fn batch(&self, queries: &[usize], negatives: usize, chance: &mut Sequence) -> Batch {
        let mut batch = Batch {
            synth: Vec::with_capacity(queries.len() * self.dimension),
            real: Vec::with_capacity(queries.len() * self.dimension),
            sampled: Vec::new(),
            entries: queries.iter().map(|&query| self.entries[query]).collect(),
        };
        for &query in queries {
            batch.synth.extend(self.row(&self.queries, query));
            let exemplars = &self.exemplars[self.entries[query]];
            let count = exemplars.len() / self.dimension;
            let drawn = chance.below(count.max(1));
            batch.real.extend(self.row(exemplars, drawn));
        }
        let count = self.sampled.len() / self.dimension;
        let negatives = if count > 0 { negatives } else { 0 };
        for _ in 0..negatives {
            let drawn = chance.below(count);
            batch.sampled.extend(self.row(&self.sampled, drawn));
        }
        batch
    }
}

/// One side's optimizer.
#[derive(Default)]
struct SideState {
    delta: Option<AdamWState<2>>,
    bias: Option<AdamWState<1>>,
}

struct Trainer<'a> {
    options: &'a Training,
    optimizer: AdamW,
    /// For the temperature, which nothing draws to 0.
    undecayed: AdamW,
    real: SideState,
    synth: SideState,
    log_scale: Option<AdamWState<1>>,
    device: Device,
}

impl Trainer<'_> {
    /// One step on a batch; returns the loss before it.
    fn step(&mut self, model: &Model, batch: &Batch) -> Result<(Model, f64)> {
        let tracked = model.tracked();
        let loss = tracked.loss(batch, &self.device);
        let mut gradients = loss.backward();
        let mut next = model.clone();
        let rate = self.options.learning_rate;
        let missing = || Error::device("a gradient is missing");
        let sides = [
            (&tracked.real, &mut next.real, &mut self.real),
            (&tracked.synth, &mut next.synth, &mut self.synth),
        ];
        for (side, next, state) in sides {
            let delta = side.delta.grad_remove(&mut gradients).ok_or_else(missing)?;
            let bias = side.bias.grad_remove(&mut gradients).ok_or_else(missing)?;
            let Side { delta: w, bias: b } = next.clone();
            (next.delta, state.delta) = self.optimizer.step(rate, w, delta, state.delta.take());
            (next.bias, state.bias) = self.optimizer.step(rate, b, bias, state.bias.take());
        }
        if self.options.learn_temperature {
            let gradient = tracked.log_scale.grad_remove(&mut gradients);
            let (scale, state) = self.undecayed.step(
                rate,
                next.log_scale,
                gradient.ok_or_else(missing)?,
                self.log_scale.take(),
            );
            next.log_scale = scale.clamp_max(SCALE_MAX.ln());
            self.log_scale = state;
        }
        Ok((next, scalar(loss)?))
    }

    fn loss(&self, model: &Model, batches: &[Batch]) -> Result<f64> {
        let mut sum = 0.0;
        for batch in batches {
            sum += scalar(model.loss(batch, &self.device))? * batch.entries.len() as f64;
        }
        let pairs: usize = batches.iter().map(|batch| batch.entries.len()).sum();
        Ok(sum / pairs.max(1) as f64)
    }
}

/// Trains from the identity; returns the model of the highest validation mAP, its epoch, and all losses.
///
/// Epoch 0 is the identity. `measure` gives the mAP of the validation queries with a model; `progress` hears how many epochs are done, and of how many at most.
///
/// # Errors
/// [`Error::NotFinite`] when a loss is not finite; [`Error::Device`]; those of `measure`.
pub(super) fn train(
    examples: &Examples,
    options: &Training,
    seed: u64,
    measure: &dyn Fn(&Model) -> Result<f64>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Model, usize, Vec<Epoch>)> {
    let device = Device::flex();
    let config = AdamWConfig::new().with_epsilon(EPSILON);
    let decay = options.weight_decay as f32;
    let mut trainer = Trainer {
        options,
        optimizer: config.clone().with_weight_decay(decay).build(),
        undecayed: config.with_weight_decay(0.0).build(),
        real: SideState::default(),
        synth: SideState::default(),
        log_scale: None,
        device: device.clone(),
    };
    let temperature = options.temperature as f32;
    let mut model = Model::identity(examples.dimension, temperature, &device);
    let validation = validation_batches(examples, options, seed);
    let training = |epoch: usize| {
        let mut chance = Sequence::new(seed, PURPOSE + epoch as u64);
        let mut order = examples.training.clone();
        chance.shuffle(&mut order);
        let chunks = even_chunks(&order, options.batch);
        let batches = chunks.map(|queries| examples.batch(queries, options.negatives, &mut chance));
        batches.collect::<Vec<_>>()
    };
    // What the identity makes of the first epoch's pairs stands for epoch 0.
    let mut epochs = vec![Epoch {
        epoch: 0,
        training: trainer.loss(&model, &training(1))?,
        validation: trainer.loss(&model, &validation)?,
        mean_average_precision: measure(&model)?,
    }];
    let mut best = (model.clone(), 0, epochs[0].mean_average_precision);
    for epoch in 1..=options.epochs {
        let batches = training(epoch);
        let (mut sum, mut pairs) = (0.0, 0);
        for batch in &batches {
            let (next, loss) = trainer.step(&model, batch)?;
            sum += loss * batch.entries.len() as f64;
            pairs += batch.entries.len();
            model = next;
        }
        let precision = measure(&model)?;
        epochs.push(Epoch {
            epoch,
            training: sum / pairs.max(1) as f64,
            validation: trainer.loss(&model, &validation)?,
            mean_average_precision: precision,
        });
        if precision > best.2 {
            best = (model.clone(), epoch, precision);
        }
        progress(epoch, options.epochs);
        if epoch - best.1 >= options.patience {
            break;
        }
    }
    Ok((best.0, best.1, epochs))
}

/// The same batches after every epoch: each validation query with some of its exemplars.
///
/// Neighbours in them are of different entries as far as chance has it, so that there are negatives.
fn validation_batches(examples: &Examples, options: &Training, seed: u64) -> Vec<Batch> {
    let mut chance = Sequence::new(seed, VALIDATION_PURPOSE);
    let mut batches = Vec::new();
    for _ in 0..VALIDATION_DRAWS {
        let mut order = examples.validation.clone();
        chance.shuffle(&mut order);
        for queries in even_chunks(&order, options.batch) {
            batches.push(examples.batch(queries, options.negatives, &mut chance));
        }
    }
    batches
}

/// `items` in the fewest chunks of at most `most`, of about equal lengths: a last batch of one pair would
/// have no negatives.
fn even_chunks(items: &[usize], most: usize) -> std::slice::Chunks<'_, usize> {
    let count = items.len().div_ceil(most.max(1)).max(1);
    items.chunks(items.len().div_ceil(count).max(1))
}

/// The value of a loss.
fn scalar(loss: Tensor<1>) -> Result<f64> {
    let read = loss.try_into_data();
    let data = read.map_err(|e| Error::device(format!("reading the loss back: {e:?}")))?;
    let values: Vec<f32> = data
        .try_to_vec()
        .map_err(|e| Error::device(format!("the loss has another type: {e:?}")))?;
    match values.first() {
        Some(value) if value.is_finite() => Ok(f64::from(*value)),
        _ => Err(Error::NotFinite {
            what: "the contrastive loss".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_about_one_size() {
        let items: Vec<usize> = (0..65).collect();
        let sizes = |most| -> Vec<usize> { even_chunks(&items, most).map(<[_]>::len).collect() };
        assert_eq!(sizes(64), [33, 32]);
        assert_eq!(sizes(65), [65]);
        assert_eq!(sizes(30), [22, 22, 21]);
        assert_eq!(even_chunks(&[], 8).count(), 0);
    }
}
