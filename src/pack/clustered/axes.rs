//! The principal axes of residuals: few of them hold most of what distinguishes the rows of a cluster.
//!
//! The second moments are f32 sums over a few hundred rows each, added up in f64 in the order of the
//! rows, so they do not depend on the number of threads.

use faer::{Mat, Side};
use rayon::prelude::*;

use super::product::interleave;
use crate::error::{Error, Result};
use crate::evaluate::kernel::{Kernel, TILE_QUERIES};

/// Rows whose products are summed in f32.
const CHUNK_ROWS: usize = 512;

/// Orthonormal axes [D, D], one a row, and the mean energies along them [D], descending.
pub(super) struct Axes {
    pub axes: Vec<f32>,
    pub energies: Vec<f64>,
}

/// The principal axes of `rows` [n, dimension] about the origin: eigenvectors of the mean of x x^t, each with
/// its largest component positive.
///
/// # Errors
/// [`Error::NotFinite`] where the values have no eigenvectors.
pub(super) fn principal_axes(rows: &[f32], dimension: usize) -> Result<Axes> {
    let moments = second_moments(rows, dimension);
    let matrix = Mat::from_fn(dimension, dimension, |i, j| {
        moments[i.max(j) * dimension + i.min(j)]
    });
    let failed = || Error::NotFinite {
        what: "the spread of the rows around their centroids".into(),
    };
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| failed())?;
    let (vectors, values) = (eigen.U(), eigen.S());
    let mut axes = Vec::with_capacity(dimension * dimension);
    let mut energies = Vec::with_capacity(dimension);
    for column in (0..dimension).rev() {
        energies.push(values[column].max(0.0));
        let vector = (0..dimension).map(|i| vectors[(i, column)]);
        let peak = vector.clone().fold(
            0.0f64,
            |peak, v| if v.abs() > peak.abs() { v } else { peak },
        );
        axes.extend(vector.map(|v| (v * peak.signum()) as f32));
    }
    match energies.iter().all(|energy| energy.is_finite()) {
        true => Ok(Axes { axes, energies }),
        false => Err(failed()),
    }
}

/// The mean of x x^t over `rows` [n, D] as [D, D], of which only the lower triangle is filled.
fn second_moments(rows: &[f32], dimension: usize) -> Vec<f64> {
    let kernel = Kernel::fastest();
    let lanes = kernel.lanes();
    let width = dimension.next_multiple_of(lanes);
    // Strip after strip of `lanes` rows of the matrix, [strips, lanes, D].
    let mut sums = vec![0f64; width * dimension];
    for chunk in rows.chunks(CHUNK_ROWS * dimension) {
        let held = chunk.len() / dimension;
        let columns = transposed(chunk, dimension);
        let tiles: Vec<f32> = columns
            .par_chunks(TILE_QUERIES * held)
            .flat_map_iter(|columns| {
                let mut tile = vec![0.0; TILE_QUERIES * held];
                interleave(columns, held, TILE_QUERIES, &mut tile);
                tile
            })
            .collect();
        sums.par_chunks_mut(lanes * dimension)
            .zip(columns.par_chunks(lanes * held))
            .enumerate()
            .for_each(|(strip, (sums, columns))| {
                let mut panel = vec![0.0; lanes * held];
                interleave(columns, held, lanes, &mut panel);
                let mut products = vec![0.0; TILE_QUERIES * lanes];
                let end = ((strip + 1) * lanes).min(dimension);
                for (at, tile) in tiles.chunks_exact(TILE_QUERIES * held).enumerate() {
                    if at * TILE_QUERIES >= end {
                        break;
                    }
                    kernel.scores(tile, &panel, &mut products);
                    for (j, products) in
                        (at * TILE_QUERIES..dimension).zip(products.chunks_exact(lanes))
                    {
                        let sums = sums.iter_mut().skip(j).step_by(dimension);
                        sums.zip(products)
                            .for_each(|(sum, product)| *sum += f64::from(*product));
                    }
                }
            });
    }
    let count = (rows.len() / dimension).max(1) as f64;
    sums.truncate(dimension * dimension);
    sums.iter_mut().for_each(|sum| *sum /= count);
    sums
}

/// `rows` [n, D] as [D, n].
fn transposed(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut columns = vec![0.0; rows.len()];
    columns
        .par_chunks_mut(rows.len() / dimension)
        .enumerate()
        .for_each(|(j, column)| {
            let values = rows.iter().skip(j).step_by(dimension);
            column.iter_mut().zip(values).for_each(|(c, v)| *c = *v);
        });
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn axes_are_those_that_the_rows_were_made_with() {
        // Rows along a rotated frame with energies 4, 1, 1/4, …; n above one chunk.
        let (n, dimension) = (3000, 6);
        let mut chance = Sequence::new(1, 0);
        let angle = 0.7f32;
        let mut rows = Vec::new();
        for _ in 0..n {
            let mut x: Vec<f32> = (0..dimension)
                .map(|j| (chance.unit() - 0.5) * 12f32.sqrt() * 0.5f32.powi(j - 1))
                .collect();
            let (a, b) = (x[0], x[3]);
            x[0] = angle.cos() * a - angle.sin() * b;
            x[3] = angle.sin() * a + angle.cos() * b;
            rows.extend(x);
        }
        let dimension = dimension as usize;
        let found = principal_axes(&rows, dimension).unwrap();
        let first = &found.axes[..dimension];
        assert!((first[0] - angle.cos()).abs() < 0.02, "{first:?}");
        assert!((first[3] - angle.sin()).abs() < 0.02, "{first:?}");
        for (j, energy) in found.energies.iter().enumerate() {
            let expected = 4.0 * 0.25f64.powi(j as i32);
            assert!((energy / expected - 1.0).abs() < 0.1, "{j}: {energy}");
        }
        for i in 0..dimension {
            for j in 0..dimension {
                let (a, b) = (&found.axes[i * dimension..], &found.axes[j * dimension..]);
                let dot: f32 = a.iter().zip(b).take(dimension).map(|(a, b)| a * b).sum();
                assert!((dot - f32::from(u8::from(i == j))).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn moments_are_those_of_plain_sums() {
        let (n, dimension) = (700, 45);
        let mut chance = Sequence::new(2, 0);
        let rows: Vec<f32> = (0..n * dimension).map(|_| chance.unit() - 0.4).collect();
        let moments = second_moments(&rows, dimension);
        for i in 0..dimension {
            for j in 0..=i {
                let sum: f64 = rows
                    .chunks_exact(dimension)
                    .map(|row| f64::from(row[i]) * f64::from(row[j]))
                    .sum();
                assert!((moments[i * dimension + j] - sum / n as f64).abs() < 1e-6);
            }
        }
    }
}
