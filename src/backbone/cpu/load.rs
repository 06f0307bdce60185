//! From tensors by name to a network for the CPU.

use std::collections::HashMap;

use super::resnet::{CpuBlock as ResnetBlock, CpuConv};
use super::vit::CpuBlock as VitBlock;
use super::{CpuLinear, CpuMatrix, CpuNorm, CpuResnet, CpuVit};
use crate::backbone::cpu_kernels::{DensePanels, QuantizedPanels};
use crate::backbone::load::{Decoded, bad};
use crate::error::Result;
use crate::format::architecture::Convolution;
use crate::format::{Architecture, ResnetConfig, TensorEncoding, VitConfig};

/// Tensors that have arrived.
#[derive(Default)]
pub struct CpuLoaded {
    matrices: HashMap<String, CpuMatrix>,
    values: HashMap<String, Vec<f32>>,
}

/// A network for the CPU.
#[derive(Clone, Debug)]
pub enum CpuNetwork {
    Vit(Box<CpuVit>),
    Resnet(Box<CpuResnet>),
}

impl CpuLoaded {
    /// Takes a tensor; a matrix is laid out for the kernels.
    pub fn take(&mut self, name: &str, tensor: Decoded) {
        let matrix = match tensor {
            Decoded::Values(values) => {
                self.values.insert(name.into(), values);
                return;
            }
            Decoded::Dense { values, inputs, .. } => {
                CpuMatrix::Dense(DensePanels::new(&values, inputs))
            }
            Decoded::Quantized(matrix) => CpuMatrix::Quantized(match matrix.encoding {
                TensorEncoding::Int4 => {
                    QuantizedPanels::int4(&matrix.scales, &matrix.codes, matrix.inputs)
                }
                _ => QuantizedPanels::int8(&matrix.scales, &matrix.codes, matrix.inputs),
            }),
        };
        self.matrices.insert(name.into(), matrix);
    }

    /// The network of these tensors; `file` names their origin in errors.
    ///
    /// # Errors
    /// [`crate::Error::Format`] for a tensor that is missing.
    pub fn network(self, file: &str, architecture: &Architecture) -> Result<CpuNetwork> {
        let mut parts = Parts { file, loaded: self };
        Ok(match architecture {
            Architecture::Vit(config) => CpuNetwork::Vit(Box::new(parts.vit(config)?)),
            Architecture::Resnet(config) => CpuNetwork::Resnet(Box::new(parts.resnet(config)?)),
        })
    }
}

struct Parts<'a> {
    file: &'a str,
    loaded: CpuLoaded,
}

impl Parts<'_> {
    fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        let values = self.loaded.values.remove(name);
        values.ok_or_else(|| bad(self.file, name, "is missing"))
    }

    fn matrix(&mut self, name: &str) -> Result<CpuMatrix> {
        let matrix = self.loaded.matrices.remove(&format!("{name}.weight"));
        matrix.ok_or_else(|| bad(self.file, name, "is missing"))
    }

    fn linear(&mut self, name: &str) -> Result<CpuLinear> {
        Ok(CpuLinear {
            matrix: self.matrix(name)?,
            bias: self.values(&format!("{name}.bias"))?,
        })
    }

    fn norm(&mut self, name: &str, epsilon: f32) -> Result<CpuNorm> {
        Ok(CpuNorm {
            weight: self.values(&format!("{name}.weight"))?,
            bias: self.values(&format!("{name}.bias"))?,
            epsilon,
        })
    }

    fn vit(&mut self, config: &VitConfig) -> Result<CpuVit> {
        let class = self.values("cls_token")?;
        let mut positions = self.values("pos_embed")?;
        let rest = positions.split_off(config.width);
        let blocks = (0..config.depth).map(|i| self.vit_block(config, i));
        let blocks = blocks.collect::<Result<_>>()?;
        Ok(CpuVit {
            class_token: class.iter().zip(&positions).map(|(c, p)| c + p).collect(),
            positions: rest,
            patch_embed: self.linear("patch_embed.proj")?,
            norm_pre: match config.pre_norm {
                true => Some(self.norm("norm_pre", config.epsilon)?),
                false => None,
            },
            blocks,
            norm: self.norm("norm", config.epsilon)?,
            head: match config.projection {
                Some(dimension) => Some(CpuLinear {
                    matrix: self.matrix("head")?,
                    bias: vec![0.0; dimension],
                }),
                None => None,
            },
            config: config.clone(),
        })
    }

    fn vit_block(&mut self, config: &VitConfig, i: usize) -> Result<VitBlock> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let mut scale = |part: &str| match config.layer_scale {
            true => Ok(Some(self.values(&name(part))?)),
            false => Ok(None),
        };
        Ok(VitBlock {
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

    fn conv(&mut self, shape: &Convolution) -> Result<CpuConv> {
        Ok(CpuConv {
            linear: self.linear(&shape.name)?,
            shape: shape.clone(),
        })
    }

    fn resnet(&mut self, config: &ResnetConfig) -> Result<CpuResnet> {
        let mut blocks = Vec::new();
        for shape in config.blocks() {
            let [first, second, third] = &shape.convolutions;
            blocks.push(ResnetBlock {
                convolutions: [self.conv(first)?, self.conv(second)?, self.conv(third)?],
                downsample: match &shape.downsample {
                    Some(shape) => Some(self.conv(shape)?),
                    None => None,
                },
            });
        }
        Ok(CpuResnet {
            blocks,
            stem: self.conv(&config.stem())?,
            head: self.linear("fc")?,
            config: config.clone(),
        })
    }
}
