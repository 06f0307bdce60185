//! A linear layer and LayerNorm by Burn's own operations.

use burn::tensor::{Device, Tensor, TensorData};

/// `x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// [in, out], transposed for a plain product.
    pub weight: Tensor<2>,
    /// [out]
    pub bias: Tensor<1>,
}

/// Uploads `values`, row-major [out, in], as [in, out].
pub fn transposed(values: Vec<f32>, out: usize, inputs: usize, device: &Device) -> Tensor<2> {
    let matrix = Tensor::<2>::from_data(TensorData::new(values, [out, inputs]), device);
    matrix.transpose()
}

impl Linear {
    /// `x` [batch, tokens, in] -> [batch, tokens, out].
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, inputs] = x.dims();
        let x = x.reshape([batch * tokens, inputs]);
        let y = x.matmul(self.weight.clone()) + self.bias.clone().unsqueeze();
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
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        burn::tensor::module::layer_norm(x, weight, bias, f64::from(self.epsilon))
    }
}
