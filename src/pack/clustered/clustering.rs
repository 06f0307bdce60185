//! Two-level k-means: about sqrt(K) groups, each split into clusters in proportion to its rows, then
//! rounds over all clusters.
//!
//! The tree gives the numbers: clusters of a group are adjacent, and groups and clusters are chained so that
//! neighbours in number are near each other in space, because files hold clusters of consecutive
//! numbers. Invariants: every centroid is the mean of at least one row; the result depends on the
//! rows, their order and the seed alone.

use rayon::prelude::*;

use super::product::{Panels, half_squares};
use crate::random::Sequence;

/// Rounds for the groups, within a group, and over all clusters.
const GROUP_ROUNDS: usize = 8;
const SPLIT_ROUNDS: usize = 6;
const LAST_ROUNDS: usize = 3;
/// Rows of a group that seeding looks at, for each seed.
const SEEDING_ROWS: usize = 256;
/// Purposes of chance: groups have the numbers after the first.
const CHANCE: u64 = 0x6b6d_0000;
/// Squared distance below which rows are the same.
const SAME: f64 = 1e-10;

/// The centroids [K', D] of `rows` [n, dimension], K' at most `count` and less where fewer rows differ.
pub(super) fn cluster(rows: &[f32], dimension: usize, count: usize, seed: u64) -> Vec<f32> {
    let held = rows.len() / dimension;
    let count = count.clamp(1, held.max(1));
    let groups = (count as f64).sqrt().round().max(1.0) as usize;
    let seeds = seed_rows(rows, dimension, groups, &mut Sequence::new(seed, CHANCE));
    let centres = lloyd(rows, dimension, seeds, GROUP_ROUNDS);
    let members = members(
        &nearest(rows, dimension, &centres),
        centres.len() / dimension,
    );
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let shares = shares(&sizes, count);
    // Group after group: the rows of one are copied, which are few, and every step within is parallel.
    let mut centroids = Vec::new();
    let mut ends = Vec::new();
    for (group, (members, share)) in members.iter().zip(shares).enumerate() {
        let own: Vec<f32> = members
            .iter()
            .flat_map(|row| &rows[*row as usize * dimension..][..dimension])
            .copied()
            .collect();
        let mut chance = Sequence::new(seed, CHANCE + 1 + group as u64);
        let seeds = seed_rows(&own, dimension, share, &mut chance);
        centroids.extend(lloyd(&own, dimension, seeds, SPLIT_ROUNDS));
        ends.push(centroids.len() / dimension);
    }
    let order = chain(&centres, &centroids, &ends, dimension);
    let ordered: Vec<f32> = order
        .iter()
        .flat_map(|k| &centroids[k * dimension..][..dimension])
        .copied()
        .collect();
    lloyd(rows, dimension, ordered, LAST_ROUNDS)
}

/// The nearest centroid of each row.
pub(super) fn nearest(rows: &[f32], dimension: usize, centroids: &[f32]) -> Vec<u32> {
    let panels = Panels::new(centroids, dimension);
    let best = panels.best(rows, &half_squares(centroids, dimension));
    best.into_iter().map(|(k, _)| k).collect()
}

/// The rows of each of `count` clusters, ascending.
pub(super) fn members(assigned: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); count];
    for (row, k) in (0u32..).zip(assigned) {
        members[*k as usize].push(row);
    }
    members
}

/// Rounds of Lloyd's algorithm. Centroids that no row is nearest to are left out.
pub(super) fn lloyd(
    rows: &[f32],
    dimension: usize,
    mut centroids: Vec<f32>,
    rounds: usize,
) -> Vec<f32> {
    for _ in 0..rounds {
        let members = members(
            &nearest(rows, dimension, &centroids),
            centroids.len() / dimension,
        );
        centroids = members
            .par_iter()
            .filter(|members| !members.is_empty())
            .flat_map_iter(|members| {
                let mut sums = vec![0f64; dimension];
                for row in members {
                    let row = &rows[*row as usize * dimension..][..dimension];
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, v)| *sum += f64::from(*v));
                }
                let size = members.len() as f64;
                sums.into_iter().map(move |sum| (sum / size) as f32)
            })
            .collect();
    }
    centroids
}

/// Seeds by k-means++ (Arthur and Vassilvitskii, 2007) over evenly spaced rows: each with a chance in proportion
/// to its squared distance from the seeds before. Fewer than `count` where no more rows differ.
pub(super) fn seed_rows(
    rows: &[f32],
    dimension: usize,
    count: usize,
    chance: &mut Sequence,
) -> Vec<f32> {
    let held = rows.len() / dimension;
    let stride = (held / (count * SEEDING_ROWS)).max(1);
    let looked: Vec<&[f32]> = rows.chunks_exact(dimension).step_by(stride).collect();
    let mut distances = vec![f64::MAX; looked.len()];
    let mut seeds: Vec<f32> = Vec::with_capacity(count * dimension);
    if looked.is_empty() {
        return seeds;
    }
    let mut next = chance.below(looked.len());
    for _ in 0..count {
        let seed = looked[next];
        seeds.extend_from_slice(seed);
        distances
            .par_iter_mut()
            .zip(&looked)
            .with_min_len(64)
            .for_each(|(distance, row)| {
                *distance = distance.min(f64::from(squared_distance(row, seed)));
            });
        let total: f64 = distances.iter().filter(|d| **d > SAME).sum();
        if total <= 0.0 {
            break;
        }
        let mut left = f64::from(chance.unit()) * total;
        for (at, distance) in distances.iter().enumerate() {
            if *distance > SAME {
                next = at;
                left -= distance;
                if left < 0.0 {
                    break;
                }
            }
        }
    }
    seeds
}

/// |a - b|^2 as sixteen sums side by side, added up in order.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.into_iter().chain(rest).sum()
}

/// Parts of `total` in proportion to `sizes`, at most the size and at least 1 each.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let all: usize = sizes.iter().sum();
    let mut before = 0usize;
    let mut given = 0usize;
    let mut shares = Vec::with_capacity(sizes.len());
    for size in sizes {
        before += size;
        let due = (before as u128 * total as u128 / all.max(1) as u128) as usize;
        let share = due.saturating_sub(given).clamp(1, (*size).max(1));
        given += share;
        shares.push(share);
    }
    shares
}

/// An order of the centroids in which each is followed by the nearest of its group that is left; groups
/// likewise. `ends` are where the groups end.
fn chain(centres: &[f32], centroids: &[f32], ends: &[usize], dimension: usize) -> Vec<usize> {
    let groups = greedy(centres, (0..ends.len()).collect(), None, dimension);
    let mut order: Vec<usize> = Vec::with_capacity(centroids.len() / dimension);
    for group in groups {
        let start = if group == 0 { 0 } else { ends[group - 1] };
        let after = order
            .last()
            .map(|k| &centroids[k * dimension..][..dimension]);
        order.extend(greedy(
            centroids,
            (start..ends[group]).collect(),
            after,
            dimension,
        ));
    }
    order
}

/// The greedy chain through `left`, starting with the nearest to `after`, or with the first.
pub(super) fn greedy(
    points: &[f32],
    mut left: Vec<usize>,
    after: Option<&[f32]>,
    dimension: usize,
) -> Vec<usize> {
    let point = |k: usize| &points[k * dimension..][..dimension];
    let mut order = Vec::with_capacity(left.len());
    let mut last = after;
    while !left.is_empty() {
        let nearest = last.map_or(0, |last| {
            let distance = |at: &usize| squared_distance(point(left[*at]), last);
            (0..left.len())
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .unwrap_or(0)
        });
        let next = left.remove(nearest);
        order.push(next);
        last = Some(point(next));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around the corners of a cube, numbered as drawn.
    fn corners(n: usize) -> Vec<f32> {
        let mut chance = Sequence::new(5, 1);
        (0..n)
            .flat_map(|_| {
                let corner = chance.below(8);
                let at = |axis: usize| if corner >> axis & 1 == 1 { 1.0 } else { -1.0 };
                [0, 1, 2].map(|axis| at(axis) + (chance.unit() - 0.5) * 0.1)
            })
            .collect()
    }

    #[test]
    fn separate_clusters_are_found() {
        let rows = corners(2000);
        let (mut found, mut whole) = (0, 0);
        for seed in 0..12 {
            let centroids = cluster(&rows, 3, 8, seed);
            assert_eq!(centroids.len(), 24);
            let at_corners = centroids
                .chunks_exact(3)
                .filter(|c| c.iter().all(|v| (v.abs() - 1.0).abs() < 0.05))
                .map(|c| c.iter().fold(0, |bits, v| bits << 1 | u32::from(*v > 0.0)));
            let signs: Vec<u32> = at_corners.collect();
            let distinct: std::collections::BTreeSet<u32> = signs.iter().copied().collect();
            found += distinct.len();
            if distinct.len() == 8 {
                whole += 1;
                // Neighbours in the chain differ in one coordinate, mostly.
                let steps: u32 = signs.windows(2).map(|w| (w[0] ^ w[1]).count_ones()).sum();
                assert!(steps <= 10, "{signs:?}");
            }
        }
        // Two of the groups may share a corner, whose neighbours then have a centroid less.
        assert!(
            whole >= 4 && found >= 12 * 6,
            "{whole} of 12, {found} corners"
        );
    }

    #[test]
    fn few_different_rows_make_few_clusters() {
        assert_eq!(cluster(&[0.5, 0.5].repeat(100), 2, 16, 1).len(), 2);
        let two = [[1.0, 0.0], [0.0, 1.0]].concat().repeat(50);
        assert_eq!(cluster(&two, 2, 16, 1).len(), 4);
        assert_eq!(cluster(&[0.6, 0.8], 2, 16, 1), [0.6, 0.8]);
    }

    #[test]
    fn shares_sum_to_the_total_and_leave_no_group_out() {
        assert_eq!(shares(&[10, 30, 60], 10), [1, 3, 6]);
        assert_eq!(shares(&[1, 1, 998], 10)[..2], [1, 1]);
        assert!(shares(&[2, 2], 100).iter().all(|share| *share == 2));
    }
}
