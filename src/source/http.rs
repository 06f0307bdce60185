//! An index on a plain static host, read by GETs through the browser's fetch.
//!
//! Every pinned file is looked up in the page's cache first, and kept there once verified; the browser's HTTP cache is used
//! only where that one is absent or full, and bytes that do not verify are fetched once more past it, in case it holds a damaged
//! or stale copy. Whether the host gives ranges shows at their first use: after one answer that is not the range
//! asked for, none is asked for again.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use js_sys::{Promise, Uint8Array};
use web_sys::{AbortSignal, RequestCache};

use super::fetch::Fetcher;
use super::transfer::{Land, Landed};
use super::verified_cache::VerifiedCache;
use super::{Fetched, MANIFEST_BYTES_MAX, RowRange, Source};
use crate::error::{Error, Result};
use crate::format::FileRef;

/// Ranges of one file that are fetched at the same time.
const CONCURRENT_RANGES: usize = 8;
/// Folders in which all files have content names.
const FOLDERS: [&str; 7] = [
    "fine/", "items/", "model/", "mapper/", "head/", "coarse/", "control/",
];

/// The folder of a manifest on a static host.
///
/// The signal holds for one call at a time: `www/data-attribution.js` runs the calls of a session in turn.
pub struct Http {
    fetcher: Fetcher,
    cache: VerifiedCache,
}

impl Http {
    /// The folder at `base`, an absolute URL with a final slash; `manifest` is the answer, a promise of a Response, to a request for the
    /// manifest that was made before.
    pub async fn new(base: String, manifest: Option<Promise>) -> Self {
        Self {
            fetcher: Fetcher::new(base, manifest),
            cache: VerifiedCache::open().await,
        }
    }

    /// The signal that ends the fetches which start from now on.
    pub fn set_signal(&self, signal: Option<AbortSignal>) {
        self.fetcher.set_signal(signal);
    }

    /// The absolute URL of `file`.
    pub fn url(&self, file: &str) -> String {
        self.fetcher.url(file)
    }
}

impl Source for Http {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched> {
        let url = self.url(&file.file);
        if let Some(bytes) = self.cache.get(&url, file).await {
            return Ok(Fetched {
                bytes,
                cached: true,
            });
        }
        let reported = std::cell::Cell::new(0u64);
        let count_once = |bytes: u64| {
            // A second try starts from zero; the page's total must not pass the file's size.
            let new = bytes.min(file.bytes.saturating_sub(reported.get()));
            reported.set(reported.get() + new);
            on_bytes(new);
        };
        // What is kept here need not be kept by the browser as well.
        let mode = match self.cache.keeps() {
            true => RequestCache::NoStore,
            false => RequestCache::Default,
        };
        let fetched = self
            .fetcher
            .whole(&file.file, file.bytes, mode, self.cache.land(), &count_once)
            .await;
        let verified = match fetched {
            Ok(landed) => self.cache.verified(url.clone(), file, landed).await,
            Err(error) => Err(error),
        };
        let bytes = match verified {
            Err(error) if is_integrity(&error) => {
                let again = self
                    .fetcher
                    .whole(
                        &file.file,
                        file.bytes,
                        RequestCache::Reload,
                        self.cache.land(),
                        &|_| {},
                    )
                    .await?;
                self.cache.verified(url, file, again).await?
            }
            other => other?,
        };
        count_once(u64::MAX);
        Ok(Fetched {
            bytes,
            cached: false,
        })
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>> {
        let fetched = self
            .fetcher
            .whole(
                name,
                MANIFEST_BYTES_MAX,
                RequestCache::NoCache,
                Land::Inside,
                &|_| {},
            )
            .await;
        match fetched {
            // Offline: the manifest of the last visit still describes files that are all verified.
            Err(error @ Error::Network { .. }) => {
                let kept = self.cache.get_unpinned(&self.url(name)).await;
                kept.ok_or(error)
            }
            other => other.map(Landed::inside),
        }
    }

    async fn read_ranges(
        &self,
        file: &str,
        file_bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        for range in ranges {
            range.check(file, file_bytes)?;
        }
        let mut parts = Vec::with_capacity(ranges.len());
        let mut arriving = stream::iter(ranges)
            .map(|range| self.fetcher.range(file, file_bytes, *range))
            .buffered(CONCURRENT_RANGES);
        while let Some(part) = arriving.next().await {
            let Some(part) = part? else { return Ok(None) };
            parts.push(part);
        }
        Ok(Some(parts))
    }

    fn gives_ranges(&self) -> bool {
        self.fetcher.gives_ranges()
    }

    fn request_bytes(&self) -> Option<u64> {
        self.fetcher.request_bytes()
    }

    async fn kept_rows(&self, file: &str) -> Option<Vec<u8>> {
        self.cache.get_rows(&self.url(file)).await
    }

    async fn keep_rows(&self, file: &str, entry: Option<&[u8]>) {
        self.cache.put_rows(&self.url(file), entry).await;
    }

    fn hold(&self, bytes: u64) {
        self.cache.hold(bytes);
    }

    async fn settled(&self) {
        self.cache.settled().await;
    }

    async fn keep(&self, name: &str, manifest: &[u8], files: &HashSet<String>) {
        let manifest = Uint8Array::from(manifest);
        self.cache.put(&self.url(name), &manifest).await;
        // Shards of an earlier pack would stay for ever: nothing asks for them again.
        let folders = FOLDERS.map(|folder| self.url(folder));
        self.cache
            .retain(|url| {
                let ours = folders.iter().any(|folder| url.starts_with(folder));
                !ours
                    || url
                        .strip_prefix(self.fetcher.base())
                        .is_some_and(|file| files.contains(file))
            })
            .await;
    }
}

fn is_integrity(error: &Error) -> bool {
    matches!(error, Error::Integrity { .. })
}
