//! What the pickle of a torch archive describes: containers, strings, storages and tensors.
//!
//! Objects live in one list and refer to each other by index, as a pickle may share objects and make
//! cycles. So nothing recurses, dropping included.

use super::Dtype;
use super::torch_script::{self, Dialect};

/// Containers, storages and tensors.
const MAX_OBJECTS: usize = 4 << 20;
/// Values in all containers together.
const MAX_ITEMS: usize = 16 << 20;
/// The longest key, path or name, which is the longest path of common file systems.
const MAX_TEXT_BYTES: u32 = 4096;
const MAX_DIMENSIONS: usize = 16;

/// One value on the stack or in a container.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// What no tensor is described with: None, booleans, floats, bytes, integers of over 64 bits, dtypes.
    Other,
    Int(i64),
    /// A range of the pickle, see [`Objects::text`].
    Text {
        start: usize,
        len: u32,
    },
    Global(Global),
    /// An index into the objects, see [`Objects::get`].
    Object(u32),
}

/// A name that a pickle may mention.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    /// `argparse.Namespace`: training scripts save their options with it; its content is dropped.
    Namespace,
    /// A class of a TorchScript module.
    ScriptClass,
    /// A function that gives a list, its first argument, an element type.
    RestoreType,
    /// `torch.device`; where the tensors once were does not matter.
    Device,
    /// A storage class; without an element type for the untyped ones.
    Storage(Option<Dtype>),
}

/// What a value can refer to.
#[derive(Debug)]
pub(super) enum Object {
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// An object of a TorchScript class, with its attributes.
    Instance(Vec<(Value, Value)>),
    Storage(Storage),
    Tensor(Box<Tensor>),
}

/// The bytes of one or more tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    pub dtype: Option<Dtype>,
    /// Text: the name of the archive's entry.
    pub key: Value,
    /// Number of elements (bytes if untyped).
    pub elements: u64,
}

/// A view of a storage; offset and strides count elements. None of it is checked against the storage.
#[derive(Debug)]
pub(super) struct Tensor {
    pub storage: Storage,
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<u64>,
}

/// All objects of a pickle, and the pickle itself, in which the strings stay.
pub(super) struct Objects<'a> {
    pickle: &'a [u8],
    all: Vec<Object>,
    items: usize,
}

/// The limit that a pickle exceeds.
#[derive(Debug)]
pub(super) struct TooMany(pub &'static str);

impl<'a> Objects<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self {
            pickle,
            all: Vec::new(),
            items: 0,
        }
    }

    pub(super) fn get(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.all.get(index as usize),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, value: Value) -> Option<&mut Object> {
        match value {
            Value::Object(index) => self.all.get_mut(index as usize),
            _ => None,
        }
    }

    /// A string; `None` for one of more than [`MAX_TEXT_BYTES`], as checking it again and again would
    /// make reading quadratic.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        match value {
            Value::Text { start, len } if len <= MAX_TEXT_BYTES => {
                let bytes = self.pickle.get(start..start.checked_add(len as usize)?)?;
                std::str::from_utf8(bytes).ok()
            }
            _ => None,
        }
    }

    pub(super) fn add(&mut self, object: Object) -> Result<Value, TooMany> {
        if self.all.len() == MAX_OBJECTS {
            return Err(TooMany("objects"));
        }
        self.all.push(object);
        Ok(Value::Object(self.all.len() as u32 - 1))
    }

    /// Counts values that go into a container.
    pub(super) fn count_items(&mut self, count: usize) -> Result<(), TooMany> {
        self.items += count;
        if self.items > MAX_ITEMS {
            return Err(TooMany("values"));
        }
        Ok(())
    }

    /// The result of calling `callee`; `None` if torch would not call it so.
    pub(super) fn call(
        &mut self,
        callee: Value,
        arguments: Value,
    ) -> Option<Result<Value, TooMany>> {
        let Value::Global(callee) = callee else {
            return None;
        };
        if let Global::ScriptClass = callee {
            return torch_script::instance(self, arguments);
        }
        let Some(Object::Tuple(items)) = self.get(arguments) else {
            return None;
        };
        match (callee, items.as_slice()) {
            (Global::OrderedDict, []) => Some(self.add(Object::Dict(Vec::new()))),
            (Global::Namespace, []) | (Global::Device, _) => Some(Ok(Value::Other)),
            (Global::RestoreType, &[list] | &[list, _]) => Some(Ok(list)),
            (Global::Size, &[sizes]) => Some(Ok(sizes)),
            (Global::RebuildParameter, &[tensor, _, _]) => Some(Ok(tensor)),
            (Global::RebuildTensor, items) => {
                let tensor = self.tensor(items)?;
                Some(self.add(Object::Tensor(Box::new(tensor))))
            }
            _ => None,
        }
    }

    /// The storage of a persistent id: ("storage", class, key, device, number of elements).
    pub(super) fn storage(&self, id: Value) -> Option<Storage> {
        match self.get(id)? {
            Object::Tuple(items) => match *items.as_slice() {
                [
                    kind,
                    Value::Global(Global::Storage(dtype)),
                    key,
                    _,
                    Value::Int(elements),
                ] if self.text(kind) == Some("storage") => {
                    let elements = u64::try_from(elements).ok()?;
                    Some(Storage {
                        dtype,
                        key,
                        elements,
                    })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The tensor of `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`.
    fn tensor(&self, arguments: &[Value]) -> Option<Tensor> {
        let &[storage, Value::Int(offset), shape, strides, _, _, ..] = arguments else {
            return None;
        };
        let Some(&Object::Storage(storage)) = self.get(storage) else {
            return None;
        };
        let shape = self.sizes(shape)?.into_iter();
        Some(Tensor {
            storage,
            offset: u64::try_from(offset).ok()?,
            shape: shape
                .map(|size| usize::try_from(size).ok())
                .collect::<Option<_>>()?,
            strides: self.sizes(strides)?,
        })
    }

    fn sizes(&self, value: Value) -> Option<Vec<u64>> {
        match self.get(value)? {
            Object::Tuple(items) if items.len() <= MAX_DIMENSIONS => {
                let sizes = items.iter().map(|item| match item {
                    Value::Int(size) => u64::try_from(*size).ok(),
                    _ => None,
                });
                sizes.collect()
            }
            _ => None,
        }
    }
}

/// What a global stands for: the whole list of the names that a pickle may mention, with those of
/// [`torch_script::global`].
pub(super) fn global(dialect: Dialect, module: &[u8], name: &[u8]) -> Option<Value> {
    if dialect == Dialect::Script
        && let Some(global) = torch_script::global(module, name)
    {
        return Some(Value::Global(global));
    }
    Some(Value::Global(match (module, name) {
        (b"collections", b"OrderedDict") => Global::OrderedDict,
        (b"argparse", b"Namespace") => Global::Namespace,
        (b"torch._utils", b"_rebuild_tensor_v2") => Global::RebuildTensor,
        (b"torch._utils", b"_rebuild_parameter") => Global::RebuildParameter,
        (b"torch", b"Size") => Global::Size,
        (b"torch", b"FloatStorage") => Global::Storage(Some(Dtype::F32)),
        (b"torch", b"HalfStorage") => Global::Storage(Some(Dtype::F16)),
        (b"torch", b"BFloat16Storage") => Global::Storage(Some(Dtype::BF16)),
        (b"torch", b"DoubleStorage") => Global::Storage(Some(Dtype::F64)),
        (b"torch", b"LongStorage") => Global::Storage(Some(Dtype::I64)),
        (b"torch", b"IntStorage") => Global::Storage(Some(Dtype::I32)),
        (b"torch", b"ShortStorage") => Global::Storage(Some(Dtype::I16)),
        (b"torch", b"CharStorage") => Global::Storage(Some(Dtype::I8)),
        (b"torch", b"ByteStorage") => Global::Storage(Some(Dtype::U8)),
        (b"torch", b"BoolStorage") => Global::Storage(Some(Dtype::Bool)),
        (b"torch.storage", b"UntypedStorage" | b"TypedStorage") => Global::Storage(None),
        (b"torch", b"float32" | b"float16" | b"bfloat16" | b"float64") => {
            return Some(Value::Other);
        }
        (b"torch", b"int64" | b"int32" | b"int16" | b"int8" | b"uint8" | b"bool") => {
            return Some(Value::Other);
        }
        _ => return None,
    }))
}
