//! The kernels against their plain twins, at sizes that fill no tile, block or vector.

use std::cell::Cell;

use super::panels::Order;
use super::simd::{Kernel, LANES, Simd, dispatch};
use super::{
    DensePanels, Epilogue, Inputs, QuantizedPanels, attention, layer_norm, math, reference,
};

thread_local! {
    /// Whether this thread's kernels run on plain arrays.
    pub static PLAIN: Cell<bool> = const { Cell::new(false) };
    /// Whether plain arrays read bytes as a machine does to which they are signed.
    pub static SIGNED: Cell<bool> = const { Cell::new(false) };
}

const ROWS: [usize; 5] = [1, 3, 5, 50, 257];
pub const OUTPUTS: [usize; 3] = [4, 12, 384];
/// The orders of quantized matrices, and how far their products may be from the twin's.
const ORDERS: [(Order, f32); 2] = [(Order::Pairs, 2e-4), (Order::Quads, 8e-4)];
pub const INPUTS: [usize; 6] = [4, 36, 147, 588, 768, 1100];

/// Values in -1..1.
pub fn noise(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| {
        let x = ((i + 7919 * seed) as u32 + 1).wrapping_mul(0x9e37_79b1);
        let x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
        ((x ^ (x >> 12)) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(value).collect()
}

pub fn bytes(count: usize, seed: usize) -> Vec<u8> {
    noise(count, seed)
        .iter()
        .map(|x| (x * 127.0) as i8 as u8)
        .collect()
}

/// Runs a check with this machine's instructions and with plain arrays.
pub fn twice(check: impl Fn()) {
    for plain in [false, true] {
        PLAIN.set(plain);
        check();
    }
}

/// Checks that `y` is within `relative` of 1 or, if larger, the root mean square of `expected`.
pub fn check(y: &[f32], expected: &[f32], relative: f32, what: &str) {
    assert_eq!(y.len(), expected.len(), "{what}");
    let square = expected.iter().map(|e| e * e).sum::<f32>() / expected.len() as f32;
    let bound = relative * square.sqrt().max(1.0);
    for (i, (y, e)) in y.iter().zip(expected).enumerate() {
        assert!((y - e).abs() <= bound, "{what} at {i}: {y}, expected {e}");
    }
}

/// Every epilogue for one product.
fn epilogues<'a>(residual: &'a [f32], gamma: &'a [f32]) -> [Epilogue<'a>; 7] {
    [
        Epilogue::None,
        Epilogue::Relu,
        Epilogue::Gelu,
        Epilogue::QuickGelu,
        Epilogue::Residual {
            residual,
            gamma: None,
        },
        Epilogue::Residual {
            residual,
            gamma: Some(gamma),
        },
        Epilogue::ResidualRelu { residual },
    ]
}

/// Runs `linear` for every row count and epilogue against the product with `weights`.
pub fn check_linear(
    weights: &[f32],
    inputs: usize,
    relative: f32,
    what: &str,
    linear: impl Fn(&[f32], &[f32], Epilogue<'_>) -> Vec<f32>,
) {
    let outputs = weights.len() / inputs;
    let (bias, gamma) = (noise(outputs, 2), noise(outputs, 3));
    for rows in ROWS {
        // Large shapes with few rows or one epilogue suffice.
        if rows > 50 && outputs * inputs > 100_000 {
            continue;
        }
        let (x, residual) = (noise(rows * inputs, 4), noise(rows * outputs, 5));
        let all = epilogues(&residual, &gamma);
        let count = if rows * outputs * inputs > 1_000_000 {
            1
        } else {
            all.len()
        };
        for epilogue in all.into_iter().take(count) {
            let expected = reference::linear(&x, weights, &bias, epilogue);
            let what = format!("{what} {rows} x {inputs} x {outputs}");
            twice(|| check(&linear(&x, &bias, epilogue), &expected, relative, &what));
        }
    }
}

#[test]
fn dense_layers_agree_with_their_twin_to_1e_5() {
    for inputs in INPUTS {
        for outputs in OUTPUTS {
            let weights = noise(outputs * inputs, 1);
            let panels = DensePanels::new(&weights, inputs);
            check_linear(&weights, inputs, 1e-5, "f32", |x, bias, epilogue| {
                panels.linear(x, bias, epilogue)
            });
        }
    }
}

/// Codes [outputs, inputs], scales [outputs], and the weights that they stand for.
pub fn int8_matrix(outputs: usize, inputs: usize) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let codes = bytes(outputs * inputs, 1);
    let scales: Vec<f32> = noise(outputs, 6).iter().map(|s| 0.01 * s).collect();
    let rows = codes.chunks_exact(inputs).zip(&scales);
    let weights =
        rows.flat_map(|(row, scale)| row.iter().map(move |c| f32::from(*c as i8) * scale));
    let weights = weights.collect();
    (codes, scales, weights)
}

#[test]
fn int8_layers_agree_with_their_twin() {
    for inputs in INPUTS {
        for outputs in OUTPUTS {
            let (codes, scales, weights) = int8_matrix(outputs, inputs);
            for (order, bound) in ORDERS {
                let panels = QuantizedPanels::int8_in(order, &scales, &codes, inputs);
                let what = format!("int8 {order:?}");
                check_linear(&weights, inputs, bound, &what, |x, bias, epilogue| {
                    panels.linear(x, bias, epilogue)
                });
            }
        }
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    twice(largest_sums);
}

fn largest_sums() {
    for (order, inputs) in ORDERS
        .iter()
        .flat_map(|(o, _)| [512, 516, 4608].map(|n| (*o, n)))
    {
        let panels = QuantizedPanels::int8_in(order, &[1.0; 4], &vec![0x80; 4 * inputs], inputs);
        let y = panels.linear(&vec![-2.0; inputs], &[0.0; 4], Epilogue::None);
        let expected = 256.0 * inputs as f32;
        assert!(y.iter().all(|y| (y / expected - 1.0).abs() < 1e-5), "{y:?}");
        let scales = vec![1.0; 4 * 512 / 32];
        let panels = match order {
            Order::Pairs => QuantizedPanels::int4_pairs(&scales, &[0; 4 * 512 / 2], 512),
            Order::Quads => QuantizedPanels::int4_quads(&scales, &[0; 4 * 512 / 2], 512).unwrap(),
        };
        let y = panels.linear(&[3.0; 512], &[0.0; 4], Epilogue::None);
        assert!(
            y.iter().all(|y| (y / (-24.0 * 512.0) - 1.0).abs() < 1e-5),
            "{y:?}"
        );
    }
}

/// The factor of a row that is too small for one is no number that integers could be made of.
#[test]
fn rows_that_are_almost_zero_give_the_bias() {
    for (order, _) in ORDERS {
        let panels = QuantizedPanels::int8_in(order, &[1.0; 4], &bytes(4 * 36, 1), 36);
        for inputs in [Inputs::Any, Inputs::NeverNegative] {
            let panels = panels.clone().knowing(inputs);
            let y = panels.linear(&[1e-36; 36], &[1.0; 4], Epilogue::None);
            assert_eq!(y, [1.0; 4], "{order:?}");
        }
    }
}

#[test]
fn rows_of_zeros_give_the_bias() {
    for (order, _) in ORDERS {
        let panels = QuantizedPanels::int8_in(order, &[1.0; 4], &bytes(4 * 36, 1), 36);
        let y = panels.linear(&[0.0; 72], &[1.0, 2.0, 3.0, 4.0], Epilogue::None);
        assert_eq!(y, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn attention_agrees_with_its_twin_to_1e_5() {
    for tokens in ROWS {
        for (heads, head) in [(1, 4), (3, 12), (2, 64)] {
            for queries in [1, tokens.min(6), tokens] {
                let qkv: Vec<f32> = noise(3 * tokens * heads * head, 1);
                let qkv: Vec<f32> = qkv.iter().map(|x| 4.0 * x).collect();
                let expected = reference::attention(&qkv, tokens, heads, queries);
                let what = format!("{tokens} tokens, {heads} heads of {head}, {queries} queries");
                twice(|| {
                    check(
                        &attention(&qkv, tokens, heads, queries),
                        &expected,
                        1e-5,
                        &what,
                    )
                });
            }
        }
    }
}

#[test]
fn layer_norm_agrees_with_its_twin_to_1e_5() {
    for width in [4, 12, 384, 588] {
        for rows in ROWS {
            let x: Vec<f32> = noise(rows * width, 1)
                .iter()
                .map(|x| x * 3.0 + 5.0)
                .collect();
            let (weight, bias) = (noise(width, 2), noise(width, 3));
            let expected = reference::layer_norm(&x, &weight, &bias, 1e-6);
            let what = format!("{rows} x {width}");
            twice(|| {
                check(
                    &layer_norm(&x, &weight, &bias, 1e-6),
                    &expected,
                    1e-5,
                    &what,
                )
            });
        }
    }
}

/// The functions at points from -20 to 20, by whatever instructions run them.
struct Functions;

impl Kernel for Functions {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for i in -1000..1000 {
            let points: [f32; LANES] =
                std::array::from_fn(|lane| (8 * i) as f32 / 400.0 + lane as f32 / 400.0);
            let x = s.load(&points);
            let (exp, gelu, quick) = (math::exp(s, x), math::gelu(s, x), math::quick_gelu(s, x));
            let (exp, gelu, quick) = (s.lanes(exp), s.lanes(gelu), s.lanes(quick));
            for (lane, point) in points.into_iter().enumerate() {
                let x = f64::from(point);
                let ratio = f64::from(exp[lane]) / x.exp();
                assert!((ratio - 1.0).abs() < 3e-7, "exp {x}: {ratio}");
                let bound = 1e-6f64.max(2e-7 * x.abs());
                let error = f64::from(gelu[lane]) - reference::gelu(x);
                assert!(error.abs() < bound, "gelu {x}: {error}");
                let error = f64::from(quick[lane]) - x / (1.0 + (-1.702 * x).exp());
                assert!(error.abs() < bound, "quick gelu {x}: {error}");
            }
        }
    }
}

#[test]
fn functions_keep_their_bounds() {
    twice(|| dispatch(Functions));
}
