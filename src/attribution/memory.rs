//! Decoded files kept in memory up to a bound, so that a second query touches neither network nor cache.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Bound of what is kept, in bytes.
const MEMORY_BYTES: usize = 96 << 20;

/// Decoded files by name.
pub(super) struct Memory<T> {
    files: RefCell<HashMap<String, Rc<T>>>,
    bytes: Cell<usize>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            files: RefCell::default(),
            bytes: Cell::new(0),
        }
    }
}

impl<T> Memory<T> {
    pub fn get(&self, file: &str) -> Option<Rc<T>> {
        self.files.borrow().get(file).cloned()
    }

    /// Keeps `content`, which takes `bytes`, if there is room.
    pub fn keep(&self, file: &str, content: &Rc<T>, bytes: usize) {
        let bytes = self.bytes.get() + bytes;
        if bytes <= MEMORY_BYTES {
            self.bytes.set(bytes);
            self.files.borrow_mut().insert(file.into(), content.clone());
        }
    }
}
