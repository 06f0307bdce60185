//! The container of `numpy.savez` and `numpy.savez_compressed`: a zip archive of `.npy` files.
//!
//! Weights of JAX models are published so. An array is named as its member is, without `.npy`:
//! `Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel`. Opening reads the header of each member.

use super::npy_header::{Header, HeaderError};
use super::{
    Archive, Contents, Extent, Place, Source, TensorInfo, ValueFile, column_major_strides,
    row_major_strides,
};
use crate::error::{Error, Result};

/// Finds the arrays; members of other names are passed over.
pub(super) fn read(values: &ValueFile, archive: Archive) -> Result<Contents> {
    let mut tensors = Vec::new();
    let mut any_deflated = false;
    for (index, member) in archive.names.iter().enumerate() {
        let Some(name) = member.strip_suffix(".npy") else {
            continue;
        };
        let held = archive.info(index)?;
        let header = archive.with_member(index, |member| Ok(Header::read(member)))?;
        let header = header.map_err(|error| match error {
            HeaderError::PythonObjects => Error::Refused {
                file: values.name.clone(),
                what: format!("array {name} of Python objects, which is a pickle"),
            },
            HeaderError::Bad(reason) => archive.bad(index, format!("has {reason}")),
        })?;
        if header.file_bytes() != Some(held.bytes) {
            return Err(archive.bad(index, "has another length than its shape says"));
        }
        any_deflated |= held.deflated;
        let extent = Extent {
            source: match held.deflated {
                true => Source::Deflated {
                    member: index,
                    start: header.values_start,
                },
                // Inside the file, as the header is part of the member.
                false => Source::File {
                    start: held.start.saturating_add(header.values_start),
                },
            },
            bytes: held.bytes - header.values_start,
        };
        let strides = match header.fortran_order {
            true => column_major_strides(&header.shape),
            false => row_major_strides(&header.shape),
        };
        let strides = strides.ok_or_else(|| archive.bad(index, "has a shape that is too large"))?;
        let info = TensorInfo {
            name: name.to_string(),
            shape: header.shape,
            dtype: header.dtype,
        };
        let place = Place::new(values, &info, extent, 0, &strides)?;
        tensors.push((info, place));
    }
    Ok(Contents {
        tensors,
        strings: Vec::new(),
        archive: any_deflated.then_some(archive),
    })
}
