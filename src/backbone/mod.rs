//! Backbones: from a decoded image to a feature, on either device.

mod assembly;
pub mod cpu;
mod cpu_kernels;
#[cfg(feature = "cli")]
mod entering;
#[cfg(not(target_arch = "wasm32"))]
pub mod feedback;
pub mod generated;
mod group_scale;
pub mod import;
pub mod load;
pub mod matrix;
pub mod pack;
pub mod parity;
mod parity_codes;
pub mod patches;
#[cfg(feature = "cli")]
pub mod precision_table;
pub mod recorded;
#[cfg(not(target_arch = "wasm32"))]
pub mod reference;
pub mod registry;
#[cfg(feature = "cli")]
pub mod sampled;
#[cfg(all(test, feature = "cli"))]
mod sampled_tests;
#[cfg(feature = "cli")]
mod smoothing;

#[cfg(not(target_arch = "wasm32"))]
use burn::tensor::Tensor;

use crate::device::Compute;
use crate::error::{Error, Result};
use crate::format::ModelHead;
use crate::preprocess::Pixels;
use crate::source::Source;
use cpu::CpuNetwork;
use recorded::Recorded;
#[cfg(not(target_arch = "wasm32"))]
use reference::Reference;

/// Called before each of the `steps` parts of a forward pass: shows progress, lets the page breathe,
/// and ends the pass by an error when the caller gave up.
#[allow(
    async_fn_in_trait,
    reason = "browser futures are not Send and need not be"
)]
pub trait Pace {
    /// About to start part `step` of `steps`.
    async fn step(&self, step: usize, steps: usize) -> Result<()>;
}

/// No progress, no interruption.
pub struct Unpaced;

impl Pace for Unpaced {
    async fn step(&self, _step: usize, _steps: usize) -> Result<()> {
        Ok(())
    }
}

/// Sees what enters each matrix of a block: the matrix's name within the block, and the values
/// [batch, positions, in].
#[cfg(not(target_arch = "wasm32"))]
pub type Tap<'a> = dyn FnMut(&str, &Tensor<3>) + 'a;

/// A backbone with its weights on a device.
pub struct Backbone {
    head: ModelHead,
    network: Network,
}

/// The forward passes: in kernels of the crate, or in Burn.
pub enum Network {
    Cpu(CpuNetwork),
    Gpu(Box<Recorded>),
    #[cfg(not(target_arch = "wasm32"))]
    Burn(Reference),
}

impl Backbone {
    /// Loads the weights of `head`, whose files lie beside `head_file`, onto `compute`.
    ///
    /// `on_bytes(bytes, cached)` hears of each arriving piece.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`Error::Format`] for weights that are not finite.
    pub async fn load(
        source: &impl Source,
        head_file: &str,
        head: ModelHead,
        compute: &Compute,
        on_bytes: &dyn Fn(u64, bool),
    ) -> Result<Self> {
        let network = load::load(source, head_file, &head, compute, on_bytes).await?;
        Ok(Self { head, network })
    }

    /// The same in Burn on `device`, of its CPU backend or of wgpu: the reference that the others are compared with.
    ///
    /// # Errors
    /// As [`Backbone::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn load_reference(
        source: &impl Source,
        head_file: &str,
        head: ModelHead,
        device: &burn::tensor::Device,
    ) -> Result<Self> {
        let network = Reference::load(source, head_file, &head, device).await?;
        Ok(Self {
            network: Network::Burn(network),
            head,
        })
    }

    /// The head that describes this backbone.
    pub fn head(&self) -> &ModelHead {
        &self.head
    }

    /// The forward pass, on the device that it was loaded onto.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The feature [D] of one image, unmapped and not normalised.
    ///
    /// # Errors
    /// See [`Self::embed_preprocessed`].
    pub async fn embed(&self, image: &Pixels, pace: &impl Pace) -> Result<Vec<f32>> {
        let input = self.head.preprocess.apply(image)?;
        self.embed_preprocessed(&input, pace).await
    }

    /// Features [batch, D] of preprocessed images, row-major [batch, 3, H, W].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a length that is no whole batch, [`Error::Device`] when the
    /// device fails, [`Error::NotFinite`] when a feature is NaN or infinite, and those of `pace`.
    pub async fn embed_preprocessed(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let side = self.head.architecture.image();
        let pixels = 3 * side * side;
        if images.is_empty() || !images.len().is_multiple_of(pixels) {
            return Err(Error::invalid(format!(
                "{} values are no batch of 3x{side}x{side} images",
                images.len()
            )));
        }
        let features = match &self.network {
            Network::Cpu(CpuNetwork::Vit(vit)) => vit.forward(images, pace).await?,
            Network::Cpu(CpuNetwork::Resnet(resnet)) => resnet.forward(images, pace).await?,
            Network::Gpu(recorded) => recorded.forward(images, pace).await?,
            #[cfg(not(target_arch = "wasm32"))]
            Network::Burn(reference) => reference.forward(images, pace).await?,
        };
        let expected = images.len() / pixels * self.head.dimension;
        if features.len() != expected || features.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite {
                what: "the feature".into(),
            });
        }
        Ok(features)
    }
}
