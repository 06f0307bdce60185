//! A reader of the pickles in torch archives, which runs nothing.
//!
//! A pickle is a program for a stack machine that may call any Python function by name. This machine
//! knows the instructions that torch writes (protocols 2 to 5) and the few names in [`global`];
//! calling those yields a description, never an effect. Any other name is refused.
//!
//! Nothing recurses and the time is linear in the pickle's length; the limits bound the memory.

use std::collections::HashMap;

use super::pickle_bytes::PickleBytes;
use super::torch_objects::{Object, Objects, TooMany, Value, global};
use super::torch_script::{Dialect, build};
use crate::error::{Error, Result};

/// The longest pickle that is read: that of a million features with their paths has about 60 MB.
pub(super) const MAX_PICKLE_BYTES: u64 = 512 << 20;

const MAX_STACK: usize = 1 << 20;
const MAX_MEMO: usize = 4 << 20;

/// Reads the pickle `bytes` of `file` (for messages); the value is the one that it describes.
///
/// # Errors
/// [`Error::Refused`] for a name or instruction beside those of torch's tensors;
/// [`Error::Checkpoint`] for a pickle that is damaged or exceeds a limit.
pub(super) fn read<'a>(
    file: &str,
    bytes: &'a [u8],
    dialect: Dialect,
) -> Result<(Objects<'a>, Value)> {
    let mut machine = Machine {
        dialect,
        input: PickleBytes::new(file, bytes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::new(bytes),
    };
    if bytes.len() as u64 > MAX_PICKLE_BYTES {
        return Err(machine.input.bad("is too long"));
    }
    loop {
        if let Some(root) = machine.step()? {
            return Ok((machine.objects, root));
        }
    }
}

struct Machine<'f, 'a> {
    dialect: Dialect,
    input: PickleBytes<'f, 'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Objects<'a>,
}

impl<'a> Machine<'_, 'a> {
    fn too_many(&self, TooMany(what): TooMany) -> Error {
        self.input.bad(&format!("has too many {what}"))
    }

    /// Does one instruction; returns the result at the last.
    fn step(&mut self) -> Result<Option<Value>> {
        match self.input.byte()? {
            // PROTO, FRAME
            0x80 => {
                if !(2..=5).contains(&self.input.byte()?) {
                    return Err(self.input.bad("is of an unknown protocol"));
                }
            }
            0x95 => _ = self.input.take(8)?,
            // STOP
            b'.' => return self.pop().map(Some),
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
            b'G' => self.skip(8)?,
            // BININT (signed), BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let value = self.input.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()))?;
            }
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.unicode(1)?,
            b'X' => self.unicode(4)?,
            0x8d => self.unicode(8)?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.skip_counted(1)?,
            b'B' => self.skip_counted(4)?,
            0x8e | 0x96 => self.skip_counted(8)?,
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple(0)?,
            code @ 0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_tuple(items)?;
            }
            // EMPTY_LIST, APPEND, APPENDS
            b']' => self.push_object(Object::List(Vec::new()))?,
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            // EMPTY_DICT, SETITEM, SETITEMS
            b'}' => self.push_object(Object::Dict(Vec::new()))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            // MARK, POP, POP_MARK
            b'(' => {
                if self.marks.len() == MAX_STACK {
                    return Err(self.input.bad("is nested too deeply"));
                }
                self.marks.push(self.stack.len());
            }
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => self.remember(0)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.mention(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = self.objects.text(module).zip(self.objects.text(name));
                let reason = "names a global by something other than text";
                let (module, name) = texts.ok_or_else(|| self.input.bad(reason))?;
                self.mention(module.as_bytes(), name.as_bytes())?;
            }
            // BINPERSID
            b'Q' => {
                let storage = self.pop()?;
                let storage = self
                    .objects
                    .storage(storage)
                    .ok_or_else(|| self.input.bad("has a malformed storage"))?;
                self.push_object(Object::Storage(storage))?;
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.call(callee, arguments)?;
            }
            // BUILD
            b'b' => {
                let (state, target) = (self.pop()?, self.pop()?);
                let built = build(&mut self.objects, target, state);
                if !built.map_err(|limit| self.too_many(limit))? {
                    return Err(self
                        .input
                        .bad("sets attributes in a way that torch does not"));
                }
                self.push(target)?;
            }
            code => {
                let what = format!("pickle instruction {code:#04x}");
                return Err(Error::Refused {
                    file: self.input.file.into(),
                    what,
                });
            }
        }
        Ok(None)
    }

    // The stack.

    fn push(&mut self, value: Value) -> Result<()> {
        if self.stack.len() == MAX_STACK {
            return Err(self.input.bad("is nested too deeply"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// Takes the top value; one below the last mark cannot be taken.
    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = (self.stack.len() > floor)
            .then(|| self.stack.pop())
            .flatten();
        value.ok_or_else(|| self.input.bad("takes a value that is not there"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        Ok(self
            .stack
            .split_off(mark.ok_or_else(|| self.input.bad("lacks a mark"))?))
    }

    fn push_object(&mut self, object: Object) -> Result<()> {
        let value = self.objects.add(object);
        let value = value.map_err(|limit| self.too_many(limit))?;
        self.push(value)
    }

    /// The container that items are about to go into.
    fn top_object(&mut self, new_items: usize) -> Result<Option<&mut Object>> {
        let counted = self.objects.count_items(new_items);
        counted.map_err(|limit| self.too_many(limit))?;
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self
            .stack
            .get(floor..)
            .and_then(|values| values.last().copied());
        Ok(top.and_then(|value| self.objects.get_mut(value)))
    }

    // Instructions.

    fn unsigned(&mut self, size: usize) -> Result<()> {
        let value = self.input.number(size)?;
        self.push(Value::Int(value as i64))
    }

    fn long(&mut self, size: usize) -> Result<()> {
        let bytes = self.input.counted(size)?;
        self.push(match bytes {
            [] => Value::Int(0),
            [.., high] if bytes.len() <= 8 => {
                let mut whole = [if high & 0x80 == 0 { 0 } else { 0xff }; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(whole))
            }
            _ => Value::Other,
        })
    }

    fn unicode(&mut self, size: usize) -> Result<()> {
        let len = self.input.counted(size)?.len();
        let start = self.input.at() - len;
        // A pickle's length fits 32 bits.
        self.push(Value::Text {
            start,
            len: len as u32,
        })
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.input.take(count)?;
        self.push(Value::Other)
    }

    fn skip_counted(&mut self, size: usize) -> Result<()> {
        self.input.counted(size)?;
        self.push(Value::Other)
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<()> {
        let counted = self.objects.count_items(items.len());
        counted.map_err(|limit| self.too_many(limit))?;
        self.push_object(Object::Tuple(items))
    }

    fn append(&mut self, items: &[Value]) -> Result<()> {
        match self.top_object(items.len())? {
            Some(Object::List(list)) => list.extend_from_slice(items),
            _ => return Err(self.input.bad("appends to something other than a list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Value]) -> Result<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top_object(items.len())? {
            Some(Object::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(self.input.bad("sets items of something other than a dict")),
        }
        Ok(())
    }

    fn remember(&mut self, size: usize) -> Result<()> {
        let slot = if size == 0 {
            self.memo.len() as u64
        } else {
            self.input.number(size)?
        };
        let value = self.pop()?;
        self.push(value)?;
        self.memo.insert(slot as u32, value);
        if self.memo.len() > MAX_MEMO {
            return Err(self.input.bad("has too many values"));
        }
        Ok(())
    }

    fn recall(&mut self, size: usize) -> Result<()> {
        let slot = self.input.number(size)? as u32;
        let value = self.memo.get(&slot).copied();
        self.push(value.ok_or_else(|| self.input.bad("recalls a value that it did not keep"))?)
    }

    fn mention(&mut self, module: &[u8], name: &[u8]) -> Result<()> {
        match global(self.dialect, module, name) {
            Some(value) => self.push(value),
            None => {
                let shown = |bytes| String::from_utf8_lossy(bytes).escape_debug().to_string();
                let what = format!("pickle global {}.{}", shown(module), shown(name));
                Err(Error::Refused {
                    file: self.input.file.into(),
                    what,
                })
            }
        }
    }

    fn call(&mut self, callee: Value, arguments: Value) -> Result<()> {
        let result = self.objects.call(callee, arguments);
        let result = result.ok_or_else(|| {
            self.input
                .bad("calls something in a way that torch does not")
        })?;
        let value = result.map_err(|limit| self.too_many(limit))?;
        self.push(value)
    }
}
