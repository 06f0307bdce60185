//! An index on a plain static host, read by whole-file GETs through the browser's fetch.
//!
//! Every pinned file is looked up in the page's cache first, and kept there once verified. A fetch that
//! fails for a passing reason is tried again with growing pauses; bytes that do not verify are fetched
//! once more past the HTTP cache, in case that one holds a damaged or stale copy.

use std::collections::HashSet;
use std::pin::pin;

use futures_util::future::{Either, select};
use gloo_net::http::{Request, Response};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStreamDefaultReader, RequestCache};

use super::verified_cache::VerifiedCache;
use super::{Fetched, MANIFEST_BYTES_MAX, Source};
use crate::error::{Error, Result};
use crate::format::FileRef;
use crate::web::pause;

/// Pauses between tries, in milliseconds.
const RETRY_PAUSES_MS: [i32; 4] = [250, 750, 2000, 5000];
/// Longest pause that a host may ask for, in milliseconds.
const RETRY_AFTER_MAX_MS: i32 = 20_000;

/// A transfer that brings nothing for so long is given up and tried again.
const STALLED_MS: i32 = 30_000;

/// The folder of a manifest on a static host.
///
/// The signal holds for one call at a time: `www/data-attribution.js` runs the calls of a session in turn.
pub struct Http {
    /// URL of the folder, with a final slash.
    base: String,
    signal: std::cell::RefCell<Option<AbortSignal>>,
    cache: VerifiedCache,
}

/// Why one try failed.
enum Failure {
    /// Trying again cannot help.
    Final(Error),
    /// Trying again may help, after the host's pause if it named one.
    Passing {
        reason: String,
        pause_ms: Option<i32>,
    },
}

impl Http {
    /// The folder at `base`, an absolute URL with a final slash.
    pub async fn new(base: String) -> Self {
        Self {
            base,
            signal: Default::default(),
            cache: VerifiedCache::open().await,
        }
    }

    /// The signal that ends the fetches which start from now on.
    pub fn set_signal(&self, signal: Option<AbortSignal>) {
        *self.signal.borrow_mut() = signal;
    }

    /// The absolute URL of `file`.
    pub fn url(&self, file: &str) -> String {
        format!("{}{file}", self.base)
    }

    fn cancelled(&self) -> bool {
        self.signal
            .borrow()
            .as_ref()
            .is_some_and(AbortSignal::aborted)
    }

    /// Waits, but not on when the caller gives up.
    async fn pause(&self, mut milliseconds: i32) {
        while milliseconds > 0 && !self.cancelled() {
            pause(milliseconds.min(100)).await;
            milliseconds -= 100;
        }
    }

    async fn fetch_with_retries(
        &self,
        file: &str,
        bytes_max: u64,
        mode: RequestCache,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Vec<u8>> {
        let mut last = String::new();
        for attempt in 0..=RETRY_PAUSES_MS.len() {
            // What a failed try delivered counts once: only the excess of this one is reported.
            match self.fetch_once(file, bytes_max, mode, on_bytes).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { reason, pause_ms }) => {
                    last = reason;
                    if let Some(pause_default) = RETRY_PAUSES_MS.get(attempt) {
                        self.pause(pause_ms.unwrap_or(*pause_default)).await;
                    }
                }
            }
            if self.cancelled() {
                return Err(Error::Cancelled);
            }
        }
        Err(Error::Network {
            file: file.into(),
            reason: format!("{last} ({} tries)", RETRY_PAUSES_MS.len() + 1),
        })
    }

    async fn fetch_once(
        &self,
        file: &str,
        bytes_max: u64,
        mode: RequestCache,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Vec<u8>, Failure> {
        let signal = self.signal.borrow().clone();
        let request = Request::get(&self.url(file))
            .cache(mode)
            .abort_signal(signal.as_ref())
            .send();
        let response = match unless_stalled(request).await? {
            Ok(response) => response,
            Err(_) if self.cancelled() => return Err(Failure::Final(Error::Cancelled)),
            Err(error) => {
                return Err(Failure::Passing {
                    reason: error.to_string(),
                    pause_ms: None,
                });
            }
        };
        match response.status() {
            200 => self.body(file, &response, bytes_max, on_bytes).await,
            status @ (408 | 425 | 429 | 500..=599) => Err(Failure::Passing {
                reason: format!("HTTP {status}"),
                pause_ms: response
                    .headers()
                    .get("retry-after")
                    .and_then(|seconds| seconds.trim().parse::<i32>().ok())
                    .map(|seconds| seconds.saturating_mul(1000).clamp(0, RETRY_AFTER_MAX_MS)),
            }),
            status => Err(Failure::Final(Error::NotFound {
                file: file.into(),
                status,
            })),
        }
    }

    async fn body(
        &self,
        file: &str,
        response: &Response,
        bytes_max: u64,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Vec<u8>, Failure> {
        let broken = |error: JsValue| match self.cancelled() {
            true => Failure::Final(Error::Cancelled),
            false => Failure::Passing {
                reason: format!("the transfer broke off: {}", text_of(&error)),
                pause_ms: None,
            },
        };
        let Some(body) = response.body() else {
            return Ok(Vec::new());
        };
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut bytes = Vec::new();
        loop {
            let part = unless_stalled(JsFuture::from(reader.read()))
                .await?
                .map_err(broken)?;
            let done = js_sys::Reflect::get(&part, &"done".into()).map_err(broken)?;
            if done.is_truthy() {
                return Ok(bytes);
            }
            let chunk = js_sys::Reflect::get(&part, &"value".into()).map_err(broken)?;
            let chunk = js_sys::Uint8Array::new(&chunk);
            let length = u64::from(chunk.length());
            if bytes.len() as u64 + length > bytes_max {
                // The stream is dropped with the response; nothing waits for this.
                drop(reader.cancel());
                return Err(Failure::Final(Error::Integrity {
                    file: file.into(),
                    expected: format!("at most {bytes_max} bytes"),
                    found: "more".into(),
                }));
            }
            bytes.extend_from_slice(&chunk.to_vec());
            on_bytes(length);
        }
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
        let mut bytes = self
            .fetch_with_retries(&file.file, file.bytes, RequestCache::Default, &count_once)
            .await;
        if bytes
            .as_ref()
            .map_or_else(is_integrity, |bytes| file.verify(bytes).is_err())
        {
            bytes = self
                .fetch_with_retries(&file.file, file.bytes, RequestCache::Reload, &|_| {})
                .await;
        }
        let bytes = bytes?;
        file.verify(&bytes)?;
        count_once(u64::MAX);
        self.cache.put(&url, &bytes).await;
        Ok(Fetched {
            bytes,
            cached: false,
        })
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>> {
        let fetched = self
            .fetch_with_retries(name, MANIFEST_BYTES_MAX, RequestCache::NoCache, &|_| {})
            .await;
        match fetched {
            // Offline: the manifest of the last visit still describes files that are all verified.
            Err(error @ Error::Network { .. }) => {
                let kept = self.cache.get_unpinned(&self.url(name)).await;
                kept.ok_or(error)
            }
            other => other,
        }
    }

    async fn keep(&self, name: &str, manifest: &[u8], files: &HashSet<String>) {
        self.cache.put(&self.url(name), manifest).await;
        // Shards of an earlier pack would stay for ever: nothing asks for them again.
        let folders = ["fine/", "items/", "model/"].map(|folder| self.url(folder));
        self.cache
            .retain(|url| {
                let ours = folders.iter().any(|folder| url.starts_with(folder));
                !ours
                    || url
                        .strip_prefix(&self.base)
                        .is_some_and(|file| files.contains(file))
            })
            .await;
    }
}

/// The outcome of `work`, or a passing failure when nothing came for [`STALLED_MS`].
async fn unless_stalled<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let limit = pin!(pause(STALLED_MS));
    match select(pin!(work), limit).await {
        Either::Left((outcome, _)) => Ok(outcome),
        Either::Right(_) => Err(Failure::Passing {
            reason: format!("nothing came for {} s", STALLED_MS / 1000),
            pause_ms: None,
        }),
    }
}

fn is_integrity(error: &Error) -> bool {
    matches!(error, Error::Integrity { .. })
}

/// The message of a thrown value.
pub(crate) fn text_of(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map(|e| String::from(e.message()))
        .or_else(|| error.as_string())
        .unwrap_or_else(|| "unknown".into())
}
