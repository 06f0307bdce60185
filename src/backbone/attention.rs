//! Multi-head attention as one kernel, as an extension of Burn's backends.
//!
//! On the GPU it replaces two products, a softmax and three copies of Burn's, and never stores the
//! scores; on the CPU Burn's own operations are faster. [`reference`] is the CPU twin that defines the
//! result. Invariant: the width of a head is a multiple of 4 (checked by the model head).

#[cfg(not(target_arch = "wasm32"))]
use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::cubecl::{CubeCount, CubeDim, prelude::KernelId, server::KernelArguments};
use burn::tensor::{DType, Shape, Tensor};
use burn_wgpu::{
    CubeBackend as Cube, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous,
};

/// Attention on Burn's backends.
#[cfg_attr(target_arch = "wasm32", backend_extension(Cube))]
#[cfg_attr(not(target_arch = "wasm32"), backend_extension(Cube, Flex))]
pub trait AttentionOps: Backend {
    /// `qkv` [batch, tokens, 3 * width] -> [batch, queries, width], where the first `queries` tokens
    /// ask and all tokens answer.
    fn attention(qkv: FloatTensor<Self>, heads: usize, queries: usize) -> FloatTensor<Self>;
}

/// `qkv` [batch, tokens, 3 * width] -> mixed values [batch, queries, width], before the projection.
pub fn attention(qkv: Tensor<3>, heads: usize, queries: usize) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::attention(qkv.into_dispatch(), heads, queries))
}

/// The CPU twin: `softmax(q k^T / sqrt(head)) v` for each head, row-major as [`attention`].
pub fn reference(
    qkv: &[f32],
    tokens: usize,
    width: usize,
    heads: usize,
    queries: usize,
) -> Vec<f32> {
    let head = width / heads;
    let scale = (head as f32).powf(-0.5);
    let mut mixed = Vec::new();
    for image in qkv.chunks_exact(tokens * 3 * width) {
        let at = |token: usize, part: usize, h: usize| {
            let start = token * 3 * width + part * width + h * head;
            &image[start..start + head]
        };
        for query in 0..queries {
            for h in 0..heads {
                let q = at(query, 0, h);
                let dot = |t| q.iter().zip(at(t, 1, h)).map(|(a, b)| a * b).sum::<f32>() * scale;
                let scores: Vec<f32> = (0..tokens).map(dot).collect();
                let best = scores.iter().copied().fold(f32::MIN, f32::max);
                let weights: Vec<f32> = scores.iter().map(|s| (s - best).exp()).collect();
                let sum: f32 = weights.iter().sum();
                mixed.extend((0..head).map(|d| {
                    let values = weights.iter().enumerate().map(|(t, w)| w * at(t, 2, h)[d]);
                    values.sum::<f32>() / sum
                }));
            }
        }
    }
    mixed
}

#[cfg(not(target_arch = "wasm32"))]
impl AttentionOps for Flex {
    fn attention(qkv: FloatTensor<Self>, heads: usize, queries: usize) -> FloatTensor<Self> {
        let shape = qkv.shape();
        let (batch, tokens, width) = (shape[0], shape[1], shape[2] / 3);
        let values: Vec<f32> = qkv.into_data().iter::<f32>().collect();
        let mixed = reference(&values, tokens, width, heads, queries);
        FloatTensor::<Self>::from_data(burn::tensor::TensorData::new(
            mixed,
            [batch, queries, width],
        ))
    }
}

impl AttentionOps for Cube {
    fn attention(qkv: FloatTensor<Self>, heads: usize, queries: usize) -> FloatTensor<Self> {
        let qkv = into_contiguous(qkv);
        let shape = qkv.shape();
        let (batch, tokens, width) = (shape[0], shape[1], shape[2] / 3);
        let client = qkv.client.clone();
        let mixed = CubeTensor::new_contiguous(
            client.clone(),
            qkv.device.clone(),
            Shape::from([batch, queries, width]),
            client.empty(batch * queries * width * size_of::<f32>()),
            DType::F32,
        );
        let kernel = AttentionKernel {
            batch,
            tokens,
            queries,
            heads,
            head: width / heads,
        };
        let bindings = [&qkv, &mixed].map(|t| t.handle.clone().binding());
        client.launch(
            Box::new(SourceKernel::new(kernel, CubeDim::new_1d(64))),
            CubeCount::Static((batch * heads * queries).div_ceil(64) as u32, 1, 1),
            KernelArguments::new().with_buffers(bindings.to_vec()),
        );
        mixed
    }
}

/// The kernel for one shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AttentionKernel {
    batch: usize,
    tokens: usize,
    queries: usize,
    heads: usize,
    head: usize,
}

impl KernelSource for AttentionKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(include_str!("../../shaders/attention.wgsl"))
            .register("batch", self.batch.to_string())
            .register("tokens", self.tokens.to_string())
            .register("queries", self.queries.to_string())
            .register("heads", self.heads.to_string())
            .register("head4", (self.head / 4).to_string())
            .register("scale", format!("{:?}", (self.head as f32).powf(-0.5)))
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
