//! The networks in Burn, by its own operations: the reference that the crate's kernels are compared with, on Burn's CPU
//! backend or its wgpu one, and what rounding by sample images looks into. Native only.

pub mod linear;
pub mod load;
pub mod resnet;
pub mod vit;

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use super::{Pace, load as files};
use crate::error::{Error, Result};
use crate::format::{Architecture, ModelHead};
use crate::source::Source;
use load::{Assembly, Loaded};
use resnet::Resnet;
use vit::Vit;

/// A network in Burn.
#[derive(Clone, Debug)]
pub enum Reference {
    Vit(Box<Vit>),
    Resnet(Box<Resnet>),
}

impl Reference {
    /// Loads the weights of `head`, whose files lie beside `head_file`, onto `device`.
    ///
    /// # Errors
    /// As [`super::Backbone::load`].
    pub async fn load(
        source: &impl Source,
        head_file: &str,
        head: &ModelHead,
        device: &Device,
    ) -> Result<Self> {
        let mut loaded = HashMap::new();
        let take = &mut |name: &str, tensor| {
            loaded.insert(name.to_owned(), Loaded::new(tensor, device));
            Ok(())
        };
        files::read(
            source,
            head_file,
            head,
            files::HELD_ON_CPU,
            &|_, _| {},
            take,
        )
        .await?;
        let assembly = Assembly {
            file: head_file,
            device: device.clone(),
            loaded,
        };
        Ok(match &head.architecture {
            Architecture::Vit(config) => Self::Vit(Box::new(assembly.whole_vit(config)?)),
            Architecture::Resnet(config) => Self::Resnet(Box::new(assembly.whole_resnet(config)?)),
        })
    }

    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, D].
    ///
    /// # Errors
    /// Those of `pace`, and [`Error::Device`] when the device fails.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        values(match self {
            Self::Vit(vit) => vit.forward(images, pace).await?,
            Self::Resnet(resnet) => resnet.forward(images, pace).await?,
        })
        .await
    }
}

/// Reads features back from their device.
async fn values(features: Tensor<3>) -> Result<Vec<f32>> {
    features
        .into_data_async()
        .await
        .map_err(|e| Error::device(format!("reading the feature back: {e:?}")))?
        .try_to_vec()
        .map_err(|e| Error::device(format!("the feature has another type: {e:?}")))
}
