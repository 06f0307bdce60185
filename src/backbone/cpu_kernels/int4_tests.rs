//! 4-bit matrices against their plain twins, in both orders.

use super::activation_tests::{FORMS, product};
use super::panels::Order;
use super::tests::{OUTPUTS, bytes, check, check_linear, noise};
use super::{Epilogue, Inputs, QuantizedPanels};
use crate::backbone::matrix::{Feedback, QuantizedMatrix};
use crate::format::TensorEncoding;

/// The unit of a row's scales.
fn unit(row: usize) -> f32 {
    (1 + row % 3) as f32 / 256.0
}

/// Scales [outputs, inputs / 32] that are multiples of a unit for each row, or any, codes [outputs, inputs / 2], and
/// the weights that they stand for.
fn int4_matrix(outputs: usize, inputs: usize, tied: bool) -> (Vec<f32>, Vec<u8>, Vec<f32>) {
    let codes = bytes(outputs * inputs / 2, 1);
    let groups = inputs / 32;
    let scales = noise(outputs * groups, 6).into_iter().enumerate();
    let scales: Vec<f32> = scales
        .map(|(i, s)| match tied {
            true => (15.0 * s).round() * unit(i / groups),
            false => 0.1 * s,
        })
        .collect();
    let halves = codes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    let weights = halves
        .enumerate()
        .map(|(i, code)| (f32::from(code) - 8.0) * scales[i / 32])
        .collect();
    (scales, codes, weights)
}

#[test]
fn int4_layers_agree_with_their_twin() {
    for inputs in [32, 96, 768, 3072] {
        for outputs in OUTPUTS {
            let most = outputs.next_multiple_of(8) * (inputs * 5 / 8 + 4);
            let (scales, codes, weights) = int4_matrix(outputs, inputs, false);
            let panels = QuantizedPanels::int4_pairs(&scales, &codes, inputs);
            assert!(panels.bytes() <= most);
            check_linear(&weights, inputs, 2e-4, "int4", |x, bias, epilogue| {
                panels.linear(x, bias, epilogue)
            });
            let (scales, codes, weights) = int4_matrix(outputs, inputs, true);
            let panels = QuantizedPanels::int4_quads(&scales, &codes, inputs).unwrap();
            assert!(panels.bytes() <= most);
            check_linear(&weights, inputs, 8e-4, "int4 quads", |x, bias, epilogue| {
                panels.linear(x, bias, epilogue)
            });
        }
    }
}

/// In quads a 4-bit matrix is the 8-bit one of its codes times their multiples, but for the rounding of f32.
#[test]
fn int4_quads_are_those_of_the_same_weights_in_8_bits() {
    for (inputs, outputs) in [(32, 4), (96, 12), (1120, 20)] {
        let (scales, codes, weights) = int4_matrix(outputs, inputs, true);
        let four = QuantizedPanels::int4_quads(&scales, &codes, inputs).unwrap();
        let units: Vec<f32> = (0..outputs).map(unit).collect();
        let rows = weights.chunks_exact(inputs).zip(&units);
        let codes: Vec<u8> = rows
            .flat_map(|(row, unit)| row.iter().map(move |w| (w / unit) as i8 as u8))
            .collect();
        let eight = QuantizedPanels::int8_in(Order::Quads, &units, &codes, inputs);
        let x = noise(13 * inputs, 4);
        let bound = 1e-6;
        let [y, expected] =
            [&four, &eight].map(|matrix| matrix.linear(&x, &noise(outputs, 2), Epilogue::None));
        check(&y, &expected, bound, "any");
        let x: Vec<f32> = x.iter().map(|x| x.max(0.0)).collect();
        for (support, _) in FORMS {
            let [y, expected] = [&four, &eight].map(|matrix| {
                let (known, bias) = (Inputs::NeverNegative, noise(outputs, 2));
                product(support, matrix, known, &x, &bias, Epilogue::None)
            });
            check(
                &y,
                &expected,
                bound,
                &format!("never negative, {support:?}"),
            );
        }
    }
}

#[test]
fn int4_scales_without_a_unit_are_left_in_pairs() {
    for (tied, wanted) in [(false, Order::Pairs), (true, Order::Quads)] {
        let (scales, codes, _) = int4_matrix(12, 96, tied);
        let order = |asked| QuantizedPanels::int4_in(asked, &scales, &codes, 96).order;
        assert_eq!(order(Order::Quads), wanted);
        assert_eq!(order(Order::Pairs), Order::Pairs);
    }
}

/// What `import` makes, with errors handed on and without, can be laid out in quads.
#[test]
fn quantized_matrices_have_units() {
    let (inputs, outputs) = (96, 12);
    let weights = noise(outputs * inputs, 1);
    let feedback = Feedback {
        inputs,
        columns: noise(inputs * inputs, 2).iter().map(|x| 0.2 * x).collect(),
    };
    for feedback in [None, Some(&feedback)] {
        let int4 = TensorEncoding::Int4;
        let matrix = QuantizedMatrix::new(&weights, inputs, int4, feedback).unwrap();
        let bytes = matrix.to_bytes();
        let matrix = QuantizedMatrix::from_bytes(int4, outputs, inputs, &bytes).unwrap();
        assert!(QuantizedPanels::int4_quads(&matrix.scales, &matrix.codes, inputs).is_some());
    }
}
