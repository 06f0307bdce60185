//! A vision transformer in Burn: DINO, timm and DINOv2 by configuration.
//!
//! The image enters as patches, so that the patch convolution is one linear layer; the class token of
//! the final LayerNorm is the feature. The last block computes only the class token, since nothing
//! else of it is used. Tensors are [batch, tokens, width] unless stated.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::attention::attention;
use super::linear::{LayerNorm, Linear};
use crate::error::{Error, Result};
use crate::format::{Activation, VitConfig};

/// Called before each of the `steps` parts of a forward pass: shows progress, lets the page breathe,
/// and ends the pass by an error when the caller gave up.
#[allow(
    async_fn_in_trait,
    reason = "browser futures are not Send and need not be"
)]
pub trait Pace {
    /// About to start part `step` of `steps`.
    async fn step(&self, step: usize, steps: usize) -> Result<()>;
}

/// No progress, no interruption.
pub struct Unpaced;

impl Pace for Unpaced {
    async fn step(&self, _step: usize, _steps: usize) -> Result<()> {
        Ok(())
    }
}

/// One transformer block.
#[derive(Clone, Debug)]
pub struct Block {
    pub norm1: LayerNorm,
    pub qkv: Linear,
    pub proj: Linear,
    /// LayerScale [width].
    pub scale1: Option<Tensor<1>>,
    pub norm2: LayerNorm,
    pub fc1: Linear,
    pub fc2: Linear,
    pub scale2: Option<Tensor<1>>,
}

/// The whole backbone on one device.
#[derive(Clone, Debug)]
pub struct Vit {
    pub config: VitConfig,
    pub device: Device,
    pub patch_embed: Linear,
    /// [1, 1, width]: class token plus its position.
    pub class_token: Tensor<3>,
    /// [1, patches, width]
    pub positions: Tensor<3>,
    pub blocks: Vec<Block>,
    pub norm: LayerNorm,
    /// Whether attention runs as the crate's own kernel.
    pub own_attention: bool,
}

impl Block {
    fn forward(&self, mut x: Tensor<3>, vit: &Vit, class_only: bool) -> Tensor<3> {
        let config = &vit.config;
        let [batch, tokens, _] = x.dims();
        let queries = if class_only { 1 } else { tokens };
        let qkv = self.qkv.forward(self.norm1.forward(x.clone()));
        let mixed = match vit.own_attention {
            true => attention(qkv, config.heads, queries),
            false => attention_of_burn(qkv, config, queries),
        };
        x = x.slice([0..batch, 0..queries]);
        x = x + scaled(self.proj.forward(mixed), &self.scale1);
        let hidden = self.fc1.forward(self.norm2.forward(x.clone()));
        let hidden = match config.activation {
            Activation::Gelu => activation::gelu(hidden),
            Activation::QuickGelu => hidden.clone() * activation::sigmoid(hidden * 1.702),
        };
        x + scaled(self.fc2.forward(hidden), &self.scale2)
    }
}

/// [`attention`] by Burn's own operations.
fn attention_of_burn(qkv: Tensor<3>, config: &VitConfig, queries: usize) -> Tensor<3> {
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
    /// Parts of a forward pass as [`Pace`] counts them.
    pub fn steps(&self) -> usize {
        self.blocks.len() + 1
    }

    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, width], row-major.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a length that is no whole batch, [`Error::Device`] when the
    /// device fails, [`Error::NotFinite`] when a feature is NaN or infinite, and those of `pace`.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let config = &self.config;
        let pixels = 3 * config.image * config.image;
        if images.is_empty() || !images.len().is_multiple_of(pixels) {
            return Err(Error::invalid(format!(
                "{} values are no batch of 3x{}x{} images",
                images.len(),
                config.image,
                config.image
            )));
        }
        let batch = images.len() / pixels;
        let steps = self.steps();
        pace.step(0, steps).await?;
        let patches = unfold(images, config);
        let shape = [batch, config.tokens() - 1, 3 * config.patch * config.patch];
        let patches = Tensor::<3>::from_data(TensorData::new(patches, shape), &self.device);
        let class_token = self.class_token.clone().repeat_dim(0, batch);
        let patches = self.patch_embed.forward(patches) + self.positions.clone();
        let mut x = Tensor::cat(vec![class_token, patches], 1);
        for (i, block) in self.blocks.iter().enumerate() {
            pace.step(i + 1, steps).await?;
            x = block.forward(x, self, i + 1 == self.blocks.len());
        }
        let x = self.norm.forward(x.slice([0..batch, 0..1]));
        let features: Vec<f32> = x
            .into_data_async()
            .await
            .map_err(|e| Error::device(format!("reading the feature back: {e:?}")))?
            .try_to_vec()
            .map_err(|e| Error::device(format!("the feature has another type: {e:?}")))?;
        if features.len() != batch * config.width || features.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite {
                what: "the feature".into(),
            });
        }
        Ok(features)
    }
}

/// Cuts [batch, 3, H, W] into patches [batch, rows * columns, 3 * patch * patch], each in the order
/// (channel, y, x) of a convolution kernel [out, 3, patch, patch].
fn unfold(images: &[f32], config: &VitConfig) -> Vec<f32> {
    let (side, patch) = (config.image, config.patch);
    let grid = side / patch;
    let mut patches = Vec::with_capacity(images.len());
    for image in images.chunks_exact(3 * side * side) {
        for cell in 0..grid * grid {
            let (top, left) = (cell / grid * patch, cell % grid * patch);
            for channel in image.chunks_exact(side * side) {
                for y in top..top + patch {
                    let start = y * side + left;
                    patches.extend_from_slice(&channel[start..start + patch]);
                }
            }
        }
    }
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_keep_the_order_of_a_convolution_kernel() {
        let config = VitConfig {
            image: 4,
            patch: 2,
            width: 4,
            heads: 1,
            depth: 1,
            mlp: 4,
            layer_scale: false,
            epsilon: 1e-6,
            activation: Activation::Gelu,
        };
        let image: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let patches = unfold(&image, &config);
        assert_eq!(patches.len(), 48);
        assert_eq!(
            &patches[..12],
            &[0., 1., 4., 5., 16., 17., 20., 21., 32., 33., 36., 37.]
        );
        assert_eq!(&patches[36..40], &[10., 11., 14., 15.]);
    }
}
