//! A linear layer in the form that suits its device, and the other parts of a transformer block.
//!
//! With the crate's own kernels a quantized matrix stays quantized ([`Weight::Quantized`]) and an f32 matrix is
//! read row by row ([`Weight::Rows`]); Burn's product reads [`Weight::Dense`], the reference, which a browser does
//! not download. All compute `x W^T + b`.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::dense_ops::{dense_linear, row_norm};
use super::matrix::QuantizedMatrix;
use super::quantized_linear::{quantized_linear, quantized_linear4};
use crate::error::{Error, Result};
use crate::format::TensorEncoding;
use crate::format::model::INT4_GROUP;

/// A matrix on the device.
#[derive(Clone, Debug)]
pub enum Weight {
    /// [in, out], transposed for a plain product.
    #[cfg(not(target_arch = "wasm32"))]
    Dense(Box<Tensor<2>>),
    /// [out, in], `in` padded with zeros to a multiple of 4.
    Rows(Box<Tensor<2>>),
    Quantized(Box<DeviceMatrix>),
}

/// A quantized matrix as the kernels read it.
#[derive(Clone, Debug)]
pub struct DeviceMatrix {
    encoding: TensorEncoding,
    /// [out, in/4] or [out, in/8]: four int8 or eight 4-bit codes to a word, the first in the lowest bits.
    codes: Tensor<2, Int>,
    /// [1, out], or [in/32, out] for 4 bits: transposed, so that neighbouring outputs lie side by side.
    scales: Tensor<2>,
}

impl Weight {
    /// Uploads `values`, row-major [out, in], for the crate's own kernel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number of outputs that is no multiple of 4.
    pub fn rows(values: Vec<f32>, out: usize, inputs: usize, device: &Device) -> Result<Self> {
        if !out.is_multiple_of(4) {
            return Err(Error::invalid(format!("matrix {out} x {inputs}")));
        }
        let padded = inputs.next_multiple_of(4);
        let mut rows = values;
        if padded != inputs {
            let padding = vec![0.0; padded - inputs];
            let of_row = rows.chunks_exact(inputs);
            rows = of_row.flat_map(|row| [row, &padding].concat()).collect();
        }
        let matrix = Tensor::<2>::from_data(TensorData::new(rows, [out, padded]), device);
        Ok(Self::Rows(Box::new(matrix)))
    }

    /// Uploads `values`, row-major [out, in], for Burn's product.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn dense(values: Vec<f32>, out: usize, inputs: usize, device: &Device) -> Self {
        let matrix = Tensor::<2>::from_data(TensorData::new(values, [out, inputs]), device);
        // A contiguous transpose: the product then reads rows of [in, out].
        let transposed: Tensor<2> = matrix.transpose();
        Self::Dense(Box::new(transposed))
    }

    /// Uploads a quantized matrix as it is.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a matrix whose sides are no multiples of 4.
    pub fn quantized(matrix: &QuantizedMatrix, device: &Device) -> Result<Self> {
        let (out, inputs) = (matrix.outputs, matrix.inputs);
        if !inputs.is_multiple_of(4) || !out.is_multiple_of(4) {
            return Err(Error::invalid(format!("quantized matrix {out} x {inputs}")));
        }
        let words: Vec<i32> = bytemuck::pod_collect_to_vec(&matrix.codes);
        let columns = words.len() / out;
        let codes = Tensor::<2, Int>::from_data(
            TensorData::new(words, [out, columns]),
            (device, DType::I32),
        );
        let groups = match matrix.encoding {
            TensorEncoding::Int4 => inputs / INT4_GROUP,
            _ => 1,
        };
        let scales: Vec<f32> = (0..groups)
            .flat_map(|group| matrix.scales.iter().skip(group).step_by(groups).copied())
            .collect();
        let scales = Tensor::<2>::from_data(TensorData::new(scales, [groups, out]), device);
        Ok(Self::Quantized(Box::new(DeviceMatrix {
            encoding: matrix.encoding,
            codes,
            scales,
        })))
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
            #[cfg(not(target_arch = "wasm32"))]
            Weight::Dense(weight) => x.matmul((**weight).clone()) + self.bias.clone().unsqueeze(),
            Weight::Rows(weights) => {
                let padded = weights.dims()[1];
                let x = match padded == inputs {
                    true => x,
                    false => {
                        let zeros = Tensor::zeros([batch * tokens, padded - inputs], &x.device());
                        Tensor::cat(vec![x, zeros], 1)
                    }
                };
                dense_linear(x, weights, &self.bias)
            }
            Weight::Quantized(matrix) => {
                let DeviceMatrix {
                    encoding,
                    codes,
                    scales,
                } = &**matrix;
                match encoding {
                    TensorEncoding::Int4 => quantized_linear4(x, codes, scales, &self.bias),
                    _ => quantized_linear(x, codes, scales, &self.bias),
                }
            }
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
    /// Whether it runs as the crate's own kernel.
    pub own_kernel: bool,
}

impl LayerNorm {
    /// `x` [batch, tokens, width], the same shape out.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        #[cfg(not(target_arch = "wasm32"))]
        if !self.own_kernel {
            return self.forward_of_burn(x);
        }
        let [batch, tokens, width] = x.dims();
        let x = x.reshape([batch * tokens, width]);
        row_norm(x, &self.weight, &self.bias, self.epsilon).reshape([batch, tokens, width])
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn forward_of_burn(&self, x: Tensor<3>) -> Tensor<3> {
        burn::tensor::module::layer_norm(
            x,
            self.weight.clone(),
            Some(self.bias.clone()),
            f64::from(self.epsilon),
        )
    }
}
