//! Activations of one piece against their plain twins. These multiply what activations are rounded to, so that nothing but
//! sums is compared.

use super::activations::{BYTE_STEPS, SEVEN_BITS};
use super::linear::Ends;
use super::panels::Order;
use super::quad_simd::{Bytes, Support};
use super::quads;
use super::tests::{INPUTS, SIGNED, check, int8_matrix, noise, twice};
use super::{Epilogue, Inputs, QuantizedPanels, reference};

/// What multiplies activations that are never negative, and their steps.
pub const FORMS: [(Support, f32); 3] = [
    (Support::One(Bytes::Unsigned), BYTE_STEPS),
    (Support::One(Bytes::Signed), BYTE_STEPS),
    (Support::Steps, SEVEN_BITS),
];
/// Rows and outputs; the last are several blocks of rows.
const SHAPES: [(usize, usize); 4] = [(1, 4), (13, 12), (50, 384), (1100, 4)];

/// `panels.linear` of activations of which so much is known, where a machine has `support`.
pub fn product(
    support: Support,
    panels: &QuantizedPanels,
    known: Inputs,
    x: &[f32],
    bias: &[f32],
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let panels = panels.clone().knowing(known);
    SIGNED.set(support == Support::One(Bytes::Signed));
    let ends = Ends::new(x, [panels.inputs, panels.outputs], bias, epilogue);
    let mut y = vec![0.0; ends.rows * panels.outputs];
    quads::multiply_by(support, &panels, ends, &mut y);
    SIGNED.set(false);
    y
}

/// Rows of `x` in so many steps from their least value to their largest, and 0 among them.
fn rounded(x: &[f32], inputs: usize, steps: f32) -> Vec<f32> {
    let rows = x.chunks_exact(inputs);
    let rounded = rows.flat_map(|row| {
        let above = row.iter().copied().fold(0.0, f32::max);
        let span = above - row.iter().copied().fold(0.0, f32::min);
        let factor = if span > 0.0 { steps / span } else { 0.0 };
        row.iter()
            .map(move |x| (x * factor).round_ties_even() * (span / steps))
    });
    rounded.collect()
}

#[test]
fn activations_that_are_never_negative_are_rounded_to_8_or_7_bits() {
    for inputs in INPUTS {
        for (rows, outputs) in SHAPES {
            let (codes, scales, weights) = int8_matrix(outputs, inputs);
            let x: Vec<f32> = noise(rows * inputs, 4).iter().map(|x| x.max(0.0)).collect();
            let (bias, residual) = (noise(outputs, 2), noise(rows * outputs, 5));
            let epilogue = Epilogue::ResidualRelu {
                residual: &residual,
            };
            let known = Inputs::NeverNegative;
            let panels = QuantizedPanels::int8_in(Order::Quads, &scales, &codes, inputs);
            let expected = |steps| {
                let x = rounded(&x, inputs, steps);
                reference::linear(&x, &weights, &bias, epilogue)
            };
            let what = format!("{rows} x {inputs} x {outputs}");
            twice(|| {
                let y = panels.clone().knowing(known).linear(&x, &bias, epilogue);
                check(&y, &expected(SEVEN_BITS), 1e-5, &what);
                for (support, steps) in FORMS {
                    let y = product(support, &panels, known, &x, &bias, epilogue);
                    check(&y, &expected(steps), 1e-5, &format!("{what}, {support:?}"));
                }
            });
        }
    }
}

/// The class token, which is the first row, keeps its 14 bits.
#[test]
fn tokens_are_rounded_to_8_bits_but_for_the_first() {
    for inputs in INPUTS {
        for (rows, outputs) in SHAPES {
            let (codes, scales, weights) = int8_matrix(outputs, inputs);
            let x = noise(rows * inputs, 4);
            let (bias, residual) = (noise(outputs, 2), noise(rows * outputs, 5));
            let gamma = noise(outputs, 3);
            let epilogue = Epilogue::Residual {
                residual: &residual,
                gamma: Some(&gamma),
            };
            let panels = QuantizedPanels::int8_in(Order::Quads, &scales, &codes, inputs);
            // With it go rows that would leave a tile of twelve almost empty.
            let first = match rows {
                1 | 13 | 1100 => 1,
                50 => 2,
                _ => unreachable!(),
            };
            let mut expected = x[..first * inputs].to_vec();
            expected.extend(rounded(&x[first * inputs..], inputs, BYTE_STEPS));
            let expected = reference::linear(&expected, &weights, &bias, epilogue);
            let (class, others) = expected.split_at(first * outputs);
            for bytes in [Bytes::Unsigned, Bytes::Signed] {
                let support = Support::One(bytes);
                let y = product(support, &panels, Inputs::Tokens, &x, &bias, epilogue);
                let what = format!("{rows} x {inputs} x {outputs}, {bytes:?}");
                check(&y[..class.len()], class, 8e-4, &what);
                check(&y[class.len()..], others, 1e-5, &what);
            }
            // Elsewhere all keep them.
            let exact = reference::linear(&x, &weights, &bias, epilogue);
            for support in [Support::Steps, Support::None] {
                let y = product(support, &panels, Inputs::Tokens, &x, &bias, epilogue);
                check(&y, &exact, 8e-4, &format!("{support:?}"));
            }
        }
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    // All weights -128, all activations the most steps.
    let panels = QuantizedPanels::int8_in(Order::Quads, &[1.0; 4], &vec![0x80; 4 * 4608], 4608);
    let check = |support, known, x: f32| {
        // The class token, and a tile of bytes.
        let x = vec![x; 13 * 4608];
        let y = product(support, &panels, known, &x, &[0.0; 4], Epilogue::None);
        let expected = -128.0 * x[0] * 4608.0;
        assert!(
            y.iter().all(|y| (y / expected - 1.0).abs() < 1e-5),
            "{support:?}: {y:?}"
        );
    };
    for (support, _) in FORMS {
        check(support, Inputs::NeverNegative, 2.0);
    }
    for bytes in [Bytes::Unsigned, Bytes::Signed] {
        for x in [2.0, -2.0] {
            check(Support::One(bytes), Inputs::Tokens, x);
        }
    }
}
