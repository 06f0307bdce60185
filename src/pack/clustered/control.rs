//! The control sample of an index: which rows it has, and picking them out of the streams of all rows.

use std::collections::HashSet;

use super::stream::Stream;
use crate::error::Result;
use crate::format::clustered::{Control, Plan};
use crate::random::Sequence;

/// Rows of the sample, or all where there are fewer: a compromise between the bytes that a first query
/// fetches and the error of what is estimated from them, which falls with the root of their number.
pub const CONTROL_ROWS: usize = 4096;
/// Seed and purpose of the draw.
const DRAW: (u64, u64) = (0, 0x636f_6e74);

/// A sample that is being picked.
pub(super) struct Sample {
    control: Control,
    row_bytes: usize,
    leaf_bytes: usize,
    stride: usize,
    total: usize,
}

impl Sample {
    /// Draws from `total` rows.
    pub fn new(total: usize, plan: &Plan) -> Self {
        Self {
            control: Control {
                rows: draw(total, CONTROL_ROWS.min(total)),
                ..Control::default()
            },
            row_bytes: plan.widths.row_bytes(),
            leaf_bytes: plan.leaf_tables.len(),
            stride: plan.stride(),
            total,
        }
    }

    /// Takes the codes of its rows out of those of all rows.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn read_codes(&mut self, mut stream: Stream) -> Result<()> {
        let at_once = 1 << 16;
        let mut codes = Vec::new();
        for first in (0..self.total).step_by(at_once) {
            codes.resize(at_once.min(self.total - first) * self.row_bytes, 0);
            stream.read(&mut codes)?;
            for at in self.within(first, codes.len() / self.row_bytes) {
                let row = &codes[at * self.row_bytes..(at + 1) * self.row_bytes];
                self.control.codes.extend_from_slice(row);
            }
        }
        Ok(())
    }

    /// Takes the leaves of its rows out of all `leaves` [.., 1 + V], which follow each other in the order of their rows.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn read_leaves(&mut self, mut stream: Stream, leaves: usize) -> Result<()> {
        if self.leaf_bytes == 0 {
            return Ok(());
        }
        let (at_once, mut first) = (1 << 12, 0);
        let mut records = Vec::new();
        for done in (0..leaves).step_by(at_once) {
            records.resize(at_once.min(leaves - done) * self.leaf_bytes, 0);
            stream.read(&mut records)?;
            for leaf in records.chunks_exact(self.leaf_bytes) {
                let rows = usize::from(leaf[0]) + 1;
                for _ in self.within(first, rows) {
                    self.control.leaves.extend_from_slice(leaf);
                }
                first += rows;
            }
        }
        Ok(())
    }

    /// Takes its fine rows out of `bodies` [n, 4 + S], the rows from `first` on.
    pub fn take_fine(&mut self, first: usize, bodies: &[u8]) {
        let body_bytes = 4 + self.stride;
        for at in self.within(first, bodies.len() / body_bytes) {
            let body = &bodies[at * body_bytes..(at + 1) * body_bytes];
            if let Some((scale, codes)) = body.split_first_chunk::<4>() {
                self.control.scales.push(f32::from_le_bytes(*scale));
                self.control
                    .fine
                    .extend_from_slice(bytemuck::cast_slice(codes));
            }
        }
    }

    /// The sample.
    pub fn finish(self) -> Control {
        self.control
    }

    /// The rows of the sample within `first .. first + count`, counted from `first`.
    fn within(&self, first: usize, count: usize) -> Vec<usize> {
        let rows = &self.control.rows;
        let from = rows.partition_point(|row| (*row as usize) < first);
        let rows = rows[from..].iter().map(|row| *row as usize - first);
        rows.take_while(|at| *at < count).collect()
    }
}

/// `count` different numbers below `total`, ascending; each set is equally likely (Floyd's algorithm; Bentley
/// and Floyd, "A sample of brilliance", 1987).
fn draw(total: usize, count: usize) -> Vec<u32> {
    let mut chance = Sequence::new(DRAW.0, DRAW.1);
    let mut drawn = HashSet::with_capacity(count);
    for last in total - count..total {
        let candidate = chance.below(last + 1);
        if !drawn.insert(candidate) {
            drawn.insert(last);
        }
    }
    let mut drawn: Vec<u32> = drawn.into_iter().map(|row| row as u32).collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_has_as_many_different_rows_as_asked_and_is_even() {
        for (total, count) in [(1, 1), (10, 10), (1000, 1), (5000, 4096), (1 << 20, 4096)] {
            let rows = draw(total, count);
            assert_eq!(rows.len(), count);
            assert!(rows.is_sorted_by(|a, b| a < b));
            assert!(rows.last().is_some_and(|last| (*last as usize) < total));
        }
        // A quarter of the rows holds a quarter of the sample: 1024 with a deviation of 27.7.
        let rows = draw(1 << 20, 4096);
        for quarter in 0..4 {
            let inside = rows.iter().filter(|row| **row >> 18 == quarter).count();
            assert!(inside.abs_diff(1024) < 140, "{inside} in quarter {quarter}");
        }
    }
}
