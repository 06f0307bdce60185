//! Backbones on the GPU: forward passes recorded once and replayed, in kernels of this crate on raw wgpu.
//!
//! The networks are those of `super::reference`, which computes them in Burn.
//! [`vit`] and [`resnet`] make a [`graph::Graph`] from a configuration; [`pass::Pass`] binds it to weights. Four
//! families of kernels do the same work, and [`choose`] measures which of them suits the adapter, [`arithmetic`] what tiles
//! multiply with. [`reference`] holds the CPU twins that define the kernels.

pub mod arithmetic;
pub mod choose;
pub mod graph;
pub mod kernel;
pub mod linear;
pub mod parts;
pub mod pass;
#[cfg(feature = "cli")]
pub mod profile;
#[cfg(not(target_arch = "wasm32"))]
pub mod reference;
pub mod resnet;
pub(crate) mod template;
#[cfg(feature = "cli")]
pub mod texts;
mod tile;
mod tiles;
pub mod vit;
pub mod weights;

use std::collections::HashMap;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use graph::Graph;
use kernel::{Arithmetic, Family, Pipelines};
use linear::{Encoding, Matrix};
use pass::Pass;
use weights::Uploads;

use super::Pace;
use crate::device::GpuDevice;
use crate::error::Result;
use crate::format::model::is_matrix;
use crate::format::{Architecture, ModelHead, TensorEncoding};

/// A backbone on the GPU.
pub struct Recorded {
    architecture: Architecture,
    family: Family,
    pass: Pass,
}

/// A backbone whose weights are on their way.
pub struct Loading {
    gpu: Rc<GpuDevice>,
    graph: Graph,
    /// Those of the device and of the graph, which the device may still be compiling; it keeps them once it has.
    pipelines: Pipelines,
    compiling: LocalBoxFuture<'static, Result<()>>,
    pub uploads: Uploads,
}

impl Loading {
    /// Makes the graph of `head` and starts to compile its kernels.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a shape that the kernels do not serve, and those of [`GpuDevice::family`].
    pub async fn start(gpu: &Rc<GpuDevice>, head: &ModelHead) -> Result<Self> {
        let family = gpu.family().await?;
        let matrices = matrices(head, gpu.arithmetic());
        let graph = graph_of(&head.architecture, matrices, family)?;
        let mut pipelines = gpu.pipelines().clone();
        let refused = gpu.scope();
        for call in &graph.calls {
            pipelines.get(gpu.device(), &call.kernel.text);
        }
        Ok(Self {
            gpu: gpu.clone(),
            compiling: refused.close().boxed_local(),
            uploads: Uploads::new(gpu, &head.architecture, family),
            graph,
            pipelines,
        })
    }

    /// The backbone, once all weights have come.
    ///
    /// # Errors
    /// [`crate::Error::Device`] for kernels that the device refuses, and those of [`Pass::new`].
    pub async fn finish(mut self, head: &ModelHead) -> Result<Recorded> {
        self.compiling.await?;
        self.gpu.pipelines().extend(&self.pipelines);
        let weights = self.uploads.finish();
        Ok(Recorded {
            architecture: head.architecture.clone(),
            family: self.graph.family(),
            pass: Pass::new(&self.gpu, &mut self.pipelines, &self.graph, weights).await?,
        })
    }
}

impl Recorded {
    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, D].
    ///
    /// # Errors
    /// Those of [`Pass::run`].
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let side = self.architecture.image();
        let divided = !self.family.has_tiles();
        let mut features = Vec::new();
        for image in images.chunks_exact(3 * side * side) {
            let input = match &self.architecture {
                Architecture::Vit(config) => super::patches::cut(image, config),
                Architecture::Resnet(_) => resnet::pixels_of(image),
            };
            features.extend(self.pass.run(&input, divided, pace).await?);
        }
        Ok(features)
    }
}

fn graph_of(
    architecture: &Architecture,
    matrices: HashMap<String, Matrix>,
    family: Family,
) -> Result<Graph> {
    match architecture {
        Architecture::Vit(config) => vit::vit(config, matrices, family),
        Architecture::Resnet(config) => resnet::resnet(config, matrices, family),
    }
}

/// How each matrix of `head` is stored on the device, and multiplied by tiles.
fn matrices(head: &ModelHead, arithmetic: Arithmetic) -> HashMap<String, Matrix> {
    let tensors = head.tensors.iter();
    let matrices = tensors.filter(|tensor| is_matrix(&tensor.shape));
    let named = matrices.map(|tensor| {
        let encoding = match tensor.encoding {
            TensorEncoding::Int8 => Encoding::Int8,
            TensorEncoding::Int4 => Encoding::Int4,
            TensorEncoding::F32 | TensorEncoding::F16 => Encoding::F32,
        };
        let bytes = arithmetic.bytes && tensor.activations.is_some();
        let arithmetic = Arithmetic {
            bytes,
            ..arithmetic
        };
        let matrix = Matrix {
            encoding,
            arithmetic,
        };
        (tensor.name.clone(), matrix)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::backbone::{parity, registry};

    fn texts(
        name: &str,
        family: Family,
        change: impl Fn(&mut crate::format::VitConfig),
    ) -> HashSet<String> {
        let spec = registry::find(name).unwrap();
        let Architecture::Vit(mut config) = spec.architecture else {
            panic!("{name} is no transformer");
        };
        change(&mut config);
        config.depth = 2;
        let layers = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"];
        let blocks = (0..2).flat_map(|i| layers.map(|layer| format!("blocks.{i}.{layer}")));
        let names = blocks.chain(["patch_embed.proj".into()]);
        let encodings = names.map(|name| (format!("{name}.weight"), Encoding::Int8.into()));
        let graph = vit::vit(&config, encodings.collect(), family).unwrap();
        graph
            .calls
            .into_iter()
            .map(|call| call.kernel.text)
            .collect()
    }

    #[test]
    fn the_start_up_check_compiles_what_dinov2_needs_on_software_adapters() {
        for family in [Family::Registers, Family::Quads] {
            let checked = texts("toy-p14", family, parity::shape);
            for name in ["dinov2-s14", "dinov2-b14"] {
                let needed = texts(name, family, |_| {});
                assert_eq!(needed.difference(&checked).count(), 0, "{name} {family:?}");
            }
        }
    }
}
