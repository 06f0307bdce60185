//! GETs of whole files and of ranges by the browser's fetch, with retries.
//!
//! A fetch that fails for a passing reason is tried again with growing pauses, or the pause that the
//! host names. Nothing is verified here.

use std::cell::{Cell, RefCell};
use std::pin::pin;

use futures_util::future::{Either, select};
use gloo_net::http::{Request, Response};
use js_sys::Promise;
use wasm_bindgen::JsValue;
use web_sys::{AbortSignal, RequestCache};

use super::RowRange;
use super::request_cost::RequestCost;
use super::retry_after::pause_asked_ms;
use super::transfer::{Body, Land, Landed, Sending, text_of};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::web::pause;

/// Pauses between tries, in milliseconds.
const RETRY_PAUSES_MS: [i32; 4] = [250, 750, 2000, 5000];

/// Times that a range is asked for without any answer before the host is taken to give none: a browser
/// may end a fetch so where a host compresses ranges, or forbids the header to other origins.
const UNANSWERED_RANGES: u32 = 2;

/// A transfer that brings nothing for so long is given up and tried again.
const STALLED_MS: i32 = 30_000;

/// A folder on a host, and the signal that ends its fetches.
pub(super) struct Fetcher {
    /// URL of the folder, with a final slash.
    base: String,
    signal: RefCell<Option<AbortSignal>>,
    /// See [`Fetcher::new`].
    manifest: Cell<Option<Promise>>,
    ranges: Cell<Ranges>,
    cost: RequestCost,
}

/// What is known of the host's ranges.
#[derive(Clone, Copy, PartialEq)]
enum Ranges {
    Unknown,
    /// One came as it was asked for.
    Given,
    /// Something else came: none is asked for any more.
    Refused,
    /// Nothing came. Where whole files do not come either, that says nothing about ranges.
    Unanswered,
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
    /// The same, where the browser gave no answer or only a part of one.
    Unanswered(String),
}

impl Fetcher {
    /// `manifest` is the answer, a promise of a Response, to a request for the manifest that was made before.
    pub(super) fn new(base: String, manifest: Option<Promise>) -> Self {
        Self {
            base,
            manifest: Cell::new(manifest),
            signal: RefCell::default(),
            ranges: Cell::new(Ranges::Unknown),
            cost: RequestCost::default(),
        }
    }

    /// See [`super::Source::gives_ranges`].
    pub(super) fn gives_ranges(&self) -> bool {
        self.ranges.get() == Ranges::Given
    }

    /// See [`super::Source::request_bytes`].
    pub(super) fn request_bytes(&self) -> Option<u64> {
        self.cost.bytes()
    }

    pub(super) fn set_signal(&self, signal: Option<AbortSignal>) {
        *self.signal.borrow_mut() = signal;
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn url(&self, file: &str) -> String {
        format!("{}{file}", self.base)
    }

    /// The bytes of `file`, at most `bytes_max`; `on_bytes` hears of what each try brings.
    pub(super) async fn whole(
        &self,
        file: &str,
        bytes_max: u64,
        mode: RequestCache,
        land: Land,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Landed> {
        let fetched = self
            .with_retries(file, async || {
                let start_ms = now_ms();
                let response = self.send(file, mode, None).await?;
                match response.status() {
                    200 => {
                        let bytes = self
                            .body(file, &response, bytes_max, land, on_bytes)
                            .await?;
                        // A manifest may have been on its way before.
                        if mode != RequestCache::NoCache {
                            self.cost.whole(bytes.bytes(), now_ms() - start_ms);
                        }
                        Ok(bytes)
                    }
                    status => Err(not_found(file, status)),
                }
            })
            .await;
        if matches!(fetched, Err(Error::Network { .. })) && self.ranges.get() == Ranges::Unanswered
        {
            self.ranges.set(Ranges::Unknown);
        }
        fetched
    }

    /// A range of `file`; `None` when the host gives no ranges.
    pub(super) async fn range(
        &self,
        file: &str,
        file_bytes: u64,
        range: RowRange,
    ) -> Result<Option<Vec<u8>>> {
        let unanswered = Cell::new(0);
        let mut under_way = self.cost.range();
        let part = self
            .with_retries(file, async || {
                if matches!(self.ranges.get(), Ranges::Refused | Ranges::Unanswered) {
                    return Ok(None);
                }
                match self.range_once(file, file_bytes, range).await {
                    Ok(part) => {
                        self.ranges.set(match part {
                            Some(_) => Ranges::Given,
                            None => Ranges::Refused,
                        });
                        Ok(part)
                    }
                    Err(Failure::Unanswered(reason)) => {
                        unanswered.set(unanswered.get() + 1);
                        let proven = self.ranges.get() == Ranges::Given;
                        if proven || unanswered.get() < UNANSWERED_RANGES {
                            return Err(Failure::Unanswered(reason));
                        }
                        self.ranges.set(Ranges::Unanswered);
                        Ok(None)
                    }
                    Err(failure) => Err(failure),
                }
            })
            .await?;
        under_way.bytes = part.as_ref().map_or(0, |part| part.len() as u64);
        Ok(part)
    }

    /// One try; `None` when the host answers with anything else, a refusal too: whether it has the file shows when
    /// that is read as a whole.
    async fn range_once(
        &self,
        file: &str,
        file_bytes: u64,
        range: RowRange,
    ) -> Result<Option<Vec<u8>>, Failure> {
        // Rows have a cache of their own, and the browser's lets only one fetch of a URL run at a time.
        let mode = RequestCache::NoStore;
        let response = self.send(file, mode, Some(range)).await?;
        let status = response.status();
        if matches!(status, 404 | 410) {
            return Err(not_found(file, status));
        }
        let header = |name| response.headers().get(name);
        let (place, encoding) = (header("content-range"), header("content-encoding"));
        if !range.answered_by(file_bytes, status, place.as_deref(), encoding.as_deref()) {
            // The rest of a whole file that nobody asked for stays where it is.
            if let Some(body) = response.body() {
                drop(body.cancel());
            }
            return Ok(None);
        }
        match self
            .body(file, &response, range.bytes, Land::Inside, &|_| {})
            .await
        {
            Ok(landed) => {
                Ok(Some(landed.inside()).filter(|bytes| bytes.len() as u64 == range.bytes))
            }
            Err(Failure::Final(Error::Integrity { .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn cancelled(&self) -> bool {
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

    async fn with_retries<T>(
        &self,
        file: &str,
        attempt: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T> {
        let mut last = String::new();
        for tried in 0..=RETRY_PAUSES_MS.len() {
            let pause_asked;
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { reason, pause_ms }) => {
                    (last, pause_asked) = (reason, pause_ms)
                }
                Err(Failure::Unanswered(reason)) => (last, pause_asked) = (reason, None),
            }
            if let Some(pause_default) = RETRY_PAUSES_MS.get(tried) {
                self.pause(pause_asked.unwrap_or(*pause_default)).await;
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

    /// The response's head; a status that may pass is a passing failure.
    async fn send(
        &self,
        file: &str,
        mode: RequestCache,
        range: Option<RowRange>,
    ) -> Result<Response, Failure> {
        let signal = self.signal.borrow().clone();
        let mut request = Request::get(&self.url(file))
            .cache(mode)
            .abort_signal(signal.as_ref());
        if let Some(range) = range {
            request = request.header("range", &range.header());
        }
        // Only manifests are asked for in this mode. A request that has failed is made again, as ever.
        let made = (mode == RequestCache::NoCache).then(|| self.manifest.take());
        let sending = match made.flatten() {
            Some(made) => Sending::made(made),
            None => Sending::new(request.send()),
        };
        let response = match unless_stalled(sending).await? {
            Ok(response) => response,
            Err(_) if self.cancelled() => return Err(Failure::Final(Error::Cancelled)),
            Err(reason) => return Err(Failure::Unanswered(reason)),
        };
        match response.status() {
            // A method or a header that it does not know: it will not learn it.
            501 if range.is_some() => Ok(response),
            status @ (408 | 425 | 429 | 500..=599) => Err(Failure::Passing {
                reason: format!("HTTP {status}"),
                pause_ms: response.headers().get("retry-after").and_then(|header| {
                    pause_asked_ms(&header, js_sys::Date::now(), js_sys::Date::parse)
                }),
            }),
            _ => Ok(response),
        }
    }

    async fn body(
        &self,
        file: &str,
        response: &Response,
        bytes_max: u64,
        land: Land,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Landed, Failure> {
        let broken = |error: JsValue| match self.cancelled() {
            true => Failure::Final(Error::Cancelled),
            false => Failure::Unanswered(format!("the transfer broke off: {}", text_of(&error))),
        };
        let Some(body) = response.body() else {
            return Ok(Landed::Inside(Vec::new()));
        };
        // Of a compressed body this is less than comes: a hint.
        let stated = response.headers().get("content-length");
        let stated = stated.and_then(|length| length.parse::<u64>().ok());
        let mut body = Body::new(&body, stated.unwrap_or(0).min(bytes_max), land);
        let mut bytes = 0;
        while let Some(more) = unless_stalled(body.next()).await?.map_err(broken)? {
            bytes += more;
            if bytes > bytes_max {
                return Err(Failure::Final(Error::Integrity {
                    file: file.into(),
                    expected: format!("at most {bytes_max} bytes"),
                    found: "more".into(),
                }));
            }
            on_bytes(more);
        }
        Ok(body.landed())
    }
}

fn not_found(file: &str, status: u16) -> Failure {
    Failure::Final(Error::NotFound {
        file: file.into(),
        status,
    })
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
