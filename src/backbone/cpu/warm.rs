//! The kernels of a backbone, run before its weights have come.
//!
//! Browsers compile a function quickly at first, and well, beside the work that goes on, once it has run for a while. So a small
//! network of the same kind with matrices of the same forms, all zeros, runs while the first weights are on their way, and
//! the first image finds good code. 4-bit matrices of zeros are laid out as `import` makes them now.

use super::{CpuLoaded, CpuNetwork};
use crate::backbone::Unpaced;
use crate::backbone::load::Decoded;
use crate::backbone::matrix::QuantizedMatrix;
use crate::error::Result;
use crate::format::model::is_matrix;
use crate::format::{
    Architecture, ModelHead, ResnetConfig, TensorEncoding, TensorEntry, VitConfig,
};

/// The small network.
pub struct WarmUp {
    network: CpuNetwork,
    image: Vec<f32>,
}

/// The same kernels with little to do: no side is larger than the real one's, whatever a head says.
fn small(architecture: &Architecture) -> Architecture {
    match architecture {
        Architecture::Vit(config) => Architecture::Vit(VitConfig {
            image: config.image.min(6 * config.patch),
            width: config.width.min(128),
            heads: 1,
            depth: config.depth.min(2),
            mlp: config.mlp.min(512),
            projection: config.projection.map(|outputs| outputs.min(64)),
            ..config.clone()
        }),
        Architecture::Resnet(config) => Architecture::Resnet(ResnetConfig {
            image: config.image.min(64),
            width: config.width.min(32),
            layers: [1; 4],
            projection: config.projection.min(64),
            ..config.clone()
        }),
    }
}

impl WarmUp {
    /// For the backbone of `head`.
    ///
    /// # Errors
    /// [`crate::Error::Format`] for tensors that its architecture lacks.
    pub fn new(head: &ModelHead) -> Result<Self> {
        let architecture = small(&head.architecture);
        let mut loaded = CpuLoaded::new(head);
        for (name, shape) in architecture.tensors() {
            loaded.take(&name, zeros(head, &name, &shape)?);
        }
        Ok(Self {
            network: loaded.network("warm-up", &architecture)?,
            image: vec![0.0; 3 * architecture.image().pow(2)],
        })
    }

    /// One pass, of some milliseconds.
    ///
    /// # Errors
    /// Those of the forward pass, of which zeros cause none.
    pub async fn run(&self) -> Result<()> {
        match &self.network {
            CpuNetwork::Vit(vit) => vit.forward(&self.image, &Unpaced).await?,
            CpuNetwork::Resnet(resnet) => resnet.forward(&self.image, &Unpaced).await?,
        };
        Ok(())
    }
}

/// How long passes are run.
#[cfg(target_arch = "wasm32")]
const MILLISECONDS: f64 = 70.0;

/// Awaits `reading` and meanwhile runs passes, which give way to it.
///
/// # Errors
/// Those of `reading` alone: nothing depends on the passes.
#[cfg(target_arch = "wasm32")]
pub async fn while_reading(
    head: &ModelHead,
    reading: impl Future<Output = Result<()>>,
) -> Result<()> {
    use crate::clock::now_ms;

    let done = std::cell::Cell::new(false);
    let warming = async {
        let Ok(warm) = WarmUp::new(head) else { return };
        let mut spent = 0.0;
        while spent < MILLISECONDS && !done.get() {
            crate::web::pause(0).await;
            let start = now_ms();
            if warm.run().await.is_err() {
                return;
            }
            spent += now_ms() - start;
        }
    };
    let reading = async {
        let read = reading.await;
        done.set(true);
        read
    };
    futures_util::future::join(reading, warming).await.0
}

/// The tensor `name` of zeros, stored as that of `head` is where its shape can be.
fn zeros(head: &ModelHead, name: &str, shape: &[usize]) -> Result<Decoded> {
    let elements = shape.iter().product();
    if !is_matrix(shape) {
        return Ok(Decoded::Values(vec![0.0; elements]));
    }
    let stored = head.tensors.iter().find(|tensor| tensor.name == name);
    let encoding = stored.map_or(TensorEncoding::F32, |tensor| tensor.encoding);
    let [outputs, inputs] = [shape[0], shape[1..].iter().product()];
    let whole = matches!(encoding, TensorEncoding::F32 | TensorEncoding::F16);
    if whole || !encoding.suits(shape) {
        return Ok(Decoded::Dense {
            values: vec![0.0; elements],
            outputs,
            inputs,
        });
    }
    let entry = TensorEntry {
        name: name.into(),
        shape: shape.to_vec(),
        encoding,
        file: 0,
        offset: 0,
        bytes: 0,
        activations: None,
    };
    let bytes = vec![0; entry.expected_bytes().unwrap_or(0) as usize];
    let matrix = QuantizedMatrix::from_bytes(encoding, outputs, inputs, &bytes)?;
    Ok(Decoded::Quantized(matrix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::pack::Precision;
    use crate::backbone::parity::generated_pack_of;

    #[test]
    fn every_kind_of_backbone_is_run() {
        for backbone in ["toy-p14", "toy-clip", "toy-resnet"] {
            for precision in [Precision::F32, Precision::Int8, Precision::Int4] {
                let (_, head) = generated_pack_of(backbone, precision).unwrap();
                let warm = WarmUp::new(&head).unwrap();
                pollster::block_on(warm.run()).unwrap();
            }
        }
    }
}
