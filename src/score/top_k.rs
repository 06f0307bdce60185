//! The k best rows: highest score first, ties by the smaller id.
//!
//! Score and id are folded into one 64-bit key whose integer order is that order, so that CPU and
//! GPU select by the same comparison and no two keys are equal.

use std::cmp::Reverse;

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

fn hit(key: u64) -> Hit {
    Hit {
        id: !(key as u32),
        score: unordered((key >> 32) as u32),
    }
}

/// A running selection of the k best: what reaches the k-th best of an earlier moment is collected, and
/// from time to time cut down to k. A row costs one comparison then, for a k of 16384 as for one of 10.
pub struct TopK {
    k: usize,
    /// The k best and what came since.
    keys: Vec<u64>,
    /// Keys that are not above this one are not among the k best.
    threshold: u64,
    /// The score in `threshold`.
    score: f32,
}

impl TopK {
    /// An empty selection of up to `k` rows.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            keys: Vec::new(),
            threshold: 0,
            score: f32::NEG_INFINITY,
        }
    }

    /// Offers one row.
    pub fn push(&mut self, hit: Hit) {
        let key = key(hit);
        if key > self.threshold && self.k > 0 {
            self.keys.push(key);
            if self.keys.len() >= self.k + self.k.max(1024) {
                self.cut();
            }
        }
    }

    /// Offers the rows from `first` on.
    pub fn extend(&mut self, first: u32, scores: &[f32]) {
        for (block, scores) in scores.chunks(BLOCK).enumerate() {
            let threshold = self.score;
            // In most blocks no row is good enough, which is seen many rows at a time.
            if !scores.iter().fold(false, |any, s| any | (*s >= threshold)) {
                continue;
            }
            for (i, score) in scores.iter().enumerate() {
                let id = first.wrapping_add((block * BLOCK + i) as u32);
                self.push(Hit { id, score: *score });
            }
        }
    }

    fn cut(&mut self) {
        let last = self.k - 1;
        self.keys.select_nth_unstable_by(last, |a, b| b.cmp(a));
        self.keys.truncate(self.k);
        self.threshold = self.keys[last];
        self.score = hit(self.threshold).score;
    }

    /// The selection, best first.
    pub fn hits(&self) -> Vec<Hit> {
        let mut keys = self.keys.clone();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.truncate(self.k);
        keys.into_iter().map(hit).collect()
    }
}

/// Rows that are compared at a time.
const BLOCK: usize = 32;

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

    #[test]
    fn many_rows_in_any_order_give_the_best_of_a_sort() {
        let score = |id: u32| (id.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0 - 0.5;
        let mut hits: Vec<Hit> = (0..20_000)
            .map(|id| Hit {
                id,
                score: score(id),
            })
            .collect();
        let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
        sort(&mut hits);
        for k in [1, 100, 3000, 20_000] {
            let (mut random, mut rising) = (TopK::new(k), TopK::new(k));
            for (block, scores) in scores.chunks(777).enumerate() {
                random.extend(777 * block as u32, scores);
            }
            hits.iter().rev().for_each(|hit| rising.push(*hit));
            assert_eq!(random.hits(), hits[..k]);
            assert_eq!(rising.hits(), hits[..k]);
        }
    }
}
