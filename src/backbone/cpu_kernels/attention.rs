//! Multi-head attention: `softmax(q k^T / sqrt(head)) v` for each head.
//!
//! Eight queries at a time, one to a lane; keys, then columns of values, are the rows of the register
//! tile. So softmax needs no sum across lanes, and only eight queries' scores exist. Invariant: qkv is
//! row-major [tokens, 3, heads, head]; any `head` is right, multiples of 8 are fastest.

use super::math;
use super::simd::{Kernel, LANES, ROWS, Simd, dispatch};
use super::tile;

/// `qkv` [tokens, 3, heads, head] -> [queries, heads * head]; the first `queries` tokens ask, all answer.
pub fn attention(qkv: &[f32], tokens: usize, heads: usize, queries: usize) -> Vec<f32> {
    let width = qkv.len() / (3 * tokens).max(1);
    debug_assert_eq!(qkv.len(), 3 * tokens * width);
    debug_assert_eq!(width % heads, 0);
    debug_assert!(queries <= tokens);
    let mut mixed = vec![0.0; queries * width];
    if queries > 0 {
        dispatch(Attention {
            qkv,
            tokens,
            heads,
            queries,
            mixed: &mut mixed,
        });
    }
    mixed
}

struct Attention<'a> {
    qkv: &'a [f32],
    tokens: usize,
    heads: usize,
    queries: usize,
    mixed: &'a mut [f32],
}

impl Kernel for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (tokens, queries) = (self.tokens, self.queries);
        let width = self.mixed.len() / queries;
        let head = width / self.heads;
        let scale = (head as f32).powf(-0.5);
        // Of a head, in tiles: keys [tokens / ROWS, head, ROWS] and values [head / ROWS, tokens, ROWS];
        // of eight queries: themselves [head, 8] and their scores [tokens, 8].
        let mut keys = vec![0.0; tokens.next_multiple_of(ROWS) * head];
        let mut values = vec![0.0; head.next_multiple_of(ROWS) * tokens];
        let mut asked = vec![0.0; head.next_multiple_of(ROWS) * LANES];
        let mut scores = vec![0.0; tokens.next_multiple_of(ROWS) * LANES];
        for h in 0..self.heads {
            let of_token = |token: usize, part: usize| {
                &self.qkv[(3 * token + part) * width + h * head..][..head]
            };
            for token in 0..tokens {
                let tile = &mut keys[token / ROWS * head * ROWS..][..head * ROWS];
                tile::set_row(of_token(token, 1), token % ROWS, tile);
                let tiles = values.chunks_exact_mut(tokens * ROWS);
                for (tile, value) in tiles.zip(of_token(token, 2).chunks(ROWS)) {
                    let to = &mut tile[token * ROWS..][..ROWS];
                    match value.first_chunk::<ROWS>() {
                        // One move, where a copy of unknown length is a call.
                        Some(full) => to.copy_from_slice(full),
                        None => to[..value.len()].copy_from_slice(value),
                    }
                }
            }
            for first in (0..queries).step_by(LANES) {
                let block = first..queries.min(first + LANES);
                for (lane, query) in block.clone().enumerate() {
                    for (to, q) in asked.chunks_exact_mut(LANES).zip(of_token(query, 0)) {
                        to[lane] = q * scale;
                    }
                }
                let tiles = keys.chunks_exact(head * ROWS);
                for (keys, scores) in tiles.zip(scores.chunks_exact_mut(ROWS * LANES)) {
                    let tile = tile::dense(s, keys, &asked);
                    for (scores, sums) in scores.as_chunks_mut().0.iter_mut().zip(tile) {
                        s.store(sums, scores);
                    }
                }
                let shares = exponentials(s, &mut scores.as_chunks_mut().0[..tokens]);
                // The queries have been asked: their place takes what they mix.
                let tiles = values.chunks_exact(tokens * ROWS);
                for (values, columns) in tiles.zip(asked.chunks_exact_mut(ROWS * LANES)) {
                    let tile = tile::dense(s, values, &scores);
                    for (column, sums) in columns.as_chunks_mut().0.iter_mut().zip(tile) {
                        s.store(s.mul(sums, shares), column);
                    }
                }
                let mixed = &mut self.mixed[block.start * width..block.end * width];
                for (lane, mixed) in mixed.chunks_exact_mut(width).enumerate() {
                    let to = mixed[h * head..][..head].iter_mut();
                    for (to, column) in to.zip(asked.as_chunks::<LANES>().0) {
                        *to = column[lane];
                    }
                }
            }
        }
    }
}

/// Replaces scores [tokens, 8] by `e^(score - largest)`, each lane for itself, and returns the inverses
/// of their sums, with which they make softmax.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [[f32; LANES]]) -> S::F {
    let mut most = s.splat(f32::MIN);
    for scores in scores.iter() {
        most = s.max(most, s.load(scores));
    }
    // e^-60 is as good as nothing, and no product with it is a slow subnormal number.
    let least = s.splat(-60.0);
    let mut sum = s.splat(0.0);
    for scores in scores {
        let e = math::exp(s, s.max(s.sub(s.load(scores), most), least));
        s.store(e, scores);
        sum = s.add(sum, e);
    }
    s.div(s.splat(1.0), sum)
}
