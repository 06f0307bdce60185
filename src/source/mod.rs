//! Where files come from: a folder natively, plain static HTTP in the browser.
//!
//! Invariant: [`Source::read`] returns only bytes whose SHA-256 is the one that the reference pins, so
//! no later stage can meet a truncated, swapped or stale file.

#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
#[cfg(target_arch = "wasm32")]
pub mod http;
#[cfg(target_arch = "wasm32")]
mod verified_cache;

pub mod memory;

use std::collections::HashSet;

use crate::error::Result;
use crate::format::FileRef;

/// Largest JSON that is read without a pinned size.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// The verified content of one file.
#[derive(Debug)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    /// Whether it came from the local cache, so that nothing was downloaded.
    pub cached: bool,
}

/// A place that holds an index.
#[allow(
    async_fn_in_trait,
    reason = "browser futures are not Send and need not be"
)]
pub trait Source {
    /// Reads and verifies one immutable file; `on_bytes` hears of each arriving piece.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`], [`crate::Error::Network`], [`crate::Error::Io`] or
    /// [`crate::Error::Integrity`], each naming the file; [`crate::Error::Cancelled`].
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched>;

    /// Reads a file that nothing pins: the manifest.
    ///
    /// # Errors
    /// As [`Source::read`], without integrity.
    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>>;

    /// Hears that `manifest`, read under `name`, is sound and needs just `files`: a source with a cache
    /// keeps the one for visits offline and forgets other files of the same index.
    async fn keep(&self, name: &str, manifest: &[u8], files: &HashSet<String>) {
        let _ = (name, manifest, files);
    }
}
