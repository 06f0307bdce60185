//! Products of many rows with a fixed set of rows: the work of k-means, of assignment and of the
//! transform.
//!
//! The loop is that of the evaluation's ranking ([`Kernel`]): a product is the f32 sum a0*b0 + a1*b1 + …
//! in that order, each product and each sum rounded, so results are the same on every machine and for
//! every number of threads.

use rayon::prelude::*;

use crate::evaluate::kernel::{Kernel, TILE_QUERIES};

/// Rows that go through all panels together: with D = 512 they and a panel stay in the second cache.
const BLOCK_ROWS: usize = 64;

/// The fixed rows [count, D], packed for the kernel as [panels, D, lanes]; lanes past the end are zero.
pub(super) struct Panels {
    kernel: Kernel,
    dimension: usize,
    count: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Packs `rows` [count, dimension]; `dimension` is not 0.
    pub fn new(rows: &[f32], dimension: usize) -> Self {
        let kernel = Kernel::fastest();
        let (lanes, count) = (kernel.lanes(), rows.len() / dimension);
        let mut values = vec![0.0; count.div_ceil(lanes) * lanes * dimension];
        for (panel, rows) in values
            .chunks_exact_mut(lanes * dimension)
            .zip(rows.chunks(lanes * dimension))
        {
            interleave(rows, dimension, lanes, panel);
        }
        Self {
            kernel,
            dimension,
            count,
            values,
        }
    }

    /// Writes the products of `rows` [n, D] with all fixed rows to `out` [n, count].
    pub fn multiply(&self, rows: &[f32], out: &mut [f32]) {
        let count = self.count;
        let blocks = rows.chunks(BLOCK_ROWS * self.dimension);
        for (rows, out) in blocks.zip(out.chunks_mut(BLOCK_ROWS * count)) {
            self.block(rows, |row, first, products| {
                let held = products.len().min(count - first);
                out[row * count + first..][..held].copy_from_slice(&products[..held]);
            });
        }
    }

    /// [`Panels::multiply`] on all threads.
    pub fn multiply_all(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() / self.dimension * self.count];
        rows.par_chunks(BLOCK_ROWS * self.dimension)
            .zip(out.par_chunks_mut(BLOCK_ROWS * self.count))
            .for_each(|(rows, out)| self.multiply(rows, out));
        out
    }

    /// For each of `rows` [n, D] the fixed row k with the largest product less `penalties[k]`, the smaller
    /// number where they are equal, and that difference.
    pub fn best(&self, rows: &[f32], penalties: &[f32]) -> Vec<(u32, f32)> {
        let chunks = rows.par_chunks(BLOCK_ROWS * self.dimension);
        let best = chunks.flat_map_iter(|rows| {
            let mut best = vec![(0u32, f32::NEG_INFINITY); rows.len() / self.dimension];
            self.block(rows, |row, first, products| {
                let best = &mut best[row];
                for (lane, (product, penalty)) in
                    products.iter().zip(&penalties[first..]).enumerate()
                {
                    let value = product - penalty;
                    if value > best.1 {
                        *best = ((first + lane) as u32, value);
                    }
                }
            });
            best
        });
        best.collect()
    }

    /// Calls `each(row, first, products)` with the products of a row with the fixed rows from `first` on, for
    /// ascending `first`; the products of lanes past the end are zero.
    fn block(&self, rows: &[f32], mut each: impl FnMut(usize, usize, &[f32])) {
        let (dimension, lanes) = (self.dimension, self.kernel.lanes());
        let held = rows.len() / dimension;
        let size = TILE_QUERIES * dimension;
        let mut tiles = vec![0.0; held.div_ceil(TILE_QUERIES) * size];
        for (tile, rows) in tiles.chunks_exact_mut(size).zip(rows.chunks(size)) {
            interleave(rows, dimension, TILE_QUERIES, tile);
        }
        let mut products = vec![0.0; TILE_QUERIES * lanes];
        for (at, panel) in self.values.chunks_exact(lanes * dimension).enumerate() {
            for (tile_at, tile) in tiles.chunks_exact(size).enumerate() {
                self.kernel.scores(tile, panel, &mut products);
                let first_row = tile_at * TILE_QUERIES;
                for (row, products) in (first_row..held).zip(products.chunks_exact(lanes)) {
                    each(row, at * lanes, products);
                }
            }
        }
    }
}

/// Writes `rows` [up to `width`, dimension] to `out` [dimension, width].
pub(super) fn interleave(rows: &[f32], dimension: usize, width: usize, out: &mut [f32]) {
    for (at, row) in rows.chunks_exact(dimension).enumerate() {
        for (value, out) in row.iter().zip(out.iter_mut().skip(at).step_by(width)) {
            *out = *value;
        }
    }
}

/// Half of |row|^2 of each of `rows` [n, dimension]: the nearest of them to x is the one with the largest
/// <x, row> less this.
pub(super) fn half_squares(rows: &[f32], dimension: usize) -> Vec<f32> {
    let half = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 2.0;
    rows.chunks_exact(dimension)
        .map(|row| half(row) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn products_and_the_best_of_them_are_those_of_plain_sums() {
        let (n, count, dimension) = (131, 37, 19);
        let mut chance = Sequence::new(3, 0);
        let mut fill = |n: usize| -> Vec<f32> { (0..n).map(|_| chance.unit() - 0.5).collect() };
        let (rows, mut fixed) = (fill(n * dimension), fill(count * dimension));
        // Equal rows: the first of them wins.
        fixed.copy_within(..dimension, 5 * dimension);
        let panels = Panels::new(&fixed, dimension);
        let penalties = half_squares(&fixed, dimension);
        let products = panels.multiply_all(&rows);
        let best = panels.best(&rows, &penalties);
        for (i, row) in rows.chunks_exact(dimension).enumerate() {
            let mut expected = (0, f32::NEG_INFINITY);
            for (k, fixed) in fixed.chunks_exact(dimension).enumerate() {
                let sum = row.iter().zip(fixed).fold(0.0, |sum, (a, b)| sum + a * b);
                assert_eq!(products[i * count + k], sum);
                if sum - penalties[k] > expected.1 {
                    expected = (k as u32, sum - penalties[k]);
                }
            }
            assert_eq!(best[i], expected);
            assert_ne!(best[i].0, 5);
        }
    }
}
