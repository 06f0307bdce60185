//! Leaves of the sample that a plan is made after: what they leave of residuals says what the leaves of all rows will.
//!
//! A sample is thinner than what it is of. So its leaves have fewer rows, down to [`LEAST`], and what it shows is corrected
//! for that: around the mean of n rows these spread less, by 1 - 1/n, than around that of all rows that they stand for. Larger
//! leaves than those to come leave more, and where rows are coded the correction goes for all axes, also those without a
//! mean: a plan after a thin sample is cautious about rows.

use rayon::prelude::*;

use super::leaves::{LEAF_ROWS, divide};
use super::slice::SLICE_ROWS;

/// Rows of a leaf in a thin sample: of fewer the correction would be large.
const LEAST: usize = 12;
/// Most axes of leaves' codes.
const AXES_MAX: usize = 256;

/// Leaves of all rows of the sample.
pub(super) struct SampleLeaves {
    /// Values of a mean.
    pub axes: usize,
    /// [n]: the leaf of each row.
    pub of_row: Vec<u32>,
    /// [leaves, axes].
    pub means: Vec<f32>,
    /// [leaves]: what residuals less the leaf are stretched by. 0: a leaf of one row, which stands for none.
    pub stretch: Vec<f32>,
    /// [A]: mean square of residuals less their leaves, stretched.
    pub energies: Vec<f64>,
}

impl SampleLeaves {
    /// Divides rows of the centroids `assigned` [n] with residuals `turned` [n, kept]; each stands for `rows_of_one` rows.
    pub fn new(assigned: &[u32], turned: &[f32], kept: usize, rows_of_one: f64) -> Self {
        let axes = kept.min(AXES_MAX);
        let size = ((LEAF_ROWS as f64 / rows_of_one) as usize).max(LEAST);
        let count = assigned.iter().max().map_or(0, |last| *last as usize + 1);
        let members = super::clustering::members(assigned, count);
        let divided: Vec<_> = members
            .par_iter()
            .flat_map_iter(|members| members.chunks(SLICE_ROWS))
            .map(|members| {
                let rows = members.iter();
                let rows = rows.flat_map(|row| &turned[*row as usize * kept..][..axes]);
                let values: Vec<f32> = rows.copied().collect();
                (members, divide(&values, axes, size))
            })
            .collect();
        let mut of_row = vec![0; assigned.len()];
        let (mut means, mut stretch) = (Vec::new(), Vec::new());
        for (members, leaves) in divided {
            let mut order = leaves.order.iter();
            for size in &leaves.sizes {
                for at in order.by_ref().take(*size) {
                    of_row[members[*at as usize] as usize] = stretch.len() as u32;
                }
                let (here, all) = (1.0 / *size as f64, 1.0 / (*size as f64 * rows_of_one));
                stretch.push(match *size {
                    1 if rows_of_one > 1.0 => 0.0,
                    1 => 1.0,
                    _ => ((1.0 - all) / (1.0 - here)).sqrt() as f32,
                });
            }
            means.extend(leaves.means);
        }
        let mut leaves = Self {
            axes,
            of_row,
            means,
            stretch,
            energies: Vec::new(),
        };
        leaves.energies = leaves.energies(turned, kept);
        leaves
    }

    /// Mean square of each of the values of means that stand for more rows than the sample's.
    pub fn mean_squares(&self) -> Vec<f64> {
        let mut sums = vec![0f64; self.axes];
        let mut count = 0usize;
        for mean in self.standing() {
            let values = sums.iter_mut().zip(mean);
            values.for_each(|(sum, v)| *sum += f64::from(*v).powi(2));
            count += 1;
        }
        sums.iter().map(|sum| sum / count.max(1) as f64).collect()
    }

    /// The means [axes] of leaves that stand for some.
    pub fn standing(&self) -> impl Iterator<Item = &[f32]> {
        let means = self.means.chunks_exact(self.axes.max(1)).zip(&self.stretch);
        let standing = means.filter(|(_, stretch)| **stretch > 0.0);
        standing.map(|(mean, _)| mean)
    }

    fn energies(&self, turned: &[f32], kept: usize) -> Vec<f64> {
        let mut sums = vec![0f64; kept];
        for (row, leaf) in turned.chunks_exact(kept).zip(&self.of_row) {
            let leaf = *leaf as usize;
            let (stretch, taken) = match self.stretch[leaf] {
                0.0 => (1.0, 0.0),
                stretch => (stretch, 1.0),
            };
            let mean = &self.means[leaf * self.axes..][..self.axes];
            let less = row
                .iter()
                .zip(mean)
                .map(|(v, mean)| stretch * (v - taken * mean));
            let values = less.chain(row.iter().skip(self.axes).copied());
            values
                .zip(&mut sums)
                .for_each(|(v, sum)| *sum += f64::from(v).powi(2));
        }
        let count = self.of_row.len().max(1) as f64;
        sums.iter().map(|sum| sum / count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    /// `rows` rows in a tight group each of `of_group`, along three axes with deviations of 1 and .1.
    fn rows(rows: usize, of_group: usize) -> Vec<f32> {
        let mut chance = Sequence::new(9, 2);
        let mut centre = [0.0; 3];
        let mut values = Vec::new();
        // Uniform with that deviation.
        let mut draw = |deviation: f32| deviation * 12f32.sqrt() * (chance.unit() - 0.5);
        for row in 0..rows {
            if row % of_group == 0 {
                centre = [(); 3].map(|()| draw(10.0));
            }
            values.extend(centre.map(|c| c + draw(0.1)));
        }
        values
    }

    #[test]
    fn a_thin_sample_says_how_rows_spread_around_the_leaves_of_all() {
        // Groups of 96 rows, of all rows and of every fourth.
        let all = rows(9600, 96);
        let thin: Vec<f32> = all.chunks_exact(3).step_by(4).flatten().copied().collect();
        let energy = |values: &[f32], rows_of_one| {
            let leaves = SampleLeaves::new(&vec![0; values.len() / 3], values, 3, rows_of_one);
            assert_eq!(leaves.of_row.len(), values.len() / 3);
            assert_eq!(leaves.means.len(), 3 * leaves.stretch.len());
            leaves.energies[2]
        };
        // Of .01 leaves of a quarter of a group take more than half; those of half a group in the thin sample less.
        let (dense, thin) = (energy(&all, 1.0), energy(&thin, 4.0));
        assert!((0.002..0.01).contains(&dense), "{dense}");
        assert!((dense..2.5 * dense).contains(&thin), "{thin}, {dense}");
    }

    #[test]
    fn a_leaf_of_one_row_of_many_stands_for_none() {
        let leaves = SampleLeaves::new(&[0, 1], &[1.0, 2.0, 3.0, 4.0], 2, 8.0);
        assert_eq!(leaves.stretch, [0.0, 0.0]);
        assert_eq!(leaves.energies, [5.0, 10.0]);
        let whole = SampleLeaves::new(&[0, 1], &[1.0, 2.0, 3.0, 4.0], 2, 1.0);
        assert_eq!(
            (whole.stretch, whole.energies),
            (vec![1.0, 1.0], vec![0.0, 0.0])
        );
    }
}
