//! From tensors by name to a network in Burn.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::linear::{LayerNorm, Linear, transposed};
use super::resnet::Resnet;
use super::vit::Vit;
use crate::backbone::assembly::{Layers, Positions};
use crate::backbone::load::{Decoded, bad};
use crate::error::Result;
use crate::format::{ResnetConfig, VitConfig};

/// A tensor on its way: matrices are on the device already.
pub enum Loaded {
    /// [in, out]
    Matrix(Box<Tensor<2>>),
    Values(Vec<f32>),
}

impl Loaded {
    /// Takes a tensor to `device`; quantized matrices as what their codes stand for.
    pub fn new(tensor: Decoded, device: &Device) -> Self {
        match tensor {
            Decoded::Values(values) => Self::Values(values),
            Decoded::Dense {
                values,
                outputs,
                inputs,
            } => Self::Matrix(Box::new(transposed(values, outputs, inputs, device))),
            Decoded::Quantized(matrix) => {
                let (outputs, inputs) = (matrix.outputs, matrix.inputs);
                Self::Matrix(Box::new(transposed(
                    matrix.dequantized(),
                    outputs,
                    inputs,
                    device,
                )))
            }
        }
    }
}

/// Puts tensors by their names in their places.
pub struct Assembly<'a> {
    /// Names the tensors' origin in errors.
    pub file: &'a str,
    pub device: Device,
    pub loaded: HashMap<String, Loaded>,
}

impl Assembly<'_> {
    fn weight(&mut self, name: &str) -> Result<Tensor<2>> {
        match self.loaded.remove(&format!("{name}.weight")) {
            Some(Loaded::Matrix(weight)) => Ok(*weight),
            _ => Err(bad(self.file, name, "is missing")),
        }
    }

    /// A transformer without its blocks.
    pub fn vit_before_blocks(&mut self, config: &VitConfig) -> Result<Vit> {
        let Positions {
            class_token,
            patches,
        } = self.positions(config)?;
        let shape = [1, config.tokens() - 1, config.width];
        let class_shape = [1, 1, config.width];
        Ok(Vit {
            class_token: Tensor::from_data(TensorData::new(class_token, class_shape), &self.device),
            positions: Tensor::from_data(TensorData::new(patches, shape), &self.device),
            frame: self.vit_frame(config)?,
            blocks: Vec::new(),
            device: self.device.clone(),
            config: config.clone(),
        })
    }

    pub fn whole_vit(mut self, config: &VitConfig) -> Result<Vit> {
        let mut vit = self.vit_before_blocks(config)?;
        let blocks = (0..config.depth).map(|i| self.vit_block(config, i));
        vit.blocks = blocks.collect::<Result<_>>()?;
        Ok(vit)
    }

    pub fn whole_resnet(mut self, config: &ResnetConfig) -> Result<Resnet> {
        Ok(Resnet {
            layers: self.resnet(config)?,
            device: self.device,
            config: config.clone(),
        })
    }
}

impl Layers for Assembly<'_> {
    type Linear = Linear;
    type Norm = LayerNorm;
    type Vector = Tensor<1>;

    fn file(&self) -> &str {
        self.file
    }

    fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        match self.loaded.remove(name) {
            Some(Loaded::Values(values)) => Ok(values),
            _ => Err(bad(self.file, name, "is missing")),
        }
    }

    fn vector(&mut self, name: &str) -> Result<Tensor<1>> {
        let values = self.values(name)?;
        let length = values.len();
        Ok(Tensor::from_data(
            TensorData::new(values, [length]),
            &self.device,
        ))
    }

    fn norm(&mut self, name: &str, epsilon: f32) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.vector(&format!("{name}.weight"))?,
            bias: self.vector(&format!("{name}.bias"))?,
            epsilon,
        })
    }

    fn linear(&mut self, name: &str) -> Result<Linear> {
        Ok(Linear {
            weight: self.weight(name)?,
            bias: self.vector(&format!("{name}.bias"))?,
        })
    }

    fn projection(&mut self, name: &str, outputs: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.weight(name)?,
            bias: Tensor::zeros([outputs], &self.device),
        })
    }
}
