//! Linear layers `y = f(x W^T + b)` for f32 and quantized matrices, and what follows them.
//!
//! Rows are taken in blocks that stay in the cache, within a block a few panels at a time, within these
//! a tile of rows at a time. For a quantized matrix in pairs each row of x is rounded to integers within
//! -32767..=32767 of its largest magnitude, and the products are exact in i32; so the result differs from
//! the f32 product of the same weights by the rounding of x alone, about 1e-4 of its size. Invariants: x
//! is row-major [M, inputs], y [M, outputs], all values finite.

use super::math;
use super::panels::{DensePanels, Order, QuantizedPanels};
use super::quad_simd::HAS_QUADS;
use super::quads;
use super::simd::{Kernel, LANES, ROWS, Simd, dispatch};
use super::tile;

/// Bytes of a block of rows, to stay in the second cache.
const BLOCK_BYTES: usize = 512 << 10;
/// Bytes of the panels in use, to stay in the first cache.
pub(super) const PANEL_BYTES: usize = 32 << 10;
/// Largest magnitude of an activation as an integer.
const PEAK: f32 = 32767.0;

/// Rows below this are taken for zeros: `PEAK / LEAST` is a number.
const LEAST: f32 = 1e-33;

/// What follows `z = x W^T + b`.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    None,
    Relu,
    /// `z Phi(z)`, exact to 1e-6.
    Gelu,
    /// `z sigmoid(1.702 z)`
    QuickGelu,
    /// `residual + gamma * z`: `residual` [M, outputs], `gamma` [outputs] or 1.
    Residual {
        residual: &'a [f32],
        gamma: Option<&'a [f32]>,
    },
    /// `max(residual + z, 0)`
    ResidualRelu {
        residual: &'a [f32],
    },
}

/// What is known of the values that enter a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    Any,
    /// Tokens of a transformer, the class token first. By what samples showed, 8 bits suffice for the others; see
    /// [`TensorEntry::activations`](crate::format::TensorEntry). Where one instruction multiplies by quads, these are rounded so,
    /// for half the work.
    Tokens,
    /// As after a ReLU. Matrices in quads then round them to 8 bits, or to 7 where they are multiplied in steps, for half the work.
    NeverNegative,
}

impl QuantizedPanels {
    /// `x` [M, inputs] -> [M, outputs]; `bias` [outputs].
    pub fn linear(&self, x: &[f32], bias: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
        let ends = Ends::new(x, [self.inputs, self.outputs], bias, epilogue);
        let mut y = vec![0.0; ends.rows * self.outputs];
        match self.order {
            // Where no matrix is laid out so, the code for it is left out.
            Order::Quads if HAS_QUADS => quads::multiply(self, ends, &mut y),
            Order::Quads | Order::Pairs => dispatch(Quantized {
                matrix: self,
                ends,
                y: &mut y,
            }),
        }
        y
    }
}

impl DensePanels {
    /// `x` [M, inputs] -> [M, outputs]; `bias` [outputs].
    pub fn linear(&self, x: &[f32], bias: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
        let ends = Ends::new(x, [self.inputs, self.outputs], bias, epilogue);
        let mut y = vec![0.0; ends.rows * self.outputs];
        dispatch(Dense {
            matrix: self,
            ends,
            y: &mut y,
        });
        y
    }
}

/// What goes into a layer beside its matrix.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub x: &'a [f32],
    pub rows: usize,
    bias: &'a [f32],
    epilogue: Epilogue<'a>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(
        x: &'a [f32],
        [inputs, outputs]: [usize; 2],
        bias: &'a [f32],
        epilogue: Epilogue<'a>,
    ) -> Self {
        let rows = x.len() / inputs.max(1);
        debug_assert_eq!(x.len(), rows * inputs);
        debug_assert_eq!(bias.len(), outputs);
        if let Epilogue::Residual { residual, .. } | Epilogue::ResidualRelu { residual } = epilogue
        {
            debug_assert_eq!(residual.len(), rows * outputs);
        }
        if let Epilogue::Residual {
            gamma: Some(gamma), ..
        } = epilogue
        {
            debug_assert_eq!(gamma.len(), outputs);
        }
        Self {
            x,
            rows,
            bias,
            epilogue,
        }
    }

    /// The first rows, and those behind.
    pub(super) fn split_at(self, rows: usize) -> [Self; 2] {
        let rows = rows.min(self.rows);
        let outputs = self.bias.len();
        let (first, rest) = self.x.split_at(rows * (self.x.len() / self.rows.max(1)));
        let parts = match self.epilogue {
            Epilogue::Residual { residual, gamma } => {
                let (first, rest) = residual.split_at(rows * outputs);
                [first, rest].map(|residual| Epilogue::Residual { residual, gamma })
            }
            Epilogue::ResidualRelu { residual } => {
                let (first, rest) = residual.split_at(rows * outputs);
                [first, rest].map(|residual| Epilogue::ResidualRelu { residual })
            }
            same => [same; 2],
        };
        let [epilogue, behind] = parts;
        [
            Self {
                x: first,
                rows,
                epilogue,
                ..self
            },
            Self {
                x: rest,
                rows: self.rows - rows,
                epilogue: behind,
                ..self
            },
        ]
    }

    /// Stores a tile of R rows, of rows from `row` and outputs from `column` on, into `y` [M, outputs].
    #[inline(always)]
    pub fn finish<S: Simd, const R: usize>(
        &self,
        s: S,
        tile: [S::F; R],
        [row, column]: [usize; 2],
        y: &mut [f32],
    ) {
        let outputs = self.bias.len();
        let lanes = column..outputs.min(column + LANES);
        let bias = s.load_part(&self.bias[lanes.clone()]);
        for (r, sums) in (row..self.rows).zip(tile) {
            let place = r * outputs + lanes.start..r * outputs + lanes.end;
            let z = s.add(sums, bias);
            let z = match self.epilogue {
                Epilogue::None => z,
                Epilogue::Relu => s.max(z, s.splat(0.0)),
                Epilogue::Gelu => math::gelu(s, z),
                Epilogue::QuickGelu => math::quick_gelu(s, z),
                Epilogue::Residual { residual, gamma } => {
                    let gamma = gamma.map_or(s.splat(1.0), |g| s.load_part(&g[lanes.clone()]));
                    s.mul_add(z, gamma, s.load_part(&residual[place.clone()]))
                }
                Epilogue::ResidualRelu { residual } => {
                    let sum = s.add(z, s.load_part(&residual[place.clone()]));
                    s.max(sum, s.splat(0.0))
                }
            };
            s.store_part(z, &mut y[place]);
        }
    }
}

/// Rows of a block, of `row_bytes` each, in tiles of `tile_rows`.
pub(super) fn block_rows(row_bytes: usize, tile_rows: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1))
        .max(64)
        .next_multiple_of(tile_rows)
}

/// What takes a row whose largest magnitude is `peak` to integers up to `whole`: 0 for rows of zeros, and for those so small
/// that the factor would be none.
pub(super) fn inverse(whole: f32, peak: f32) -> f32 {
    if peak > LEAST { whole / peak } else { 0.0 }
}

/// The largest magnitude in a row.
#[inline(always)]
pub(super) fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut most = s.splat(0.0);
    for x in x.chunks(LANES) {
        most = s.max(most, s.abs(s.load_part(x)));
    }
    s.largest(most)
}

struct Dense<'a> {
    matrix: &'a DensePanels,
    ends: Ends<'a>,
    y: &'a mut [f32],
}

impl Kernel for Dense<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { matrix, ends, y } = self;
        let inputs = matrix.inputs;
        let block = block_rows(4 * inputs, ROWS).min(ends.rows);
        let tile_len = inputs * ROWS;
        let mut tiles = vec![0.0; block.div_ceil(ROWS) * tile_len];
        for top in (0..ends.rows).step_by(block.max(1)) {
            let rows = block.min(ends.rows - top);
            let x = ends.x[top * inputs..].chunks_exact(inputs);
            for (row, x) in x.take(rows).enumerate() {
                tile::set_row(
                    x,
                    row % ROWS,
                    &mut tiles[row / ROWS * tile_len..][..tile_len],
                );
            }
            for (i, panel) in matrix.values.chunks_exact(inputs * LANES).enumerate() {
                for row in (0..rows).step_by(ROWS) {
                    let xs = &tiles[row / ROWS * tile_len..][..tile_len];
                    let tile = tile::dense(s, xs, panel);
                    ends.finish(s, tile, [top + row, i * LANES], y);
                }
            }
        }
    }
}

struct Quantized<'a> {
    matrix: &'a QuantizedPanels,
    ends: Ends<'a>,
    y: &'a mut [f32],
}

impl Kernel for Quantized<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { matrix, ends, y } = self;
        let (padded, segment) = (matrix.padded, matrix.segment);
        let block = block_rows(2 * padded, ROWS).min(ends.rows);
        let panel_len = padded * LANES;
        let panels = matrix.outputs.div_ceil(LANES);
        let group = (PANEL_BYTES / (2 * panel_len)).clamp(1, panels.max(1));
        let mut wide = vec![0; group * panel_len];
        let tile_len = padded / 2 * ROWS;
        let mut codes = vec![0; block.div_ceil(ROWS) * tile_len];
        let mut steps = vec![0.0; block.next_multiple_of(ROWS)];
        let scales_len = matrix.segments() * LANES;
        for top in (0..ends.rows).step_by(block.max(1)) {
            let x = &ends.x[top * matrix.inputs..];
            let rows = block.min(ends.rows - top);
            for (row, x) in x.chunks_exact(matrix.inputs).take(rows).enumerate() {
                let tile = &mut codes[row / ROWS * tile_len..][..tile_len];
                steps[row] = quantize(s, x, row % ROWS, tile);
            }
            for first in (0..panels).step_by(group) {
                let group = group.min(panels - first);
                let wide = &mut wide[..group * panel_len];
                matrix.widen(first, wide);
                for row in (0..rows).step_by(ROWS) {
                    let xs = &codes[row / ROWS * tile_len..][..tile_len];
                    for (i, panel) in (first..).zip(wide.chunks_exact(panel_len)) {
                        let scales = &matrix.scales[i * scales_len..][..scales_len];
                        let mut tile = tile::quantized(s, xs, panel, scales, segment);
                        for (sums, step) in tile.iter_mut().zip(&steps[row..]) {
                            *sums = s.mul(*sums, s.splat(*step));
                        }
                        ends.finish(s, tile, [top + row, i * LANES], y);
                    }
                }
            }
        }
    }
}

/// Rounds a row to integers, `x = step * code`, and stores them as row `r` of `tile` [K / 2, ROWS],
/// pairs with zeros beyond the row; returns the step.
#[inline(always)]
fn quantize<S: Simd>(s: S, x: &[f32], r: usize, tile: &mut [i32]) -> f32 {
    let peak = largest(s, x);
    let inverse = s.splat(inverse(PEAK, peak));
    for (x, to) in x.chunks(LANES).zip(tile.chunks_mut(LANES / 2 * ROWS)) {
        let mut pairs = [0; LANES / 2];
        s.store_pairs(s.mul(s.load_part(x), inverse), &mut pairs);
        for (to, pair) in to.as_chunks_mut::<ROWS>().0.iter_mut().zip(pairs) {
            to[r] = pair;
        }
    }
    peak / PEAK
}
