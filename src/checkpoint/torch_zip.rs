//! The container that `torch.save` has written since release 1.6: a zip archive of a pickle,
//! `PREFIX/data.pkl`, and one entry `PREFIX/data/KEY` per storage, all uncompressed.
//!
//! Only a description of the tensors is taken from the pickle; values are read straight from the file,
//! at the place of the storage's entry.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, MAX_PICKLE_BYTES};
use super::torch_objects::{Object, Objects, Tensor, Value};
use super::{Contents, Place, TensorInfo, ValueFile};
use crate::error::{Error, Result};

/// Containers within containers, down to a tensor.
const MAX_DEPTH: usize = 32;
/// Bytes of all names and strings together.
const MAX_NAMES_BYTES: u64 = MAX_PICKLE_BYTES;
/// Values looked at. An object that is shared counts each time, or few objects could make many names.
const MAX_VISITS: usize = 16 << 20;

/// Finds the tensors and lists of strings.
pub(super) fn read(values: &ValueFile) -> Result<Contents> {
    let bad = |reason: String| Error::checkpoint(&values.name, reason);
    let mut archive = Archive::open(values)?;
    let pickle = archive.small_entry("data.pkl", MAX_PICKLE_BYTES)?;
    let (objects, root) = pickle::read(&values.name, &pickle)?;
    let found = find(&objects, root).map_err(|reason| bad(format!("the pickle {reason}")))?;
    let mut contents = Contents {
        tensors: Vec::with_capacity(found.tensors.len()),
        strings: found.strings,
    };
    // A storage may hold many tensors.
    let mut places = HashMap::new();
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
        let (start, bytes) = match places.get(key) {
            Some(&place) => place,
            None => {
                let place = archive.stored_entry(&format!("data/{key}"))?;
                places.insert(key, place);
                place
            }
        };
        let used = storage
            .elements
            .checked_mul(dtype.size() as u64)
            .filter(|&used| used <= bytes);
        let used =
            used.ok_or_else(|| bad(format!("tensor {name} has less data than it states")))?;
        let info = TensorInfo {
            name,
            shape: shape.clone(),
            dtype,
        };
        let place = Place::new(values, &info, (start, used), *offset, strides)?;
        contents.tensors.push((info, place));
    }
    Ok(contents)
}

/// The zip archive, and the folder in it that everything is under.
struct Archive<'a> {
    file: &'a str,
    zip: ZipArchive<BufReader<File>>,
    prefix: String,
}

impl<'a> Archive<'a> {
    fn open(values: &'a ValueFile) -> Result<Self> {
        let file = values.name.as_str();
        let bad = |reason: &str| Error::checkpoint(file, reason);
        let reader = File::open(file).map_err(|source| Error::io(file, source))?;
        let zip = ZipArchive::new(BufReader::new(reader))
            .map_err(|error| bad(&format!("the zip archive is damaged: {error}")))?;
        let mut prefixes = zip
            .file_names()
            .filter_map(|name| name.strip_suffix("/data.pkl"));
        let prefix = match (prefixes.next(), prefixes.next()) {
            (Some(prefix), None) => prefix.to_string(),
            (Some(_), Some(_)) => return Err(bad("a zip archive with more than one data.pkl")),
            (None, _) if zip.file_names().any(|name| name.ends_with(".npy")) => {
                return Err(bad("a NumPy .npz archive, where a torch archive is read"));
            }
            (None, _) => return Err(bad("a zip archive without data.pkl, so not of torch")),
        };
        drop(prefixes);
        let mut archive = Self { file, zip, prefix };
        if archive.has("constants.pkl") {
            return Err(bad(
                "a TorchScript archive; save its state_dict() with torch.save instead",
            ));
        }
        if archive.has("byteorder") && archive.small_entry("byteorder", 64)? != b"little" {
            return Err(bad("written on a big-endian machine, which is not read"));
        }
        Ok(archive)
    }

    fn has(&self, name: &str) -> bool {
        self.zip
            .index_for_name(&format!("{}/{name}", self.prefix))
            .is_some()
    }

    /// The content of a short entry.
    fn small_entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let file = self.file;
        let entry = self.zip.by_name(&format!("{}/{name}", self.prefix));
        let damaged =
            |error: &dyn std::fmt::Display| Error::checkpoint(file, format!("{name}: {error}"));
        let mut content = Vec::new();
        let mut entry = entry.map_err(|error| damaged(&error))?.take(limit + 1);
        entry
            .read_to_end(&mut content)
            .map_err(|error| damaged(&error))?;
        if content.len() as u64 > limit {
            return Err(damaged(&format!("longer than the limit of {limit} bytes")));
        }
        Ok(content)
    }

    /// First byte and length of an entry that is stored as it is.
    fn stored_entry(&mut self, name: &str) -> Result<(u64, u64)> {
        let bad = |reason: String| Error::checkpoint(self.file, format!("{name}: {reason}"));
        let index = self.zip.index_for_name(&format!("{}/{name}", self.prefix));
        let index = index.ok_or_else(|| bad("missing in the archive".into()))?;
        let entry = self
            .zip
            .by_index_raw(index)
            .map_err(|error| bad(error.to_string()))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(bad(
                "compressed or encrypted, which torch does not do".into()
            ));
        }
        Ok((entry.data_start(), entry.size()))
    }
}

/// Tensors and lists of strings with their names.
#[derive(Default)]
struct Found<'o> {
    tensors: Vec<(String, &'o Tensor)>,
    strings: Vec<(String, Vec<String>)>,
}

/// Walks the containers from `root` on, in order; an error completes "the pickle …".
fn find<'o>(objects: &'o Objects<'_>, root: Value) -> std::result::Result<Found<'o>, &'static str> {
    let mut found = Found::default();
    let mut open = vec![(String::new(), root, 0)];
    let (mut visits, mut name_bytes) = (0, 0);
    while let Some((name, value, depth)) = open.pop() {
        let entries: Vec<(Value, Value)> = match objects.get(value) {
            Some(Object::Tensor(tensor)) => {
                let name = if depth == 0 { "tensor".into() } else { name };
                found.tensors.push((name, tensor));
                continue;
            }
            Some(Object::Tuple(items) | Object::List(items)) => {
                name_bytes += text_bytes(items);
                visits += items.len();
                if name_bytes <= MAX_NAMES_BYTES
                    && visits <= MAX_VISITS
                    && let Some(texts) = all_texts(objects, items)
                {
                    found.strings.push((name, texts));
                    continue;
                }
                let indexed = items.iter().enumerate();
                indexed
                    .map(|(at, &item)| (Value::Int(at as i64), item))
                    .collect()
            }
            Some(Object::Dict(entries)) => {
                visits += entries.len();
                entries.clone()
            }
            Some(Object::Storage(_)) | None => continue,
        };
        if visits > MAX_VISITS || depth == MAX_DEPTH {
            return Err("is nested too deeply or shares too much");
        }
        for (key, child) in entries.into_iter().rev() {
            if objects.get(child).is_none() {
                continue;
            }
            let key = match key {
                Value::Int(key) => key.to_string(),
                key => objects
                    .text(key)
                    .ok_or("has a key that is no name")?
                    .to_string(),
            };
            let name = if depth == 0 {
                key
            } else {
                format!("{name}.{key}")
            };
            name_bytes += name.len() as u64;
            if name_bytes > MAX_NAMES_BYTES {
                return Err("has too long names");
            }
            open.push((name, child, depth + 1));
        }
    }
    Ok(found)
}

fn text_bytes(items: &[Value]) -> u64 {
    let lengths = items.iter().map(|item| match item {
        Value::Text { len, .. } => u64::from(*len),
        _ => 0,
    });
    lengths.sum()
}

/// The strings of a sequence that holds nothing else.
fn all_texts(objects: &Objects<'_>, items: &[Value]) -> Option<Vec<String>> {
    if items.is_empty() {
        return None;
    }
    let texts = items
        .iter()
        .map(|&item| objects.text(item).map(String::from));
    texts.collect()
}
