//! A vision transformer on the CPU: see `backbone::reference::vit`, whose configurations it shares.

use super::super::Pace;
use super::super::assembly::{Positions, VitBlock, VitFrame};
use super::super::cpu_kernels::{Epilogue, attention};
use super::super::patches::cut;
use super::{CpuLinear, CpuNorm};
use crate::error::Result;
use crate::format::{Activation, VitConfig};

/// One transformer block.
pub type CpuBlock = VitBlock<CpuLinear, CpuNorm, Vec<f32>>;

/// The whole backbone.
#[derive(Clone, Debug)]
pub struct CpuVit {
    pub config: VitConfig,
    pub positions: Positions,
    pub frame: VitFrame<CpuLinear, CpuNorm>,
    pub blocks: Vec<CpuBlock>,
}

impl CpuVit {
    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, D].
    ///
    /// # Errors
    /// Those of `pace`, which counts the blocks and one step before them, for each image.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let side = self.config.image;
        let mut features = Vec::new();
        for image in images.chunks_exact(3 * side * side) {
            features.extend(self.embed(image, pace).await?);
        }
        Ok(features)
    }

    /// `image` [3, H, W] -> [D].
    async fn embed(&self, image: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let steps = self.blocks.len() + 1;
        pace.step(0, steps).await?;
        let mut x = self.tokens(image);
        for (i, block) in self.blocks.iter().enumerate() {
            pace.step(i + 1, steps).await?;
            // Of the last block only the class token is used.
            let queries = if i + 1 == steps - 1 {
                1
            } else {
                self.config.tokens()
            };
            x = block.forward(&x, &self.config, queries);
        }
        let class = self.frame.norm.forward(&x[..self.config.width]);
        Ok(match &self.frame.head {
            Some(head) => head.forward(&class, Epilogue::None),
            None => class,
        })
    }

    /// What enters the first block, [tokens, width].
    fn tokens(&self, image: &[f32]) -> Vec<f32> {
        let patches = cut(image, &self.config);
        let added = Epilogue::Residual {
            residual: &self.positions.patches,
            gamma: None,
        };
        let mut x = self.positions.class_token.clone();
        x.extend(self.frame.patch_embed.forward(&patches, added));
        match &self.frame.norm_pre {
            Some(norm) => norm.forward(&x),
            None => x,
        }
    }
}

impl CpuBlock {
    /// `x` [tokens, width] -> [queries, width]: the first `queries` tokens ask, all answer.
    fn forward(&self, x: &[f32], config: &VitConfig, queries: usize) -> Vec<f32> {
        let qkv = self.qkv.forward(&self.norm1.forward(x), Epilogue::None);
        let mixed = attention(&qkv, config.tokens(), config.heads, queries);
        let residual = |residual, gamma| Epilogue::Residual { residual, gamma };
        let asked = &x[..queries * config.width];
        let x = self
            .proj
            .forward(&mixed, residual(asked, self.scale1.as_deref()));
        let activation = match config.activation {
            Activation::Gelu => Epilogue::Gelu,
            Activation::QuickGelu => Epilogue::QuickGelu,
        };
        let hidden = self.fc1.forward(&self.norm2.forward(&x), activation);
        self.fc2
            .forward(&hidden, residual(&x, self.scale2.as_deref()))
    }
}
