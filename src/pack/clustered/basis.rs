//! What the quantisers of a plan start from: centroids, residuals of a sample along their principal axes, and
//! queries near the sample.

use half::f16;
use rayon::prelude::*;

use super::assign::Assigner;
use super::axes::principal_axes;
use super::clustering::cluster;
use super::encode::dot;
use super::product::Panels;
use super::residuals::Terms;
use super::sample_leaves::SampleLeaves;
use crate::error::Result;
use crate::format::shard::{quantize_row, row_stride};
use crate::random::Sequence;
use crate::score::query::normalise;

/// Most axes along which residuals are kept; no form codes more.
const AXES_MAX: usize = 384;
/// Queries with which forms are compared.
const QUERIES: usize = 128;
/// A query is a row plus this much of the difference of two others: shifted as far as the study's queries.
const SHIFT: f32 = 0.6;
const CHANCE: u64 = 0x7175_6572;
/// k of the recall that forms are compared at.
const TOP: f64 = 100.0;

pub(super) struct Basis {
    pub dimension: usize,
    /// N: rows of the index.
    pub rows: usize,
    pub centroid_scales: Vec<f32>,
    /// [K, S].
    pub centroid_codes: Vec<i8>,
    /// [K]: mean |x - c|^2; that of all rows for a centroid that none is nearest to.
    pub spreads: Vec<f32>,
    /// [A, D], each value an f16.
    pub axes: Vec<f32>,
    /// [D]: of residuals, descending.
    pub energies: Vec<f64>,
    /// [A]: mean square along the axes of query less centroid, for rows among the query's top.
    pub weights: Vec<f64>,
    pub sample: Sample,
    pub leaves: SampleLeaves,
    pub queries: Queries,
}

/// The sample, n rows.
pub(super) struct Sample {
    pub centroids: Vec<u32>,
    pub terms: Vec<Terms>,
    /// [n, A]: residuals along the axes.
    pub turned: Vec<f32>,
}

pub(super) struct Queries {
    /// [queries, K]: products with the centroids.
    pub bases: Vec<f32>,
    /// [queries, A].
    pub turned: Vec<f32>,
    /// The rows of the sample that score highest with each query: as many as are in proportion to the first
    /// hundred of all N rows.
    pub tops: Vec<Vec<u32>>,
    /// [queries, n].
    pub exact: Vec<f32>,
}

impl Basis {
    /// A: axes that are kept.
    pub fn kept(&self) -> usize {
        self.axes.len() / self.dimension
    }

    /// Clusters `unit` [n, dimension], a sample of `rows` rows, into at most `count` clusters.
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] for values that are not.
    pub fn new(
        mut unit: Vec<f32>,
        dimension: usize,
        rows: usize,
        count: usize,
        seed: u64,
    ) -> Result<Self> {
        let held = unit.len() / dimension;
        let means = cluster(&unit, dimension, count, seed);
        let mut centroid_codes =
            Vec::with_capacity(means.len() / dimension * row_stride(dimension));
        let mut centroid_scales = Vec::new();
        for mean in means.chunks_exact(dimension) {
            centroid_scales.push(quantize_row(mean, &mut centroid_codes)?);
        }
        let centroids: Vec<f32> = centroid_codes
            .chunks_exact(row_stride(dimension))
            .zip(&centroid_scales)
            .flat_map(|(codes, scale)| {
                codes[..dimension]
                    .iter()
                    .map(move |c| scale * f32::from(*c))
            })
            .collect();
        let assigned = Assigner::of(&centroids, dimension).assign(&unit);
        let queries = shifted_rows(&unit, dimension, seed);
        let exact = scores(&queries, &unit, dimension);
        let top = (TOP * held as f64 / rows as f64).round().max(1.0) as usize;
        let tops = exact.par_chunks(held).map(|scores| highest(scores, top));
        let tops: Vec<Vec<u32>> = tops.collect();

        // From here on rows are residuals.
        let terms: Vec<Terms> = unit
            .par_chunks_exact_mut(dimension)
            .zip(&assigned)
            .map(|(row, k)| {
                let c = &centroids[*k as usize * dimension..][..dimension];
                row.iter_mut().zip(c).for_each(|(x, c)| *x -= c);
                Terms {
                    square: dot(row, row) as f32,
                    along: dot(row, c) as f32,
                }
            })
            .collect();
        let found = principal_axes(&unit, dimension)?;
        let kept = dimension.min(AXES_MAX);
        let rounded = |v: &f32| f16::from_f32(*v).to_f32();
        let axes: Vec<f32> = found.axes[..kept * dimension].iter().map(rounded).collect();
        let panels = Panels::new(&axes, dimension);
        let turned = panels.multiply_all(&unit);
        drop(unit);
        let spreads = spreads(&assigned, &terms, centroid_scales.len());
        let turned_centroids = panels.multiply_all(&centroids);
        let turned_queries = panels.multiply_all(&queries);
        let mut weights = vec![0f64; kept];
        let mut counted = 0usize;
        for (query, top) in turned_queries.chunks_exact(kept).zip(&tops) {
            for row in top {
                let k = assigned[*row as usize] as usize;
                let centroid = &turned_centroids[k * kept..][..kept];
                for ((weight, q), c) in weights.iter_mut().zip(query).zip(centroid) {
                    *weight += f64::from(q - c).powi(2);
                }
                counted += 1;
            }
        }
        weights.iter_mut().for_each(|w| *w /= counted.max(1) as f64);
        let rows_of_one = rows as f64 / held as f64;
        let leaves = SampleLeaves::new(&assigned, &turned, kept, rows_of_one);
        Ok(Self {
            leaves,
            dimension,
            rows,
            queries: Queries {
                bases: Panels::new(&centroids, dimension).multiply_all(&queries),
                turned: turned_queries,
                tops,
                exact,
            },
            centroid_scales,
            centroid_codes,
            spreads,
            axes,
            energies: found.energies,
            weights,
            sample: Sample {
                centroids: assigned,
                terms,
                turned,
            },
        })
    }
}

/// Rows of `unit` [n, dimension], each shifted by part of the difference of two others, of unit length.
fn shifted_rows(unit: &[f32], dimension: usize, seed: u64) -> Vec<f32> {
    let held = unit.len() / dimension;
    let mut chance = Sequence::new(seed, CHANCE);
    let mut queries = Vec::with_capacity(QUERIES.min(held) * dimension);
    for _ in 0..QUERIES.min(held) {
        let [x, a, b] = [(); 3].map(|()| &unit[chance.below(held) * dimension..][..dimension]);
        let sum = x
            .iter()
            .zip(a)
            .zip(b)
            .map(|((x, a), b)| x + SHIFT * (a - b));
        let sum: Vec<f32> = sum.collect();
        let mut query = x.to_vec();
        // Where the shift leaves nothing the row itself is the query.
        normalise(&sum, &mut query);
        queries.extend(query);
    }
    queries
}

/// Products [queries, rows] of `queries` with `rows`, both [.., dimension].
fn scores(queries: &[f32], rows: &[f32], dimension: usize) -> Vec<f32> {
    let by_row = Panels::new(queries, dimension).multiply_all(rows);
    transposed(&by_row, queries.len() / dimension)
}

/// `values` [n, width] as [width, n].
pub(super) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width)
        .into_par_iter()
        .flat_map_iter(|j| values.iter().skip(j).step_by(width).copied())
        .collect()
}

/// The numbers of the `count` highest scores.
fn highest(scores: &[f32], count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..scores.len() as u32).collect();
    let count = count.min(rows.len());
    let order = |a: &u32, b: &u32| {
        let (x, y) = (scores[*a as usize], scores[*b as usize]);
        y.total_cmp(&x).then(a.cmp(b))
    };
    if count < rows.len() {
        rows.select_nth_unstable_by(count, order);
    }
    rows.truncate(count);
    rows.sort_unstable_by(order);
    rows
}

fn spreads(assigned: &[u32], terms: &[Terms], count: usize) -> Vec<f32> {
    let mut sums = vec![(0f64, 0u32); count];
    for (k, terms) in assigned.iter().zip(terms) {
        let sum = &mut sums[*k as usize];
        sum.0 += f64::from(terms.square);
        sum.1 += 1;
    }
    let all = sums.iter().map(|sum| sum.0).sum::<f64>() / terms.len().max(1) as f64;
    sums.into_iter()
        .map(|(sum, rows)| match rows {
            0 => all as f32,
            rows => (sum / f64::from(rows)) as f32,
        })
        .collect()
}
