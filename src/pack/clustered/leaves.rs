//! Dividing the rows of a centroid into leaves: small groups of near rows, whose mean is coded once for all of them.
//!
//! By k-means along the leading axes; groups that are too small to earn their code are given to the others. Leaves
//! are chained so that neighbours in number are near each other: a query's candidates then lie together, and
//! few ranges fetch them. Invariant: the result depends on the values and their order alone, not on threads.

use super::clustering::{greedy, lloyd, nearest, seed_rows};
use crate::format::clustered::blocks::LEAF_ROWS_MAX;
use crate::random::Sequence;

/// Rows of a leaf, about. By entropies of 120 clusters of a million generated rows 12 to 20 take about as few bytes at one
/// error, 35 a tenth more, 70 a quarter.
pub(super) const LEAF_ROWS: usize = 24;
/// A leaf has at least one of this many of the rows that leaves are to have, where there are as many.
const LEAST_SHARE: usize = 4;
const ROUNDS: usize = 5;
const CHANCE: (u64, u64) = (0, 0x6c65_6166);

/// The leaves of some rows.
pub(super) struct Leaves {
    /// Places of the rows, leaf after leaf; ascending within one.
    pub order: Vec<u32>,
    /// Rows of each leaf, 1 to 256.
    pub sizes: Vec<usize>,
    /// [leaves, V].
    pub means: Vec<f32>,
}

/// Divides `values` [n, axes] into leaves of about `rows_of_a_leaf` rows.
pub(super) fn divide(values: &[f32], axes: usize, rows_of_a_leaf: usize) -> Leaves {
    let rows = values.len() / axes;
    let count = (rows + rows_of_a_leaf / 2) / rows_of_a_leaf.max(1);
    let least = rows_of_a_leaf / LEAST_SHARE;
    let mut members: Vec<Vec<u32>> = vec![(0..rows as u32).collect()];
    if count > 1 {
        let mut chance = Sequence::new(CHANCE.0, CHANCE.1);
        let seeds = seed_rows(values, axes, count, &mut chance);
        let mut centres = lloyd(values, axes, seeds, ROUNDS);
        members = members_of(values, axes, &centres);
        let large = |members: &Vec<u32>| members.len() >= least;
        if !members.iter().all(large) && members.iter().any(large) {
            let kept = members.iter().zip(centres.chunks_exact(axes));
            let kept = kept.filter(|(members, _)| large(members));
            centres = kept.flat_map(|(_, centre)| centre).copied().collect();
            members = members_of(values, axes, &centres);
        }
    }
    // None for a centre without rows; several where many rows are equal.
    let members: Vec<&[u32]> = members.iter().flat_map(|rows| pieces(rows)).collect();
    let mut means = Vec::with_capacity(members.len() * axes);
    for members in &members {
        let start = means.len();
        means.resize(start + axes, 0.0);
        for row in *members {
            let row = &values[*row as usize * axes..][..axes];
            means[start..]
                .iter_mut()
                .zip(row)
                .for_each(|(m, v)| *m += v);
        }
        let size = members.len() as f32;
        means[start..].iter_mut().for_each(|mean| *mean /= size);
    }
    let chained = greedy(&means, (0..members.len()).collect(), None, axes);
    let in_order = |at: &usize| means[at * axes..][..axes].iter().copied();
    Leaves {
        order: chained
            .iter()
            .flat_map(|at| members[*at])
            .copied()
            .collect(),
        sizes: chained.iter().map(|at| members[*at].len()).collect(),
        means: chained.iter().flat_map(in_order).collect(),
    }
}

/// `rows` in pieces of about one size, none larger than a leaf can be; nothing for no rows.
pub(super) fn pieces(rows: &[u32]) -> impl Iterator<Item = &[u32]> {
    let count = rows.len().div_ceil(LEAF_ROWS_MAX);
    (0..count).map(move |at| &rows[at * rows.len() / count..(at + 1) * rows.len() / count])
}

/// The rows that are nearest to each of `centres`.
fn members_of(values: &[f32], axes: usize, centres: &[f32]) -> Vec<Vec<u32>> {
    let nearest = nearest(values, axes, centres);
    super::clustering::members(&nearest, centres.len() / axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows around 10 points far from each other, and some alone.
    fn grouped(rows: usize) -> Vec<f32> {
        let mut chance = Sequence::new(3, 1);
        let point = |at: usize, j: usize| if at % 3 == j { (at + 1) as f32 } else { 0.0 };
        (0..rows)
            .flat_map(|row| [0, 1, 2].map(|j| point(row % 10, j) + 0.01 * (chance.unit() - 0.5)))
            .collect()
    }

    #[test]
    fn leaves_hold_each_row_once_and_their_means_are_those_of_their_rows() {
        for rows in [1, 2, 5, 6, 23, 24, 100, 240, 777] {
            let values = grouped(rows);
            let leaves = divide(&values, 3, LEAF_ROWS);
            let mut seen = leaves.order.clone();
            seen.sort_unstable();
            assert_eq!(seen, (0..rows as u32).collect::<Vec<_>>());
            assert_eq!(leaves.sizes.iter().sum::<usize>(), rows);
            assert!(leaves.sizes.iter().all(|size| (1..=256).contains(size)));
            assert!(rows < 12 || leaves.sizes.iter().all(|size| *size >= 6));
            let mut start = 0;
            for (size, mean) in leaves.sizes.iter().zip(leaves.means.chunks_exact(3)) {
                let members = &leaves.order[start..start + size];
                assert!(members.is_sorted());
                for (j, mean) in mean.iter().enumerate() {
                    let sum: f32 = members
                        .iter()
                        .map(|row| values[*row as usize * 3 + j])
                        .sum();
                    assert!((sum / *size as f32 - mean).abs() < 1e-5);
                }
                start += size;
            }
        }
    }

    #[test]
    fn separate_groups_are_leaves() {
        let values = grouped(240);
        let leaves = divide(&values, 3, LEAF_ROWS);
        let mut start = 0;
        let mut mixed = 0;
        for size in &leaves.sizes {
            let groups = leaves.order[start..start + size].iter().map(|row| row % 10);
            let groups: std::collections::BTreeSet<u32> = groups.collect();
            mixed += usize::from(groups.len() > 1);
            start += size;
        }
        assert!(leaves.sizes.len() >= 7 && mixed <= 2, "{:?}", leaves.sizes);
    }

    /// Centres that rounding cannot tell apart: of some no row is the nearest.
    #[test]
    fn near_duplicates_among_others_leave_no_small_leaf() {
        let mut chance = Sequence::new(8, 4);
        let blob = |row: usize| {
            if row < 200 {
                [1.0, 2.0, 3.0]
            } else {
                [-4.0, 0.5, row as f32]
            }
        };
        let values: Vec<f32> = (0..260)
            .flat_map(|row| blob(row).map(|v| v + 1e-7 * (chance.unit() - 0.5)))
            .collect();
        let leaves = divide(&values, 3, LEAF_ROWS);
        assert!(
            leaves.sizes.iter().all(|size| *size >= 6),
            "{:?}",
            leaves.sizes
        );
        assert_eq!(leaves.sizes.iter().sum::<usize>(), 260);
        let mut start = 0;
        for size in &leaves.sizes {
            let rows = &leaves.order[start..start + size];
            assert!(rows.iter().all(|row| (*row < 200) == (rows[0] < 200)));
            start += size;
        }
    }

    #[test]
    fn equal_rows_make_leaves_of_at_most_256() {
        let leaves = divide(&[0.25; 3 * 1000], 3, LEAF_ROWS);
        assert_eq!(leaves.sizes, [250; 4]);
        assert!(leaves.means.iter().all(|mean| *mean == 0.25));
        assert!(leaves.order.is_sorted());
    }
}
