//! The kernels beside the linear layer: attention, LayerNorm, tokens, and the pools of a ResNet.
//!
//! Invariant: widths, channels and the width of a head are multiples of 4, checked by [`fours`].

use super::kernel::{Family, Kernel};
use super::template::Values;
use crate::error::{Error, Result};
use crate::format::model::EIGHT_BIT_STEPS;
use crate::shader::{ENABLE_SUBGROUPS, shader};

/// Workgroup memory that every WebGPU device has.
const WORKGROUP_BYTES: usize = 16384;
/// Widest head that the REGISTERS attention keeps with two queries.
const HEAD_OF_TWO: usize = 64;

/// The number of vectors of four in `width`.
///
/// # Errors
/// [`Error::InvalidArgument`] for 0 and what is no multiple of 4.
pub fn fours(width: usize) -> Result<usize> {
    match width > 0 && width.is_multiple_of(4) {
        true => Ok(width / 4),
        false => Err(Error::invalid(format!("a kernel for a width of {width}"))),
    }
}

fn float(value: f32) -> String {
    format!("{value:?}")
}

/// `kernel` behind what its invocations tell each other by, filled.
pub(super) fn with_sums(values: &Values, kernel: &str, family: Family) -> String {
    let (enable, sums, lanes, [taken, size]) = match family {
        Family::Subgroups => (
            ENABLE_SUBGROUPS,
            shader!("sums_subgroups.wgsl"),
            ", @builtin(subgroup_size) size: u32",
            [", size: u32", ", size"],
        ),
        Family::Registers | Family::Quads | Family::Tiles => {
            ("", shader!("sums_memory.wgsl"), "", ["", ""])
        }
    };
    let values = values
        .clone()
        .with("lanes", lanes)
        .with("taken", taken)
        .with("size", size);
    [enable, sums, &values.fill(kernel)].concat()
}

/// `kernel`, filled, behind what the invocations of a quad hand around by.
pub(super) fn with_quads(kernel: &str) -> String {
    [ENABLE_SUBGROUPS, shader!("quads.wgsl"), kernel].concat()
}

/// Multi-head attention: qkv [tokens, 3 * width] -> [queries, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    pub tokens: usize,
    /// The first tokens, which ask.
    pub queries: usize,
    pub heads: usize,
    /// Width of a head.
    pub head: usize,
}

impl Attention {
    /// # Errors
    /// As [`fours`], and those of [`Kernel::new`].
    pub fn kernel(&self, family: Family) -> Result<Kernel> {
        let head4 = fours(self.head)?;
        // Queries, a tile, scores; what neighbours tell each other and shrinks.
        let staged = (48 * (head4 + 1) + 16 * 9) * 16 + 4 * (64 + 16);
        let tiles = family.has_tiles() && staged <= WORKGROUP_BYTES;
        // Two queries share what is loaded of keys and values; a wide head leaves no room for them.
        let each = if self.head <= HEAD_OF_TWO { 2 } else { 1 };
        let values = Values::default()
            .with("head4", head4)
            .with("each", each)
            .with("loads", head4.div_ceil(2))
            .with("two", 2)
            .with("quads", 4)
            .with("eight", 8)
            .with("scale", float((self.head as f32).powf(-0.5)));
        let (text, queries) = match family {
            Family::Quads => (with_quads(&values.fill(shader!("attention_quads.wgsl"))), 8),
            _ if tiles => (
                with_sums(&values, shader!("attention_tiles.wgsl"), family),
                16,
            ),
            _ => (values.fill(shader!("attention_registers.wgsl")), 16 * each),
        };
        let groups = [self.queries.div_ceil(queries), self.heads, 1];
        let dims = [self.tokens, self.queries, self.heads];
        let products = 2 * self.tokens * self.queries * self.heads * self.head;
        Ok(Kernel::new(text, groups, &dims)?.computing("attention", products))
    }
}

/// LayerNorm of the rows `step * r`: x [.., width] -> [rows, width], as bytes where they are to be multiplied so.
///
/// # Errors
/// As [`Attention::kernel`].
pub fn layer_norm(
    [rows, step, width]: [usize; 3],
    epsilon: f32,
    family: Family,
    in_bytes: bool,
) -> Result<Kernel> {
    let values = Values::default()
        .with("epsilon", float(epsilon))
        .with("steps", EIGHT_BIT_STEPS)
        .with("plain", usize::from(!in_bytes))
        .with("rounded", usize::from(in_bytes));
    let (text, groups) = match family.has_tiles() {
        true => {
            let norm = shader!("norm_tiles.wgsl");
            let text = match in_bytes {
                true => [shader!("round_rows.wgsl"), norm].concat(),
                false => norm.into(),
            };
            (with_sums(&values, &text, family), rows)
        }
        false => (
            values.fill(shader!("norm_registers.wgsl")),
            rows.div_ceil(16),
        ),
    };
    let dims = [rows, fours(width)?, step];
    Ok(Kernel::new(text, [groups, 1, 1], &dims)?.computing("norm", 0))
}

/// Rows as bytes: x [rows, width] -> what `round_rows.wgsl` says, with a family that has tiles.
///
/// # Errors
/// As [`Attention::kernel`].
pub fn round_rows([rows, width]: [usize; 2], family: Family) -> Result<Kernel> {
    let values = Values::default().with("steps", EIGHT_BIT_STEPS);
    let text = [shader!("round_rows.wgsl"), shader!("rounded_values.wgsl")].concat();
    let text = with_sums(&values, &text, family);
    Ok(Kernel::new(text, [rows, 1, 1], &[rows, fours(width)?])?.computing("round", 0))
}

/// Class token and positions: patches [tokens - 1, width] -> [tokens, width].
///
/// # Errors
/// As [`Attention::kernel`].
pub fn tokens(tokens: usize, width: usize) -> Result<Kernel> {
    let text = shader!("tokens.wgsl").into();
    let w4 = fours(width)?;
    Ok(Kernel::new(text, [w4.div_ceil(16), tokens, 1], &[tokens, w4])?.computing("tokens", 0))
}

/// Maximum of 3x3 with stride 2: [side, side, channels] -> [side / 2, side / 2, channels].
///
/// # Errors
/// [`Error::InvalidArgument`] for an odd side, and as [`Attention::kernel`].
pub fn max_pool(side: usize, channels: usize) -> Result<Kernel> {
    if !side.is_multiple_of(2) {
        return Err(Error::invalid(format!("a pool of a side of {side}")));
    }
    let text = shader!("max_pool.wgsl").into();
    let c4 = fours(channels)?;
    Ok(
        Kernel::new(text, [c4.div_ceil(16), (side / 2).pow(2), 1], &[side, c4])?
            .computing("max pool", 0),
    )
}

/// Generalised mean `(mean max(x, least)^power)^(1 / power)`: [pixels, channels] -> [channels].
///
/// # Errors
/// As [`Attention::kernel`].
pub fn mean_pool(pixels: usize, channels: usize, power: f32, least: f32) -> Result<Kernel> {
    let values = Values::default()
        .with("power", float(power))
        .with("least", float(least));
    let text = values.fill(shader!("mean_pool.wgsl"));
    let c4 = fours(channels)?;
    Ok(Kernel::new(text, [c4.div_ceil(16), 1, 1], &[pixels, c4])?.computing("mean pool", 0))
}

/// A row of unit length.
///
/// # Errors
/// As [`Attention::kernel`].
pub fn unit(width: usize) -> Result<Kernel> {
    let text = shader!("unit.wgsl").into();
    let w4 = fours(width)?;
    Ok(Kernel::new(text, [w4.div_ceil(16), 1, 1], &[w4])?.computing("unit", 0))
}
