//! From weight files to a network, one file at a time.
//!
//! A file is fetched, verified, uploaded and dropped before the next but one is held, so that the
//! peak of host memory is two files however large the model is.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use futures_util::{StreamExt, stream};
use half::f16;

use super::Network;
use super::cpu::CpuLoaded;
use super::linear::{LayerNorm, Linear, Weight};
use super::matrix::QuantizedMatrix;
use super::resnet::{self, Conv, Resnet};
use super::vit::{self, Vit};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::format::architecture::{Bottleneck, Convolution};
use crate::format::model::is_matrix;
use crate::format::{
    Architecture, ModelHead, ResnetConfig, TensorEncoding, TensorEntry, VitConfig,
};
use crate::source::Source;

/// A tensor on its way: matrices are on the device already.
pub enum Loaded {
    Matrix(Box<Weight>),
    Values(Vec<f32>),
}

/// A tensor as it lies in a file.
pub enum Decoded {
    Values(Vec<f32>),
    /// A matrix row-major [outputs, inputs].
    Dense {
        values: Vec<f32>,
        outputs: usize,
        inputs: usize,
    },
    Quantized(QuantizedMatrix),
}

/// See [`super::Backbone::load`].
pub async fn load(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    compute: &Compute,
    on_bytes: &dyn Fn(u64, bool),
) -> Result<Network> {
    let Compute::Gpu(gpu) = compute else {
        let mut loaded = CpuLoaded::default();
        let take = &mut |name: &str, tensor| {
            loaded.take(name, tensor);
            Ok(())
        };
        read(source, head_file, head, on_bytes, take).await?;
        let network = loaded.network(head_file, &head.architecture)?;
        return Ok(Network::Cpu(network));
    };
    load_burn(source, head_file, head, gpu.burn(), true, on_bytes).await
}

/// The network in Burn on `device`. With `own_kernels`, quantized matrices stay so and attention is the crate's own
/// kernel; without, all is Burn's.
///
/// # Errors
/// As [`load`].
pub async fn load_burn(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    device: &Device,
    own_kernels: bool,
    on_bytes: &dyn Fn(u64, bool),
) -> Result<Network> {
    let mut loaded = HashMap::new();
    let take = &mut |name: &str, tensor| {
        let tensor = match tensor {
            Decoded::Values(values) => Loaded::Values(values),
            Decoded::Dense {
                values,
                outputs,
                inputs,
            } => Loaded::Matrix(Box::new(match own_kernels {
                true => Weight::rows(values, outputs, inputs, device)?,
                false => expanded(values, outputs, inputs, device)?,
            })),
            Decoded::Quantized(matrix) => Loaded::Matrix(Box::new(match own_kernels {
                true => Weight::quantized(&matrix, device)?,
                false => {
                    let (outputs, inputs) = (matrix.outputs, matrix.inputs);
                    expanded(matrix.dequantized(), outputs, inputs, device)?
                }
            })),
        };
        loaded.insert(name.to_owned(), tensor);
        Ok(())
    };
    read(source, head_file, head, on_bytes, take).await?;
    let assembly = Assembly {
        file: head_file,
        device: device.clone(),
        own_kernels,
        loaded,
    };
    match &head.architecture {
        Architecture::Vit(config) => Ok(Network::Vit(Box::new(assembly.vit(config)?))),
        Architecture::Resnet(config) => Ok(Network::Resnet(Box::new(assembly.resnet(config)?))),
    }
}

/// A matrix for Burn's own product, which a browser does not have.
fn expanded(values: Vec<f32>, outputs: usize, inputs: usize, device: &Device) -> Result<Weight> {
    #[cfg(not(target_arch = "wasm32"))]
    return Ok(Weight::dense(values, outputs, inputs, device));
    #[cfg(target_arch = "wasm32")]
    return Weight::rows(values, outputs, inputs, device);
}

/// Reads the files of `head` one after the other; `take` gets each tensor by name.
async fn read(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    on_bytes: &dyn Fn(u64, bool),
    take: &mut dyn FnMut(&str, Decoded) -> Result<()>,
) -> Result<()> {
    let mut files = stream::iter(head.files.iter().enumerate())
        .map(|(index, file)| async move {
            let fetched = source
                .read(&file.beside(head_file), &|bytes| on_bytes(bytes, false))
                .await;
            (index, fetched)
        })
        .buffered(2);
    while let Some((index, fetched)) = files.next().await {
        let fetched = fetched?;
        if fetched.cached {
            on_bytes(fetched.bytes.len() as u64, true);
        }
        for entry in head.tensors.iter().filter(|t| t.file == index) {
            let end = (entry.offset + entry.bytes) as usize;
            let bytes = fetched
                .bytes
                .get(entry.offset as usize..end)
                .ok_or_else(|| bad(head_file, &entry.name, "lies outside of its file"))?;
            take(&entry.name, decode(head_file, entry, bytes)?)?;
        }
    }
    Ok(())
}

pub(super) fn bad(file: &str, name: &str, reason: &str) -> Error {
    Error::format(file, format!("tensor {name} {reason}"))
}

fn decode(file: &str, entry: &TensorEntry, bytes: &[u8]) -> Result<Decoded> {
    let floats = || -> Result<Vec<f32>> {
        let values: Vec<f32> = match entry.encoding {
            TensorEncoding::F16 => bytes
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            _ => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(bad(file, &entry.name, "has values that are not finite")),
        }
    };
    if !is_matrix(&entry.shape) {
        return Ok(Decoded::Values(floats()?));
    }
    let outputs = entry.shape[0];
    let inputs = entry.shape[1..].iter().product();
    Ok(match entry.encoding {
        TensorEncoding::F32 | TensorEncoding::F16 => Decoded::Dense {
            values: floats()?,
            outputs,
            inputs,
        },
        encoding => Decoded::Quantized(
            QuantizedMatrix::from_bytes(encoding, outputs, inputs, bytes)
                .map_err(|e| bad(file, &entry.name, &e.to_string()))?,
        ),
    })
}

/// Puts tensors by their names in their places.
pub struct Assembly<'a> {
    /// Names the tensors' origin in errors.
    pub file: &'a str,
    pub device: Device,
    pub own_kernels: bool,
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

    fn weight(&mut self, name: &str) -> Result<Weight> {
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
            own_kernel: self.own_kernels,
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
            own_attention: self.own_kernels,
            blocks: Vec::new(),
            device: self.device.clone(),
            config: config.clone(),
        })
    }

    fn vit(mut self, config: &VitConfig) -> Result<Vit> {
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

    fn resnet(mut self, config: &ResnetConfig) -> Result<Resnet> {
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
