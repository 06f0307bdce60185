//! From weight files to tensors on the device, one file at a time.
//!
//! A file is fetched, verified, uploaded and dropped before the next but one is held, so that the
//! peak of host memory is two files however large the model is.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use futures_util::{StreamExt, stream};
use half::f16;

use super::linear::{LayerNorm, Linear, Weight};
use super::vit::{Block, Vit};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::format::{ModelHead, TensorEncoding, TensorEntry, model::is_matrix};
use crate::source::Source;

/// A tensor on its way: matrices are on the device already.
enum Loaded {
    Matrix(Box<Weight>),
    Values(Vec<f32>),
}

/// See [`super::Backbone::load`].
pub async fn load(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    compute: &Compute,
    on_bytes: &dyn Fn(u64, bool),
) -> Result<Vit> {
    let device = compute.burn();
    let mut loaded = HashMap::new();
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
            let tensor = decode(head_file, entry, bytes, compute, &device)?;
            loaded.insert(entry.name.clone(), tensor);
        }
    }
    Assembly {
        file: head_file,
        head,
        device,
        own_kernels: compute.own_kernels(),
        loaded,
    }
    .vit()
}

fn bad(file: &str, name: &str, reason: &str) -> Error {
    Error::format(file, format!("tensor {name} {reason}"))
}

fn decode(
    file: &str,
    entry: &TensorEntry,
    bytes: &[u8],
    compute: &Compute,
    device: &Device,
) -> Result<Loaded> {
    let floats = |bytes: &[u8]| -> Result<Vec<f32>> {
        let values: Vec<f32> = match entry.encoding {
            TensorEncoding::F16 => bytes
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            TensorEncoding::F32 | TensorEncoding::Int8 => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(bad(file, &entry.name, "has values that are not finite")),
        }
    };
    if !is_matrix(&entry.shape) || !entry.name.ends_with(".weight") {
        return Ok(Loaded::Values(floats(bytes)?));
    }
    let out = entry.shape[0];
    let inputs = entry.shape[1..].iter().product();
    let weight = match entry.encoding {
        TensorEncoding::Int8 => {
            let (scales, codes) = bytes.split_at(4 * out);
            Weight::int8(
                floats(scales)?,
                codes,
                inputs,
                compute.own_kernels(),
                device,
            )?
        }
        _ => Weight::dense(floats(bytes)?, out, inputs, device),
    };
    Ok(Loaded::Matrix(Box::new(weight)))
}

/// Puts the loaded tensors in their places.
pub(super) struct Assembly<'a> {
    file: &'a str,
    head: &'a ModelHead,
    device: Device,
    own_kernels: bool,
    loaded: HashMap<String, Loaded>,
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

    fn linear(&mut self, name: &str) -> Result<Linear> {
        let weight = match self.loaded.remove(&format!("{name}.weight")) {
            Some(Loaded::Matrix(weight)) => *weight,
            _ => return Err(bad(self.file, name, "is missing")),
        };
        let bias = self.vector(&format!("{name}.bias"))?;
        Ok(Linear { weight, bias })
    }

    fn norm(&mut self, name: &str) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.vector(&format!("{name}.weight"))?,
            bias: self.vector(&format!("{name}.bias"))?,
            epsilon: self.head.architecture.epsilon,
        })
    }

    fn scale(&mut self, name: &str) -> Result<Option<Tensor<1>>> {
        match self.head.architecture.layer_scale {
            true => Ok(Some(self.vector(&format!("{name}.gamma"))?)),
            false => Ok(None),
        }
    }

    fn vit(mut self) -> Result<Vit> {
        let config = self.head.architecture.clone();
        let width = config.width;
        let class = self.values("cls_token")?;
        let positions = self.values("pos_embed")?;
        let (first, rest) = positions.split_at(width);
        let class: Vec<f32> = class.iter().zip(first).map(|(c, p)| c + p).collect();
        let tokens = config.tokens();
        let blocks = (0..config.depth)
            .map(|i| {
                let name = |part: &str| format!("blocks.{i}.{part}");
                Ok(Block {
                    norm1: self.norm(&name("norm1"))?,
                    qkv: self.linear(&name("attn.qkv"))?,
                    proj: self.linear(&name("attn.proj"))?,
                    scale1: self.scale(&name("ls1"))?,
                    norm2: self.norm(&name("norm2"))?,
                    fc1: self.linear(&name("mlp.fc1"))?,
                    fc2: self.linear(&name("mlp.fc2"))?,
                    scale2: self.scale(&name("ls2"))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Vit {
            class_token: Tensor::from_data(TensorData::new(class, [1, 1, width]), &self.device),
            positions: Tensor::from_data(
                TensorData::new(rest.to_vec(), [1, tokens - 1, width]),
                &self.device,
            ),
            patch_embed: self.linear("patch_embed.proj")?,
            norm: self.norm("norm")?,
            own_attention: self.own_kernels,
            blocks,
            device: self.device,
            config,
        })
    }
}
