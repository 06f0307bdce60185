//! The linear layer in the tiles of GPUs: three ways to multiply in one loop, and the kernel that joins partial sums.
//!
//! Invariant: workgroup memory fits what every device has, in each of the ways (`tile` tests it).

use super::kernel::{Family, Kernel};
use super::linear::{EPILOGUE, Encoding, Linear, Multiply};
use super::template::Values;
use super::tile::Tile;
use crate::error::Result;
use crate::format::model::EIGHT_BIT_STEPS;
use crate::shader::shader;

/// Stands before shaders with f16.
pub(super) const ENABLE_HALVES: &str = "enable f16;\n";

impl Multiply {
    /// Adds what `linear_tiles.wgsl` and `rates.wgsl` are told of types.
    pub(super) fn types(self, values: Values) -> Values {
        let (held, sum) = match self {
            Self::Singles => ("vec4<f32>", "vec4<f32>"),
            Self::Halves => ("vec4<f16>", "vec4<f16>"),
            Self::Bytes => ("vec4<u32>", "vec4<i32>"),
        };
        values.with("held", held).with("sum", sum)
    }

    /// The part that multiplies.
    pub(super) fn part(self) -> &'static str {
        match self {
            Self::Singles => shader!("multiply_singles.wgsl"),
            Self::Halves => shader!("multiply_halves.wgsl"),
            Self::Bytes => shader!("multiply_bytes.wgsl"),
        }
    }

    /// What a text that multiplies so begins with.
    pub(super) fn enables(self) -> &'static str {
        match self {
            Self::Halves => ENABLE_HALVES,
            Self::Singles | Self::Bytes => "",
        }
    }
}

impl Linear {
    pub(super) fn tiles(&self) -> Result<Kernel> {
        let tile = self.tile();
        let multiply = self.multiply;
        let (in_halves, in_bytes) = (multiply == Multiply::Halves, multiply == Multiply::Bytes);
        let is_whole = tile.split == 1;
        let if_so = |so: bool, count: usize| if so { count } else { 0 };
        let (came, whole) = match multiply {
            Multiply::Bytes => (
                "vec4<u32>",
                "whole(s$i_$q, first_row + line + $iu * 8u, first_quad + column + $qu * 8u, first)",
            ),
            Multiply::Singles | Multiply::Halves => ("vec4<f32>", "s$i_$q"),
        };
        let unit = match multiply {
            // A word is loaded and staged as it is.
            Multiply::Bytes => 1,
            Multiply::Singles | Multiply::Halves => self.encoding.word(),
        };
        let values = multiply
            .types(self.values())
            .with("whole", whole)
            .with("steps", EIGHT_BIT_STEPS)
            .with("came", came)
            .with("less", if in_halves { " * 0.0078125" } else { "" })
            .with("more", self.more())
            .with("total", if in_bytes { "vec4<i32>" } else { "vec4<f32>" })
            .with("into", if in_halves { "p" } else { "s" })
            .with("halved", if_so(in_halves, tile.rows))
            .with("low", if_so(in_bytes, 1))
            .with("lowered", if_so(in_bytes, tile.quads))
            .with(
                "kept",
                if_so(tile.slices > 1, 64 * tile.rows * tile.quads).max(1),
            )
            .with("tiles", 1)
            .with("split", tile.split)
            .with("part", if is_whole { "" } else { "group.z, " })
            .with("of", if is_whole { ", e$q" } else { "" })
            .with("ended", if_so(is_whole, tile.quads))
            .with("real", "vec4<f32>")
            .with("x", came)
            .with("fetched", 1)
            .with("width", "dims.n4")
            .with("rows", tile.rows)
            .with("quads", tile.quads)
            .with("fours", tile.fours)
            .with("slices", tile.slices)
            .with("joined", tile.slices - 1)
            .with("lines", tile.lines())
            .with("x_loads", (tile.rows * tile.fours).div_ceil(8))
            .with("w_loads", (tile.quads * tile.fours).div_ceil(2 * unit))
            .with("four", 4)
            .with("eight", 8);
        let weights = match self.encoding {
            Encoding::F32 => shader!("weights_f32.wgsl"),
            Encoding::Int8 if in_bytes => shader!("weights_bytes.wgsl"),
            Encoding::Int8 => shader!("weights_int8.wgsl"),
            Encoding::Int4 => shader!("weights_int4.wgsl"),
        };
        let [rows, columns] = tile.sides();
        let groups = [
            self.outputs.div_ceil(columns),
            self.rows.div_ceil(rows),
            tile.split,
        ];
        let end = match tile.split {
            1 => EPILOGUE,
            _ => shader!("parts.wgsl"),
        };
        let parts = [shader!("linear_tiles.wgsl"), multiply.part(), weights, end];
        let text = [multiply.enables(), &self.text(&values, &parts)].concat();
        Kernel::new(text, groups, &self.dims())
    }

    /// Partial sums that the kernel of `family` leaves to [`Self::join`]; 1 where there are none.
    pub fn split(&self, family: Family) -> usize {
        match family {
            Family::Registers | Family::Quads => 1,
            Family::Tiles | Family::Subgroups => self.tile().split,
        }
    }

    /// The kernel that joins partial sums [split, rows, outputs].
    ///
    /// # Errors
    /// As [`Self::kernel`].
    pub fn join(&self) -> Result<Kernel> {
        let (scaled, scale) = match self.encoding {
            Encoding::Int8 => (1, format!("scales[quad]{}", self.more())),
            _ => (0, "vec4<f32>(1.0)".into()),
        };
        let values = self
            .values()
            .with("real", "vec4<f32>")
            .with("x", "vec4<f32>")
            .with("fetched", 1)
            .with("width", "dims.n4")
            .with("split", self.tile().split)
            .with("scaled", scaled)
            .with("scale", scale);
        let mut rows = Self {
            window: None,
            ..*self
        };
        rows.multiply = Multiply::Singles;
        let text = shader!("linear_join.wgsl");
        let groups = [(self.rows * self.outputs / 4).div_ceil(64), 1, 1];
        let kernel = Kernel::new(rows.text(&values, &[text, EPILOGUE]), groups, &rows.dims())?;
        Ok(kernel.computing("join", 0))
    }

    /// By what scales of 8-bit codes are taken larger, as f16 are staged as multiples of 2^-7.
    fn more(&self) -> &'static str {
        match self.multiply {
            Multiply::Halves => " * 128.0",
            Multiply::Singles | Multiply::Bytes => "",
        }
    }

    fn tile(&self) -> Tile {
        Tile::of(self.rows, self.outputs, self.inputs * self.taps())
    }
}
