//! Where files come from: a folder natively, plain static HTTP in the browser.
//!
//! Invariant: [`Source::read`] returns only bytes whose SHA-256 is the one that the reference pins, so
//! no later stage can meet a truncated, swapped or stale file. Parts of a file, from
//! [`Source::read_ranges`] and [`Source::kept_rows`], are not checked here: [`row_store`] does that.

#[cfg(target_arch = "wasm32")]
mod browser_digest;
#[cfg(target_arch = "wasm32")]
mod fetch;
#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
#[cfg(target_arch = "wasm32")]
pub mod http;
#[cfg(target_arch = "wasm32")]
mod release;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod room;
#[cfg(target_arch = "wasm32")]
mod transfer;
#[cfg(target_arch = "wasm32")]
mod verified_cache;

pub mod memory;
pub mod request_cost;
pub mod retry_after;
pub mod row_range;
pub mod row_store;

pub use row_range::RowRange;
pub use row_store::{FineRows, RowStore, RowStoreOptions, Traffic};

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

    /// Reads parts of `file`, which has `file_bytes` bytes: one answer of the asked length for each range,
    /// unchecked. `None`: this place gives no ranges, and the caller reads whole files.
    ///
    /// # Errors
    /// As [`Source::read`], without integrity; [`crate::Error::InvalidArgument`] for a range that is
    /// empty or not in the file.
    async fn read_ranges(
        &self,
        file: &str,
        file_bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let _ = (file, file_bytes, ranges);
        Ok(None)
    }

    /// Whether ranges were given here: then a row that may not be wanted costs its bytes, and no file.
    fn gives_ranges(&self) -> bool {
        false
    }

    /// What one more range costs here, in bytes that would come in its time, as far as that was measured.
    fn request_bytes(&self) -> Option<u64> {
        None
    }

    /// What [`Source::keep_rows`] last kept for `file`, unchecked; `None` without a cache.
    async fn kept_rows(&self, file: &str) -> Option<Vec<u8>> {
        let _ = file;
        None
    }

    /// Keeps `entry` for `file`, or with `None` forgets it. A cache may be full or absent: nothing fails.
    async fn keep_rows(&self, file: &str, entry: Option<&[u8]>) {
        let _ = (file, entry);
    }

    /// Hears that copies of what is read may have `bytes` together until a cache has stored them.
    fn hold(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Waits until a cache holds what was read, or cannot.
    async fn settled(&self) {}

    /// Hears that `manifest`, read under `name`, is sound and needs just `files`: a source with a cache
    /// keeps the one for visits offline and forgets other files of the same index.
    async fn keep(&self, name: &str, manifest: &[u8], files: &HashSet<String>) {
        let _ = (name, manifest, files);
    }
}
