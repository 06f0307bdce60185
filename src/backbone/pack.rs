//! From f32 tensors to a model pack, deterministic to the byte for the same tensors.
//!
//! Matrices become int8 or 4-bit integers with scales; beside 4-bit ones, the class token and the
//! position embedding become f16; everything else stays f32. Tensors fill files in the order of the
//! head; a file is closed before it would pass [`FILE_BYTES`](crate::format::model::FILE_BYTES).
//! One file is held at a time.

use half::f16;
use serde::{Deserialize, Serialize};

use super::matrix::QuantizedMatrix;
use crate::error::{Error, Result};
use crate::format::model::{FILE_BYTES, FILE_BYTES_MAX, MODEL_FORMAT, TENSOR_ALIGN, is_matrix};
use crate::format::shard::VERSION;
use crate::format::{Architecture, FileRef, ModelHead, TensorEncoding, TensorEntry};
use crate::preprocess::Preprocess;

/// How matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    F32,
    Int8,
    /// 4 bits where the number of inputs is a multiple of 32, else 8; embeddings as f16.
    Int4,
}

impl Precision {
    /// How a tensor of `shape` is stored.
    pub fn encoding(self, shape: &[usize]) -> TensorEncoding {
        let wanted = match self {
            // Embeddings [1, n, width].
            Self::Int4 if shape.len() == 3 => &[TensorEncoding::F16][..],
            _ if !is_matrix(shape) => &[],
            Self::F32 => &[],
            Self::Int8 => &[TensorEncoding::Int8],
            Self::Int4 => &[TensorEncoding::Int4, TensorEncoding::Int8],
        };
        let suiting = wanted.iter().find(|encoding| encoding.suits(shape));
        *suiting.unwrap_or(&TensorEncoding::F32)
    }
}

/// A tensor as it is stored.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub encoding: TensorEncoding,
    /// Bits that suffice for what enters a matrix, where they are known to.
    pub activations: Option<u8>,
    pub bytes: Vec<u8>,
}

impl Encoded {
    /// Encodes row-major `values`, each weight to its nearest code.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming a tensor that is not finite or has another length than its shape.
    pub fn new(name: &str, values: &[f32], shape: &[usize], precision: Precision) -> Result<Self> {
        if values.len() != shape.iter().product::<usize>() {
            let reason = format!("tensor {name} has another length than its shape");
            return Err(Error::checkpoint("the model", reason));
        }
        if values.iter().any(|v| !v.is_finite()) {
            let reason = format!("tensor {name} has values that are not finite");
            return Err(Error::checkpoint("the model", reason));
        }
        let encoding = precision.encoding(shape);
        let bytes = match encoding {
            TensorEncoding::Int8 | TensorEncoding::Int4 => {
                let inputs = shape[1..].iter().product();
                QuantizedMatrix::new(values, inputs, encoding, None)?.to_bytes()
            }
            TensorEncoding::F16 => {
                if values.iter().any(|v| !f16::from_f32(*v).is_finite()) {
                    let reason = format!("tensor {name} has values beyond f16");
                    return Err(Error::checkpoint("the model", reason));
                }
                let halves = values.iter().map(|v| f16::from_f32(*v));
                halves.flat_map(f16::to_le_bytes).collect()
            }
            TensorEncoding::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Ok(Self {
            encoding,
            activations: None,
            bytes,
        })
    }
}

/// Packs a backbone: `encode(name, shape)` gives each tensor as it is to be stored, and
/// `write(file, bytes)` takes each finished weight file.
///
/// # Errors
/// Those of the two callbacks; [`Error::Checkpoint`] for a tensor that is larger than a file may be.
pub fn pack(
    name: &str,
    architecture: Architecture,
    preprocess: Preprocess,
    mut encode: impl FnMut(&str, &[usize]) -> Result<Encoded>,
    mut write: impl FnMut(&FileRef, &[u8]) -> Result<()>,
) -> Result<ModelHead> {
    let mut files = Vec::new();
    let mut tensors = Vec::new();
    let mut current: Vec<u8> = Vec::new();
    let mut close = |current: &mut Vec<u8>, files: &mut Vec<FileRef>| -> Result<()> {
        let file = FileRef::of("weights", "bin", current);
        write(&file, current)?;
        files.push(file);
        current.clear();
        Ok(())
    };
    for (tensor, shape) in architecture.tensors() {
        let encoded = encode(&tensor, &shape).map_err(|e| match e {
            Error::NotFinite { what } => Error::NotFinite {
                what: format!("tensor {tensor}: {what}"),
            },
            other => other,
        })?;
        let bytes = encoded.bytes;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let reason = format!("tensor {tensor} is larger than one file may be");
            return Err(Error::checkpoint(name, reason));
        }
        let longer = current.len() as u64 + TENSOR_ALIGN + bytes.len() as u64;
        if !current.is_empty() && longer > FILE_BYTES {
            close(&mut current, &mut files)?;
        }
        current.resize(current.len().next_multiple_of(TENSOR_ALIGN as usize), 0);
        tensors.push(TensorEntry {
            name: tensor,
            shape,
            encoding: encoded.encoding,
            file: files.len(),
            offset: current.len() as u64,
            bytes: bytes.len() as u64,
            activations: encoded.activations,
        });
        current.extend_from_slice(&bytes);
    }
    close(&mut current, &mut files)?;
    let mut head = ModelHead {
        format: MODEL_FORMAT.into(),
        version: VERSION,
        name: name.into(),
        identity: String::new(),
        dimension: architecture.dimension(),
        architecture,
        preprocess,
        files,
        tensors,
    };
    head.identity = head.computed_identity();
    Ok(head)
}
