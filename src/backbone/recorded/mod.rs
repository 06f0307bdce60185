//! Backbones on the GPU: forward passes recorded once and replayed, in kernels of this crate on raw wgpu.
//!
//! The networks are those of `super::reference`, which computes them in Burn.
//! [`vit`] and [`resnet`] make a [`graph::Graph`] from a configuration; [`pass::Pass`] binds it to weights. Four
//! families of kernels do the same work, and [`choose`] measures which of them suits the adapter. [`reference`] holds
//! the CPU twins that define the kernels.

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
mod tile;
pub mod vit;
pub mod weights;

use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;

use graph::Graph;
use kernel::{Family, Pipelines};
use linear::Encoding;
use pass::Pass;
use weights::Uploads;

use super::Pace;
use crate::device::{GpuDevice, GpuHandle};
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
    gpu: GpuHandle,
    family: Family,
    graph: Graph,
    /// With those of the graph, which the device may still be compiling.
    pipelines: Pipelines,
    compiling: Pin<Box<dyn Future<Output = Result<()>>>>,
    pub uploads: Uploads,
}

impl Loading {
    /// Makes the graph of `head` and starts to compile its kernels.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a shape that the kernels do not serve, and those of [`GpuDevice::family`].
    pub async fn start(gpu: &Rc<GpuDevice>, head: &ModelHead) -> Result<Self> {
        let family = gpu.family().await?;
        let encodings = encodings(head);
        let graph = match &head.architecture {
            Architecture::Vit(config) => vit::vit(config, encodings, family)?,
            Architecture::Resnet(config) => resnet::resnet(config, encodings, family)?,
        };
        let before = gpu.pipelines().clone();
        let refused = gpu.scope();
        for call in &graph.calls {
            gpu.pipelines().get(gpu.device(), &call.kernel.text);
        }
        let (closed, device) = (refused.close(), gpu.clone());
        let compiling = async move {
            let compiled = closed.await;
            if compiled.is_err() {
                device.pipelines().go_back_to(&before);
            }
            compiled
        };
        Ok(Self {
            gpu: (**gpu).clone(),
            family,
            compiling: Box::pin(compiling),
            uploads: Uploads::new(gpu, &head.architecture, family),
            graph,
            pipelines: gpu.pipelines().clone(),
        })
    }

    /// The backbone, once all weights have come.
    ///
    /// # Errors
    /// [`crate::Error::Device`] for kernels that the device refuses, and those of [`Pass::new`].
    pub async fn finish(mut self, head: &ModelHead) -> Result<Recorded> {
        self.compiling.await?;
        let weights = self.uploads.finish();
        Ok(Recorded {
            architecture: head.architecture.clone(),
            family: self.family,
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

/// How each matrix of `head` is stored on the device.
fn encodings(head: &ModelHead) -> HashMap<String, Encoding> {
    let matrices = head
        .tensors
        .iter()
        .filter(|tensor| is_matrix(&tensor.shape));
    let encoding = |stored| match stored {
        TensorEncoding::Int8 => Encoding::Int8,
        TensorEncoding::Int4 => Encoding::Int4,
        _ => Encoding::F32,
    };
    matrices
        .map(|tensor| (tensor.name.clone(), encoding(tensor.encoding)))
        .collect()
}
