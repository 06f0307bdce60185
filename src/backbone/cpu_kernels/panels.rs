//! Matrices laid out for the kernels: panels of eight outputs, their inputs side by side.
//!
//! A quantized matrix keeps its 8 or 4 bits a weight in memory, in the order of the kernel that is the fastest on the
//! machine: [`Order::Pairs`], of which a few panels at a time are widened to i16 and used for many rows, or
//! [`Order::Quads`], which are used as they lie where they have 8 bits. Invariants: the last panel is filled with zero weights up to eight
//! outputs, the inputs with zeros up to a multiple of 4; `scales` hold eight values for each panel and
//! segment, a segment being the inputs whose products are summed in i32 before they are scaled. Sums of a
//! segment fit in i32 for any activations within -32767..=32767.
//!
//! 4-bit matrices in quads are those whose scales are multiples of one unit for each row (see `group_scale`): codes
//! times these are i8, made of a few panels at a time, and the unit is what sums are scaled by.

use super::super::group_scale::multiples;
use super::linear::Inputs;
use super::quad_simd::{QuadSimd, Support, support};
use super::quads::HALF;
use super::simd::LANES;
use crate::format::model::INT4_GROUP;

/// Inputs that share a scale in the 4-bit encoding.
pub const GROUP: usize = INT4_GROUP;
/// Most inputs of a segment of 8-bit weights: 512 * 128 * 32767 < 2^31.
const SEGMENT_MAX: usize = 512;

/// In what order codes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// i8 [panels, padded / 2, 8, 2], or two 4-bit codes a byte [panels, padded / 2, 8].
    Pairs,
    /// i8 [panels, 2 halves, padded / 4, 4, 4], or two 4-bit codes a byte [panels, 2, padded / 32, 4, 16], those of the
    /// first 16 inputs of a group in the low halves.
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
    /// What 4-bit codes in quads are times: [panels, 2, padded / 32] of 4 outputs each; none otherwise.
    multiples: Vec<[i8; HALF]>,
    four_bits: bool,
    pub(super) order: Order,
    /// What is known of the activations.
    pub(super) known: Inputs,
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
        Self::int8_in(Order::fastest(known), scales, codes, inputs).knowing(known)
    }

    pub(super) fn int8_in(order: Order, scales: &[f32], codes: &[u8], inputs: usize) -> Self {
        let outputs = scales.len();
        debug_assert_eq!(codes.len(), outputs * inputs);
        let padded = inputs.next_multiple_of(4);
        let segment = segment_of(padded);
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
            multiples: Vec::new(),
            four_bits: false,
            order,
            known: Inputs::Any,
        }
    }

    /// `w[o][i] = scales[o][i / 32] * (code[o][i] - 8)`: `scales` [outputs, inputs / 32], `codes`
    /// [outputs, inputs / 2], the even input in the low half of a byte; `inputs` a multiple of 32; laid out for
    /// activations of which so much is known.
    pub fn int4(scales: &[f32], codes: &[u8], inputs: usize, known: Inputs) -> Self {
        Self::int4_in(Order::fastest(known), scales, codes, inputs).knowing(known)
    }

    /// In pairs too where there can be no quads.
    pub(super) fn int4_in(order: Order, scales: &[f32], codes: &[u8], inputs: usize) -> Self {
        let quads = match order {
            Order::Quads => Self::int4_quads(scales, codes, inputs),
            Order::Pairs => None,
        };
        quads.unwrap_or_else(|| Self::int4_pairs(scales, codes, inputs))
    }

    /// None where the scales of a row have no unit.
    pub(super) fn int4_quads(scales: &[f32], codes: &[u8], inputs: usize) -> Option<Self> {
        let groups = (inputs / GROUP).max(1);
        let outputs = scales.len() / groups;
        debug_assert_eq!(codes.len(), outputs * inputs / 2);
        let mut units = Vec::with_capacity(outputs);
        let mut laid_out = vec![[0; HALF]; outputs.next_multiple_of(LANES) / HALF * groups];
        let halves = laid_out.chunks_exact_mut(groups);
        for (half, rows) in halves.zip(scales.chunks(HALF * groups)) {
            for (output, row) in rows.chunks_exact(groups).enumerate() {
                let (unit, multiples) = multiples(row)?;
                units.push(unit);
                for (of_group, multiple) in half.iter_mut().zip(multiples) {
                    of_group[output] = multiple;
                }
            }
        }
        let segment = segment_of(inputs);
        let segments = inputs.div_ceil(segment);
        let of_segments = |output: usize| std::iter::repeat_n(units[output], segments);
        let mut codes = lay_out::<_, HALF, { GROUP / 2 }>(codes, inputs / 2, groups, 0x88);
        for codes in codes.as_chunks_mut().0 {
            *codes = halves_of_group(codes);
        }
        Some(Self {
            outputs,
            inputs,
            padded: inputs,
            segment,
            scales: lay_out_scales(outputs, segments, of_segments),
            codes,
            multiples: laid_out,
            four_bits: true,
            order: Order::Quads,
            known: Inputs::Any,
        })
    }

    pub(super) fn int4_pairs(scales: &[f32], codes: &[u8], inputs: usize) -> Self {
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
            multiples: Vec::new(),
            four_bits: true,
            order: Order::Pairs,
            known: Inputs::Any,
        }
    }

    /// The same for activations of which so much is known.
    pub(super) fn knowing(self, known: Inputs) -> Self {
        Self { known, ..self }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.codes.len() + HALF * self.multiples.len() + 4 * self.scales.len()
    }

    pub(super) fn segments(&self) -> usize {
        self.padded.div_ceil(self.segment)
    }

    /// The weights of quads of panels from `first` on: i8 [panels, 2, padded / 4, 4, 4]; 4-bit ones are made in `wide`.
    #[inline(always)]
    pub(super) fn quads<'a, S: QuadSimd>(
        &'a self,
        s: S,
        first: usize,
        panels: usize,
        wide: &'a mut Vec<i8>,
    ) -> &'a [i8] {
        let (start, len) = (first * LANES * self.padded, panels * LANES * self.padded);
        if !self.four_bits {
            return bytemuck::cast_slice(&self.codes[start..][..len]);
        }
        wide.resize(len, 0);
        let codes = self.codes[start / 2..][..len / 2].as_chunks().0;
        let multiples = &self.multiples[start / (HALF * GROUP)..];
        s.widen(codes, multiples, wide.as_chunks_mut().0);
        wide
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
            (Support::One(_), _) | (Support::Steps, Inputs::NeverNegative) => Self::Quads,
            (Support::Steps, Inputs::Any | Inputs::Tokens) | (Support::None, _) => Self::Pairs,
        }
    }
}

/// Inputs of a segment of so many that share a scale.
fn segment_of(padded: usize) -> usize {
    let segments = padded.div_ceil(SEGMENT_MAX).max(1);
    padded.div_ceil(segments).next_multiple_of(4)
}

/// The codes of a group of inputs, of even ones in the low halves, with the first 16 in the low halves.
fn halves_of_group(codes: &[u8; GROUP / 2]) -> [u8; GROUP / 2] {
    let code = |i: usize| codes[i / 2] >> (4 * (i % 2)) & 15;
    std::array::from_fn(|i| code(i) | code(GROUP / 2 + i) << 4)
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
