//! LayerNorm over the last axis: `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
//!
//! The variance is the mean of squared differences, taken after the mean, so it stays exact for rows far
//! from zero. Invariant: x is row-major [M, width].

use super::simd::{Kernel, LANES, Simd, dispatch};

/// `x` [M, width] -> [M, width]; `weight` and `bias` [width].
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    debug_assert_eq!(weight.len(), bias.len());
    debug_assert_eq!(x.len() % weight.len(), 0);
    let mut y = vec![0.0; x.len()];
    dispatch(LayerNorm {
        x,
        weight,
        bias,
        epsilon,
        y: &mut y,
    });
    y
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let share = 1.0 / width as f32;
        for (x, y) in self
            .x
            .chunks_exact(width)
            .zip(self.y.chunks_exact_mut(width))
        {
            let (full, rest) = x.as_chunks::<LANES>();
            let mut sum = s.load_part(rest);
            for x in full {
                sum = s.add(sum, s.load(x));
            }
            let mean = s.sum(sum) * share;
            let center = s.splat(mean);
            let mut squares = s.splat(0.0);
            for x in full {
                let x = s.sub(s.load(x), center);
                squares = s.mul_add(x, x, squares);
            }
            let of_rest: f32 = rest.iter().map(|x| (x - mean) * (x - mean)).sum();
            let variance = (s.sum(squares) + of_rest) * share;
            let factor = s.splat(1.0 / (variance + self.epsilon).sqrt());
            let affine = self.weight.chunks(LANES).zip(self.bias.chunks(LANES));
            let ends = x.chunks(LANES).zip(y.chunks_mut(LANES));
            for ((x, y), (weight, bias)) in ends.zip(affine) {
                let x = s.mul(s.sub(s.load_part(x), center), factor);
                s.store_part(s.mul_add(x, s.load_part(weight), s.load_part(bias)), y);
            }
        }
    }
}
