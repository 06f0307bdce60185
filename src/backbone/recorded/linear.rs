//! The linear layer and the convolution as one kernel text: weights, inputs, epilogue and a family's loop.
//!
//! A convolution is a linear layer whose rows are windows, read where they lie ([`Window`]). Invariants, checked
//! by [`Linear::kernel`]: inputs and outputs are multiples of 4; for 4 bits inputs are of 32, and of 8
//! for a pixel; a window's side is a multiple of its stride; rows in bytes are of 16 inputs and no windows.

use super::kernel::{Arithmetic, Family, Kernel};
use super::parts::with_quads;
use super::template::Values;
use crate::error::{Error, Result};
use crate::shader::shader;

/// How a matrix [outputs, inputs] is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    F32,
    /// Four codes to a word; scales [outputs].
    Int8,
    /// Eight codes to a word; scales [inputs / 32, outputs].
    Int4,
}

impl Encoding {
    /// Inputs of a word.
    pub fn word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Int8 => 4,
            Self::Int4 => 8,
        }
    }
}

/// How the tiles of GPUs multiply; registers multiply in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Multiply {
    Singles,
    /// In f16, a stage at a time.
    Halves,
    /// Inputs that were rounded to bytes, and codes of 8 bits, four at once.
    Bytes,
}

/// How a matrix is stored, and what tiles may multiply it with beside f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    pub encoding: Encoding,
    pub arithmetic: Arithmetic,
}

impl From<Encoding> for Matrix {
    fn from(encoding: Encoding) -> Self {
        Self {
            encoding,
            arithmetic: Arithmetic::default(),
        }
    }
}

/// What is applied last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    #[default]
    None,
    Gelu,
    QuickGelu,
    Relu,
}

/// What is added before the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Residual {
    None,
    /// Row `step * r` of the residual for row r.
    Add {
        step: usize,
    },
    /// The same, with the product times a factor per output (LayerScale).
    Scaled {
        step: usize,
    },
}

/// Where the rows of a convolution lie: [side, side, channels].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub side: usize,
    pub kernel: usize,
    pub stride: usize,
}

/// Shape of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    pub rows: usize,
    /// Of one row, or of one pixel of a window.
    pub inputs: usize,
    pub outputs: usize,
    pub encoding: Encoding,
    pub multiply: Multiply,
    pub window: Option<Window>,
    pub residual: Residual,
    pub activation: Activation,
}

/// Rows that one invocation of the REGISTERS family computes, of QUADS where no other tile suits, and how many invocations
/// lie side by side in a workgroup.
const ROWS: usize = 8;
const LANES: usize = 8;
/// Rows and columns of the QUADS family's tiles: of f32, where a row costs one load for four inputs and a column four; and of words,
/// where its columns leave none in vain.
const QUADS_F32: (usize, usize) = (12, 4);
const QUADS_WORDS: (usize, usize) = (12, 6);

pub(super) const EPILOGUE: &str = shader!("epilogue.wgsl");

impl Linear {
    /// Taps of the window.
    pub fn taps(&self) -> usize {
        self.window
            .map_or(1, |window| window.kernel * window.kernel)
    }

    /// Words of a row of the matrix.
    pub fn words(&self) -> usize {
        self.inputs * self.taps() / self.encoding.word()
    }

    /// Inputs that one load of four words brings.
    fn of_load(&self) -> usize {
        match self.multiply {
            Multiply::Bytes => 16,
            Multiply::Singles | Multiply::Halves => 4,
        }
    }

    /// Values of all scales.
    pub fn scales(&self) -> usize {
        match self.encoding {
            Encoding::F32 => 0,
            Encoding::Int8 => self.outputs,
            Encoding::Int4 => self.inputs * self.taps() / 32 * self.outputs,
        }
    }

    /// The kernel of a family.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a shape outside of the module's invariants.
    pub fn kernel(&self, family: Family) -> Result<Kernel> {
        self.check()?;
        let kernel = match family {
            Family::Registers | Family::Quads => self.registers(family),
            Family::Tiles | Family::Subgroups => self.tiles(),
        }?;
        let products = self.rows * self.inputs * self.taps() * self.outputs;
        Ok(kernel.computing("linear", products))
    }

    /// Rows and columns of a tile of the REGISTERS or the QUADS family, the rows a multiple of the columns: as few columns in
    /// vain as can be, and as few loads of x.
    fn sides(&self, turned: bool) -> (usize, usize) {
        let whole = |(_, columns): (usize, usize)| self.outputs.is_multiple_of(LANES * columns);
        match self.encoding {
            Encoding::F32 if turned => QUADS_F32,
            Encoding::Int8 | Encoding::Int4 if turned && whole(QUADS_WORDS) => QUADS_WORDS,
            _ => {
                let cost = |columns: &usize| {
                    let covered = self.outputs.next_multiple_of(LANES * columns);
                    covered * (columns + 4) / columns
                };
                (ROWS, [8, 4].into_iter().min_by_key(cost).unwrap_or(8))
            }
        }
    }

    fn registers(&self, family: Family) -> Result<Kernel> {
        let turned = family == Family::Quads;
        let (rows, columns) = self.sides(turned);
        let tall = rows / columns;
        let windows = self.window.is_some();
        // The rows of the next step come while those of this one are multiplied, where that was measured to pay.
        let ahead = turned
            && match self.encoding {
                Encoding::F32 => false,
                Encoding::Int8 => true,
                Encoding::Int4 => !windows,
            };
        let values = self
            .values()
            .with("real", "f32")
            .with("width", "4u * dims.n4")
            .with("x", if turned { "f32" } else { "vec4<f32>" })
            .with("fetched", 0)
            .with("masked", if windows { tall } else { 0 })
            .with("mask", if windows { " * f$t_$q" } else { "" })
            .with("fours", self.encoding.word().div_ceil(4))
            .with("tall", tall)
            .with("ahead", if ahead { tall } else { 0 })
            .with("now", if ahead { 0 } else { tall })
            .with("columns", columns)
            .with("lanes", LANES);
        let weights = match self.encoding {
            Encoding::F32 => shader!("columns_f32.wgsl"),
            Encoding::Int8 => shader!("columns_int8.wgsl"),
            Encoding::Int4 => shader!("columns_int4.wgsl"),
        };
        let text = self.text(
            &values,
            &[shader!("linear_registers.wgsl"), weights, EPILOGUE],
        );
        let text = match turned {
            true => with_quads(&[shader!("rows_quads.wgsl"), &text].concat()),
            false => [shader!("rows_registers.wgsl"), &text].concat(),
        };
        let groups = [
            self.outputs.div_ceil(columns * LANES),
            self.rows.div_ceil(rows),
            1,
        ];
        Kernel::new(text, groups, &self.dims())
    }

    fn check(&self) -> Result<()> {
        let fours = self.inputs.is_multiple_of(4) && self.outputs.is_multiple_of(4);
        let inputs = self.inputs * self.taps();
        let groups = self.encoding != Encoding::Int4 || inputs.is_multiple_of(32);
        let window = self.window.is_none_or(|w| {
            let out = w.side / w.stride.max(1);
            let whole = w.stride > 0 && w.side.is_multiple_of(w.stride) && w.kernel % 2 == 1;
            // 4-bit words hold two fours of inputs, which one tap must not split.
            let words = self.encoding != Encoding::Int4 || self.inputs.is_multiple_of(8);
            whole && words && self.rows == out * out
        });
        let sixteens = self.inputs.is_multiple_of(16) && self.window.is_none();
        let bytes = self.multiply != Multiply::Bytes || self.encoding == Encoding::Int8 && sixteens;
        let some = self.rows > 0 && self.inputs > 0 && self.outputs > 0;
        match some && fours && groups && window && bytes {
            true => Ok(()),
            false => Err(Error::invalid(format!("no kernel for {self:?}"))),
        }
    }

    pub(super) fn dims(&self) -> [usize; 7] {
        let window = self.window.unwrap_or(Window {
            side: 1,
            kernel: 1,
            stride: 1,
        });
        let step = match self.residual {
            Residual::None => 0,
            Residual::Add { step } | Residual::Scaled { step } => step,
        };
        let (n4, c4) = (self.outputs / 4, self.inputs / self.of_load());
        [
            self.rows,
            n4,
            c4,
            step,
            window.kernel,
            window.side,
            window.stride,
        ]
    }

    pub(super) fn values(&self) -> Values {
        let at = "row * dims.step * {{ width }} + column";
        let (residual, gamma, before) = match self.residual {
            Residual::None => (0, 0, String::new()),
            Residual::Add { .. } => (1, 0, format!("residual[{at}] + ")),
            Residual::Scaled { .. } => (1, 1, format!("residual[{at}] + end.gamma * ")),
        };
        let activate = match self.activation {
            Activation::None => "",
            Activation::Gelu => "gelu",
            Activation::QuickGelu => "quick_gelu",
            Activation::Relu => "relu",
        };
        Values::default()
            .with("residual", residual)
            .with("gamma", gamma)
            .with("before", before)
            .with("activate", activate)
    }

    /// The inputs' part and `parts`, filled with `values`.
    pub(super) fn text(&self, values: &Values, parts: &[&str]) -> String {
        let inputs = match self.window {
            None => shader!("inputs_rows.wgsl"),
            Some(_) => shader!("inputs_window.wgsl"),
        };
        let mut text = values.fill(inputs);
        for part in parts {
            text.push('\n');
            text.push_str(&values.fill(part));
        }
        text
    }
}
