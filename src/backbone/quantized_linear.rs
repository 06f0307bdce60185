//! A linear layer whose weights stay int8 or 4-bit on the device, as an extension of Burn's backends.
//!
//! On the GPU the WGSL kernels in `shaders/quantized_linear.wgsl` and `quantized_linear4.wgsl` run on
//! Burn's own buffers and stream, so their order among Burn's kernels is kept without a flush.
//! [`reference`] and [`reference4`] are the CPU twins that define the results. Invariant: `out` is a
//! multiple of 4, `in` of 4 or 32 (checked by the model head).

#[cfg(not(target_arch = "wasm32"))]
use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::cubecl::{CubeCount, CubeDim, prelude::KernelId, server::KernelArguments};
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_wgpu::{
    CubeBackend as Cube, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};

use crate::format::model::INT4_GROUP;

/// Operations of this crate on Burn's backends.
#[cfg_attr(target_arch = "wasm32", backend_extension(Cube))]
#[cfg_attr(not(target_arch = "wasm32"), backend_extension(Cube, Flex))]
pub trait QuantizedOps: Backend {
    /// `x` [rows, in], `codes` [out, in/4] (four int8 to a word), `scales` [1, out], `bias` [out] ->
    /// [rows, out].
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x` [rows, in], `codes` [out, in/8] (eight 4-bit codes to a word), `scales` [in/32, out],
    /// `bias` [out] -> [rows, out].
    fn quantized_linear4(
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
    scales: &Tensor<2>,
    bias: &Tensor<1>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::quantized_linear(
        x.into_dispatch(),
        codes.clone().into_dispatch(),
        scales.clone().into_dispatch(),
        bias.clone().into_dispatch(),
    ))
}

/// `x` [rows, in] times a 4-bit matrix [out, in], plus `bias` [out], as [rows, out].
pub fn quantized_linear4(
    x: Tensor<2>,
    codes: &Tensor<2, Int>,
    scales: &Tensor<2>,
    bias: &Tensor<1>,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::quantized_linear4(
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

/// The CPU twin for 4 bits: `y[m][n] = sum_k x[m][k] * (codes[n][k] - 8) * scales[k / 32][n] + bias[n]`.
///
/// `x` is row-major [rows, in], `codes` row-major [out, in/2] with the even k in the low half of a byte.
pub fn reference4(
    x: &[f32],
    codes: &[u8],
    scales: &[f32],
    bias: &[f32],
    inputs: usize,
) -> Vec<f32> {
    let outputs = bias.len();
    let mut y = Vec::with_capacity(x.len() / inputs * outputs);
    for row in x.chunks_exact(inputs) {
        for (n, (weights, bias)) in codes.chunks_exact(inputs / 2).zip(bias).enumerate() {
            let halves = weights.iter().flat_map(|byte| [byte & 15, byte >> 4]);
            let weights: Vec<f32> = halves.map(|code| f32::from(code) - 8.0).collect();
            let groups = row.chunks(INT4_GROUP).zip(weights.chunks(INT4_GROUP));
            let sum: f32 = groups
                .enumerate()
                .map(|(g, (x, w))| {
                    x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>() * scales[g * outputs + n]
                })
                .sum();
            y.push(sum + bias);
        }
    }
    y
}

#[cfg(not(target_arch = "wasm32"))]
impl QuantizedOps for Flex {
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        on_cpu(x, codes, scales, bias, |x, codes, scales, bias, inputs| {
            reference(x, bytemuck::cast_slice(codes), scales, bias, inputs)
        })
    }

    fn quantized_linear4(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        on_cpu(x, codes, scales, bias, reference4)
    }
}

/// Runs a CPU twin on Burn's tensors.
#[cfg(not(target_arch = "wasm32"))]
fn on_cpu(
    x: FloatTensor<Flex>,
    codes: IntTensor<Flex>,
    scales: FloatTensor<Flex>,
    bias: FloatTensor<Flex>,
    twin: impl Fn(&[f32], &[u8], &[f32], &[f32], usize) -> Vec<f32>,
) -> FloatTensor<Flex> {
    let floats =
        |tensor: FloatTensor<Flex>| -> Vec<f32> { tensor.into_data().iter::<f32>().collect() };
    let shape = x.shape();
    let words: Vec<i32> = codes.into_data().iter::<i32>().collect();
    let (x, scales, bias) = (floats(x), floats(scales), floats(bias));
    let y = twin(&x, bytemuck::cast_slice(&words), &scales, &bias, shape[1]);
    FloatTensor::<Flex>::from_data(burn::tensor::TensorData::new(y, [shape[0], bias.len()]))
}

impl QuantizedOps for Cube {
    fn quantized_linear(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        on_gpu(x, codes, scales, bias, 8)
    }

    fn quantized_linear4(
        x: FloatTensor<Self>,
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        on_gpu(x, codes, scales, bias, 4)
    }
}

/// Launches the kernel for codes of `bits` bits.
fn on_gpu(
    x: FloatTensor<Cube>,
    codes: IntTensor<Cube>,
    scales: FloatTensor<Cube>,
    bias: FloatTensor<Cube>,
    bits: u32,
) -> FloatTensor<Cube> {
    let (x, codes) = (into_contiguous(x), into_contiguous(codes));
    let (rows, inputs) = (x.shape()[0], x.shape()[1]);
    let outputs = bias.shape()[0];
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
        bits,
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

/// The kernel for one shape; shapes are constants so that the driver can plan for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinearKernel {
    rows: usize,
    inputs: usize,
    outputs: usize,
    bits: u32,
}

impl KernelSource for LinearKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(match self.bits {
            4 => include_str!("../../shaders/quantized_linear4.wgsl"),
            _ => include_str!("../../shaders/quantized_linear.wgsl"),
        })
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
