//! The container that `torch.save` has written since release 1.6, and `torch.jit.save` since 1.4: a zip
//! archive of a pickle, `PREFIX/data.pkl`, and one member `PREFIX/data/KEY` per storage, all uncompressed.
//!
//! Only a description of the tensors is taken from the pickle; values are read straight from the file,
//! at the place of the storage's member.

use std::collections::HashMap;

use super::pickle::{self, MAX_PICKLE_BYTES};
use super::torch_names::find;
use super::torch_objects::Tensor;
use super::torch_script::{Dialect, MARKER};
use super::{Archive, Contents, Extent, Place, Source, TensorInfo, ValueFile};
use crate::error::{Error, Result};

/// Finds the tensors and lists of strings of the archive whose members are under `prefix`.
pub(super) fn read(values: &ValueFile, archive: &Archive, prefix: &str) -> Result<Contents> {
    let bad = |reason: String| Error::checkpoint(&values.name, reason);
    let member = |name: &str| format!("{prefix}/{name}");
    let byte_order = member("byteorder");
    if archive.index(&byte_order).is_some() && archive.small_member(&byte_order, 64)? != b"little" {
        return Err(bad(
            "written on a big-endian machine, which is not read".into()
        ));
    }
    let dialect = match archive.index(&member(MARKER)) {
        Some(_) => Dialect::Script,
        None => Dialect::Save,
    };
    let pickle = archive.small_member(&member("data.pkl"), MAX_PICKLE_BYTES)?;
    let (objects, root) = pickle::read(&values.name, &pickle, dialect)?;
    let found = find(&objects, root).map_err(|reason| bad(format!("the pickle {reason}")))?;
    let mut contents = Contents {
        tensors: Vec::with_capacity(found.tensors.len()),
        strings: found.strings,
        archive: None,
    };
    // A storage may hold many tensors.
    let mut extents = HashMap::new();
    for (name, tensor) in found.tensors {
        let Tensor {
            storage,
            offset,
            shape,
            strides,
        } = tensor;
        let key = objects.text(storage.key);
        let (Some(dtype), Some(key)) = (storage.dtype, key) else {
            return Err(bad(format!(
                "tensor {name} has a storage without element type or name"
            )));
        };
        let extent = match extents.get(key) {
            Some(&extent) => extent,
            None => {
                let extent = stored_member(archive, &member(&format!("data/{key}")))?;
                extents.insert(key, extent);
                extent
            }
        };
        let used = storage
            .elements
            .checked_mul(dtype.size() as u64)
            .filter(|&used| used <= extent.bytes);
        let bytes =
            used.ok_or_else(|| bad(format!("tensor {name} has less data than it states")))?;
        let extent = Extent { bytes, ..extent };
        let info = TensorInfo {
            name,
            shape: shape.clone(),
            dtype,
        };
        let place = Place::new(values, &info, extent, *offset, strides)?;
        contents.tensors.push((info, place));
    }
    Ok(contents)
}

/// A member that must be stored as it is.
fn stored_member(archive: &Archive, name: &str) -> Result<Extent> {
    let index = archive.index(name).ok_or_else(|| archive.missing(name))?;
    let info = archive.info(index)?;
    if info.deflated {
        return Err(archive.bad(index, "is compressed, which torch does not do"));
    }
    Ok(Extent {
        source: Source::File { start: info.start },
        bytes: info.bytes,
    })
}
