//! Requests and bodies under way in the browser, that end when nobody waits for them any more.
//!
//! A future that is dropped in the middle, as when a query has enough, would else download on unseen.

use std::pin::Pin;
use std::task::{Context, Poll};

use gloo_net::http::Response;
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStream, ReadableStreamByobReader, ReadableStreamDefaultReader};

use super::release::release;
use super::verified_cache::settle;

/// Most bytes that are made room for before they come; more than any file of an index has.
const EXPECTED_MAX: u64 = 32 << 20;

type Answer = Result<Response, gloo_net::Error>;

/// A request, until the host has answered.
pub(super) struct Sending(Option<Pin<Box<dyn Future<Output = Answer>>>>);

impl Sending {
    pub fn new(request: impl Future<Output = Answer> + 'static) -> Self {
        Self(Some(Box::pin(request)))
    }
}

impl Future for Sending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let Some(request) = &mut self.0 else {
            return Poll::Pending;
        };
        let answer = request.as_mut().poll(context);
        if answer.is_ready() {
            self.0 = None;
        }
        answer
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(request) = self.0.take() {
            spawn_local(async move {
                if let Ok(response) = request.await
                    && let Some(body) = response.body()
                {
                    settle(body.cancel()).await;
                }
            });
        }
    }
}

/// A body, until its end or its failure.
pub(super) struct Body {
    reader: Reader,
    ended: bool,
    landing: Landing,
}

enum Reader {
    /// Writes where it is told to.
    Told(ReadableStreamByobReader),
    /// Brings pieces of its own.
    Bringing(ReadableStreamDefaultReader),
}

impl Body {
    /// Of `stream`, which is expected to have `expected` bytes.
    pub fn new(stream: &ReadableStream, expected: u64) -> Self {
        Self {
            // Not every browser's bodies can be told.
            reader: match ReadableStreamByobReader::new(stream) {
                Ok(reader) => Reader::Told(reader),
                Err(_) => Reader::Bringing(stream.get_reader().unchecked_into()),
            },
            ended: false,
            landing: Landing::new(expected),
        }
    }

    /// How many bytes came next; `None` at the end.
    ///
    /// # Errors
    /// What the stream throws.
    pub async fn next(&mut self) -> Result<Option<u64>, JsValue> {
        let reading = match &self.reader {
            Reader::Told(reader) => reader.read_with_array_buffer_view(&self.landing.rest()),
            Reader::Bringing(reader) => reader.read(),
        };
        let read = JsFuture::from(reading).await;
        let part = self.failing(read)?;
        let done = js_sys::Reflect::get(&part, &"done".into());
        let done = self.failing(done)?.is_truthy();
        let piece = js_sys::Reflect::get(&part, &"value".into());
        let piece = self.failing(piece)?;
        self.ended |= done;
        match (&self.reader, piece.dyn_into::<Uint8Array>()) {
            // A cancelled stream keeps what it was told to write to.
            (Reader::Told(_), Ok(piece)) => {
                self.landing.written(&piece);
                Ok((!done).then_some(piece.length().into()))
            }
            (Reader::Bringing(_), Ok(piece)) => {
                let bytes = piece.length();
                self.landing.append(&piece);
                release(&piece);
                Ok(Some(bytes.into()))
            }
            (Reader::Bringing(_), Err(_)) if done => Ok(None),
            (_, Err(other)) => self.failing(Err(other)),
        }
    }

    /// The bytes that came.
    pub fn landed(&self) -> Uint8Array {
        self.landing.landed()
    }

    /// A stream that has failed cannot be cancelled.
    fn failing<T>(&mut self, outcome: Result<T, JsValue>) -> Result<T, JsValue> {
        self.ended |= outcome.is_err();
        outcome
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.ended {
            let cancelled: JsValue = match &self.reader {
                Reader::Told(reader) => reader.cancel().into(),
                Reader::Bringing(reader) => reader.cancel().into(),
            };
            // Awaited, so that a failure is no unhandled one.
            spawn_local(async move {
                settle(cancelled).await;
            });
        }
    }
}

/// Where bytes land: a buffer of the browser's.
struct Landing {
    buffer: Uint8Array,
    filled: u32,
}

impl Landing {
    /// With room for one byte more than `expected`, so that the end shows.
    fn new(expected: u64) -> Self {
        Self {
            buffer: Uint8Array::new_with_length(expected.min(EXPECTED_MAX) as u32 + 1),
            filled: 0,
        }
    }

    /// Makes room for `bytes` more.
    fn reserve(&mut self, bytes: u32) {
        let wanted = self.filled.saturating_add(bytes);
        if wanted > self.buffer.length() {
            let larger = Uint8Array::new_with_length(wanted.max(self.filled.saturating_mul(2)));
            larger.set(&self.landed(), 0);
            release(&self.buffer);
            self.buffer = larger;
        }
    }

    /// What is free, never nothing.
    fn rest(&mut self) -> Uint8Array {
        self.reserve(1);
        self.buffer.subarray(self.filled, self.buffer.length())
    }

    /// Hears that `piece` was written to the rest: the buffer is another now, with the same bytes.
    fn written(&mut self, piece: &Uint8Array) {
        self.buffer = Uint8Array::new(&piece.buffer());
        self.filled += piece.length();
    }

    fn append(&mut self, piece: &Uint8Array) {
        self.reserve(piece.length());
        self.buffer.set(piece, self.filled);
        self.filled += piece.length();
    }

    fn landed(&self) -> Uint8Array {
        self.buffer.subarray(0, self.filled)
    }
}
