//! The product of a few rows with a matrix, `x W^T + b`: where the time of a mapper goes.
//!
//! Both operands are packed so that the loop runs along the inputs with outputs side by side: a *tile*
//! holds [`TILE_ROWS`] rows as `[inputs, TILE_ROWS]`, a *panel* holds `lanes` outputs of the matrix as
//! `[inputs, lanes]`.
//!
//! Invariant: a value is the sum over blocks of [`BLOCK`] inputs, in order; within a block the products
//! are rounded to f32 and summed in f32 in order, the blocks and the bias are summed in f64, and the
//! result is rounded once. Widths differ in how many outputs are computed at once, never in that order,
//! and fused multiply-add is not used, so every machine and the browser give the same bits.

/// Rows of a tile; with 4 the sums of a tile and a panel stay in registers.
const TILE_ROWS: usize = 4;
/// Inputs that are summed in f32 before they join the f64 sum.
const BLOCK: usize = 64;
/// Outputs of the widest panel.
const LANES_MAX: usize = 32;

/// The widths that the loop is compiled for. The wider ones need instructions found at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// What every machine of the target has (SSE2, NEON, simd128).
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Width {
    /// The widths that this machine can run, the fastest last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has more than one")]
        let mut widths = vec![Self::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                widths.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                widths.push(Self::Avx512);
            }
        }
        widths
    }

    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self::Baseline)
    }

    /// Outputs of a panel.
    fn lanes(self) -> usize {
        match self {
            Self::Baseline => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 32,
        }
    }

    /// Adds the products of `tile` and `panel` to `sums` [TILE_ROWS, lanes].
    fn add(self, tile: &[f32], panel: &[f32], sums: &mut [f64]) {
        match self {
            Self::Baseline => add::<8>(tile, panel, sums),
            // SAFETY: `available` gives these widths only where the instructions have been found, and
            // nothing else makes them.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { add_avx2(tile, panel, sums) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { add_avx512(tile, panel, sums) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(tile: &[f32], panel: &[f32], sums: &mut [f64]) {
    add::<16>(tile, panel, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_avx512(tile: &[f32], panel: &[f32], sums: &mut [f64]) {
    add::<32>(tile, panel, sums);
}

/// The loop for panels of `L` outputs; inlined into its callers, whose instructions it then uses.
#[inline(always)]
fn add<const L: usize>(tile: &[f32], panel: &[f32], sums: &mut [f64]) {
    let blocks = tile.chunks(BLOCK * TILE_ROWS).zip(panel.chunks(BLOCK * L));
    for (tile, panel) in blocks {
        let mut block = [[0f32; L]; TILE_ROWS];
        let steps = tile.as_chunks::<TILE_ROWS>().0.iter();
        for (x, w) in steps.zip(panel.as_chunks::<L>().0) {
            for (sums, x) in block.iter_mut().zip(x) {
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum += x * w;
                }
            }
        }
        for (sum, block) in sums.iter_mut().zip(block.as_flattened()) {
            *sum += f64::from(*block);
        }
    }
}

/// A matrix [outputs, inputs] with its bias, packed for this machine.
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    relu: bool,
    width: Width,
    panels: Vec<f32>,
    bias: Vec<f32>,
}

impl Matrix {
    /// Packs `weight` [outputs, inputs]; `bias` is [outputs] or empty. `inputs` is not 0.
    pub fn new(inputs: usize, weight: &[f32], bias: &[f32], relu: bool, width: Width) -> Self {
        let outputs = weight.len() / inputs;
        let lanes = width.lanes();
        let mut panels = vec![0.0; outputs.next_multiple_of(lanes) * inputs];
        let filled = panels.chunks_exact_mut(inputs * lanes);
        for (panel, rows) in filled.zip(weight.chunks(inputs * lanes)) {
            transpose(rows, inputs, lanes, panel);
        }
        let mut bias = bias.to_vec();
        bias.resize(outputs, 0.0);
        Self {
            inputs,
            outputs,
            relu,
            width,
            panels,
            bias,
        }
    }

    /// Maps `rows` [n, inputs] to `out` [n, outputs]. What is not finite becomes NaN, which no later
    /// layer hides.
    pub fn apply(&self, rows: &[f32], out: &mut [f32]) {
        let (inputs, outputs, lanes) = (self.inputs, self.outputs, self.width.lanes());
        let count = rows.len() / inputs;
        let mut tiles = vec![0.0; count.next_multiple_of(TILE_ROWS) * inputs];
        let filled = tiles.chunks_exact_mut(inputs * TILE_ROWS);
        for (tile, rows) in filled.zip(rows.chunks(inputs * TILE_ROWS)) {
            transpose(rows, inputs, TILE_ROWS, tile);
        }
        let panels = self.panels.chunks_exact(inputs * lanes);
        for (panel, bias) in panels.zip(self.bias.chunks(lanes).enumerate()) {
            let (first, bias) = (bias.0 * lanes, bias.1);
            let tiles = tiles.chunks_exact(inputs * TILE_ROWS);
            for (tile, out) in tiles.zip(out.chunks_mut(outputs * TILE_ROWS)) {
                let mut sums = [0f64; TILE_ROWS * LANES_MAX];
                self.width.add(tile, panel, &mut sums);
                for (out, sums) in out.chunks_exact_mut(outputs).zip(sums.chunks_exact(lanes)) {
                    for ((out, sum), bias) in out[first..].iter_mut().zip(sums).zip(bias) {
                        *out = self.activate((sum + f64::from(*bias)) as f32);
                    }
                }
            }
        }
    }

    fn activate(&self, value: f32) -> f32 {
        match value {
            _ if !value.is_finite() => f32::NAN,
            _ if self.relu && value < 0.0 => 0.0,
            _ => value,
        }
    }
}

/// Writes up to `lanes` rows of `inputs` values into `packed` [inputs, lanes].
fn transpose(rows: &[f32], inputs: usize, lanes: usize, packed: &mut [f32]) {
    for (lane, row) in rows.chunks_exact(inputs).enumerate() {
        for (place, value) in packed.iter_mut().skip(lane).step_by(lanes).zip(row) {
            *place = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    /// The sum of the module's documentation, written down plainly.
    fn plain(row: &[f32], weight: &[f32], bias: f32) -> f32 {
        let mut sum = 0f64;
        for (x, w) in row.chunks(BLOCK).zip(weight.chunks(BLOCK)) {
            let block = x.iter().zip(w).fold(0f32, |sum, (x, w)| sum + x * w);
            sum += f64::from(block);
        }
        (sum + f64::from(bias)) as f32
    }

    #[test]
    fn every_width_gives_the_bits_of_the_plain_sum() {
        for (n, inputs, outputs) in [(1, 1, 1), (3, 64, 33), (5, 130, 7), (8, 65, 40)] {
            let (rows, weight) = (noise(n * inputs, 1), noise(outputs * inputs, 2));
            let bias = noise(outputs, 3);
            for width in Width::available() {
                let mut out = vec![9.0; n * outputs];
                Matrix::new(inputs, &weight, &bias, false, width).apply(&rows, &mut out);
                let mut positive = vec![9.0; n * outputs];
                Matrix::new(inputs, &weight, &bias, true, width).apply(&rows, &mut positive);
                for (i, value) in out.iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let expected = plain(
                        &rows[row * inputs..][..inputs],
                        &weight[output * inputs..][..inputs],
                        bias[output],
                    );
                    assert_eq!(value.to_bits(), expected.to_bits(), "{width:?} {i}");
                    assert_eq!(positive[i], expected.max(0.0), "{width:?} {i}");
                }
            }
        }
    }

    #[test]
    fn the_sum_is_close_to_the_exact_one_over_the_longest_rows() {
        let inputs = 16384;
        let (row, weight) = (noise(inputs, 4), noise(inputs, 5));
        let products = row.iter().zip(&weight);
        let exact: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
        let mut out = [0.0];
        Matrix::new(inputs, &weight, &[], false, Width::fastest()).apply(&row, &mut out);
        // The products are about 0.3 large; their sum has a standard deviation of 43.
        assert!(
            (f64::from(out[0]) - exact).abs() < 2e-5,
            "{} {exact}",
            out[0]
        );
    }

    #[test]
    fn what_is_not_finite_is_not_hidden_by_the_relu() {
        let mut out = [0.0; 2];
        let matrix = Matrix::new(1, &[-1.0, 0.0], &[], true, Width::fastest());
        matrix.apply(&[f32::INFINITY], &mut out);
        assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
    }
}
