//! Embedding many images on all processors, with the features of earlier runs reused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backbone::import::HEAD_FILE;
use crate::backbone::{Backbone, Unpaced};
use crate::device::Compute;
use crate::error::Result;
use crate::files::write_atomically;
use crate::format::{ModelHead, sha256_hex};
use crate::preprocess::Pixels;
use crate::source::folder::Folder;

/// Rises whenever features change in any bit, as by another Burn or other kernels: features of two
/// computations must not mix in one index.
const COMPUTATION: u32 = 2;

/// What computes the features of a backbone, arithmetic included; also where they are kept.
pub(crate) fn computation(identity: &str) -> String {
    format!("{}-{COMPUTATION}", &identity[..32])
}

/// A backbone on the CPU that any thread may use.
#[derive(Clone)]
pub struct Embedder {
    backbone: Arc<Backbone>,
    cache: Option<PathBuf>,
}

impl Embedder {
    /// Loads the model in `folder`.
    pub fn open(folder: &Path, head: &ModelHead, cache: Option<&Path>) -> Result<Self> {
        let source = Folder::new(folder);
        let load = Backbone::load(&source, HEAD_FILE, head.clone(), &Compute::Cpu, &|_, _| {});
        Ok(Self {
            backbone: Arc::new(pollster::block_on(load)?),
            cache: cache.map(|cache| cache.join(computation(&head.identity))),
        })
    }

    /// The feature [D] of the image file `encoded`, which decodes to `pixels`; and whether it was
    /// known already.
    pub fn embed(&self, encoded: &[u8], pixels: &Pixels) -> Result<(Vec<f32>, bool)> {
        let dimension = self.backbone.head().dimension;
        let kept = self
            .cache
            .as_ref()
            .map(|cache| cache.join(format!("{}.f32", &sha256_hex(encoded)[..32])));
        if let Some(bytes) = kept.as_ref().and_then(|path| std::fs::read(path).ok())
            && bytes.len() == 4 * dimension
        {
            return Ok((bytemuck::pod_collect_to_vec(&bytes), true));
        }
        let feature = pollster::block_on(self.backbone.embed(pixels, &Unpaced))?;
        if let Some(path) = kept {
            write_atomically(&path, bytemuck::cast_slice(&feature))?;
        }
        Ok((feature, false))
    }
}
