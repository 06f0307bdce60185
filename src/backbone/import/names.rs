//! The names that publishers give to the tensors of a vision transformer.
//!
//! Canonical names are timm's. Every other naming is a table of what stands in place of each stem; what
//! differs beyond names (separate q, k and v; JAX's axes) is said by the table too, and
//! [`VitNames::recipe`] is the only reader of these tables.

use super::recipe::{Recipe, Step};
use crate::format::VitConfig;

/// Where the three projections of attention are.
enum Attention {
    Fused(&'static str),
    Separate([&'static str; 3]),
}

/// How matrices, convolutions and heads are laid out.
#[derive(Clone, Copy, PartialEq)]
enum Axes {
    /// [out, in], and [out, in, height, width].
    Torch,
    /// [in, out], and [height, width, in, out]; the heads of attention are an axis of their own, and
    /// the last part of a name is `kernel` or, in a LayerNorm, `scale`.
    Jax,
}

/// One publisher's names. Stems end where `weight`, `bias`, `kernel` or `scale` follows.
pub(super) struct VitNames {
    class_token: &'static str,
    positions: &'static str,
    /// Whether these two lack the batch axis of size 1.
    flat: bool,
    patch: &'static str,
    patch_bias: bool,
    pub norm_pre: &'static str,
    norm: &'static str,
    /// The projection of the class token, and whether it is stored [in, out].
    head: (&'static str, bool),
    /// What precedes and what follows the number of a block.
    pub block: (&'static str, &'static str),
    norm1: &'static str,
    attention: Attention,
    attention_out: &'static str,
    scale1: &'static str,
    norm2: &'static str,
    fc1: &'static str,
    fc2: &'static str,
    scale2: &'static str,
    axes: Axes,
}

/// timm, DINO, MoCo v3 and DINOv2: the canonical names.
pub(super) const TIMM: VitNames = VitNames {
    class_token: "cls_token",
    positions: "pos_embed",
    flat: false,
    patch: "patch_embed.proj.",
    patch_bias: true,
    norm_pre: "norm_pre.",
    norm: "norm.",
    head: ("head.weight", false),
    block: ("blocks.", "."),
    norm1: "norm1.",
    attention: Attention::Fused("attn.qkv."),
    attention_out: "attn.proj.",
    scale1: "ls1.gamma",
    norm2: "norm2.",
    fc1: "mlp.fc1.",
    fc2: "mlp.fc2.",
    scale2: "ls2.gamma",
    axes: Axes::Torch,
};

/// OpenAI's CLIP, within `visual.`.
pub(super) const OPENAI: VitNames = VitNames {
    class_token: "class_embedding",
    positions: "positional_embedding",
    flat: true,
    patch: "conv1.",
    patch_bias: false,
    norm_pre: "ln_pre.",
    norm: "ln_post.",
    head: ("proj", true),
    block: ("transformer.resblocks.", "."),
    norm1: "ln_1.",
    attention: Attention::Fused("attn.in_proj_"),
    attention_out: "attn.out_proj.",
    norm2: "ln_2.",
    fc1: "mlp.c_fc.",
    fc2: "mlp.c_proj.",
    ..TIMM
};

/// CLIP in the transformers library.
pub(super) const TRANSFORMERS_CLIP: VitNames = VitNames {
    class_token: "vision_model.embeddings.class_embedding",
    positions: "vision_model.embeddings.position_embedding.weight",
    flat: true,
    patch: "vision_model.embeddings.patch_embedding.",
    patch_bias: false,
    // Spelled so in every such checkpoint.
    norm_pre: "vision_model.pre_layrnorm.",
    norm: "vision_model.post_layernorm.",
    head: ("visual_projection.weight", false),
    block: ("vision_model.encoder.layers.", "."),
    norm1: "layer_norm1.",
    attention: Attention::Separate([
        "self_attn.q_proj.",
        "self_attn.k_proj.",
        "self_attn.v_proj.",
    ]),
    attention_out: "self_attn.out_proj.",
    norm2: "layer_norm2.",
    ..TIMM
};

/// ViT and DINO in the transformers library.
pub(super) const TRANSFORMERS_VIT: VitNames = VitNames {
    class_token: "embeddings.cls_token",
    positions: "embeddings.position_embeddings",
    patch: "embeddings.patch_embeddings.projection.",
    norm: "layernorm.",
    block: ("encoder.layer.", "."),
    norm1: "layernorm_before.",
    attention: Attention::Separate([
        "attention.attention.query.",
        "attention.attention.key.",
        "attention.attention.value.",
    ]),
    attention_out: "attention.output.dense.",
    norm2: "layernorm_after.",
    fc1: "intermediate.dense.",
    fc2: "output.dense.",
    ..TIMM
};

/// DINOv2 in the transformers library.
pub(super) const TRANSFORMERS_DINOV2: VitNames = VitNames {
    norm1: TIMM.norm1,
    scale1: "layer_scale1.lambda1",
    norm2: TIMM.norm2,
    fc1: TIMM.fc1,
    fc2: TIMM.fc2,
    scale2: "layer_scale2.lambda1",
    ..TRANSFORMERS_VIT
};

/// The JAX originals of timm's ViTs (Vision Transformer repository, "augreg").
pub(super) const JAX: VitNames = VitNames {
    class_token: "cls",
    positions: "Transformer/posembed_input/pos_embedding",
    patch: "embedding/",
    norm: "Transformer/encoder_norm/",
    block: ("Transformer/encoderblock_", "/"),
    norm1: "LayerNorm_0/",
    attention: Attention::Separate([
        "MultiHeadDotProductAttention_1/query/",
        "MultiHeadDotProductAttention_1/key/",
        "MultiHeadDotProductAttention_1/value/",
    ]),
    attention_out: "MultiHeadDotProductAttention_1/out/",
    norm2: "LayerNorm_2/",
    fc1: "MlpBlock_3/Dense_0/",
    fc2: "MlpBlock_3/Dense_1/",
    axes: Axes::Jax,
    ..TIMM
};

impl VitNames {
    /// How the canonical tensor `canonical` of `shape` is made; `None` for a name that no transformer has.
    pub(super) fn recipe(
        &self,
        vit: &VitConfig,
        canonical: &str,
        shape: &[usize],
    ) -> Option<Recipe> {
        let jax = self.axes == Axes::Jax;
        let unbatched = || shape.get(usize::from(self.flat)..).unwrap_or_default();
        match canonical {
            "cls_token" => {
                let flat = [vit.width];
                let shape = if self.flat { &flat[..] } else { shape };
                return Some(Recipe::one(Step::AsIs, self.class_token, shape));
            }
            "pos_embed" => return Some(Recipe::one(Step::AsIs, self.positions, unbatched())),
            "patch_embed.proj.bias" if !self.patch_bias => {
                return Some(Recipe::of(Step::Zeros, []));
            }
            "head.weight" => {
                let (name, turned) = self.head;
                return match (turned, shape) {
                    (true, &[outputs, inputs]) => {
                        Some(Recipe::one(Step::Transposed, name, &[inputs, outputs]))
                    }
                    _ => Some(Recipe::one(Step::AsIs, name, shape)),
                };
            }
            _ => {}
        }
        let (path, kind) = canonical.rsplit_once('.')?;
        let (block, part) = match path.strip_prefix("blocks.") {
            Some(rest) => {
                let (number, part) = rest.split_once('.')?;
                (format!("{}{number}{}", self.block.0, self.block.1), part)
            }
            None => (String::new(), path),
        };
        let at = |stem: &str, last: &str| format!("{block}{stem}{last}");
        let matrix = if jax && kind == "weight" {
            "kernel"
        } else {
            kind
        };
        let (heads, head_width) = (vit.heads, vit.width / vit.heads.max(1));
        let (name, jax_shape) = match part {
            "norm" | "norm_pre" | "norm1" | "norm2" => {
                let stem = match part {
                    "norm" => self.norm,
                    "norm_pre" => self.norm_pre,
                    "norm1" => self.norm1,
                    _ => self.norm2,
                };
                let last = if jax && kind == "weight" {
                    "scale"
                } else {
                    kind
                };
                return Some(Recipe::one(Step::AsIs, at(stem, last), shape));
            }
            "ls1" => return Some(Recipe::one(Step::AsIs, at(self.scale1, ""), shape)),
            "ls2" => return Some(Recipe::one(Step::AsIs, at(self.scale2, ""), shape)),
            "attn.qkv" => return Some(self.attention_recipe(vit, &at, kind, shape)),
            "patch_embed.proj" => match (jax, shape) {
                (true, &[out, inputs, height, width]) => {
                    let shape = [height, width, inputs, out];
                    return Some(Recipe::one(
                        Step::ImageKernel,
                        at(self.patch, matrix),
                        &shape,
                    ));
                }
                _ => (at(self.patch, matrix), vec![]),
            },
            "attn.proj" => (
                at(self.attention_out, matrix),
                vec![heads, head_width, vit.width],
            ),
            "mlp.fc1" => (at(self.fc1, matrix), vec![vit.width, vit.mlp]),
            "mlp.fc2" => (at(self.fc2, matrix), vec![vit.mlp, vit.width]),
            _ => return None,
        };
        Some(match jax && kind == "weight" {
            true => Recipe::one(Step::Transposed, name, &jax_shape),
            false => Recipe::one(Step::AsIs, name, shape),
        })
    }

    /// Of `attn.qkv`, whose outputs are those of the queries, then the keys, then the values.
    fn attention_recipe(
        &self,
        vit: &VitConfig,
        at: &dyn Fn(&str, &str) -> String,
        kind: &str,
        shape: &[usize],
    ) -> Recipe {
        let stems = match &self.attention {
            Attention::Fused(stem) => return Recipe::one(Step::AsIs, at(stem, kind), shape),
            Attention::Separate(stems) => stems,
        };
        let (heads, head_width) = (vit.heads, vit.width / vit.heads.max(1));
        let (step, kind, shape) = match (self.axes, kind) {
            (Axes::Torch, "weight") => (Step::AsIs, kind, vec![vit.width, vit.width]),
            (Axes::Torch, _) => (Step::AsIs, kind, vec![vit.width]),
            (Axes::Jax, "weight") => (
                Step::Transposed,
                "kernel",
                vec![vit.width, heads, head_width],
            ),
            (Axes::Jax, _) => (Step::AsIs, kind, vec![heads, head_width]),
        };
        Recipe::of(step, stems.map(|stem| (at(stem, kind), shape.clone())))
    }
}
