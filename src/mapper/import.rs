//! From a torch-saved pair of mappers to files of ours.
//!
//! The checkpoint is a dict `{"real_mapper": state_dict, "synth_mapper": state_dict}`, in one of three
//! layouts (D values in, D' out):
//!
//! | kind | tensors |
//! |---|---|
//! | linear | `weight` [D', D], `bias` [D'] |
//! | channel | `weights` [1, D] |
//! | mlp | for each block i: `4i.weight` [h, D] without bias and a BatchNorm1d `4i+1.*`, the last one without `weight` and `bias`; ReLU and Dropout between the blocks hold no tensors |
//!
//! A batch norm in inference mode is a scale and a shift, so it is folded into the matrix before it: in
//! f64, rounded once. Everything is checked by shape, on both sides, before a value is read.

use std::path::Path;

use super::folder::{MapperFolder, MapperWeights, write_mapper};
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::error::{Error, Result};
use crate::format::mapper::{HIDDEN_MAX, LAYERS_MAX, MAPPER_BYTES_MAX};
use crate::format::{MapperKind, MapperLayer};

/// What torch's BatchNorm1d adds to a variance.
const EPSILON: f64 = 1e-5;
/// Names that a message lists.
const LISTED: usize = 5;

/// Imports the checkpoint `weights` as the mapper `name`, trained for `backbone`, into the folder `out`.
///
/// # Errors
/// [`Error::Checkpoint`] for tensors that are missing, left over, misshapen or not finite, and for sides
/// of different kinds or sizes; [`Error::Refused`] for a checkpoint that asks to run code;
/// [`Error::Format`] for sizes outside of the limits; [`Error::InvalidArgument`] for an empty name;
/// [`Error::Io`].
pub fn import_mapper(
    weights: &Path,
    name: &str,
    backbone: Option<&str>,
    out: &Path,
) -> Result<MapperFolder> {
    if name.is_empty() {
        return Err(Error::invalid("a mapper needs a name"));
    }
    let checkpoint = Checkpoint::open(weights)?;
    let file = weights.display().to_string();
    let sides = ["real_mapper.", "synth_mapper."];
    let is_ours = |t: &&TensorInfo| sides.iter().any(|side| t.name.starts_with(side));
    let others = checkpoint.tensors().iter().filter(|t| !is_ours(t));
    refuse(&file, "surplus", others.map(|t| t.name.clone()).collect())?;
    let [real, synth] = sides.map(|prefix| Side {
        checkpoint: &checkpoint,
        file: &file,
        prefix,
    });
    let (kind, layers) = real.structure()?;
    let (synth_kind, synth_layers) = synth.structure()?;
    if kind != synth_kind {
        let (a, b) = (kind.name(), synth_kind.name());
        let reason = format!("real_mapper is {a}, synth_mapper is {b}");
        return Err(Error::checkpoint(file, reason));
    }
    if layers != synth_layers {
        let [a, b] = [sizes(&layers), sizes(&synth_layers)];
        let reason = format!("real_mapper is {a}, synth_mapper is {b}");
        return Err(Error::checkpoint(file, reason));
    }
    let weights = MapperWeights {
        real: real.values(kind, &layers)?,
        synth: synth.values(kind, &layers)?,
        kind,
        layers,
    };
    write_mapper(&weights, name, backbone, out)
}

/// One of the two state_dicts.
struct Side<'a> {
    checkpoint: &'a Checkpoint,
    file: &'a str,
    /// Such as `real_mapper.`.
    prefix: &'static str,
}

impl Side<'_> {
    /// Kind and layers, by names and shapes alone.
    fn structure(&self) -> Result<(MapperKind, Vec<MapperLayer>)> {
        if self.shape("weights").is_some() {
            self.check_names(&["weights".into()])?;
            let channels = match self.shape("weights") {
                Some([1, channels]) => *channels,
                _ => return Err(self.misshapen("weights", "[1, D]")),
            };
            let layers = vec![MapperLayer::Scale { channels }];
            return self.within_limits(MapperKind::Channel, layers);
        }
        if self.shape("weight").is_some() {
            self.check_names(&["weight".into(), "bias".into()])?;
            let layers = vec![self.linear("weight", true, false)?];
            self.vector("bias", layers[0].outputs())?;
            return self.within_limits(MapperKind::Linear, layers);
        }
        let blocks = (0..=LAYERS_MAX)
            .take_while(|i| self.shape(&matrix(*i)).is_some())
            .count();
        if blocks == 0 {
            let names = self.names();
            let known = "`weight`, `weights` or `0.weight`";
            let reason = match names.is_empty() {
                true => format!("has no {}", self.prefix.trim_end_matches('.')),
                false => format!("{}* has no {known}, only {}", self.prefix, listed(&names)),
            };
            return Err(Error::checkpoint(self.file, reason));
        }
        let is_last = |i: usize| i + 1 == blocks;
        let expected = (0..blocks).flat_map(|i| {
            let affine: &[&str] = if is_last(i) { &[] } else { &["weight", "bias"] };
            let statistics = ["running_mean", "running_var"].iter().chain(affine);
            let norm = statistics.map(move |part| norm(i, part));
            std::iter::once(matrix(i)).chain(norm)
        });
        self.check_names(&expected.collect::<Vec<_>>())?;
        let mut layers: Vec<MapperLayer> = Vec::new();
        for i in 0..blocks {
            let layer = self.linear(&matrix(i), true, !is_last(i))?;
            if let Some(before) = layers.last()
                && before.outputs() != layer.inputs()
            {
                return Err(self.misshapen(&matrix(i), &format!("[h, {}]", before.outputs())));
            }
            for part in ["running_mean", "running_var", "weight", "bias"] {
                if self.shape(&norm(i, part)).is_some() {
                    self.vector(&norm(i, part), layer.outputs())?;
                }
            }
            layers.push(layer);
        }
        self.within_limits(MapperKind::Mlp, layers)
    }

    /// The values of all layers; their shapes are those that `structure` found.
    fn values(&self, kind: MapperKind, layers: &[MapperLayer]) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        match kind {
            MapperKind::Channel => values.extend(self.read("weights")?),
            MapperKind::Linear => {
                values.extend(self.read("weight")?);
                values.extend(self.read("bias")?);
            }
            MapperKind::Mlp => {
                for (i, layer) in layers.iter().enumerate() {
                    self.fold(i, layer, &mut values)?;
                }
            }
        }
        Ok(values)
    }

    /// Block `i` as one linear layer: with `s = weight / sqrt(running_var + eps)`, the matrix is
    /// `W * s` row by row and the bias `bias - running_mean * s`.
    fn fold(&self, i: usize, layer: &MapperLayer, values: &mut Vec<f32>) -> Result<()> {
        let outputs = layer.outputs();
        let affine = |part: &str, default: f32| match self.shape(&norm(i, part)) {
            Some(_) => self.read(&norm(i, part)),
            None => Ok(vec![default; outputs]),
        };
        let (gain, shift) = (affine("weight", 1.0)?, affine("bias", 0.0)?);
        let mean = self.read(&norm(i, "running_mean"))?;
        let variance = self.read(&norm(i, "running_var"))?;
        if variance.iter().any(|v| *v < 0.0) {
            let reason = format!(
                "tensor {}{} is negative",
                self.prefix,
                norm(i, "running_var")
            );
            return Err(Error::checkpoint(self.file, reason));
        }
        let scales: Vec<f64> = gain
            .iter()
            .zip(&variance)
            .map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + EPSILON).sqrt())
            .collect();
        let start = values.len();
        let weight = self.read(&matrix(i))?;
        for (row, scale) in weight.chunks(layer.inputs()).zip(&scales) {
            values.extend(row.iter().map(|w| (f64::from(*w) * scale) as f32));
        }
        let bias = shift.iter().zip(&mean).zip(&scales);
        values.extend(
            bias.map(|((shift, mean), scale)| {
                (f64::from(*shift) - f64::from(*mean) * scale) as f32
            }),
        );
        match values[start..].iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => {
                let (name, prefix) = (matrix(i), self.prefix);
                let reason = format!("tensor {prefix}{name} with its batch norm is not finite");
                Err(Error::checkpoint(self.file, reason))
            }
        }
    }

    /// Names of this side's tensors, without the prefix.
    fn names(&self) -> Vec<String> {
        let tensors = self.checkpoint.tensors().iter();
        tensors
            .filter_map(|t| t.name.strip_prefix(self.prefix))
            .map(str::to_owned)
            .collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.checkpoint.info(&format!("{}{name}", self.prefix))?;
        Some(&info.shape)
    }

    /// Checks that just `expected` is there; counters of batches do not matter.
    fn check_names(&self, expected: &[String]) -> Result<()> {
        let names = self.names();
        let full = |name: &String| format!("{}{name}", self.prefix);
        let missing = expected.iter().filter(|name| !names.contains(name));
        refuse(self.file, "missing", missing.map(full).collect())?;
        let counter = |name: &str| {
            let of_norm = name.strip_suffix("running_mean");
            of_norm.map(|norm| format!("{norm}num_batches_tracked"))
        };
        let counters: Vec<String> = expected.iter().filter_map(|name| counter(name)).collect();
        let surplus = names
            .iter()
            .filter(|name| !expected.contains(name) && !counters.contains(name));
        refuse(self.file, "surplus", surplus.map(full).collect())
    }

    fn linear(&self, name: &str, bias: bool, relu: bool) -> Result<MapperLayer> {
        match self.shape(name) {
            Some(&[outputs, inputs]) => Ok(MapperLayer::Linear {
                inputs,
                outputs,
                bias,
                relu,
            }),
            _ => Err(self.misshapen(name, "[D', D]")),
        }
    }

    fn vector(&self, name: &str, length: usize) -> Result<()> {
        match self.shape(name) {
            Some([found]) if *found == length => Ok(()),
            _ => Err(self.misshapen(name, &format!("[{length}]"))),
        }
    }

    /// Checks sizes before anything is allocated by them.
    fn within_limits(
        &self,
        kind: MapperKind,
        layers: Vec<MapperLayer>,
    ) -> Result<(MapperKind, Vec<MapperLayer>)> {
        let sane = |size: usize| (1..=HIDDEN_MAX).contains(&size);
        let values = layers.iter().try_fold(0usize, |sum, layer| {
            let fits = sane(layer.inputs()) && sane(layer.outputs());
            sum.checked_add(layer.values().filter(|_| fits)?)
        });
        match values {
            Some(values) if values as u64 <= MAPPER_BYTES_MAX / 4 && layers.len() <= LAYERS_MAX => {
                Ok((kind, layers))
            }
            _ => Err(Error::checkpoint(
                self.file,
                format!(
                    "{}* is {}, outside of the limits of {LAYERS_MAX} layers, {HIDDEN_MAX} values \
                     a row and {MAPPER_BYTES_MAX} bytes",
                    self.prefix,
                    sizes(&layers)
                ),
            )),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<f32>> {
        let name = format!("{}{name}", self.prefix);
        let values = self.checkpoint.read_f32(&name)?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::checkpoint(
                self.file,
                format!("tensor {name} has values that are not finite"),
            )),
        }
    }

    fn misshapen(&self, name: &str, wanted: &str) -> Error {
        let found = self.shape(name).unwrap_or_default();
        let prefix = self.prefix;
        let reason = format!("tensor {prefix}{name} has shape {found:?}, not {wanted}");
        Error::checkpoint(self.file, reason)
    }
}

/// The matrix of block `i` of an MLP.
fn matrix(i: usize) -> String {
    format!("{}.weight", 4 * i)
}

/// A part of the batch norm of block `i` of an MLP.
fn norm(i: usize, part: &str) -> String {
    format!("{}.{part}", 4 * i + 1)
}

/// The widths of a row on its way, such as `768 -> 512 -> 256`.
fn sizes(layers: &[MapperLayer]) -> String {
    let first = layers.first().map(MapperLayer::inputs);
    let rest = layers.iter().map(MapperLayer::outputs);
    let widths = first.into_iter().chain(rest).map(|size| size.to_string());
    widths.collect::<Vec<_>>().join(" -> ")
}

/// An error that lists `names`, unless there are none.
fn refuse(file: &str, what: &str, names: Vec<String>) -> Result<()> {
    match names.is_empty() {
        true => Ok(()),
        false => Err(Error::checkpoint(
            file,
            format!("no mapper: {what} tensors: {}", listed(&names)),
        )),
    }
}

fn listed(names: &[String]) -> String {
    let shown = names.get(..LISTED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
