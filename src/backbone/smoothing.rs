//! Factors that make the inputs of a matrix alike.
//!
//! A LayerNorm's gains can be divided, and the columns of the matrix behind it multiplied, by the same factors: the product
//! stays. With factors that grow with the size of a channel, a row whose span sets the step of its integers
//! loses little, and columns that carry much are rounded finely (SmoothQuant, Xiao et al., ICML 2023, and AWQ, Lin et al., MLSys
//! 2024; here by the mean squares of samples). Invariant: factors are finite and positive.

/// Power of a channel's root mean square that its factor is.
const POWER: f32 = 0.5;
/// Share of the mean of all channels' squares that is added to each, for those that samples hardly use.
const DAMPING: f32 = 1e-3;
/// The LayerNorms of a transformer's block and the matrices behind them.
pub const PAIRS: [(&str, &str); 2] = [("norm1", "attn.qkv"), ("norm2", "mlp.fc1")];

/// A factor for each input.
pub struct Factors(pub(super) Vec<f32>);

impl Factors {
    /// From `X^T X` [inputs, inputs] in any scale; their mean logarithm is 0.
    pub fn new(moments: &[f32], inputs: usize) -> Self {
        let squares: Vec<f32> = (0..inputs).map(|i| moments[i * inputs + i]).collect();
        let added = DAMPING * squares.iter().sum::<f32>() / inputs.max(1) as f32;
        if !added.is_normal() {
            return Self(vec![1.0; inputs]);
        }
        let logs = squares
            .iter()
            .map(|square| POWER / 2.0 * (square + added).ln());
        let logs: Vec<f32> = logs.collect();
        let mean = logs.iter().sum::<f32>() / inputs as f32;
        Self(logs.iter().map(|log| (log - mean).exp()).collect())
    }

    /// Divides `values` [inputs], a LayerNorm's.
    pub fn divide(&self, values: &mut [f32]) {
        for (value, factor) in values.iter_mut().zip(&self.0) {
            *value /= factor;
        }
    }

    /// Multiplies the columns of `weights` [outputs, inputs].
    pub fn multiply_columns(&self, weights: &mut [f32]) {
        for row in weights.chunks_exact_mut(self.0.len().max(1)) {
            for (weight, factor) in row.iter_mut().zip(&self.0) {
                *weight *= factor;
            }
        }
    }
}
