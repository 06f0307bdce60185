//! The plain twins that define what the kernels compute; sums in f64.

use super::Epilogue;

/// `f(x W^T + b)`: `x` [M, inputs], `weights` [outputs, inputs], `bias` [outputs] -> [M, outputs].
pub fn linear(x: &[f32], weights: &[f32], bias: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weights.len() / outputs;
    let rows = x.chunks_exact(inputs);
    let z = rows.flat_map(|x| {
        weights
            .chunks_exact(inputs)
            .zip(bias)
            .map(move |(w, bias)| {
                let products = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                products.sum::<f64>() + f64::from(*bias)
            })
    });
    let y = z.enumerate().map(|(i, z)| match epilogue {
        Epilogue::None => z,
        Epilogue::Relu => z.max(0.0),
        Epilogue::Gelu => gelu(z),
        Epilogue::QuickGelu => z / (1.0 + (-1.702 * z).exp()),
        Epilogue::Residual { residual, gamma } => {
            f64::from(residual[i]) + gamma.map_or(1.0, |g| f64::from(g[i % outputs])) * z
        }
        Epilogue::ResidualRelu { residual } => (f64::from(residual[i]) + z).max(0.0),
    });
    y.map(|y| y as f32).collect()
}

/// `x Phi(x)`, with erf by its Taylor series: 1e-12 for |x| < 6, and the limits beyond.
pub fn gelu(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return x.max(0.0);
    }
    let z = x / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (z, z);
    for n in 1..120 {
        let n = f64::from(n);
        term *= -z * z / n;
        sum += term / (2.0 * n + 1.0);
    }
    let erf = sum * std::f64::consts::FRAC_2_SQRT_PI;
    x / 2.0 * (1.0 + erf)
}

/// `softmax(q k^T / sqrt(head)) v`: `qkv` [tokens, 3, heads, head] -> [queries, heads * head].
pub fn attention(qkv: &[f32], tokens: usize, heads: usize, queries: usize) -> Vec<f32> {
    let width = qkv.len() / (3 * tokens);
    let head = width / heads;
    let of_token = |token: usize, part: usize, h: usize| {
        let values = &qkv[(3 * token + part) * width + h * head..][..head];
        values.iter().map(|x| f64::from(*x))
    };
    let mut mixed = Vec::with_capacity(queries * width);
    for query in 0..queries {
        for h in 0..heads {
            let scores = (0..tokens).map(|token| {
                let products = of_token(query, 0, h).zip(of_token(token, 1, h));
                products.map(|(q, k)| q * k).sum::<f64>() / (head as f64).sqrt()
            });
            let scores: Vec<f64> = scores.collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut sums = vec![0.0; head];
            for (token, weight) in weights.iter().enumerate() {
                for (sum, value) in sums.iter_mut().zip(of_token(token, 2, h)) {
                    *sum += weight * value;
                }
            }
            mixed.extend(sums.iter().map(|sum| (sum / total) as f32));
        }
    }
    mixed
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` for each row of `x` [M, width].
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    let width = weight.len() as f64;
    let rows = x.chunks_exact(weight.len());
    let y = rows.flat_map(|row| {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
        let squares = row.iter().map(|x| (f64::from(*x) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / width + f64::from(epsilon)).sqrt();
        let affine = weight.iter().zip(bias);
        row.iter().zip(affine).map(move |(x, (weight, bias))| {
            (f64::from(*x) - mean) / deviation * f64::from(*weight) + f64::from(*bias)
        })
    });
    y.map(|y| y as f32).collect()
}
