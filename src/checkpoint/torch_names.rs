//! From what a pickle describes to tensors and lists of strings with names.
//!
//! A name is the path of keys to a tensor. The pickle may share objects and make cycles, so the walk is
//! bounded in depth, in values and in bytes of names, and does not recurse.

use super::pickle::MAX_PICKLE_BYTES;
use super::torch_objects::{Object, Objects, Tensor, Value};

/// Containers within containers, down to a tensor.
const MAX_DEPTH: usize = 32;
/// Bytes of all names and strings together.
const MAX_NAMES_BYTES: u64 = MAX_PICKLE_BYTES;
/// Values looked at. An object that is shared counts each time, or few objects could make many names.
const MAX_VISITS: usize = 16 << 20;

/// Tensors and lists of strings with their names.
#[derive(Default)]
pub(super) struct Found<'o> {
    pub tensors: Vec<(String, &'o Tensor)>,
    pub strings: Vec<(String, Vec<String>)>,
}

/// Walks the containers from `root` on, in order; an error completes "the pickle …".
pub(super) fn find<'o>(objects: &'o Objects<'_>, root: Value) -> Result<Found<'o>, &'static str> {
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
            Some(Object::Dict(entries) | Object::Instance(entries)) => {
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
