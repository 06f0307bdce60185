//! The safetensors container: a length, a JSON header, the values.
//!
//! The `safetensors` crate parses and validates the header; its entry points for whole files want the
//! file in memory, so the header is handed to it alone and the file's length checked here.

use std::io::Read;

use safetensors::tensor::Metadata;

use super::{Contents, Dtype, Extent, Place, Source, TensorInfo, ValueFile, row_major_strides};
use crate::error::{Error, Result};

/// The longest header that is read, the limit of the format's own implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Bytes before the header: its length as a u64.
const LENGTH_BYTES: u64 = 8;

/// Whether a file that starts with `head` is a safetensors file.
pub(super) fn is_one(head: &[u8]) -> bool {
    let length = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    length.is_some_and(|length| length <= MAX_HEADER_BYTES) && head.get(8) == Some(&b'{')
}

/// Finds the tensors. Every byte of the values belongs to exactly one, or the file is refused.
pub(super) fn read(values: &ValueFile) -> Result<Contents> {
    let bad = |reason: String| Error::checkpoint(&values.name, reason);
    let header = values.with_file(0, |file| {
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length)?;
        let mut header = Vec::new();
        let limit = u64::from_le_bytes(length).min(MAX_HEADER_BYTES);
        file.take(limit).read_to_end(&mut header)?;
        Ok((u64::from_le_bytes(length), header))
    })?;
    let (length, header) = header;
    if header.len() as u64 != length {
        return Err(bad("the file ends within its header".into()));
    }
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| bad(format!("the safetensors header is not valid: {error}")))?;
    let values_start = LENGTH_BYTES + length;
    let described = values_start.checked_add(metadata.data_len() as u64);
    if described != Some(values.bytes) {
        let reason = match described {
            Some(bytes) => format!(
                "the header describes {bytes} bytes, the file has {}",
                values.bytes
            ),
            None => "the header describes more bytes than a file can have".into(),
        };
        return Err(bad(reason));
    }
    let mut tensors = Vec::new();
    for name in metadata.offset_keys() {
        let Some(found) = metadata.info(&name) else {
            continue;
        };
        let Some(dtype) = element_type(found.dtype) else {
            return Err(bad(format!(
                "tensor {name} has element type {:?}, which is not read",
                found.dtype
            )));
        };
        let shape = found.shape.clone();
        let info = TensorInfo { name, shape, dtype };
        let strides = row_major_strides(&info.shape)
            .ok_or_else(|| bad(format!("the shape of tensor {} is too large", info.name)))?;
        let (start, end) = found.data_offsets;
        let extent = Extent {
            source: Source::File {
                start: values_start + start as u64,
            },
            bytes: (end - start) as u64,
        };
        let place = Place::new(values, &info, extent, 0, &strides)?;
        tensors.push((info, place));
    }
    Ok(Contents {
        tensors,
        strings: Vec::new(),
        archive: None,
    })
}

fn element_type(dtype: safetensors::Dtype) -> Option<Dtype> {
    Some(match dtype {
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::BF16,
        safetensors::Dtype::F64 => Dtype::F64,
        safetensors::Dtype::I64 => Dtype::I64,
        safetensors::Dtype::I32 => Dtype::I32,
        safetensors::Dtype::I16 => Dtype::I16,
        safetensors::Dtype::I8 => Dtype::I8,
        safetensors::Dtype::U8 => Dtype::U8,
        safetensors::Dtype::BOOL => Dtype::Bool,
        _ => return None,
    })
}
