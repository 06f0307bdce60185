//! Quantization that looks at what flows through the backbone.
//!
//! Sample images pass through the network block by block. What enters each matrix says which rounding errors would show in its
//! outputs; [`Feedback`] hands those on to inputs that make up for them, after [`Factors`] made alike what leaves a transformer's
//! LayerNorms. The samples then go on through the quantized block, so that later blocks also make up for what earlier ones left,
//! and show where 8 bits suffice for activations too. Only one block is held in f32 at a time.
//!
//! The result depends on the last bits of f32 sums, and so on the kind of processor: the identity of a
//! pack is that of its files, not of the checkpoint alone.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Tensor};

use super::assembly::Layers;
pub use super::entering::sample_count;
use super::entering::{Entering, Moments, Spans};
use super::matrix::{Feedback, QuantizedMatrix};
use super::pack::{Encoded, Precision};
use super::reference::linear::transposed;
use super::reference::load::{Assembly, Loaded};
use super::reference::resnet::{after_stem, pool, stem_windows};
use super::reference::vit::{Vit, unfold};
use super::smoothing::{Factors, PAIRS};
use crate::error::{Error, Result};
use crate::format::model::{EIGHT_BITS, is_matrix};
use crate::format::{Architecture, TensorEncoding};

/// Images that pass through the network together.
const BATCH: usize = 8;

/// Gives a tensor by name and shape.
pub type ReadTensor<'a> = &'a dyn Fn(&str, &[usize]) -> Result<Vec<f32>>;
type Shapes = Vec<(String, Vec<usize>)>;
type Values = HashMap<String, Vec<f32>>;
/// What enters each matrix of a stage.
type Seen = BTreeMap<String, Entering>;

/// Where the samples are.
enum Position {
    /// Images [batch, 3, H, W], preprocessed.
    Images(Vec<Vec<f32>>),
    /// Before a block of a transformer.
    Tokens(Box<Vit>, Vec<Tensor<3>>),
    /// Before a block of a ResNet.
    Pixels(Vec<Tensor<4>>),
}

/// Encodes the tensors of a backbone, in their order.
pub struct Sampled<'a> {
    architecture: &'a Architecture,
    precision: Precision,
    read: ReadTensor<'a>,
    position: Position,
    /// Blocks that the samples have passed.
    passed: usize,
    ready: HashMap<String, Encoded>,
    device: Device,
}

impl<'a> Sampled<'a> {
    /// `images` are preprocessed [n, 3, H, W]; `read(name, shape)` gives the tensors in f32.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without a whole image.
    pub fn new(
        architecture: &'a Architecture,
        precision: Precision,
        images: &[f32],
        read: ReadTensor<'a>,
    ) -> Result<Self> {
        let pixels = 3 * architecture.image() * architecture.image();
        if images.is_empty() || !images.len().is_multiple_of(pixels) {
            return Err(Error::invalid("sample images of another size"));
        }
        let batches = images.chunks(BATCH * pixels).map(<[f32]>::to_vec);
        Ok(Self {
            architecture,
            precision,
            read,
            position: Position::Images(batches.collect()),
            passed: 0,
            ready: HashMap::new(),
            device: Device::flex(),
        })
    }

    /// The tensor `name` as it is to be stored. Tensors are asked for in the architecture's order.
    ///
    /// # Errors
    /// Those of `read`, [`Error::Checkpoint`] for values that are not finite, and
    /// [`Error::NotFinite`] when the samples do not pass through the network.
    pub fn encode(&mut self, name: &str, shape: &[usize]) -> Result<Encoded> {
        if !self.ready.contains_key(name) {
            self.advance(name)?;
        }
        match self.ready.remove(name) {
            Some(encoded) => Ok(encoded),
            None => {
                let values = (self.read)(name, shape)?;
                Encoded::new(name, &values, shape, self.precision)
            }
        }
    }

    /// Passes the stage that `name` belongs to, if that is the next one.
    fn advance(&mut self, name: &str) -> Result<()> {
        let is_start = matches!(self.position, Position::Images(_));
        let position = std::mem::replace(&mut self.position, Position::Images(Vec::new()));
        self.position = match (self.architecture, position) {
            (_, Position::Images(images)) if is_start => self.enter(&images)?,
            (Architecture::Vit(config), Position::Tokens(frame, mut x)) => {
                let prefix = format!("blocks.{}.", self.passed);
                if name.starts_with(&prefix) {
                    let stage = self.stage(&prefix);
                    let mut values = self.values(&stage)?;
                    let block = self
                        .assembly(&values, &HashMap::new())
                        .vit_block(config, self.passed)?;
                    let moments = Moments::default();
                    for x in &x {
                        let tap = &mut |name: &str, x: &Tensor<3>| moments.add(name, x);
                        block.forward(x.clone(), config, false, tap);
                    }
                    let mut seen = moments.finish()?;
                    self.smooth(&prefix, &mut values, &mut seen)?;
                    let quantized = self.round(&stage, &values, &seen, &prefix)?;
                    let block = self
                        .assembly(&values, &quantized)
                        .vit_block(config, self.passed)?;
                    let spans = Spans::default();
                    for x in &mut x {
                        let tap = &mut |name: &str, x: &Tensor<3>| spans.add(name, x);
                        *x = block.forward(x.clone(), config, false, tap);
                    }
                    self.mark(&prefix, &values, &seen, &spans)?;
                    self.passed += 1;
                } else if name == "head.weight" {
                    let stage = self.stage("head.");
                    let values = self.values(&stage)?;
                    let moments = Moments::default();
                    for x in &x {
                        moments.add("head", &frame.frame.norm.forward(x.clone()));
                    }
                    self.round(&stage, &values, &moments.finish()?, "")?;
                }
                Position::Tokens(frame, x)
            }
            (Architecture::Resnet(config), Position::Pixels(mut x)) => {
                let blocks = config.blocks();
                let next = blocks.get(self.passed).map(|shape| {
                    let first = &shape.convolutions[0].name;
                    (shape, first.trim_end_matches("conv1").to_owned())
                });
                if let Some((shape, prefix)) = next.filter(|(_, prefix)| name.starts_with(prefix)) {
                    let stage = self.stage(&prefix);
                    let values = self.values(&stage)?;
                    let block = self
                        .assembly(&values, &HashMap::new())
                        .resnet_block(shape)?;
                    let moments = Moments::default();
                    for x in &x {
                        let tap = &mut |name: &str, x: &Tensor<3>| moments.add(name, x);
                        block.forward(x.clone(), tap);
                    }
                    let quantized = self.round(&stage, &values, &moments.finish()?, &prefix)?;
                    let block = self.assembly(&values, &quantized).resnet_block(shape)?;
                    for x in &mut x {
                        *x = block.forward(x.clone(), &mut |_, _| {});
                    }
                    self.passed += 1;
                } else if name == "fc.weight" {
                    let stage = self.stage("fc.");
                    let values = self.values(&stage)?;
                    let moments = Moments::default();
                    for x in &x {
                        moments.add("fc", &pool(x.clone(), config));
                    }
                    self.round(&stage, &values, &moments.finish()?, "")?;
                }
                Position::Pixels(x)
            }
            (_, position) => position,
        };
        Ok(())
    }

    /// What stands before the blocks.
    fn enter(&mut self, images: &[Vec<f32>]) -> Result<Position> {
        let moments = Moments::default();
        match self.architecture {
            Architecture::Vit(config) => {
                let mut stage = self.architecture.tensors();
                stage.retain(|(name, _)| !name.starts_with("blocks."));
                let values = self.values(&stage)?;
                for images in images {
                    let patches = unfold(images, config, &self.device);
                    moments.add("patch_embed.proj", &patches);
                }
                let patch: Shapes = self.stage("patch_embed.");
                let quantized = self.round(&patch, &values, &moments.finish()?, "")?;
                let frame = self
                    .assembly(&values, &quantized)
                    .vit_before_blocks(config)?;
                let x = images.iter().map(|images| frame.tokens(images)).collect();
                Ok(Position::Tokens(Box::new(frame), x))
            }
            Architecture::Resnet(config) => {
                let stem = config.stem();
                let stage = self.stage("conv1.");
                let values = self.values(&stage)?;
                let windows = images
                    .iter()
                    .map(|images| stem_windows(images, config, &self.device));
                let windows: Vec<Tensor<3>> = windows.collect();
                windows.iter().for_each(|x| moments.add(&stem.name, x));
                let quantized = self.round(&stage, &values, &moments.finish()?, "")?;
                let conv = self.assembly(&values, &quantized).conv(&stem)?;
                let after = windows
                    .into_iter()
                    .map(|x| after_stem(conv.linear.forward(x), config));
                Ok(Position::Pixels(after.collect()))
            }
        }
    }

    /// The tensors whose names start with `prefix`.
    fn stage(&self, prefix: &str) -> Shapes {
        let mut tensors = self.architecture.tensors();
        tensors.retain(|(name, _)| name.starts_with(prefix));
        tensors
    }

    fn values(&self, stage: &Shapes) -> Result<Values> {
        let mut values = Values::new();
        for (name, shape) in stage {
            let read = (self.read)(name, shape)?;
            // Checks length and values.
            Encoded::new(name, &read, shape, Precision::F32)?;
            values.insert(name.clone(), read);
        }
        Ok(values)
    }

    /// Makes what enters the matrices behind the LayerNorms of a block even, in `values` and in what was `seen`.
    fn smooth(&mut self, prefix: &str, values: &mut Values, seen: &mut Seen) -> Result<()> {
        for (norm, layer) in PAIRS {
            // Matrices in f32 are read as they are, and so must the norms before them be.
            let quantized = self.precision != Precision::F32;
            let Some(entering) = seen.get_mut(layer).filter(|_| quantized) else {
                continue;
            };
            let factors = Factors::new(&entering.moments, entering.inputs);
            entering.divide(&factors);
            if let Some(weights) = values.get_mut(&format!("{prefix}{layer}.weight")) {
                factors.multiply_columns(weights);
            }
            for part in ["weight", "bias"] {
                let name = format!("{prefix}{norm}.{part}");
                if let Some(values) = values.get_mut(&name) {
                    factors.divide(values);
                    let encoded = Encoded::new(&name, values, &[values.len()], self.precision)?;
                    self.ready.insert(name, encoded);
                }
            }
        }
        Ok(())
    }

    /// Marks the matrices of a block that take their inputs in 8 bits as well.
    fn mark(&mut self, prefix: &str, values: &Values, seen: &Seen, spans: &Spans) -> Result<()> {
        for (layer, entering) in seen {
            let name = format!("{prefix}{layer}.weight");
            let (Some(encoded), Some(values)) = (self.ready.get_mut(&name), values.get(&name))
            else {
                continue;
            };
            let span = spans.mean_square(layer)?;
            if entering.fit_eight_bits(span, values, &self.device)? {
                encoded.activations = Some(EIGHT_BITS);
            }
        }
        Ok(())
    }

    /// Quantizes the matrices of a stage whose inputs were `seen`, and keeps their stored form.
    fn round(
        &mut self,
        stage: &Shapes,
        values: &Values,
        seen: &Seen,
        prefix: &str,
    ) -> Result<HashMap<String, QuantizedMatrix>> {
        let mut quantized = HashMap::new();
        for (layer, entering) in seen {
            let name = format!("{prefix}{layer}.weight");
            let shape = stage.iter().find(|(tensor, _)| *tensor == name);
            let (Some((_, shape)), Some(values)) = (shape, values.get(&name)) else {
                continue;
            };
            let encoding = self.precision.encoding(shape);
            if encoding == TensorEncoding::F32 {
                continue;
            }
            let feedback = Feedback::new(&entering.moments, entering.inputs)?;
            let matrix = QuantizedMatrix::new(values, entering.inputs, encoding, Some(&feedback))?;
            let encoded = Encoded {
                encoding,
                activations: None,
                bytes: matrix.to_bytes(),
            };
            self.ready.insert(name.clone(), encoded);
            quantized.insert(name, matrix);
        }
        Ok(quantized)
    }

    /// The tensors `values`, with those in `quantized` as their codes stand for.
    fn assembly(
        &self,
        values: &Values,
        quantized: &HashMap<String, QuantizedMatrix>,
    ) -> Assembly<'static> {
        let tensors = self.architecture.tensors().into_iter();
        let loaded = tensors.filter_map(|(name, shape)| {
            let values = values.get(&name)?.clone();
            if !is_matrix(&shape) {
                return Some((name, Loaded::Values(values)));
            }
            let inputs = shape[1..].iter().product();
            let values = match quantized.get(&name) {
                Some(matrix) => matrix.dequantized(),
                None => values,
            };
            let weight = transposed(values, shape[0], inputs, &self.device);
            Some((name, Loaded::Matrix(Box::new(weight))))
        });
        Assembly {
            file: "the model",
            device: self.device.clone(),
            loaded: loaded.collect(),
        }
    }
}
