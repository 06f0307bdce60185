//! Which tensors make a network, once for Burn's implementation and the CPU's.
//!
//! An implementation says how it takes a layer by its name ([`Layers`]); which layers there are stands here. Names are those of a
//! model's head (FORMAT.md). The GPU's graphs name tensors where they are used: they record calls, and hold no layers.

use super::load::bad;
use crate::error::Result;
use crate::format::architecture::{Bottleneck, Convolution};
use crate::format::{ResnetConfig, VitConfig};

/// Takes layers out of tensors that have arrived.
///
/// # Errors
/// All of its functions: [`crate::Error::Format`] for a tensor that is missing.
pub trait Layers: Sized {
    type Linear;
    type Norm;
    type Vector;

    /// Names the tensors' origin in errors.
    fn file(&self) -> &str;
    /// The tensor `name` as it arrived.
    fn values(&mut self, name: &str) -> Result<Vec<f32>>;
    fn vector(&mut self, name: &str) -> Result<Self::Vector>;
    fn norm(&mut self, name: &str, epsilon: f32) -> Result<Self::Norm>;
    /// `name.weight` and `name.bias`.
    fn linear(&mut self, name: &str) -> Result<Self::Linear>;
    /// `name.weight` [outputs, in], with zeros as bias.
    fn projection(&mut self, name: &str, outputs: usize) -> Result<Self::Linear>;

    /// Block `i` of a transformer.
    fn vit_block(
        &mut self,
        config: &VitConfig,
        i: usize,
    ) -> Result<VitBlock<Self::Linear, Self::Norm, Self::Vector>> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let mut scale = |part: &str| match config.layer_scale {
            true => self.vector(&name(part)).map(Some),
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

    /// What is added to a transformer's patches.
    fn positions(&mut self, config: &VitConfig) -> Result<Positions> {
        let mut positions = self.values("pos_embed")?;
        if positions.len() < config.width {
            return Err(bad(self.file(), "pos_embed", "is too short"));
        }
        let patches = positions.split_off(config.width);
        let class = self.values("cls_token")?;
        let class_token = class.iter().zip(&positions).map(|(c, p)| c + p).collect();
        Ok(Positions {
            class_token,
            patches,
        })
    }

    /// The layers of a transformer before and after its blocks.
    fn vit_frame(&mut self, config: &VitConfig) -> Result<VitFrame<Self::Linear, Self::Norm>> {
        Ok(VitFrame {
            patch_embed: self.linear("patch_embed.proj")?,
            norm_pre: match config.pre_norm {
                true => Some(self.norm("norm_pre", config.epsilon)?),
                false => None,
            },
            norm: self.norm("norm", config.epsilon)?,
            head: match config.projection {
                Some(outputs) => Some(self.projection("head", outputs)?),
                None => None,
            },
        })
    }

    /// The convolution of `shape`.
    fn conv(&mut self, shape: &Convolution) -> Result<Conv<Self::Linear>> {
        Ok(Conv {
            linear: self.linear(&shape.name)?,
            shape: shape.clone(),
        })
    }

    /// The bottleneck block of `shape`.
    fn resnet_block(&mut self, shape: &Bottleneck) -> Result<ResnetBlock<Self::Linear>> {
        let [first, second, third] = &shape.convolutions;
        Ok(ResnetBlock {
            convolutions: [self.conv(first)?, self.conv(second)?, self.conv(third)?],
            downsample: match &shape.downsample {
                Some(shape) => Some(self.conv(shape)?),
                None => None,
            },
        })
    }

    /// The layers of a ResNet.
    fn resnet(&mut self, config: &ResnetConfig) -> Result<ResnetLayers<Self::Linear>> {
        let shapes = config.blocks();
        let blocks = shapes.iter().map(|shape| self.resnet_block(shape));
        Ok(ResnetLayers {
            blocks: blocks.collect::<Result<_>>()?,
            stem: self.conv(&config.stem())?,
            head: self.linear("fc")?,
        })
    }
}

/// One transformer block.
#[derive(Clone, Debug)]
pub struct VitBlock<Linear, Norm, Vector> {
    pub norm1: Norm,
    pub qkv: Linear,
    pub proj: Linear,
    /// LayerScale [width].
    pub scale1: Option<Vector>,
    pub norm2: Norm,
    pub fc1: Linear,
    pub fc2: Linear,
    pub scale2: Option<Vector>,
}

/// What is added to a transformer's patches.
#[derive(Clone, Debug)]
pub struct Positions {
    /// [width]: class token plus its position.
    pub class_token: Vec<f32>,
    /// [patches, width]
    pub patches: Vec<f32>,
}

/// The layers of a transformer before and after its blocks.
#[derive(Clone, Debug)]
pub struct VitFrame<Linear, Norm> {
    pub patch_embed: Linear,
    pub norm_pre: Option<Norm>,
    pub norm: Norm,
    /// CLIP's projection; its bias is 0.
    pub head: Option<Linear>,
}

/// A convolution with its matrix [out, kernel * kernel * in].
#[derive(Clone, Debug)]
pub struct Conv<Linear> {
    pub shape: Convolution,
    pub linear: Linear,
}

/// One bottleneck block.
#[derive(Clone, Debug)]
pub struct ResnetBlock<Linear> {
    pub convolutions: [Conv<Linear>; 3],
    pub downsample: Option<Conv<Linear>>,
}

/// The layers of a ResNet.
#[derive(Clone, Debug)]
pub struct ResnetLayers<Linear> {
    pub stem: Conv<Linear>,
    pub blocks: Vec<ResnetBlock<Linear>>,
    /// Projects what is pooled.
    pub head: Linear,
}
