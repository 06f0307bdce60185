//! In whose names a checkpoint is written, and under which prefix.

use super::names::{self, VitNames};
use super::recipe::Recipe;
use super::resnet_names;
use crate::format::Architecture;

/// Whose names are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// timm, DINO, MoCo v3, DINOv2: the canonical names.
    Timm,
    /// OpenAI's CLIP.
    OpenAi,
    /// CLIP in the transformers library.
    TransformersClip,
    /// ViT and DINO in the transformers library.
    TransformersVit,
    /// DINOv2 in the transformers library.
    TransformersDinov2,
    /// The JAX originals of timm's ViTs.
    Jax,
    /// ResNets, with their BatchNorms.
    Torchvision,
}

impl Naming {
    /// How the canonical tensor `canonical` of `shape` is made of tensors in this naming, without a
    /// prefix; `None` if the naming has no such tensor.
    pub fn recipe(
        self,
        architecture: &Architecture,
        canonical: &str,
        shape: &[usize],
    ) -> Option<Recipe> {
        match (self.vit_names(), architecture) {
            (Some(names), Architecture::Vit(vit)) => names.recipe(vit, canonical, shape),
            (None, Architecture::Resnet(_)) => resnet_names::recipe(canonical, shape),
            _ => None,
        }
    }

    /// The table of names, where the network is a transformer.
    pub(super) fn vit_names(self) -> Option<&'static VitNames> {
        match self {
            Self::Timm => Some(&names::TIMM),
            Self::OpenAi => Some(&names::OPENAI),
            Self::TransformersClip => Some(&names::TRANSFORMERS_CLIP),
            Self::TransformersVit => Some(&names::TRANSFORMERS_VIT),
            Self::TransformersDinov2 => Some(&names::TRANSFORMERS_DINOV2),
            Self::Jax => Some(&names::JAX),
            Self::Torchvision => None,
        }
    }
}

/// A naming and what stands before its names: `module.base_encoder.`, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub naming: Naming,
    pub prefix: String,
}

impl Layout {
    /// As [`Naming::recipe`], with the prefix.
    pub fn recipe(
        &self,
        architecture: &Architecture,
        canonical: &str,
        shape: &[usize],
    ) -> Option<Recipe> {
        let mut recipe = self.naming.recipe(architecture, canonical, shape)?;
        for source in &mut recipe.sources {
            source.name.insert_str(0, &self.prefix);
        }
        Some(recipe)
    }
}
