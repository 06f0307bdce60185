//! The head of a quantized backbone (`backbone.json`) and the layout of its weight files.
//!
//! Tensors lie one after another, in the order of the head, in content-named files of at most
//! [`FILE_BYTES_MAX`], written ones of about [`FILE_BYTES`]; each tensor lies wholly in one file, 16-byte aligned. An `int8` tensor [out, in]
//! is stored as f32 scales [out], then codes i8 [out, in]: `w[o][i] = scale[o] * code[o][i]`. An
//! `int4-group32` one as f16 scales [out, in/32], then codes [out, in/2], the even input in the low half
//! of a byte: `w[o][i] = scale[o][i/32] * (code[o][i] - 8)`.

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::digest::{FileRef, sha256_hex};
use super::manifest::check_head;
use super::shard::VERSION;
use crate::error::{Error, Result};
use crate::preprocess::Preprocess;

/// `format` of a model head.
pub const MODEL_FORMAT: &str = "data-attribution-backbone";
/// Largest weight file, so that every static host takes it and downloads resume by file.
pub const FILE_BYTES_MAX: u64 = 20_000_000;
/// Bytes that a file is closed before passing, unless one tensor has more: some files are held in memory at a time.
pub const FILE_BYTES: u64 = 6_000_000;
/// Alignment of a tensor within its file.
pub const TENSOR_ALIGN: u64 = 16;
/// Neighbouring inputs that share a scale in the 4-bit encoding.
pub const INT4_GROUP: usize = 32;

/// The one value of [`TensorEntry::activations`].
pub const EIGHT_BITS: u8 = 8;
/// Steps of a row that is rounded to so many bits, from its least value or 0 to its largest or 0.
pub const EIGHT_BIT_STEPS: u8 = 254;

/// The head of a model pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelHead {
    pub format: String,
    pub version: u32,
    /// The backbone's name, such as `dinov2-s14`.
    pub name: String,
    /// SHA-256 of what determines a feature; see [`ModelHead::computed_identity`].
    pub identity: String,
    pub architecture: Architecture,
    pub preprocess: Preprocess,
    /// Length D of a feature.
    pub dimension: usize,
    pub files: Vec<FileRef>,
    pub tensors: Vec<TensorEntry>,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TensorEncoding {
    F32,
    F16,
    /// Matrices [out, in]: one scale per row.
    Int8,
    /// Matrices [out, in]: one scale per row and [`INT4_GROUP`] inputs.
    #[serde(rename = "int4-group32")]
    Int4,
}

impl TensorEncoding {
    /// Whether integers with scales are stored.
    pub fn is_quantized(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4)
    }

    /// Whether a tensor of `shape` can be stored so.
    pub fn suits(self, shape: &[usize]) -> bool {
        let inputs: usize = shape.iter().skip(1).product();
        match self {
            Self::F32 | Self::F16 => true,
            Self::Int8 => is_matrix(shape) && inputs.is_multiple_of(4),
            Self::Int4 => is_matrix(shape) && inputs.is_multiple_of(INT4_GROUP),
        }
    }
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
    /// [`EIGHT_BITS`], or absent: the rows that enter a quantized matrix may be rounded to so many bits, in steps from a row's
    /// least value to its largest, which by the estimate of `import` changes its outputs by less than a hundredth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<u8>,
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
            TensorEncoding::Int4 => (elements / 2).checked_add(elements / INT4_GROUP as u64 * 2),
        }
    }
}

/// Whether a tensor of this shape is applied as a matrix [out, in], with all trailing axes as `in`:
/// the linear layers, the patch embedding [width, 3, patch, patch], and convolutions [out, y, x, in].
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
        if self.preprocess.crop as usize != self.architecture.image()
            || self.dimension != self.architecture.dimension()
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
            if !entry.encoding.suits(shape) {
                return bad(format!("tensor {name} cannot be {:?}", entry.encoding));
            }
            let fit = |bits| bits == EIGHT_BITS && entry.encoding.is_quantized();
            if !entry.activations.is_none_or(fit) {
                return bad(format!("tensor {name} cannot have such activations"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::pack::Precision;
    use crate::backbone::parity::generated_pack_of;

    /// `head` as it is read back, with the activations of its tensor `name` said to need so many bits.
    fn read(head: &ModelHead, name: &str, bits: u8) -> Result<ModelHead> {
        let mut head = head.clone();
        for tensor in head.tensors.iter_mut().filter(|t| t.name == name) {
            tensor.activations = Some(bits);
        }
        head.identity = head.computed_identity();
        ModelHead::parse("backbone.json", &serde_json::to_vec(&head).unwrap())
    }

    #[test]
    fn quantized_matrices_alone_have_activations_of_8_bits() {
        let (_, head) = generated_pack_of("toy-p14", Precision::Int8).unwrap();
        let matrix = "blocks.0.attn.qkv.weight";
        let marked = read(&head, matrix, EIGHT_BITS).unwrap();
        assert_ne!(marked.identity, head.identity);
        assert!(read(&head, matrix, 7).is_err());
        assert!(read(&head, "blocks.0.attn.qkv.bias", EIGHT_BITS).is_err());
        let (_, whole) = generated_pack_of("toy-p14", Precision::F32).unwrap();
        assert!(read(&whole, matrix, EIGHT_BITS).is_err());
        // Heads of before stay what they were, to the byte.
        let text = serde_json::to_string(&head).unwrap();
        assert!(!text.contains("activations"), "{text}");
    }
}
