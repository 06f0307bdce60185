//! A vision transformer in Burn: CLIP, DINO, MoCo v3, timm and DINOv2 by configuration.
//!
//! The image enters as patches, so that the patch convolution is one linear layer; the class token of
//! the final LayerNorm, projected for CLIP, is the feature. The last block computes only the class
//! token, since nothing else of it is used. Tensors are [batch, tokens, width] unless stated.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::linear::{LayerNorm, Linear};
use crate::backbone::assembly::{VitBlock, VitFrame};
use crate::backbone::patches::cut;
use crate::backbone::{Pace, Tap};
use crate::error::Result;
use crate::format::{Activation, VitConfig};

/// One transformer block.
pub type Block = VitBlock<Linear, LayerNorm, Tensor<1>>;

/// The whole backbone on one device.
#[derive(Clone, Debug)]
pub struct Vit {
    pub config: VitConfig,
    pub device: Device,
    pub frame: VitFrame<Linear, LayerNorm>,
    /// [1, 1, width]: class token plus its position.
    pub class_token: Tensor<3>,
    /// [1, patches, width]
    pub positions: Tensor<3>,
    pub blocks: Vec<Block>,
}

impl Block {
    /// `class_only` computes the class token alone; `tap` sees what enters each matrix.
    pub fn forward(
        &self,
        mut x: Tensor<3>,
        config: &VitConfig,
        class_only: bool,
        tap: &mut Tap<'_>,
    ) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let queries = if class_only { 1 } else { tokens };
        let normed = self.norm1.forward(x.clone());
        tap("attn.qkv", &normed);
        let qkv = self.qkv.forward(normed);
        let mixed = attention(qkv, config, queries);
        tap("attn.proj", &mixed);
        x = x.slice([0..batch, 0..queries]);
        x = x + scaled(self.proj.forward(mixed), &self.scale1);
        let normed = self.norm2.forward(x.clone());
        tap("mlp.fc1", &normed);
        let hidden = self.fc1.forward(normed);
        let hidden = match config.activation {
            Activation::Gelu => activation::gelu(hidden),
            Activation::QuickGelu => hidden.clone() * activation::sigmoid(hidden * 1.702),
        };
        tap("mlp.fc2", &hidden);
        x + scaled(self.fc2.forward(hidden), &self.scale2)
    }
}

/// `softmax(q k^T / sqrt(head)) v` of the first `queries` tokens; qkv [batch, tokens, 3 * width].
fn attention(qkv: Tensor<3>, config: &VitConfig, queries: usize) -> Tensor<3> {
    let [batch, tokens, _] = qkv.dims();
    let (heads, head) = (config.heads, config.width / config.heads);
    let qkv = qkv
        .reshape([batch, tokens, 3, heads, head])
        .permute([2, 0, 3, 1, 4]);
    let part = |i: usize| -> Tensor<4> { qkv.clone().narrow(0, i, 1).squeeze_dim(0) };
    let q = part(0).slice([0..batch, 0..heads, 0..queries]);
    let scores = (q * (head as f32).powf(-0.5)).matmul(part(1).swap_dims(2, 3));
    activation::softmax(scores, 3)
        .matmul(part(2))
        .swap_dims(1, 2)
        .reshape([batch, queries, config.width])
}

fn scaled(x: Tensor<3>, scale: &Option<Tensor<1>>) -> Tensor<3> {
    match scale {
        Some(scale) => x * scale.clone().unsqueeze(),
        None => x,
    }
}

impl Vit {
    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, 1, D].
    ///
    /// # Errors
    /// Those of `pace`, which counts the blocks and one step before them.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Tensor<3>> {
        let steps = self.blocks.len() + 1;
        pace.step(0, steps).await?;
        let mut x = self.tokens(images);
        let batch = x.dims()[0];
        for (i, block) in self.blocks.iter().enumerate() {
            pace.step(i + 1, steps).await?;
            let last = i + 1 == self.blocks.len();
            x = block.forward(x, &self.config, last, &mut |_, _| {});
        }
        let x = self.frame.norm.forward(x.slice([0..batch, 0..1]));
        Ok(match &self.frame.head {
            Some(head) => head.forward(x),
            None => x,
        })
    }

    /// What enters the first block.
    pub fn tokens(&self, images: &[f32]) -> Tensor<3> {
        let patches = unfold(images, &self.config, &self.device);
        let batch = patches.dims()[0];
        let class_token = self.class_token.clone().repeat_dim(0, batch);
        let patches = self.frame.patch_embed.forward(patches) + self.positions.clone();
        let x = Tensor::cat(vec![class_token, patches], 1);
        match &self.frame.norm_pre {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// Patches of [batch, 3, H, W] as [batch, patches, 3 * patch * patch].
pub fn unfold(images: &[f32], config: &VitConfig, device: &Device) -> Tensor<3> {
    let patch_values = 3 * config.patch * config.patch;
    let patches = cut(images, config);
    let batch = images.len() / (3 * config.image * config.image);
    let shape = [batch, config.tokens() - 1, patch_values];
    Tensor::from_data(TensorData::new(patches, shape), device)
}
