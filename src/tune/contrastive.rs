//! The contrastive loss: InfoNCE (van den Oord, Li and Vinyals 2018) over a batch of pairs, both ways, as
//! CLIP has it.
//!
//! A pair is a query and one of its exemplars. Query i should find exemplar i among the exemplars of the
//! batch and some sampled training images, and exemplar i query i among the queries of the batch. Another
//! pair of the same entry is no negative: its exemplar is as true as the query's own, so it is masked.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// Added to the logarithm of what is masked: its exponential is 0, and it is finite.
const MASKED: f32 = -1e9;
/// Added to squared lengths, so that a zero row has a gradient.
const TINY: f32 = 1e-12;

/// One side of the pair as it is trained: W = I + `delta`, so that decay of `delta` draws W to the identity.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// `[D, D]`
    pub delta: Tensor<2>,
    /// `[D]`
    pub bias: Tensor<1>,
}

impl Side {
    /// The identity.
    pub fn identity(dimension: usize, device: &Device) -> Self {
        Self {
            delta: Tensor::zeros([dimension, dimension], device),
            bias: Tensor::zeros([dimension], device),
        }
    }

    /// Rows `[n, D]` mapped and then of unit length.
    pub fn unit(&self, rows: Tensor<2>) -> Tensor<2> {
        let mapped = rows.clone() + rows.matmul(self.delta.clone().transpose());
        let mapped = mapped + self.bias.clone().unsqueeze::<2>();
        let squares = (mapped.clone() * mapped.clone()).sum_dim(1);
        mapped / squares.add_scalar(TINY).sqrt()
    }

    /// The same values, to compute gradients by.
    pub fn tracked(&self) -> Self {
        Self {
            delta: self.delta.clone().autodiff().require_grad(),
            bias: self.bias.clone().autodiff().require_grad(),
        }
    }
}

/// What is trained.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub real: Side,
    pub synth: Side,
    /// Logarithm of the inverse temperature, `[1]`.
    pub log_scale: Tensor<1>,
}

/// A batch of pairs, as features before the mappers.
pub(super) struct Batch {
    /// Queries, `[pairs, D]`.
    pub synth: Vec<f32>,
    /// Exemplars, `[pairs, D]`.
    pub real: Vec<f32>,
    /// Training images that are exemplars of no entry, `[any, D]`.
    pub sampled: Vec<f32>,
    /// The entry of each pair.
    pub entries: Vec<usize>,
}

impl Model {
    /// Mappers that change nothing, and the temperature.
    pub fn identity(dimension: usize, temperature: f32, device: &Device) -> Self {
        Self {
            real: Side::identity(dimension, device),
            synth: Side::identity(dimension, device),
            log_scale: Tensor::from_floats([-temperature.ln()], device),
        }
    }

    pub fn tracked(&self) -> Self {
        Self {
            real: self.real.tracked(),
            synth: self.synth.tracked(),
            log_scale: self.log_scale.clone().autodiff().require_grad(),
        }
    }

    /// The loss of a batch, `[1]`, in nats.
    pub fn loss(&self, batch: &Batch, device: &Device) -> Tensor<1> {
        let pairs = batch.entries.len();
        let dimension = batch.synth.len() / pairs.max(1);
        let rows = |values: &[f32]| {
            let shape = [values.len() / dimension.max(1), dimension];
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        let square = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [pairs, pairs]), device)
        };
        let scale = self.log_scale.clone().exp().unsqueeze::<2>();
        let queries = self.synth.unit(rows(&batch.synth)) * scale;
        let items = self.real.unit(rows(&batch.real));
        let entries = &batch.entries;
        let cells = || (0..pairs).flat_map(|i| (0..pairs).map(move |j| (i, j)));
        let mask = cells().map(|(i, j)| match i != j && entries[i] == entries[j] {
            true => MASKED,
            false => 0.0,
        });
        let own = square(cells().map(|(i, j)| f32::from(u8::from(i == j))).collect());
        let logits = queries.clone().matmul(items.transpose()) + square(mask.collect());
        let to_query = log_softmax(logits.clone().transpose(), 1);
        let to_item = if batch.sampled.is_empty() {
            log_softmax(logits, 1)
        } else {
            let sampled = self.real.unit(rows(&batch.sampled));
            let more = queries.matmul(sampled.transpose());
            log_softmax(Tensor::cat(vec![logits, more], 1), 1).slice([0..pairs, 0..pairs])
        };
        ((to_query + to_item) * own).sum() * (-0.5 / pairs.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(value: &serde_json::Value) -> Vec<f32> {
        let values = value.as_array().unwrap().iter();
        values.map(|x| x.as_f64().unwrap() as f32).collect()
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn loss_and_gradients_are_torchs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/contrastive.json");
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let device = Device::flex();
        let dimension = golden["dimension"].as_u64().unwrap() as usize;
        let temperature = golden["temperature"].as_f64().unwrap() as f32;
        let mut model = Model::identity(dimension, temperature, &device);
        for (name, side) in [("real", &mut model.real), ("synth", &mut model.synth)] {
            let parameters = &golden["parameters"];
            let delta = floats(&parameters[format!("{name}_delta")]);
            side.delta = Tensor::from_data(TensorData::new(delta, [dimension; 2]), &device);
            let bias = floats(&parameters[format!("{name}_bias")]);
            side.bias = Tensor::from_data(TensorData::new(bias, [dimension]), &device);
        }
        let entries = golden["entries"].as_array().unwrap().iter();
        let batch = Batch {
            synth: floats(&golden["synth"]),
            real: floats(&golden["real"]),
            sampled: floats(&golden["sampled"]),
            entries: entries.map(|x| x.as_u64().unwrap() as usize).collect(),
        };
        let model = model.tracked();
        let loss = model.loss(&batch, &device);
        let mut gradients = loss.backward();
        let loss = values(loss)[0];
        let expected = golden["loss"].as_f64().unwrap() as f32;
        assert!((loss - expected).abs() < 2e-5, "{loss} {expected}");
        let near = |name: &str, found: Vec<f32>, expected: Vec<f32>| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 5e-5,
                    "{name}: {found} {expected}"
                );
            }
        };
        let of = &golden["gradients"];
        for (name, side) in [("real", &model.real), ("synth", &model.synth)] {
            let delta = side.delta.grad_remove(&mut gradients).unwrap();
            let key = format!("{name}_delta");
            near(&key, values(delta), floats(&of[&key]));
            let bias = side.bias.grad_remove(&mut gradients).unwrap();
            let key = format!("{name}_bias");
            near(&key, values(bias), floats(&of[&key]));
        }
        let scale = model.log_scale.grad_remove(&mut gradients).unwrap();
        near(
            "scale",
            values(scale),
            vec![of["scale"].as_f64().unwrap() as f32],
        );
    }
}
