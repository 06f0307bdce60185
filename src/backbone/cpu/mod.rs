//! Backbones on the CPU, in the browser and natively: the crate's own kernels, without tensors.
//!
//! The same networks as in `super::reference`, which computes them in Burn
//! (`tests/backbones.rs` compares both). Quantized weights stay quantized in memory. One image passes at a time;
//! features are [D] each.

mod load;
mod resnet;
mod vit;
#[cfg(any(target_arch = "wasm32", test))]
pub mod warm;

pub use load::{CpuLoaded, CpuNetwork};
pub use resnet::CpuResnet;
pub use vit::CpuVit;

use super::cpu_kernels::{DensePanels, Epilogue, QuantizedPanels, layer_norm};

/// A matrix in the form that the kernels read.
#[derive(Clone, Debug)]
pub enum CpuMatrix {
    Dense(DensePanels),
    Quantized(QuantizedPanels),
}

/// `f(x W^T + b)`.
#[derive(Clone, Debug)]
pub struct CpuLinear {
    pub matrix: CpuMatrix,
    /// [out]
    pub bias: Vec<f32>,
}

impl CpuLinear {
    /// `x` [rows, in] -> [rows, out].
    pub fn forward(&self, x: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
        match &self.matrix {
            CpuMatrix::Dense(matrix) => matrix.linear(x, &self.bias, epilogue),
            CpuMatrix::Quantized(matrix) => matrix.linear(x, &self.bias, epilogue),
        }
    }
}

/// LayerNorm over the last axis.
#[derive(Clone, Debug)]
pub struct CpuNorm {
    /// [width]
    pub weight: Vec<f32>,
    /// [width]
    pub bias: Vec<f32>,
    pub epsilon: f32,
}

impl CpuNorm {
    /// `x` [rows, width], the same shape out.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        layer_norm(x, &self.weight, &self.bias, self.epsilon)
    }
}
