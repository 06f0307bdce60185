//! Which networks a checkpoint holds, and in which layouts.
//!
//! A layout is found by its anchors: tensors that no other layout has. A file may hold several networks;
//! [`found_in`] drops those that are never wanted, and which of the rest is taken never depends on their
//! order.

use std::fmt;

use super::layout::{Layout, Naming};
use super::names;
use crate::error::Result;
use crate::format::Architecture;

/// Tensors by the names that a checkpoint gives them: a file, or a map in tests.
pub trait Tensors {
    fn names(&self) -> impl Iterator<Item = &str>;
    fn shape(&self, name: &str) -> Option<&[usize]>;
    /// All values, row-major.
    fn values(&self, name: &str) -> Result<Vec<f32>>;
}

/// A network that is never taken: it trails the one that was trained.
const NEVER: &str = "momentum_encoder";
/// A network that is passed over where the other is there too, as DINO evaluates its teacher.
const PREFERRED: [(&str, &str); 1] = [("teacher", "student")];

impl Naming {
    pub(super) const ALL: [Self; 7] = [
        Self::Timm,
        Self::OpenAi,
        Self::TransformersClip,
        Self::TransformersVit,
        Self::TransformersDinov2,
        Self::Jax,
        Self::Torchvision,
    ];

    /// What a message calls it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Timm => "a transformer in timm's names",
            Self::OpenAi => "a CLIP in OpenAI's names",
            Self::TransformersClip => "a CLIP in the transformers library's names",
            Self::TransformersVit => "a ViT in the transformers library's names",
            Self::TransformersDinov2 => "a DINOv2 in the transformers library's names",
            Self::Jax => "a ViT in JAX's names",
            Self::Torchvision => "a ResNet in torchvision's names",
        }
    }

    /// Tensors that are all there, under one prefix, where this naming is used.
    pub(super) fn anchors(self) -> &'static [&'static str] {
        match self {
            Self::Timm => &["patch_embed.proj.weight"],
            Self::OpenAi => &["ln_pre.weight", "conv1.weight"],
            Self::TransformersClip => &["vision_model.embeddings.patch_embedding.weight"],
            Self::TransformersVit => &[
                "embeddings.patch_embeddings.projection.weight",
                "encoder.layer.0.layernorm_before.weight",
            ],
            Self::TransformersDinov2 => &[
                "embeddings.patch_embeddings.projection.weight",
                "encoder.layer.0.norm1.weight",
            ],
            Self::Jax => &["embedding/kernel", "Transformer/encoder_norm/scale"],
            Self::Torchvision => &["layer1.0.conv1.weight", "conv1.weight"],
        }
    }

    /// Whether networks of this architecture are published in this naming.
    pub(super) fn serves(self, architecture: &Architecture) -> bool {
        match (self, architecture) {
            (Self::Torchvision, Architecture::Resnet(_)) => true,
            (Self::Torchvision, _) | (_, Architecture::Resnet(_)) => false,
            (Self::Timm, Architecture::Vit(vit)) => !vit.pre_norm,
            (Self::OpenAi | Self::TransformersClip, Architecture::Vit(vit)) => vit.pre_norm,
            (Self::TransformersDinov2, Architecture::Vit(vit)) => vit.layer_scale && !vit.pre_norm,
            (Self::TransformersVit | Self::Jax, Architecture::Vit(vit)) => {
                !vit.layer_scale && !vit.pre_norm
            }
        }
    }

    /// Whether a tensor `name` (without prefix) takes part in the network's computation, so that a
    /// network without it is another one: further blocks, tokens or parts of blocks.
    fn computes(self, name: &str) -> bool {
        let token = [
            "register_tokens",
            "reg_token",
            "dist_token",
            "embeddings.register_tokens",
            "embeddings.distillation_token",
        ];
        match self.vit_names() {
            Some(names) => {
                name.starts_with(names.block.0)
                    || token.contains(&name)
                    || name.starts_with(names::TIMM.norm_pre)
            }
            None => name.starts_with("layer") && !name.ends_with(".num_batches_tracked"),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.naming.label())?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, " under {prefix}"),
        }
    }
}

impl Layout {
    /// Whether a tensor of the checkpoint takes part in the computation of this network.
    pub(super) fn computes(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix)
            .is_some_and(|local| self.naming.computes(local))
    }

    fn has_segment(&self, segment: &str) -> bool {
        self.prefix.split(['.', '/']).any(|s| s == segment)
    }
}

/// Every layout of which a network is in the checkpoint, but for those that are never taken and those
/// to which another is preferred.
pub(super) fn found_in(source: &impl Tensors) -> Vec<Layout> {
    let mut found: Vec<Layout> = Vec::new();
    for naming in Naming::ALL {
        let Some((first, others)) = naming.anchors().split_first() else {
            continue;
        };
        for name in source.names() {
            let Some(prefix) = name.strip_suffix(first) else {
                continue;
            };
            let whole = prefix.is_empty() || prefix.ends_with(['.', '/']);
            let there = |anchor: &&str| source.shape(&format!("{prefix}{anchor}")).is_some();
            if whole && others.iter().all(there) {
                found.push(Layout {
                    naming,
                    prefix: prefix.to_string(),
                });
            }
        }
    }
    found.retain(|layout| !layout.has_segment(NEVER));
    for (taken, passed_over) in PREFERRED {
        if found.iter().any(|layout| layout.has_segment(taken)) {
            found.retain(|layout| !layout.has_segment(passed_over));
        }
    }
    found
}
