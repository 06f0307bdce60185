//! A linear layer in the form that suits its device, and the other parts of a transformer block.
//!
//! On the GPU an int8 matrix stays int8 ([`Weight::Int8`]); the CPU backend has no int8 product, so
//! there it is expanded once, when loaded. Both compute `x W^T + b`.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, module};

use super::quantized_linear::quantized_linear;
use crate::error::{Error, Result};

/// A matrix on the device.
#[derive(Clone, Debug)]
pub enum Weight {
    /// [in, out], transposed for a plain product.
    Dense(Box<Tensor<2>>),
    Int8(Box<Int8Matrix>),
}

/// A matrix as int8 with a scale for each output.
#[derive(Clone, Debug)]
pub struct Int8Matrix {
    /// [out, in/4], four int8 to a word.
    codes: Tensor<2, Int>,
    /// [out]
    scales: Tensor<1>,
}

impl Weight {
    /// Uploads `values`, row-major [out, in].
    pub fn dense(values: Vec<f32>, out: usize, inputs: usize, device: &Device) -> Self {
        let matrix = Tensor::<2>::from_data(TensorData::new(values, [out, inputs]), device);
        // A contiguous transpose: the product then reads rows of [in, out].
        let transposed: Tensor<2> = matrix.transpose();
        Self::Dense(Box::new(transposed))
    }

    /// Uploads an int8 matrix as `scales` [out] and `codes` [out, in], row-major; `keep` leaves it
    /// int8 on the device.
    pub fn int8(
        scales: Vec<f32>,
        codes: &[u8],
        inputs: usize,
        keep: bool,
        device: &Device,
    ) -> Result<Self> {
        let out = scales.len();
        if out * inputs != codes.len() || !inputs.is_multiple_of(4) || !out.is_multiple_of(4) {
            return Err(Error::invalid(format!("int8 matrix {out} x {inputs}")));
        }
        if !keep {
            let codes: &[i8] = bytemuck::cast_slice(codes);
            let values = codes
                .chunks_exact(inputs)
                .zip(&scales)
                .flat_map(|(row, scale)| row.iter().map(move |c| f32::from(*c) * scale))
                .collect();
            return Ok(Self::dense(values, out, inputs, device));
        }
        let words: Vec<i32> = bytemuck::pod_collect_to_vec(codes);
        let codes = Tensor::<2, Int>::from_data(
            TensorData::new(words, [out, inputs / 4]),
            (device, DType::I32),
        );
        let scales = Tensor::<1>::from_data(TensorData::new(scales, [out]), device);
        Ok(Self::Int8(Box::new(Int8Matrix { codes, scales })))
    }
}

/// `x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: Weight,
    /// [out]
    pub bias: Tensor<1>,
}

impl Linear {
    /// `x` [batch, tokens, in] -> [batch, tokens, out].
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, inputs] = x.dims();
        let x = x.reshape([batch * tokens, inputs]);
        let y = match &self.weight {
            Weight::Dense(weight) => x.matmul((**weight).clone()) + self.bias.clone().unsqueeze(),
            Weight::Int8(matrix) => quantized_linear(x, &matrix.codes, &matrix.scales, &self.bias),
        };
        let out = y.dims()[1];
        y.reshape([batch, tokens, out])
    }
}

/// LayerNorm over the last axis.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// [width]
    pub weight: Tensor<1>,
    /// [width]
    pub bias: Tensor<1>,
    pub epsilon: f32,
}

impl LayerNorm {
    /// `x` [batch, tokens, width], the same shape out.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        module::layer_norm(
            x,
            self.weight.clone(),
            Some(self.bias.clone()),
            f64::from(self.epsilon),
        )
    }
}
