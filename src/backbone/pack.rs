//! From f32 tensors to a quantized model pack, deterministic to the byte.
//!
//! Matrices become int8 with one scale per output channel, everything else stays f32. Tensors fill
//! files in the order of the head; a file is closed before it would pass
//! [`FILE_BYTES_MAX`](crate::format::model::FILE_BYTES_MAX). One file is held at a time.

use crate::error::{Error, Result};
use crate::format::model::{FILE_BYTES_MAX, MODEL_FORMAT, TENSOR_ALIGN, is_matrix};
use crate::format::shard::{VERSION, quantize_row};
use crate::format::{FileRef, ModelHead, TensorEncoding, TensorEntry, VitConfig};
use crate::preprocess::Preprocess;

/// How matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Int8,
}

/// Packs a backbone: `read(name, shape)` gives each tensor, row-major, and `write(file, bytes)` takes
/// each finished weight file.
///
/// # Errors
/// Those of the two callbacks; [`Error::Checkpoint`] naming a tensor that is not finite, has another
/// length than its shape, or is larger than a file may be.
pub fn pack(
    name: &str,
    architecture: VitConfig,
    preprocess: Preprocess,
    precision: Precision,
    mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
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
        let values = read(&tensor, &shape)?;
        let refuse = |reason: &str| Error::checkpoint(name, format!("tensor {tensor} {reason}"));
        if values.len() != shape.iter().product::<usize>() {
            return Err(refuse("has another length than its shape"));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(refuse("has values that are not finite"));
        }
        let (encoding, bytes) = encode(&values, &shape, precision)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(refuse("is larger than one file may be"));
        }
        if current.len() as u64 + TENSOR_ALIGN + bytes.len() as u64 > FILE_BYTES_MAX {
            close(&mut current, &mut files)?;
        }
        current.resize(current.len().next_multiple_of(TENSOR_ALIGN as usize), 0);
        tensors.push(TensorEntry {
            name: tensor,
            shape,
            encoding,
            file: files.len(),
            offset: current.len() as u64,
            bytes: bytes.len() as u64,
        });
        current.extend_from_slice(&bytes);
    }
    close(&mut current, &mut files)?;
    let mut head = ModelHead {
        format: MODEL_FORMAT.into(),
        version: VERSION,
        name: name.into(),
        identity: String::new(),
        dimension: architecture.width,
        architecture,
        preprocess,
        files,
        tensors,
    };
    head.identity = head.computed_identity();
    Ok(head)
}

fn encode(
    values: &[f32],
    shape: &[usize],
    precision: Precision,
) -> Result<(TensorEncoding, Vec<u8>)> {
    let inputs: usize = shape[1..].iter().product();
    if precision == Precision::F32 || !is_matrix(shape) || !inputs.is_multiple_of(4) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        return Ok((TensorEncoding::F32, bytes));
    }
    let mut codes = Vec::with_capacity(values.len());
    let mut bytes = Vec::with_capacity(4 * shape[0] + values.len());
    for row in values.chunks_exact(inputs) {
        bytes.extend_from_slice(&quantize_row(row, &mut codes)?.to_le_bytes());
    }
    bytes.extend_from_slice(bytemuck::cast_slice(&codes));
    Ok((TensorEncoding::Int8, bytes))
}
