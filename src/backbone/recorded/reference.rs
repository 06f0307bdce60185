//! The CPU twins that define what the kernels compute, in plain Rust.

use super::linear::{Activation, Window};
use crate::format::model::EIGHT_BIT_STEPS;

/// `x` [rows, in] times `weights` [out, in], plus `bias` [out].
pub fn linear(x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let inputs = weights.len() / bias.len();
    let mut y = Vec::with_capacity(x.len() / inputs * bias.len());
    for row in x.chunks_exact(inputs) {
        for (weights, bias) in weights.chunks_exact(inputs).zip(bias) {
            let sum: f64 = row.iter().zip(weights).map(|(x, w)| f64::from(x * w)).sum();
            y.push(sum as f32 + bias);
        }
    }
    y
}

/// What rows of `inputs` values are once they were rounded to bytes: steps from a row's least value or 0 to its largest or 0;
/// the first row by what that leaves of it as well, in steps of a 254th.
pub fn round_rows(x: &[f32], inputs: usize) -> Vec<f32> {
    let steps = f32::from(EIGHT_BIT_STEPS);
    let mut y = Vec::with_capacity(x.len());
    for (r, row) in x.chunks_exact(inputs).enumerate() {
        let below = row.iter().fold(0.0f32, |most, x| most.max(-x));
        let span = below + row.iter().fold(0.0f32, |most, x| most.max(*x));
        let inverse = if span > 1e-30 { steps / span } else { 0.0 };
        let zero = (below * inverse).round_ties_even() - 127.0;
        y.extend(row.iter().map(|x| {
            let code = (x * inverse).round_ties_even();
            let left = ((x * inverse - code) * steps).round_ties_even() / steps;
            let byte = (code + zero).clamp(-127.0, 127.0) - zero;
            span / steps * (byte + if r == 0 { left } else { 0.0 })
        }));
    }
    y
}

/// An int8 matrix as f32: `scales[n] * codes[n][k]`.
pub fn expand8(codes: &[i8], scales: &[f32]) -> Vec<f32> {
    let inputs = codes.len() / scales.len();
    let rows = codes.chunks_exact(inputs).zip(scales);
    rows.flat_map(|(row, scale)| row.iter().map(move |code| f32::from(*code) * scale))
        .collect()
}

/// A 4-bit matrix as f32: `scales[k / 32][n] * (codes[n][k] - 8)`, two codes to a byte, the first in its low half.
pub fn expand4(codes: &[u8], scales: &[f32], inputs: usize) -> Vec<f32> {
    let outputs = 2 * codes.len() / inputs;
    let code = |i: usize| f32::from(codes[i / 2] >> (4 * (i % 2)) & 15) - 8.0;
    let value = |i: usize| code(i) * scales[i % inputs / 32 * outputs + i / inputs];
    (0..outputs * inputs).map(value).collect()
}

/// The rows of a convolution over `x` [batch, side, side, channels]: one output pixel's window each, in the order
/// (y, x, channel), with zeros around the image.
pub fn windows(x: &[f32], window: Window, channels: usize) -> Vec<f32> {
    let Window {
        side,
        kernel,
        stride,
    } = window;
    let (out, pad) = (side / stride, kernel / 2);
    let mut rows = Vec::new();
    for image in x.chunks_exact(side * side * channels) {
        for at in 0..out * out {
            for tap in 0..kernel * kernel {
                let y = (at / out * stride + tap / kernel).wrapping_sub(pad);
                let x = (at % out * stride + tap % kernel).wrapping_sub(pad);
                if y < side && x < side {
                    rows.extend_from_slice(&image[(y * side + x) * channels..][..channels]);
                } else {
                    rows.extend(std::iter::repeat_n(0.0, channels));
                }
            }
        }
    }
    rows
}

/// The activation of one value.
pub fn activate(x: f32, activation: Activation) -> f32 {
    match activation {
        Activation::None => x,
        Activation::Gelu => gelu(f64::from(x)) as f32,
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Relu => x.max(0.0),
    }
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, by the series of erf, or its continued fraction far from 0.
fn gelu(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let gauss = (-z * z).exp() / std::f64::consts::PI.sqrt();
    let tail = if z < 3.0 {
        let mut term = z;
        let mut sum = z;
        for n in 1..100 {
            term *= 2.0 * z * z / f64::from(2 * n + 1);
            sum += term;
        }
        1.0 - 2.0 * gauss * sum
    } else {
        gauss / (1..60).rev().fold(z, |f, n| z + f64::from(n) / 2.0 / f)
    };
    x.max(0.0) - x.abs() / 2.0 * tail
}

/// `y = activation(residual + gamma * y)`, with row `step * r` of the residual for row r.
pub fn finish(
    y: &mut [f32],
    outputs: usize,
    residual: Option<(&[f32], usize)>,
    gamma: Option<&[f32]>,
    activation: Activation,
) {
    for (i, y) in y.iter_mut().enumerate() {
        let (row, n) = (i / outputs, i % outputs);
        let scaled = *y * gamma.map_or(1.0, |gamma| gamma[n]);
        let added = residual.map_or(0.0, |(values, step)| values[row * step * outputs + n]);
        *y = activate(added + scaled, activation);
    }
}

/// LayerNorm of the rows `step * r` of `x`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], step: usize, epsilon: f32) -> Vec<f32> {
    let width = weight.len();
    let mut y = Vec::new();
    for row in x.chunks_exact(width).step_by(step) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
        let factor = 1.0 / (variance + epsilon).sqrt();
        let values = row.iter().zip(weight).zip(bias);
        y.extend(values.map(|((x, w), b)| (x - mean) * factor * w + b));
    }
    y
}

/// `softmax(q k^T / sqrt(head)) v` for each head of `qkv` [batch, tokens, 3 * width], for the first `queries` tokens.
pub fn attention(
    qkv: &[f32],
    tokens: usize,
    width: usize,
    heads: usize,
    queries: usize,
) -> Vec<f32> {
    let head = width / heads;
    let scale = (head as f32).powf(-0.5);
    let mut mixed = Vec::new();
    for image in qkv.chunks_exact(tokens * 3 * width) {
        let at = |token: usize, part: usize, h: usize| {
            &image[token * 3 * width + part * width + h * head..][..head]
        };
        for query in 0..queries {
            for h in 0..heads {
                let q = at(query, 0, h);
                let dot = |t| q.iter().zip(at(t, 1, h)).map(|(a, b)| a * b).sum::<f32>() * scale;
                let scores: Vec<f32> = (0..tokens).map(dot).collect();
                let best = scores.iter().copied().fold(f32::MIN, f32::max);
                let weights: Vec<f32> = scores.iter().map(|s| (s - best).exp()).collect();
                let sum: f32 = weights.iter().sum();
                mixed.extend((0..head).map(|d| {
                    let values = weights.iter().enumerate().map(|(t, w)| w * at(t, 2, h)[d]);
                    values.sum::<f32>() / sum
                }));
            }
        }
    }
    mixed
}

/// The class token before each image's patches, which `positions` are added to.
pub fn tokens(patches: &[f32], class_token: &[f32], positions: &[f32]) -> Vec<f32> {
    let mut y = Vec::new();
    for image in patches.chunks_exact(positions.len()) {
        y.extend_from_slice(class_token);
        y.extend(
            image
                .iter()
                .zip(positions)
                .map(|(patch, position)| patch + position),
        );
    }
    y
}

/// Maximum of 3x3 with stride 2 over [batch, side, side, channels].
pub fn max_pool(x: &[f32], side: usize, channels: usize) -> Vec<f32> {
    let out = side / 2;
    let mut y = Vec::new();
    for image in x.chunks_exact(side * side * channels) {
        for at in 0..out * out * channels {
            let (top, left, c) = (
                at / channels / out * 2,
                at / channels % out * 2,
                at % channels,
            );
            let rows = top.saturating_sub(1)..=(top + 1).min(side - 1);
            let inside = rows.flat_map(|row| {
                (left.saturating_sub(1)..=(left + 1).min(side - 1)).map(move |column| (row, column))
            });
            let values = inside.map(|(row, column)| image[(row * side + column) * channels + c]);
            y.push(values.fold(f32::MIN, f32::max));
        }
    }
    y
}

/// `(mean max(x, least)^power)^(1 / power)` over the pixels of [batch, pixels, channels].
pub fn mean_pool(x: &[f32], pixels: usize, channels: usize, power: f32, least: f32) -> Vec<f32> {
    let mut y = Vec::new();
    for image in x.chunks_exact(pixels * channels) {
        y.extend((0..channels).map(|c| {
            let values = image.iter().skip(c).step_by(channels);
            let sum: f32 = values.map(|x| x.max(least).powf(power)).sum();
            (sum / pixels as f32).powf(1.0 / power)
        }));
    }
    y
}

/// Rows of unit length.
pub fn unit(x: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        row.iter().map(|x| x / length).collect()
    };
    x.chunks_exact(width).flat_map(row).collect()
}
