//! The rows that a plan is made after, apart from the others.
//!
//! Another engine that holds the features gives these rows alone, and the plan is the same.

use std::ops::Range;

use super::plan::PlanOptions;
use super::sample::blocks;
use crate::error::{Error, Result};
use crate::features::RowSource;

/// The rows of `rows` that a plan for rows of `dimension` values is made after, in order.
pub fn sampled_rows(rows: usize, dimension: usize, options: &PlanOptions) -> Vec<Range<usize>> {
    blocks(rows, dimension, options.sample_rows, options.seed)
}

/// A matrix of which only the sampled rows are there.
pub(super) struct SampledRows<'a> {
    sample: &'a dyn RowSource,
    rows: usize,
    /// The ranges, and the row of the sample where each begins.
    ranges: Vec<(Range<usize>, usize)>,
}

impl<'a> SampledRows<'a> {
    /// `sample` holds the [`sampled_rows`] of a matrix of `rows` rows.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a sample of another number of rows.
    pub fn new(
        sample: &'a dyn RowSource,
        rows: usize,
        dimension: usize,
        options: &PlanOptions,
    ) -> Result<Self> {
        let mut start = 0;
        let mut ranges = Vec::new();
        for range in sampled_rows(rows, dimension, options) {
            let length = range.len();
            ranges.push((range, start));
            start += length;
        }
        let [found, _] = sample.shape();
        if found != start {
            return Err(Error::invalid(format!(
                "{}: {found} rows, the sample of {rows} has {start}",
                sample.label()
            )));
        }
        Ok(Self {
            sample,
            rows,
            ranges,
        })
    }
}

impl RowSource for SampledRows<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.sample.shape()[1]]
    }

    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let after = self
            .ranges
            .partition_point(|(range, _)| range.start <= first);
        let held = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        let held = held.filter(|(range, _)| {
            let end = first.checked_add(count);
            end.is_some_and(|end| end <= range.end)
        });
        let Some((range, start)) = held else {
            return Err(Error::invalid(format!(
                "{count} rows from row {first} are not in the sample {}",
                self.label()
            )));
        };
        self.sample
            .read_rows_f32(start + (first - range.start), count)
    }

    fn label(&self) -> String {
        self.sample.label()
    }
}
