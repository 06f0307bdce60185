//! Matrices laid out for the kernels: panels of eight outputs, their inputs side by side.
//!
//! A quantized matrix keeps its 8 or 4 bits a weight in memory, in the order of the kernel that is the fastest on the
//! machine: [`Order::Pairs`], of which a few panels at a time are widened to i16 and used for many rows, or
//! [`Order::Quads`], which are used as they lie. Invariants: the last panel is filled with zero weights up to eight
//! outputs, the inputs with zeros up to a multiple of 4; `scales` hold eight values for each panel and
//! segment, a segment being the inputs whose products are summed in i32 before they are scaled. Sums of a
//! segment fit in i32 for any activations within -32767..=32767.

use super::linear::Inputs;
use super::quad_simd::{Support, support};
use super::quads::HALF;
use super::simd::LANES;

/// Inputs that share a scale in the 4-bit encoding.
const GROUP: usize = 32;
/// Most inputs of a segment of an int8 matrix: 512 * 128 * 32767 < 2^31.
const SEGMENT_MAX: usize = 512;

/// In what order codes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// i8 [panels, padded / 2, 8, 2], or two 4-bit codes a byte [panels, padded / 2, 8].
    Pairs,
    /// i8 [panels, 2 halves, padded / 4, 4, 4]. Not for 4 bits, whose segments of 32 inputs are too short for it.
    Quads,
}

/// A quantized matrix [outputs, inputs].
#[derive(Clone, Debug)]
pub struct QuantizedPanels {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Inputs of a panel, a multiple of 4.
    pub(super) padded: usize,
    /// Inputs of a segment, a multiple of 4; the last one may be shorter.
    pub(super) segment: usize,
    /// [panels, segments, 8]
    pub(super) scales: Vec<f32>,
    codes: Vec<u8>,
    four_bits: bool,
    pub(super) order: Order,
}

/// A matrix [outputs, inputs] of f32.
#[derive(Clone, Debug)]
pub struct DensePanels {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// [panels, inputs, 8]
    pub(super) values: Vec<f32>,
}

impl QuantizedPanels {
    /// `w[o][i] = scales[o] * codes[o][i]`: `scales` [outputs], `codes` i8 [outputs, inputs] as bytes; laid out for
    /// activations of which so much is known.
    pub fn int8(scales: &[f32], codes: &[u8], inputs: usize, known: Inputs) -> Self {
        Self::int8_in(Order::fastest(known), scales, codes, inputs)
    }

    pub(super) fn int8_in(order: Order, scales: &[f32], codes: &[u8], inputs: usize) -> Self {
        let outputs = scales.len();
        debug_assert_eq!(codes.len(), outputs * inputs);
        let padded = inputs.next_multiple_of(4);
        let segments = padded.div_ceil(SEGMENT_MAX).max(1);
        let segment = padded.div_ceil(segments).next_multiple_of(4);
        let of_segments = |output| std::iter::repeat_n(scales[output], padded.div_ceil(segment));
        let codes = match order {
            Order::Pairs => lay_out::<_, LANES, 2>(codes, inputs, padded / 2, 0),
            Order::Quads => lay_out::<_, HALF, 4>(codes, inputs, padded / 4, 0),
        };
        Self {
            outputs,
            inputs,
            padded,
            segment,
            scales: lay_out_scales(outputs, padded.div_ceil(segment), of_segments),
            codes,
            four_bits: false,
            order,
        }
    }

    /// `w[o][i] = scales[o][i / 32] * (code[o][i] - 8)`: `scales` [outputs, inputs / 32], `codes`
    /// [outputs, inputs / 2], the even input in the low half of a byte; `inputs` a multiple of 32.
    pub fn int4(scales: &[f32], codes: &[u8], inputs: usize) -> Self {
        let groups = inputs / GROUP;
        let outputs = scales.len() / groups.max(1);
        debug_assert_eq!(inputs % GROUP, 0);
        debug_assert_eq!(codes.len(), outputs * inputs / 2);
        let of_groups = |output| scales[output * groups..][..groups].iter().copied();
        Self {
            outputs,
            inputs,
            padded: inputs,
            segment: GROUP,
            scales: lay_out_scales(outputs, groups, of_groups),
            codes: lay_out::<_, LANES, 1>(codes, inputs / 2, inputs / 2, 0x88),
            four_bits: true,
            order: Order::Pairs,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.codes.len() + 4 * self.scales.len()
    }

    pub(super) fn segments(&self) -> usize {
        self.padded.div_ceil(self.segment)
    }

    /// The weights of quads of panels from `first` on: i8 [panels, 2, padded / 4, 4, 4].
    pub(super) fn quads(&self, first: usize, panels: usize) -> &[i8] {
        let panel_len = self.padded * LANES;
        bytemuck::cast_slice(&self.codes[first * panel_len..][..panels * panel_len])
    }

    /// The weights of pairs of panels from `first` on, as many as `to` holds: i16 [panels, padded / 2, 8, 2].
    #[inline(always)]
    pub(super) fn widen(&self, first: usize, to: &mut [i16]) {
        let start = first * LANES * self.padded;
        if self.four_bits {
            let codes = &self.codes[start / 2..][..to.len() / 2];
            for (pair, byte) in to.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                *pair = [i16::from(byte & 15) - 8, i16::from(byte >> 4) - 8];
            }
        } else {
            let codes = &self.codes[start..][..to.len()];
            for (wide, byte) in to.iter_mut().zip(codes) {
                *wide = i16::from(*byte as i8);
            }
        }
    }
}

impl DensePanels {
    /// `values` row-major [outputs, inputs].
    pub fn new(values: &[f32], inputs: usize) -> Self {
        debug_assert_eq!(values.len() % inputs, 0);
        Self {
            outputs: values.len() / inputs,
            inputs,
            values: lay_out::<_, LANES, 1>(values, inputs, inputs, 0.0),
        }
    }
}

impl Order {
    fn fastest(known: Inputs) -> Self {
        match (support(), known) {
            (Support::One, _) | (Support::Steps, Inputs::NeverNegative) => Self::Quads,
            (Support::Steps, Inputs::Any) | (Support::None, _) => Self::Pairs,
        }
    }
}

/// Rows of `inputs` values as parts of panels [ceil(rows / 8) * 8 / PART, steps, PART, SIDE], `padding` beyond the
/// values.
fn lay_out<T: Copy, const PART: usize, const SIDE: usize>(
    values: &[T],
    inputs: usize,
    steps: usize,
    padding: T,
) -> Vec<T> {
    let inputs = inputs.max(1);
    let mut panels = vec![padding; (values.len() / inputs).div_ceil(LANES) * steps * LANES * SIDE];
    let of_part = panels.chunks_exact_mut((steps * PART * SIDE).max(1));
    for (panel, rows) in of_part.zip(values.chunks(PART * inputs)) {
        let (cells, _) = panel.as_chunks_mut::<SIDE>();
        for (lane, row) in rows.chunks_exact(inputs).enumerate() {
            // Cells of a known size: this is run over every weight when a model is opened.
            let (whole, rest) = row.as_chunks::<SIDE>();
            for (step, values) in whole.iter().enumerate() {
                cells[step * PART + lane] = *values;
            }
            if !rest.is_empty() {
                cells[whole.len() * PART + lane][..rest.len()].copy_from_slice(rest);
            }
        }
    }
    panels
}

/// The scales that `of` yields for each output as [panels, segments, 8], zeros beyond the outputs.
fn lay_out_scales<I: Iterator<Item = f32>>(
    outputs: usize,
    segments: usize,
    of: impl Fn(usize) -> I,
) -> Vec<f32> {
    let mut scales = vec![0.0; outputs.div_ceil(LANES) * segments * LANES];
    for output in 0..outputs {
        let panel = &mut scales[output / LANES * segments * LANES..];
        for (scales, scale) in panel.chunks_exact_mut(LANES).zip(of(output)) {
            scales[output % LANES] = scale;
        }
    }
    scales
}
