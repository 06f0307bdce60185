//! From weight files to a network, one file at a time.
//!
//! A file is fetched, verified, uploaded and dropped before the next but one is held, so that the
//! peak of host memory is two files however large the model is; onto the CPU four are on their way, and more may wait for the cache.

use futures_util::{StreamExt, stream};
use half::f16;

use super::Network;
use super::cpu::CpuLoaded;
use super::matrix::QuantizedMatrix;
use super::recorded::Loading;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::format::model::is_matrix;
use crate::format::{ModelHead, TensorEncoding, TensorEntry};
use crate::source::Source;

/// Bytes of files that may wait to be stored while a network is read onto the CPU, whose memory holds all of it anyway: an 8-bit ViT-B
/// may wait as a whole.
pub(super) const HELD_ON_CPU: u64 = 96 << 20;
/// On the way to a GPU: one file waits.
const HELD_ON_GPU: u64 = 0;

/// Files that are on their way at once: more onto the CPU, where some are read while a helper checks others.
const fn on_their_way(held: u64) -> usize {
    if held > HELD_ON_GPU { 4 } else { 2 }
}

/// A tensor as it lies in a file.
pub enum Decoded {
    Values(Vec<f32>),
    /// A matrix row-major [outputs, inputs].
    Dense {
        values: Vec<f32>,
        outputs: usize,
        inputs: usize,
    },
    Quantized(QuantizedMatrix),
}

/// See [`super::Backbone::load`].
pub async fn load(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    compute: &Compute,
    on_bytes: &dyn Fn(u64, bool),
) -> Result<Network> {
    Ok(match compute {
        Compute::Cpu => {
            let mut loaded = CpuLoaded::new(head);
            let take = &mut |name: &str, tensor| {
                loaded.take(name, tensor);
                Ok(())
            };
            let reading = read(source, head_file, head, HELD_ON_CPU, on_bytes, take);
            #[cfg(target_arch = "wasm32")]
            super::cpu::warm::while_reading(head, reading).await?;
            #[cfg(not(target_arch = "wasm32"))]
            reading.await?;
            Network::Cpu(loaded.network(head_file, &head.architecture)?)
        }
        Compute::Gpu(gpu) => {
            let mut loading = Loading::start(gpu, head).await?;
            let take = &mut |name: &str, tensor| loading.uploads.take(name, tensor);
            read(source, head_file, head, HELD_ON_GPU, on_bytes, take).await?;
            Network::Gpu(Box::new(loading.finish(head).await?))
        }
    })
}

/// Reads the files of `head` one after the other; `take` gets each tensor by name.
pub(super) async fn read(
    source: &impl Source,
    head_file: &str,
    head: &ModelHead,
    held: u64,
    on_bytes: &dyn Fn(u64, bool),
    take: &mut dyn FnMut(&str, Decoded) -> Result<()>,
) -> Result<()> {
    source.hold(held);
    let mut files = stream::iter(head.files.iter().enumerate())
        .map(|(index, file)| async move {
            let fetched = source
                .read(&file.beside(head_file), &|bytes| on_bytes(bytes, false))
                .await;
            (index, fetched)
        })
        .buffered(on_their_way(held));
    while let Some((index, fetched)) = files.next().await {
        let fetched = fetched?;
        if fetched.cached {
            on_bytes(fetched.bytes.len() as u64, true);
        }
        for entry in head.tensors.iter().filter(|t| t.file == index) {
            let end = (entry.offset + entry.bytes) as usize;
            let bytes = fetched
                .bytes
                .get(entry.offset as usize..end)
                .ok_or_else(|| bad(head_file, &entry.name, "lies outside of its file"))?;
            take(&entry.name, decode(head_file, entry, bytes)?)?;
        }
    }
    Ok(())
}

pub(super) fn bad(file: &str, name: &str, reason: &str) -> Error {
    Error::format(file, format!("tensor {name} {reason}"))
}

fn decode(file: &str, entry: &TensorEntry, bytes: &[u8]) -> Result<Decoded> {
    let floats = || -> Result<Vec<f32>> {
        let values: Vec<f32> = match entry.encoding {
            TensorEncoding::F16 => bytes
                .chunks_exact(2)
                .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            _ => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        match values.iter().all(|v| v.is_finite()) {
            true => Ok(values),
            false => Err(bad(file, &entry.name, "has values that are not finite")),
        }
    };
    if !is_matrix(&entry.shape) {
        return Ok(Decoded::Values(floats()?));
    }
    let outputs = entry.shape[0];
    let inputs = entry.shape[1..].iter().product();
    Ok(match entry.encoding {
        TensorEncoding::F32 | TensorEncoding::F16 => Decoded::Dense {
            values: floats()?,
            outputs,
            inputs,
        },
        encoding => Decoded::Quantized(
            QuantizedMatrix::from_bytes(encoding, outputs, inputs, bytes)
                .map_err(|e| bad(file, &entry.name, &e.to_string()))?,
        ),
    })
}
