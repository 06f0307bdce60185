//! A linear layer whose weights stay int8 on the device, as an extension of Burn's backends.
//!
//! On the GPU the WGSL kernel in `shaders/quantized_linear.wgsl` runs on Burn's own buffers and
//! stream, so its order among Burn's kernels is kept without a flush. [`reference`] is the CPU twin
//! that defines the result. Invariant: `in` and `out` are multiples of 4 (checked by the model head).

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::cubecl::{CubeCount, CubeDim, prelude::KernelId, server::KernelArguments};
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use burn_wgpu::{
    CubeBackend as Cube, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};

/// Operations of this crate on Burn's backends.
#[backend_extension(Cube, Flex)]
pub trait QuantizedOps: Backend {
    /// `x` [rows, in], `codes` [out, in/4] (four int8 to a word), `scales` [out], `bias` [out] ->
    /// [rows, out].
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// `x` [rows, in] times an int8 matrix [out, in], plus `bias` [out], as [rows, out].
pub fn quantized_linear(
    x: Tensor<2>,
    codes: &Tensor<2, Int>,
    scales: &Tensor<1>,
    bias: &Tensor<1>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::quantized_linear(
        x.into_dispatch(),
        codes.clone().into_dispatch(),
        scales.clone().into_dispatch(),
        bias.clone().into_dispatch(),
    ))
}

/// The CPU twin: `y[m][n] = scales[n] * sum_k x[m][k] * codes[n][k] + bias[n]`.
///
/// `x` is row-major [rows, in], `codes` row-major [out, in].
pub fn reference(x: &[f32], codes: &[i8], scales: &[f32], bias: &[f32], inputs: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len() / inputs * scales.len());
    for row in x.chunks_exact(inputs) {
        for ((weights, scale), bias) in codes.chunks_exact(inputs).zip(scales).zip(bias) {
            let sum: f32 = row
                .iter()
                .zip(weights)
                .map(|(x, c)| x * f32::from(*c))
                .sum();
            y.push(sum * scale + bias);
        }
    }
    y
}

impl QuantizedOps for Flex {
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let floats =
            |tensor: FloatTensor<Self>| -> Vec<f32> { tensor.into_data().iter::<f32>().collect() };
        let shape = x.shape();
        let words: Vec<i32> = codes.into_data().iter::<i32>().collect();
        let (x, scales, bias) = (floats(x), floats(scales), floats(bias));
        let y = reference(&x, bytemuck::cast_slice(&words), &scales, &bias, shape[1]);
        FloatTensor::<Self>::from_data(TensorData::new(y, [shape[0], scales.len()]))
    }
}

impl QuantizedOps for Cube {
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, codes) = (into_contiguous(x), into_contiguous(codes));
        let (rows, inputs) = (x.shape()[0], x.shape()[1]);
        let outputs = scales.shape()[0];
        let client = x.client.clone();
        let y = CubeTensor::new_contiguous(
            client.clone(),
            x.device.clone(),
            Shape::from([rows, outputs]),
            client.empty(rows * outputs * size_of::<f32>()),
            DType::F32,
        );
        let kernel = LinearKernel {
            rows,
            inputs,
            outputs,
        };
        let bindings = [&x, &codes, &scales, &bias, &y].map(|t| t.handle.clone().binding());
        client.launch(
            Box::new(SourceKernel::new(kernel, CubeDim::new_2d(8, 8))),
            CubeCount::Static(
                (outputs / 4).div_ceil(8) as u32,
                rows.div_ceil(64) as u32,
                1,
            ),
            KernelArguments::new().with_buffers(bindings.to_vec()),
        );
        y
    }
}

/// The kernel for one shape; shapes are constants so that the driver can plan for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinearKernel {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl KernelSource for LinearKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("../../shaders/quantized_linear.wgsl"))
            .register("m", self.rows.to_string())
            .register("n4", (self.outputs / 4).to_string())
            .register("k4", (self.inputs / 4).to_string())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
