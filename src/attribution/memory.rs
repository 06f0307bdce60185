//! Decoded files kept in memory up to a bound, so that a second query touches neither network nor cache.
//!
//! Where room is short, files go that the query under way has not used, those not used for longest first. What it
//! has used stays: a query that reads more than there is room for would else push out at its end what the
//! next one wants first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Usual bound of what is kept, in bytes.
const MEMORY_BYTES: usize = 96 << 20;

/// Decoded files by name.
pub(super) struct Memory<T> {
    files: RefCell<HashMap<String, Kept<T>>>,
    bytes: Cell<usize>,
    bound: usize,
    /// Number of the query under way.
    query: Cell<u64>,
}

struct Kept<T> {
    content: Rc<T>,
    bytes: usize,
    /// The last query that used it.
    used: u64,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self::new(MEMORY_BYTES)
    }
}

impl<T> Memory<T> {
    /// Keeps at most `bound` bytes.
    pub fn new(bound: usize) -> Self {
        Self {
            files: RefCell::default(),
            bytes: Cell::new(0),
            bound,
            query: Cell::new(0),
        }
    }

    /// Another query begins.
    pub fn begin(&self) {
        self.query.set(self.query.get() + 1);
    }

    pub fn get(&self, file: &str) -> Option<Rc<T>> {
        let mut files = self.files.borrow_mut();
        let kept = files.get_mut(file)?;
        kept.used = self.query.get();
        Some(kept.content.clone())
    }

    /// Keeps `content`, which takes `bytes`, if there is room or can be made.
    pub fn keep(&self, file: &str, content: &Rc<T>, bytes: usize) {
        let mut files = self.files.borrow_mut();
        let used = self.query.get();
        let before = files.remove(file).map_or(0, |kept| kept.bytes);
        let mut held = self.bytes.get() - before;
        while held.saturating_add(bytes) > self.bound {
            let oldest = files.iter().filter(|(_, kept)| kept.used < used);
            let oldest = oldest.min_by_key(|(name, kept)| (kept.used, *name));
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                self.bytes.set(held);
                return;
            };
            held -= files.remove(&name).map_or(0, |kept| kept.bytes);
        }
        self.bytes.set(held + bytes);
        let content = content.clone();
        files.insert(
            file.into(),
            Kept {
                content,
                bytes,
                used,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of a to f are kept.
    fn kept(memory: &Memory<u32>) -> String {
        let files = memory.files.borrow();
        let sum: usize = files.values().map(|kept| kept.bytes).sum();
        assert_eq!(sum, memory.bytes.get());
        assert!(sum <= 100);
        let mut names: Vec<&str> = files.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.concat()
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_what_is_in_use_stays() {
        let memory = Memory::new(100);
        let keep = |name: &str, bytes| memory.keep(name, &Rc::new(7), bytes);
        memory.begin();
        keep("a", 40);
        keep("b", 40);
        keep("c", 40);
        assert_eq!(kept(&memory), "ab", "there was no room");
        memory.begin();
        assert_eq!(memory.get("b").as_deref(), Some(&7));
        keep("c", 40);
        assert_eq!(kept(&memory), "bc");
        keep("d", 30);
        assert_eq!(kept(&memory), "bc");
        memory.begin();
        assert!(memory.get("a").is_none() && memory.get("c").is_some());
        keep("d", 60);
        assert_eq!(kept(&memory), "cd");
        keep("d", 10);
        keep("e", 1000);
        assert_eq!(kept(&memory), "cd");
        memory.begin();
        keep("e", 1000);
        keep("f", 100);
        assert_eq!(kept(&memory), "f");
    }
}
