//! From tensors by name to a network in Burn.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::linear::{LayerNorm, Linear, transposed};
use super::resnet::{self, Conv, Resnet};
use super::vit::{self, Vit};
use crate::backbone::load::{Decoded, bad};
use crate::error::Result;
use crate::format::architecture::{Bottleneck, Convolution};
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

    fn weight(&mut self, name: &str) -> Result<Tensor<2>> {
        match self.loaded.remove(&format!("{name}.weight")) {
            Some(Loaded::Matrix(weight)) => Ok(*weight),
            _ => Err(bad(self.file, name, "is missing")),
        }
    }

    /// The linear layer `name`.
    pub fn linear(&mut self, name: &str) -> Result<Linear> {
        Ok(Linear {
            weight: self.weight(name)?,
            bias: self.vector(&format!("{name}.bias"))?,
        })
    }

    fn norm(&mut self, name: &str, epsilon: f32) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.vector(&format!("{name}.weight"))?,
            bias: self.vector(&format!("{name}.bias"))?,
            epsilon,
        })
    }

    /// Block `i` of a transformer.
    pub fn vit_block(&mut self, config: &VitConfig, i: usize) -> Result<vit::Block> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let mut scale = |part: &str| match config.layer_scale {
            true => Ok(Some(self.vector(&name(part))?)),
            false => Ok(None),
        };
        Ok(vit::Block {
            scale1: scale("ls1.gamma")?,
            scale2: scale("ls2.gamma")?,
            norm1: self.norm(&name("norm1"), config.epsilon)?,
            qkv: self.linear(&name("attn.qkv"))?,
            proj: self.linear(&name("attn.proj"))?,
            norm2: self.norm(&name("norm2"), config.epsilon)?,
            fc1: self.linear(&name("mlp.fc1"))?,
            fc2: self.linear(&name("mlp.fc2"))?,
        })
    }

    /// A transformer but for its blocks.
    pub fn vit_frame(&mut self, config: &VitConfig) -> Result<Vit> {
        let width = config.width;
        let class = self.values("cls_token")?;
        let positions = self.values("pos_embed")?;
        let (first, rest) = positions.split_at(width);
        let class: Vec<f32> = class.iter().zip(first).map(|(c, p)| c + p).collect();
        let patches = [1, config.tokens() - 1, width];
        Ok(Vit {
            class_token: Tensor::from_data(TensorData::new(class, [1, 1, width]), &self.device),
            positions: Tensor::from_data(TensorData::new(rest.to_vec(), patches), &self.device),
            patch_embed: self.linear("patch_embed.proj")?,
            norm_pre: match config.pre_norm {
                true => Some(self.norm("norm_pre", config.epsilon)?),
                false => None,
            },
            norm: self.norm("norm", config.epsilon)?,
            head: match config.projection {
                Some(dimension) => Some(Linear {
                    weight: self.weight("head")?,
                    bias: Tensor::zeros([dimension], &self.device),
                }),
                None => None,
            },
            blocks: Vec::new(),
            device: self.device.clone(),
            config: config.clone(),
        })
    }

    pub fn vit(mut self, config: &VitConfig) -> Result<Vit> {
        let mut vit = self.vit_frame(config)?;
        let blocks = (0..config.depth).map(|i| self.vit_block(config, i));
        vit.blocks = blocks.collect::<Result<_>>()?;
        Ok(vit)
    }

    /// The convolution of `shape`.
    pub fn conv(&mut self, shape: &Convolution) -> Result<Conv> {
        Ok(Conv {
            linear: self.linear(&shape.name)?,
            shape: shape.clone(),
        })
    }

    /// A bottleneck block.
    pub fn resnet_block(&mut self, shape: &Bottleneck) -> Result<resnet::Block> {
        let [first, second, third] = &shape.convolutions;
        Ok(resnet::Block {
            convolutions: [self.conv(first)?, self.conv(second)?, self.conv(third)?],
            downsample: match &shape.downsample {
                Some(shape) => Some(self.conv(shape)?),
                None => None,
            },
        })
    }

    pub fn resnet(mut self, config: &ResnetConfig) -> Result<Resnet> {
        let blocks = config.blocks();
        let blocks = blocks.iter().map(|shape| self.resnet_block(shape));
        Ok(Resnet {
            blocks: blocks.collect::<Result<_>>()?,
            stem: self.conv(&config.stem())?,
            head: self.linear("fc")?,
            device: self.device,
            config: config.clone(),
        })
    }
}
