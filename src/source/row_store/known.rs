//! The rows of one fine file that are known, and the form in which a source's cache keeps them.
//!
//! ```text
//! offset  size   field
//! 0       8      magic "DATTRRW1"
//! 8       4      u32 bytes of a row, R
//! 12      4      u32 1 where the whole file was read and so is kept under its own name, else 0
//! 16      4      u32 rows n
//! 20      4 n    u32 rows in the file, ascending
//! 20+4n   R n    rows as in the file
//! ```
//!
//! All little-endian. Nothing here says that a row is right: whoever takes one out checks it.

use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"DATTRRW1";
const HEADER_BYTES: usize = 20;
/// What a row takes in memory beside its bytes, roughly.
const ROW_OVERHEAD: usize = 64;

/// Known rows of a file, by their number in it.
#[derive(Debug, Default, PartialEq)]
pub struct KnownRows {
    rows: BTreeMap<u32, Box<[u8]>>,
    /// The whole file was read: a source with a cache has it, also where the rows here are fewer.
    pub whole: bool,
}

impl KnownRows {
    /// The bytes of row `row`.
    pub fn get(&self, row: u32) -> Option<&[u8]> {
        self.rows.get(&row).map(AsRef::as_ref)
    }

    /// Adds a row; says whether it was not known.
    pub fn insert(&mut self, row: u32, bytes: &[u8]) -> bool {
        self.rows.insert(row, bytes.into()).is_none()
    }

    /// About what this takes in memory, in bytes.
    pub fn memory(&self) -> usize {
        let rows = self.rows.values();
        rows.map(|bytes| bytes.len() + ROW_OVERHEAD).sum()
    }

    /// The entry for a cache.
    pub fn encode(&self, row_bytes: usize) -> Vec<u8> {
        let count = self.rows.len();
        let mut entry = Vec::with_capacity(HEADER_BYTES + count * (4 + row_bytes));
        entry.extend_from_slice(MAGIC);
        for word in [row_bytes, usize::from(self.whole), count] {
            entry.extend_from_slice(&(word as u32).to_le_bytes());
        }
        for row in self.rows.keys() {
            entry.extend_from_slice(&row.to_le_bytes());
        }
        for bytes in self.rows.values() {
            entry.extend_from_slice(bytes);
        }
        entry
    }

    /// What an entry holds, unchecked; `None` for one that is damaged.
    pub fn parse(entry: &[u8], row_bytes: usize) -> Option<Self> {
        let (magic, rest) = entry.split_first_chunk::<8>()?;
        let (words, rest) = rest.split_at_checked(HEADER_BYTES - 8)?;
        let words: Vec<usize> = words.as_chunks().0.iter().map(|w| number(*w)).collect();
        let &[stated, whole @ 0..=1, count] = words.as_slice() else {
            return None;
        };
        if magic != MAGIC || stated != row_bytes || row_bytes == 0 {
            return None;
        }
        let (numbers, records) = rest.split_at_checked(count.checked_mul(4)?)?;
        if count.checked_mul(row_bytes)? != records.len() {
            return None;
        }
        let numbers = numbers
            .as_chunks()
            .0
            .iter()
            .map(|row| u32::from_le_bytes(*row));
        let records = records.chunks_exact(row_bytes).map(Box::from);
        let rows: BTreeMap<u32, Box<[u8]>> = numbers.zip(records).collect();
        (rows.len() == count).then_some(Self {
            rows,
            whole: whole == 1,
        })
    }

    /// Keeps only the rows that `right` accepts; says whether those were all.
    pub fn retain(&mut self, mut right: impl FnMut(u32, &[u8]) -> bool) -> bool {
        let before = self.rows.len();
        self.rows.retain(|row, bytes| right(*row, bytes));
        self.rows.len() == before
    }

    /// Adds what `other` knows and this does not.
    pub fn merge(&mut self, other: Self) {
        for (row, bytes) in other.rows {
            self.rows.entry(row).or_insert(bytes);
        }
        self.whole |= other.whole;
    }
}

fn number(word: [u8; 4]) -> usize {
    u32::from_le_bytes(word) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownRows {
        let mut known = KnownRows::default();
        for row in [70_000, 3, 9] {
            assert!(known.insert(row, &[row as u8; 5]));
        }
        assert!(!known.insert(9, &[9; 5]));
        known
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for whole in [false, true] {
            let known = KnownRows { whole, ..known() };
            assert_eq!(KnownRows::parse(&known.encode(5), 5), Some(known));
        }
        let none = KnownRows::default();
        assert_eq!(KnownRows::parse(&none.encode(5), 5), Some(none));
    }

    #[test]
    fn cut_longer_and_hostile_entries_are_nothing() {
        let good = known().encode(5);
        for end in 0..good.len() {
            assert_eq!(KnownRows::parse(&good[..end], 5), None, "cut at {end}");
        }
        assert_eq!(KnownRows::parse(&[&good[..], &[0]].concat(), 5), None);
        assert_eq!(KnownRows::parse(&good, 6), None);
        assert_eq!(KnownRows::parse(&good, 0), None);
        for (at, value) in [
            (0, 0u32),
            (8, 4),
            (12, 2),
            (16, 0),
            (16, 2),
            (16, u32::MAX),
            // A row twice.
            (24, 3),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(KnownRows::parse(&bytes, 5), None, "{at} = {value}");
        }
    }

    #[test]
    fn rows_that_are_not_right_do_not_stay() {
        let mut known = known();
        assert!(known.retain(|row, bytes| bytes == [row as u8; 5]));
        assert!(!known.retain(|row, _| row != 9));
        assert_eq!(known.get(9), None);
        assert_eq!(known.get(3), Some(&[3; 5][..]));
    }
}
