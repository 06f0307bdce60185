//! Weights on the device by name, in the form that the kernels read.
//!
//! Each tensor is uploaded as it arrives and dropped on the host. A matrix lies with its words transposed,
//! [inputs, outputs], so that neighbouring invocations read neighbouring words. In the QUADS family the four inputs
//! of an output lie in the order in which its invocation meets them: see [`turn`].

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "shared between threads natively; a browser's handles are not, and need not be"
)]

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{scales_of, sums_of};
use super::kernel::Family;
use super::linear::Encoding;
use super::resnet::with_fourth_channel;
use super::vit::{CLASS_TOKEN, POSITIONS};
use crate::backbone::load::Decoded;
use crate::device::{GpuBuffer, GpuHandle};
use crate::error::{Error, Result};
use crate::format::model::INT4_GROUP;
use crate::format::{Architecture, TensorEncoding};

/// Tensors on the device.
#[derive(Clone, Default)]
pub struct Weights(HashMap<String, Arc<GpuBuffer>>);

impl Weights {
    /// The tensor `name`, which has `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there is none of as many.
    pub fn of(&self, name: &str, bytes: u64) -> Result<&Arc<GpuBuffer>> {
        let found = self.0.get(name).filter(|buffer| buffer.bytes() == bytes);
        found.ok_or_else(|| Error::invalid(format!("the weights {name} have no {bytes} bytes")))
    }
}

/// Takes tensors to the device.
pub struct Uploads {
    gpu: GpuHandle,
    family: Family,
    /// Those that are joined or changed on the way.
    architecture: Architecture,
    host: HashMap<String, Vec<f32>>,
    weights: Weights,
}

impl Uploads {
    /// For a backbone of `architecture` in kernels of `family`.
    pub fn new(gpu: &GpuHandle, architecture: &Architecture, family: Family) -> Self {
        Self {
            gpu: gpu.clone(),
            family,
            architecture: architecture.clone(),
            host: HashMap::new(),
            weights: Weights::default(),
        }
    }

    /// Takes the tensor `name`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a matrix whose sides are no multiples of 4 but for the first convolution's.
    pub fn take(&mut self, name: &str, tensor: Decoded) -> Result<()> {
        match tensor {
            Decoded::Values(values) if matches!(name, "cls_token" | "pos_embed") => {
                self.host.insert(name.into(), values);
            }
            Decoded::Values(values) => self.put(name, bytemuck::cast_slice(&values)),
            Decoded::Dense {
                values, outputs, ..
            } => {
                let stem = match &self.architecture {
                    Architecture::Resnet(config) => format!("{}.weight", config.stem().name),
                    Architecture::Vit(_) => String::new(),
                };
                let mut values = match name == stem {
                    true => with_fourth_channel(&values),
                    false => values,
                };
                let words = bytemuck::cast_slice_mut(&mut values);
                self.words(name, words, outputs, Encoding::F32)?;
            }
            Decoded::Quantized(matrix) => {
                let (encoding, groups) = match matrix.encoding {
                    TensorEncoding::Int4 => (Encoding::Int4, matrix.inputs / INT4_GROUP),
                    _ => (Encoding::Int8, 1),
                };
                let scales: Vec<f32> = (0..groups)
                    .flat_map(|group| matrix.scales.iter().skip(group).step_by(groups).copied())
                    .collect();
                self.put(&scales_of(name), bytemuck::cast_slice(&scales));
                if self.family.has_tiles() && encoding == Encoding::Int8 {
                    let rows = matrix.codes.chunks_exact(matrix.inputs.max(1));
                    let sum = |row: &[u8]| row.iter().map(|code| f32::from(*code as i8)).sum();
                    let sums: Vec<f32> = rows.map(sum).collect();
                    self.put(&sums_of(name), bytemuck::cast_slice(&sums));
                }
                let mut words: Vec<u32> = bytemuck::pod_collect_to_vec(&matrix.codes);
                self.words(name, &mut words, matrix.outputs, encoding)?;
            }
        }
        Ok(())
    }

    /// A matrix [outputs, words].
    fn words(
        &mut self,
        name: &str,
        words: &mut [u32],
        outputs: usize,
        encoding: Encoding,
    ) -> Result<()> {
        let columns = words.len() / outputs.max(1);
        if !outputs.is_multiple_of(4) || columns * outputs != words.len() {
            return Err(Error::invalid(format!("{name} has {outputs} outputs")));
        }
        if self.family == Family::Quads && columns > 0 {
            for (output, row) in words.chunks_exact_mut(columns).enumerate() {
                turn(row, encoding, output % 4);
            }
        }
        let lying = transposed(words, columns);
        self.put(name, bytemuck::cast_slice(&lying));
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        let buffer = self.gpu.owned("weights", bytes.len());
        self.gpu.queue().write_buffer(&buffer, 0, bytes);
        self.weights.0.insert(name.into(), Arc::new(buffer));
    }

    /// All of them, once the last has come.
    pub fn finish(mut self) -> Weights {
        if let Architecture::Vit(config) = &self.architecture {
            let class = self.host.remove("cls_token").unwrap_or_default();
            let positions = self.host.remove("pos_embed").unwrap_or_default();
            let (first, rest) = positions.split_at(config.width.min(positions.len()));
            let class: Vec<f32> = class.iter().zip(first).map(|(c, p)| c + p).collect();
            let head = config.projection.map(|outputs| vec![0.0f32; outputs]);
            self.put(CLASS_TOKEN, bytemuck::cast_slice(&class));
            self.put(POSITIONS, bytemuck::cast_slice(rest));
            if let Some(bias) = head {
                self.put("head.bias", bytemuck::cast_slice(&bias));
            }
        }
        self.weights
    }
}

/// Puts every four inputs of a row of words in the order in which invocation `lane` of a quad meets them: number r is input
/// `lane ^ r`, as `quads.wgsl` turns them.
fn turn(row: &mut [u32], encoding: Encoding, lane: usize) {
    let from = [0, 1, 2, 3].map(|r| lane ^ r);
    match encoding {
        Encoding::F32 => {
            for four in row.chunks_exact_mut(4) {
                let values = from.map(|at| four[at]);
                four.copy_from_slice(&values);
            }
        }
        Encoding::Int8 => {
            for word in row {
                let codes = word.to_le_bytes();
                *word = u32::from_le_bytes(from.map(|at| codes[at]));
            }
        }
        Encoding::Int4 => {
            for word in row {
                let code = |i: usize| *word >> (4 * i) & 15;
                let place = |i: usize| code(i / 4 * 4 + from[i % 4]) << (4 * i);
                *word = (0..8).map(place).sum();
            }
        }
    }
}

/// Words [rows, columns] as [columns, rows], a block of the cache at a time.
pub fn transposed(words: &[u32], columns: usize) -> Vec<u32> {
    const BLOCK: usize = 32;
    let rows = words.len() / columns.max(1);
    let mut lying = vec![0; words.len()];
    for top in (0..rows).step_by(BLOCK) {
        for left in (0..columns).step_by(BLOCK) {
            for row in top..rows.min(top + BLOCK) {
                for column in left..columns.min(left + BLOCK) {
                    lying[column * rows + row] = words[row * columns + column];
                }
            }
        }
    }
    lying
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_meets_its_own_input_first_and_all_four_once() {
        for lane in 0..4 {
            let mut row: Vec<u32> = (0..8).collect();
            turn(&mut row, Encoding::F32, lane);
            let wanted: Vec<usize> = (0..8).map(|i| i / 4 * 4 + (lane ^ (i % 4))).collect();
            assert_eq!(row.iter().map(|i| *i as usize).collect::<Vec<_>>(), wanted);
            let mut row = [0x0706_0504];
            turn(&mut row, Encoding::Int8, lane);
            let bytes = row[0].to_le_bytes().map(|b| usize::from(b) - 4);
            assert_eq!(bytes[..], wanted[..4]);
            let mut row = [0x7654_3210];
            turn(&mut row, Encoding::Int4, lane);
            let codes: Vec<usize> = (0..8).map(|i| (row[0] >> (4 * i) & 15) as usize).collect();
            assert_eq!(codes, wanted);
        }
    }
}
