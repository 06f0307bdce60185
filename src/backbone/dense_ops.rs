//! Linear layers with f32 weights, and LayerNorm, as kernels of this crate on Burn's backends.
//!
//! Burn has both, in many variants that a browser would have to download; untuned, as they are there, they are
//! slower as well. [`linear_reference`] and [`norm_reference`] are the CPU twins that define the results.
//! Invariant: widths are multiples of 4 (checked by the model head, padded by the loader).

#[cfg(not(target_arch = "wasm32"))]
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::cubecl::{CubeCount, CubeDim, prelude::KernelId, server::KernelArguments};
use burn::tensor::{DType, Shape, Tensor};
use burn_wgpu::{
    CubeBackend as Cube, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};

/// Operations of this crate on Burn's backends.
#[cfg_attr(target_arch = "wasm32", backend_extension(Cube))]
#[cfg_attr(not(target_arch = "wasm32"), backend_extension(Cube, Flex))]
pub trait DenseOps: Backend {
    /// `x` [rows, in], `weights` [out, in], `bias` [out] -> [rows, out].
    fn dense_linear(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `x` [rows, width], `weight` and `bias` [width] -> [rows, width].
    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
}

/// `x` [rows, in] times `weights` [out, in], plus `bias` [out], as [rows, out].
pub fn dense_linear(x: Tensor<2>, weights: &Tensor<2>, bias: &Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::dense_linear(
        x.into_dispatch(),
        weights.clone().into_dispatch(),
        bias.clone().into_dispatch(),
    ))
}

/// LayerNorm of the rows of `x` [rows, width].
pub fn row_norm(x: Tensor<2>, weight: &Tensor<1>, bias: &Tensor<1>, epsilon: f32) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::row_norm(
        x.into_dispatch(),
        weight.clone().into_dispatch(),
        bias.clone().into_dispatch(),
        epsilon,
    ))
}

/// The CPU twin: `y[m][n] = sum_k x[m][k] * weights[n][k] + bias[n]`, all row-major.
pub fn linear_reference(x: &[f32], weights: &[f32], bias: &[f32], inputs: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len() / inputs * bias.len());
    for row in x.chunks_exact(inputs) {
        for (weights, bias) in weights.chunks_exact(inputs).zip(bias) {
            y.push(row.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>() + bias);
        }
    }
    y
}

/// The CPU twin: `(x - mean) / sqrt(variance + epsilon) * weight + bias` for each row.
pub fn norm_reference(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    let width = weight.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let squares = row.iter().map(|x| (x - mean) * (x - mean));
        let factor = 1.0 / (squares.sum::<f32>() / width as f32 + epsilon).sqrt();
        let affine = weight.iter().zip(bias);
        y.extend(
            row.iter()
                .zip(affine)
                .map(|(x, (w, b))| (x - mean) * factor * w + b),
        );
    }
    y
}

#[cfg(not(target_arch = "wasm32"))]
impl DenseOps for Flex {
    fn dense_linear(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = x.shape();
        let [x, weights, bias] = [x, weights, bias].map(values);
        let y = linear_reference(&x, &weights, &bias, shape[1]);
        flex(y, [shape[0], bias.len()])
    }

    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let shape = x.shape();
        let [x, weight, bias] = [x, weight, bias].map(values);
        let y = norm_reference(&x, &weight, &bias, epsilon);
        flex(y, [shape[0], shape[1]])
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn values(tensor: FloatTensor<Flex>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[cfg(not(target_arch = "wasm32"))]
fn flex(values: Vec<f32>, shape: [usize; 2]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(burn::tensor::TensorData::new(values, shape))
}

impl DenseOps for Cube {
    fn dense_linear(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, weights) = (into_contiguous(x), into_contiguous(weights));
        let (rows, inputs, outputs) = (x.shape()[0], x.shape()[1], bias.shape()[0]);
        let groups = [(outputs / 4).div_ceil(8), rows.div_ceil(64)];
        let kernel = DenseKernel::Linear {
            rows,
            inputs,
            outputs,
        };
        launch(
            kernel,
            CubeDim::new_2d(8, 8),
            groups,
            [x, weights, bias],
            [rows, outputs],
        )
    }

    fn row_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let kernel = DenseKernel::Norm {
            rows,
            width,
            epsilon: epsilon.to_bits(),
        };
        let groups = [rows.div_ceil(64), 1];
        launch(
            kernel,
            CubeDim::new_1d(64),
            groups,
            [x, weight, bias],
            [rows, width],
        )
    }
}

/// Launches `kernel` on three inputs; gives its output of `shape`.
fn launch(
    kernel: DenseKernel,
    size: CubeDim,
    [x, y]: [usize; 2],
    inputs: [FloatTensor<Cube>; 3],
    shape: [usize; 2],
) -> FloatTensor<Cube> {
    let client = inputs[0].client.clone();
    let output = CubeTensor::new_contiguous(
        client.clone(),
        inputs[0].device.clone(),
        Shape::from(shape),
        client.empty(shape[0] * shape[1] * size_of::<f32>()),
        DType::F32,
    );
    let mut bindings: Vec<_> = inputs.map(|t| t.handle.clone().binding()).into();
    bindings.push(output.handle.clone().binding());
    client.launch(
        Box::new(SourceKernel::new(kernel, size)),
        CubeCount::Static(x as u32, y as u32, 1),
        KernelArguments::new().with_buffers(bindings),
    );
    output
}

/// A kernel for one shape; shapes are constants so that the driver can plan for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum DenseKernel {
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    Norm {
        rows: usize,
        width: usize,
        /// The bits of an f32.
        epsilon: u32,
    },
}

impl KernelSource for DenseKernel {
    fn source(&self) -> SourceTemplate {
        match *self {
            Self::Linear {
                rows,
                inputs,
                outputs,
            } => SourceTemplate::new(include_str!("../../shaders/dense_linear.wgsl"))
                .register("m", rows.to_string())
                .register("n4", (outputs / 4).to_string())
                .register("k4", (inputs / 4).to_string()),
            Self::Norm {
                rows,
                width,
                epsilon,
            } => SourceTemplate::new(include_str!("../../shaders/layer_norm.wgsl"))
                .register("m", rows.to_string())
                .register("w4", (width / 4).to_string())
                .register("epsilon", format!("{:?}", f32::from_bits(epsilon))),
        }
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
