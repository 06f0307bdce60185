//! Backbones: from a decoded image to a feature, on either device.

pub mod attention;
#[cfg(feature = "cli")]
pub mod import;
pub mod linear;
pub mod load;
pub mod pack;
pub mod parity;
pub mod quantized_linear;
pub mod registry;
pub mod vit;

pub use vit::{Pace, Unpaced};

use crate::device::Compute;
use crate::error::Result;
use crate::format::ModelHead;
use crate::preprocess::Pixels;
use crate::source::Source;
use vit::Vit;

/// A backbone with its weights on a device.
pub struct Backbone {
    head: ModelHead,
    vit: Vit,
}

impl Backbone {
    /// Loads the weights of `head`, whose files lie beside `head_file`, onto `compute`.
    ///
    /// `on_bytes(bytes, cached)` hears of each arriving piece.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`crate::Error::Format`] for weights that are not finite.
    pub async fn load(
        source: &impl Source,
        head_file: &str,
        head: ModelHead,
        compute: &Compute,
        on_bytes: &dyn Fn(u64, bool),
    ) -> Result<Self> {
        let vit = load::load(source, head_file, &head, compute, on_bytes).await?;
        Ok(Self { head, vit })
    }

    /// The head that describes this backbone.
    pub fn head(&self) -> &ModelHead {
        &self.head
    }

    /// The feature [D] of one image, unmapped and not normalised.
    ///
    /// # Errors
    /// See [`Vit::forward`].
    pub async fn embed(&self, image: &Pixels, pace: &impl Pace) -> Result<Vec<f32>> {
        let input = self.head.preprocess.apply(image)?;
        self.embed_preprocessed(&input, pace).await
    }

    /// Features [batch, D] of preprocessed images [batch, 3, H, W].
    ///
    /// # Errors
    /// See [`Vit::forward`].
    pub async fn embed_preprocessed(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        self.vit.forward(images, pace).await
    }
}
