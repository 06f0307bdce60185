//! The k best rows: highest score first, ties by the smaller id.
//!
//! Score and id are folded into one 64-bit key whose integer order is that order, so that CPU and
//! GPU select by the same comparison and no two keys are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    pub id: u32,
    pub score: f32,
}

/// Maps a score to a `u32` whose order is the score's; -0 counts as +0.
pub fn ordered(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

/// The inverse of [`ordered`].
pub fn unordered(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & !(1 << 31)
    } else {
        !key
    })
}

fn key(hit: Hit) -> u64 {
    u64::from(ordered(hit.score)) << 32 | u64::from(!hit.id)
}

/// A running selection of the k best.
pub struct TopK {
    k: usize,
    heap: BinaryHeap<Reverse<u64>>,
}

impl TopK {
    /// An empty selection of up to `k` rows.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::with_capacity(k + 1),
        }
    }

    /// Offers one row.
    pub fn push(&mut self, hit: Hit) {
        let key = key(hit);
        if self.heap.len() < self.k {
            self.heap.push(Reverse(key));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && worst.0 < key
        {
            *worst = Reverse(key);
        }
    }

    /// The selection, best first.
    pub fn hits(&self) -> Vec<Hit> {
        let mut keys: Vec<u64> = self.heap.iter().map(|k| k.0).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.into_iter()
            .map(|key| Hit {
                id: !(key as u32),
                score: unordered((key >> 32) as u32),
            })
            .collect()
    }
}

/// Sorts hits best first, in the order of [`TopK`].
pub fn sort(hits: &mut [Hit]) {
    hits.sort_unstable_by_key(|hit| Reverse(key(*hit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_the_order_of_scores() {
        let scores = [
            f32::NEG_INFINITY,
            -2.5,
            -1e-30,
            0.0,
            1e-30,
            0.25,
            1.0,
            f32::INFINITY,
        ];
        for pair in scores.windows(2) {
            assert!(ordered(pair[0]) < ordered(pair[1]));
        }
        for score in scores {
            assert_eq!(unordered(ordered(score)), score);
        }
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    #[test]
    fn selection_equals_sorting_with_ties_by_id() {
        let hits: Vec<Hit> = (0..500u32)
            .map(|id| Hit {
                id,
                score: ((id * 7919) % 23) as f32 / 10.0 - 1.0,
            })
            .collect();
        let mut sorted = hits.clone();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        for k in [0, 1, 2, 22, 100, 499, 500, 900] {
            let mut top = TopK::new(k);
            hits.iter().rev().for_each(|hit| top.push(*hit));
            assert_eq!(top.hits(), sorted[..k.min(500)]);
        }
    }
}
