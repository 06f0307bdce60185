//! What the pickle of a TorchScript archive has that one of `torch.save` has not.
//!
//! `torch.jit.save` writes a zip archive of `PREFIX/data.pkl`, the module as an object;
//! `PREFIX/data/KEY`, its storages; `PREFIX/code/`, its methods; and `PREFIX/constants.pkl` with
//! `PREFIX/constants/KEY`, the tensors that the methods mention. Code and constants are never looked at:
//! a constant belongs to no attribute, and a `state_dict` has none either.
//!
//! An object is an instance of a class `__torch__.…`, made empty (NEWOBJ) and then given a dict of its
//! attributes (BUILD): parameters, buffers, submodules and plain values such as `training`. Such a class
//! is taken as a bag of attributes whatever its name. Lists are passed through functions that restore
//! their element types.

use super::torch_objects::{Global, Object, Objects, TooMany, Value};

/// Which function of torch wrote a pickle, and so which names it may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `torch.save`.
    Save,
    /// `torch.jit.save`.
    Script,
}

/// The member that tells a TorchScript archive from one of `torch.save`.
pub(super) const MARKER: &str = "constants.pkl";

/// The global `name` of `module`, beside those of `torch.save`.
pub(super) fn global(module: &[u8], name: &[u8]) -> Option<Global> {
    match (module, name) {
        (b"__torch__", _) => Some(Global::ScriptClass),
        (module, _) if module.starts_with(b"__torch__.") => Some(Global::ScriptClass),
        (
            b"torch.jit._pickle",
            b"build_intlist" | b"build_doublelist" | b"build_boollist" | b"build_tensorlist"
            | b"restore_type_tag",
        ) => Some(Global::RestoreType),
        (b"torch", b"device") => Some(Global::Device),
        _ => None,
    }
}

/// A new instance of a class; `None` if it is called as torch calls no class.
pub(super) fn instance(
    objects: &mut Objects<'_>,
    arguments: Value,
) -> Option<Result<Value, TooMany>> {
    match objects.get(arguments) {
        Some(Object::Tuple(items)) if items.is_empty() => {
            Some(objects.add(Object::Instance(Vec::new())))
        }
        Some(_) => None,
        // An enumeration is called with its value.
        None => Some(Ok(Value::Other)),
    }
}

/// Gives the attributes in `state` to the object `target`; false if torch would not do so.
pub(super) fn build(
    objects: &mut Objects<'_>,
    target: Value,
    state: Value,
) -> Result<bool, TooMany> {
    match objects.get(target) {
        // The attributes of an OrderedDict (a module's `_metadata`) or Namespace are dropped.
        Some(Object::Dict(_)) => return Ok(true),
        None => return Ok(matches!(target, Value::Other)),
        Some(Object::Instance(_)) => {}
        Some(_) => return Ok(false),
    }
    let attributes: Vec<(Value, Value)> = match objects.get(state) {
        Some(Object::Dict(entries)) => entries.clone(),
        // A class with a `__getstate__` of its own has any state.
        Some(Object::Tuple(items) | Object::List(items)) => {
            let items = items.iter().enumerate();
            items
                .map(|(at, &item)| (Value::Int(at as i64), item))
                .collect()
        }
        Some(Object::Tensor(_) | Object::Instance(_)) => vec![(Value::Int(0), state)],
        Some(Object::Storage(_)) | None => Vec::new(),
    };
    // A state may be shared, so that its attributes are more values than the pickle has instructions for.
    objects.count_items(2 * attributes.len())?;
    if let Some(Object::Instance(own)) = objects.get_mut(target) {
        own.extend(attributes);
    }
    Ok(true)
}
