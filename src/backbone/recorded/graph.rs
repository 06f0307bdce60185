//! A forward pass as a list of kernel calls over virtual buffers and weights by name.
//!
//! A [`Slot`] is the result of one call (slot 0 is the input); which buffer holds it is decided when the graph is
//! recorded. A graph needs no weights, so its pipelines can be compiled while these are on their way. Invariant: a
//! call reads slots of earlier calls only, and writes one of its own.

use std::collections::{HashMap, HashSet};

use super::kernel::{Family, Kernel, OUTPUT};
use super::linear::{Activation, Encoding, Linear, Matrix, Multiply, Residual, Window};
use super::parts::{self, Attention};
use crate::error::{Error, Result};

/// Up to so many rows there are too few to be worth rounding.
const ROWS_FEW: usize = 8;

/// A result within a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(super) usize);

/// What a call reads.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Slot(Slot),
    /// Weights of this name, and the bytes that the kernel reads of them.
    Weights(String, u64),
}

/// One dispatch.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub kernel: Kernel,
    /// With their bindings.
    pub reads: Vec<(u32, Operand)>,
    pub writes: Slot,
}

/// A forward pass.
#[derive(Clone, Debug)]
pub struct Graph {
    family: Family,
    /// How each matrix is stored, and multiplied where that suits its rows.
    matrices: HashMap<String, Matrix>,
    pub(super) calls: Vec<Call>,
    /// Values of each slot.
    pub(super) slots: Vec<usize>,
    /// Slots that hold rows in bytes.
    rounded: HashSet<usize>,
    /// Calls before which a pass may be divided.
    pub(super) steps: Vec<usize>,
}

/// What follows a product.
#[derive(Clone, Debug, Default)]
pub struct After {
    pub activation: Activation,
    /// With the step between its rows.
    pub residual: Option<(Slot, usize)>,
    /// Name of the LayerScale [out], where there is a residual.
    pub gamma: Option<String>,
}

/// The scales of the matrix `name`.
pub fn scales_of(name: &str) -> String {
    format!("{name}.scales")
}

/// The sums of the codes of each output of the matrix `name`.
pub fn sums_of(name: &str) -> String {
    format!("{name}.sums")
}

fn f32s(name: &str, count: usize) -> Operand {
    Operand::Weights(name.into(), 4 * count as u64)
}

impl Graph {
    /// A graph whose input is `values` f32, with matrices by name.
    pub fn new(family: Family, matrices: HashMap<String, Matrix>, values: usize) -> Self {
        Self {
            family,
            matrices,
            rounded: HashSet::new(),
            calls: Vec::new(),
            slots: vec![values],
            steps: Vec::new(),
        }
    }

    /// Of the kernels, and of how the weights lie.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What a run is given.
    pub fn input(&self) -> Slot {
        Slot(0)
    }

    /// A part of the pass ends here: a slow device is asked for one part after the other.
    pub fn step(&mut self) {
        self.steps.push(self.calls.len());
    }

    fn call(&mut self, kernel: Kernel, reads: Vec<(u32, Operand)>, values: usize) -> Slot {
        debug_assert!(reads.iter().all(|(binding, _)| *binding != OUTPUT));
        let writes = Slot(self.slots.len());
        self.slots.push(values);
        self.calls.push(Call {
            kernel,
            reads,
            writes,
        });
        writes
    }

    /// `rows` rows of `x` through the layer `name` [outputs, inputs], which has `name.weight` and `name.bias`;
    /// `inputs` counts one pixel's where `window` is given.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a shape that the kernels do not serve.
    pub fn linear(
        &mut self,
        x: Slot,
        name: &str,
        [rows, inputs, outputs]: [usize; 3],
        window: Option<Window>,
        after: After,
    ) -> Result<Slot> {
        let residual = match (&after.residual, &after.gamma) {
            (None, _) => Residual::None,
            (Some((_, step)), None) => Residual::Add { step: *step },
            (Some((_, step)), Some(_)) => Residual::Scaled { step: *step },
        };
        let (encoding, multiply) = self.multiplied(name, [rows, inputs], window)?;
        let shape = Linear {
            rows,
            inputs,
            outputs,
            encoding,
            multiply,
            window,
            residual,
            activation: after.activation,
        };
        let kernel = shape.kernel(self.family)?;
        let in_bytes = multiply == Multiply::Bytes;
        let x = match in_bytes && !self.rounded.contains(&x.0) {
            true => {
                let kernel = parts::round_rows([rows, inputs], self.family)?;
                self.rounded(kernel, vec![(0, Operand::Slot(x))], [rows, inputs])
            }
            false => x,
        };
        let matrix = format!("{name}.weight");
        let weights = (1, f32s(&matrix, outputs * shape.words()));
        let mut reads = vec![(0, Operand::Slot(x)), weights];
        if in_bytes {
            reads.push((8, f32s(&sums_of(&matrix), outputs)));
        }
        let scales = (2, f32s(&scales_of(&matrix), shape.scales()));
        let mut ends = vec![(3, f32s(&format!("{name}.bias"), outputs))];
        match encoding {
            Encoding::F32 => {}
            // One for an output: they are applied to whole sums.
            Encoding::Int8 => ends.push(scales),
            Encoding::Int4 => reads.push(scales),
        }
        if let Some((slot, _)) = after.residual {
            ends.push((5, Operand::Slot(slot)));
            ends.extend(after.gamma.iter().map(|gamma| (6, f32s(gamma, outputs))));
        }
        let split = shape.split(self.family);
        if split > 1 {
            let parts = self.call(kernel, reads, split * rows * outputs);
            reads = vec![(0, Operand::Slot(parts))];
            reads.extend(ends);
            return Ok(self.call(shape.join()?, reads, rows * outputs));
        }
        reads.extend(ends);
        Ok(self.call(kernel, reads, rows * outputs))
    }

    /// How the matrix of the layer `name` is stored, and `rows` rows of `inputs` are multiplied by it.
    fn multiplied(
        &self,
        name: &str,
        [rows, inputs]: [usize; 2],
        window: Option<Window>,
    ) -> Result<(Encoding, Multiply)> {
        let found = self.matrices.get(&format!("{name}.weight"));
        let found = *found.ok_or_else(|| Error::invalid(format!("no matrix of {name}")))?;
        let Matrix {
            encoding,
            arithmetic,
        } = found;
        let fit = rows > ROWS_FEW && inputs.is_multiple_of(16) && window.is_none();
        let multiply = match encoding {
            _ if !self.family.has_tiles() => Multiply::Singles,
            Encoding::F32 => Multiply::Singles,
            Encoding::Int8 if arithmetic.bytes && fit => Multiply::Bytes,
            _ if arithmetic.halves => Multiply::Halves,
            _ => Multiply::Singles,
        };
        Ok((encoding, multiply))
    }

    /// A call of `kernel`, which rounds `rows` rows of `inputs` to bytes.
    fn rounded(
        &mut self,
        kernel: Kernel,
        reads: Vec<(u32, Operand)>,
        [rows, inputs]: [usize; 2],
    ) -> Slot {
        let words = (rows + 1) * inputs / 4 + 2 * rows;
        let slot = self.call(kernel, reads, words.next_multiple_of(4));
        self.rounded.insert(slot.0);
        slot
    }

    /// LayerNorm `name` of the rows `step * r`, which enter the layer `next`, if that is all they do.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn norm(
        &mut self,
        x: Slot,
        name: &str,
        sides: [usize; 3],
        epsilon: f32,
        next: Option<&str>,
    ) -> Result<Slot> {
        let [rows, _, width] = sides;
        let multiplied = next.map(|next| self.multiplied(next, [rows, width], None));
        let in_bytes = multiplied
            .transpose()?
            .is_some_and(|(_, how)| how == Multiply::Bytes);
        let kernel = parts::layer_norm(sides, epsilon, self.family, in_bytes)?;
        let weights = ["weight", "bias"].map(|part| f32s(&format!("{name}.{part}"), width));
        let [weight, bias] = weights;
        let reads = vec![(0, Operand::Slot(x)), (1, weight), (3, bias)];
        Ok(match in_bytes {
            true => self.rounded(kernel, reads, [rows, width]),
            false => self.call(kernel, reads, rows * width),
        })
    }

    /// Attention before its projection.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn attention(&mut self, qkv: Slot, shape: Attention) -> Result<Slot> {
        let kernel = shape.kernel(self.family)?;
        let values = shape.queries * shape.heads * shape.head;
        Ok(self.call(kernel, vec![(0, Operand::Slot(qkv))], values))
    }

    /// The class token and positions of these names joined with `patches`.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn tokens(
        &mut self,
        patches: Slot,
        [class_token, positions]: [&str; 2],
        [tokens, width]: [usize; 2],
    ) -> Result<Slot> {
        let kernel = parts::tokens(tokens, width)?;
        let reads = vec![
            (0, Operand::Slot(patches)),
            (1, f32s(class_token, width)),
            (2, f32s(positions, (tokens - 1) * width)),
        ];
        Ok(self.call(kernel, reads, tokens * width))
    }

    /// A kernel that reads one slot and no weights.
    pub fn apply(&mut self, x: Slot, kernel: Kernel, values: usize) -> Slot {
        self.call(kernel, vec![(0, Operand::Slot(x))], values)
    }
}
