//! The head of a quantized backbone (`backbone.json`) and the layout of its weight files.
//!
//! Tensors lie one after another, in the order of the head, in content-named files of at most
//! [`FILE_BYTES_MAX`]; each tensor lies wholly in one file, 16-byte aligned. An `int8` tensor [out, in]
//! is stored as f32 scales [out], then codes i8 [out, in]: `w[o][i] = scale[o] * code[o][i]`.

use serde::{Deserialize, Serialize};

use super::digest::{FileRef, sha256_hex};
use super::manifest::check_head;
use super::shard::{DIMENSION_MAX, VERSION};
use crate::error::{Error, Result};
use crate::preprocess::Preprocess;

/// `format` of a model head.
pub const MODEL_FORMAT: &str = "data-attribution-backbone";
/// Largest weight file, so that every static host takes it and downloads resume by file.
pub const FILE_BYTES_MAX: u64 = 20_000_000;
/// Alignment of a tensor within its file.
pub const TENSOR_ALIGN: u64 = 16;

/// The head of a model pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelHead {
    pub format: String,
    pub version: u32,
    /// The backbone's name, such as `dinov2-s14`.
    pub name: String,
    /// SHA-256 of what determines a feature; see [`ModelHead::computed_identity`].
    pub identity: String,
    pub architecture: VitConfig,
    pub preprocess: Preprocess,
    /// Length D of a feature.
    pub dimension: usize,
    pub files: Vec<FileRef>,
    pub tensors: Vec<TensorEntry>,
}

/// Shape of a vision transformer; serves DINO, timm and DINOv2 checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VitConfig {
    /// Side of the square input in pixels; a multiple of `patch`.
    pub image: usize,
    pub patch: usize,
    pub width: usize,
    pub heads: usize,
    pub depth: usize,
    /// Hidden width of the MLP.
    pub mlp: usize,
    pub layer_scale: bool,
    /// Epsilon of every LayerNorm.
    pub epsilon: f32,
    pub activation: Activation,
}

/// Nonlinearity of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Exact, by the error function.
    Gelu,
    /// `x * sigmoid(1.702 x)`, of the original CLIP.
    QuickGelu,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TensorEncoding {
    F32,
    F16,
    /// Matrices [out, in]: one scale per row.
    Int8,
}

/// One tensor: where it lies and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub encoding: TensorEncoding,
    /// Index into [`ModelHead::files`].
    pub file: usize,
    pub offset: u64,
    pub bytes: u64,
}

impl TensorEntry {
    /// Bytes that `shape` takes in `encoding`, or `None` when that overflows.
    pub fn expected_bytes(&self) -> Option<u64> {
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |n, side| n.checked_mul(*side as u64))?;
        match self.encoding {
            TensorEncoding::F32 => elements.checked_mul(4),
            TensorEncoding::F16 => elements.checked_mul(2),
            TensorEncoding::Int8 => elements.checked_add(4 * *self.shape.first()? as u64),
        }
    }
}

impl VitConfig {
    /// Number of tokens: the class token and one per patch.
    pub fn tokens(&self) -> usize {
        1 + (self.image / self.patch).pow(2)
    }

    /// Every tensor of the architecture with its shape, under timm's names.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (w, m, p) = (self.width, self.mlp, self.patch);
        let mut list: Vec<(String, Vec<usize>)> = vec![
            ("cls_token".into(), vec![1, 1, w]),
            ("pos_embed".into(), vec![1, self.tokens(), w]),
            ("patch_embed.proj.weight".into(), vec![w, 3, p, p]),
            ("patch_embed.proj.bias".into(), vec![w]),
        ];
        for block in 0..self.depth {
            let mut add = |name: &str, shape: &[usize]| {
                list.push((format!("blocks.{block}.{name}"), shape.to_vec()));
            };
            add("norm1.weight", &[w]);
            add("norm1.bias", &[w]);
            add("attn.qkv.weight", &[3 * w, w]);
            add("attn.qkv.bias", &[3 * w]);
            add("attn.proj.weight", &[w, w]);
            add("attn.proj.bias", &[w]);
            if self.layer_scale {
                add("ls1.gamma", &[w]);
            }
            add("norm2.weight", &[w]);
            add("norm2.bias", &[w]);
            add("mlp.fc1.weight", &[m, w]);
            add("mlp.fc1.bias", &[m]);
            add("mlp.fc2.weight", &[w, m]);
            add("mlp.fc2.bias", &[w]);
            if self.layer_scale {
                add("ls2.gamma", &[w]);
            }
        }
        list.push(("norm.weight".into(), vec![w]));
        list.push(("norm.bias".into(), vec![w]));
        list
    }

    fn validate(&self, file: &str) -> Result<()> {
        let sane = (1..=64).contains(&self.patch)
            && (1..=1024).contains(&self.image)
            && self.image.is_multiple_of(self.patch)
            && (1..=DIMENSION_MAX).contains(&self.width)
            && self.width.is_multiple_of(4)
            && (1..=64).contains(&self.heads)
            && self.width.is_multiple_of(4 * self.heads)
            && (1..=64).contains(&self.depth)
            && (1..=16384).contains(&self.mlp)
            && self.mlp.is_multiple_of(4)
            && self.epsilon > 0.0
            && self.epsilon < 1.0
            // What the attention scores of one image take stays below 256 MB.
            && self.heads * self.tokens().pow(2) <= 64 << 20;
        if !sane {
            return Err(Error::format(
                file,
                format!("impossible architecture {self:?}"),
            ));
        }
        Ok(())
    }
}

/// Whether a tensor of this shape is applied as a matrix [out, in], with all trailing axes as `in`:
/// the linear layers, and the patch embedding [width, 3, patch, patch].
pub fn is_matrix(shape: &[usize]) -> bool {
    matches!(shape.len(), 2 | 4)
}

impl ModelHead {
    /// Parses and checks a head: architecture, tensor list and file layout must agree.
    ///
    /// # Errors
    /// [`Error::NewerVersion`] or [`Error::Format`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        check_head(file, bytes, MODEL_FORMAT)?;
        let head: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::format(file, e.to_string()))?;
        head.validate(file)?;
        Ok(head)
    }

    /// SHA-256 of the head with an empty `identity`; covers architecture, preprocessing and, through
    /// the digests of the files, every weight.
    pub fn computed_identity(&self) -> String {
        let mut bare = self.clone();
        bare.identity.clear();
        sha256_hex(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    /// Bytes of all weight files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    fn validate(&self, file: &str) -> Result<()> {
        let bad = |reason: String| Err(Error::format(file, reason));
        self.architecture.validate(file)?;
        self.preprocess
            .check()
            .map_err(|e| Error::format(file, e.to_string()))?;
        if self.preprocess.crop as usize != self.architecture.image
            || self.dimension != self.architecture.width
        {
            return bad("preprocess, dimension and architecture disagree".into());
        }
        for f in &self.files {
            f.validate(file, FILE_BYTES_MAX)?;
        }
        let expected = self.architecture.tensors();
        if expected.len() != self.tensors.len() {
            return bad(format!(
                "{} tensors, expected {}",
                self.tensors.len(),
                expected.len()
            ));
        }
        for ((name, shape), entry) in expected.iter().zip(&self.tensors) {
            if *name != entry.name || *shape != entry.shape {
                return bad(format!(
                    "tensor {} {:?}, expected {name} {shape:?}",
                    entry.name, entry.shape
                ));
            }
            let inputs: usize = shape[1..].iter().product();
            let can_be_int8 = is_matrix(shape) && inputs.is_multiple_of(4);
            if entry.encoding == TensorEncoding::Int8 && !can_be_int8 {
                return bad(format!("tensor {name} cannot be int8"));
            }
            let fits = entry.expected_bytes() == Some(entry.bytes)
                && entry.offset.is_multiple_of(TENSOR_ALIGN)
                && self.files.get(entry.file).is_some_and(|f| {
                    entry
                        .offset
                        .checked_add(entry.bytes)
                        .is_some_and(|end| end <= f.bytes)
                });
            if !fits {
                return bad(format!("tensor {name} does not lie in its file"));
            }
        }
        if self.version == VERSION && self.identity != self.computed_identity() {
            return bad("the identity does not match the content".into());
        }
        Ok(())
    }
}
