//! Requests and bodies under way in the browser, which end when nobody waits for them any more, and where bodies land.
//!
//! A future that is dropped in the middle, as when a query has enough, would else download on unseen.

use std::pin::Pin;
use std::task::{Context, Poll};

use gloo_net::http::Response;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStream, ReadableStreamByobReader, ReadableStreamDefaultReader};

use super::release::{release, taken};
use super::verified_cache::settle;

/// Most bytes that are made room for before they come; shards and files of weights have less.
const EXPECTED_MAX: u64 = 32 << 20;

/// A response's head, or why there is none.
type Answer = Result<Response, String>;

/// A request, until the host has answered.
pub(super) struct Sending(Option<Pin<Box<dyn Future<Output = Answer>>>>);

impl Sending {
    pub fn new(request: impl Future<Output = Result<Response, gloo_net::Error>> + 'static) -> Self {
        Self(Some(Box::pin(async {
            request.await.map_err(|error| error.to_string())
        })))
    }

    /// One that was made before: a promise of a Response.
    pub fn made(request: Promise) -> Self {
        Self(Some(Box::pin(async {
            let answer = JsFuture::from(request)
                .await
                .and_then(JsCast::dyn_into::<web_sys::Response>);
            answer.map(Response::from).map_err(|error| text_of(&error))
        })))
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
}

enum Reader {
    /// Writes where it is told to.
    Told(ReadableStreamByobReader, Landing),
    /// Brings pieces of its own.
    Outside(ReadableStreamDefaultReader, Landing),
    Inside(ReadableStreamDefaultReader, Vec<u8>),
}

impl Body {
    /// Of `stream`, which is expected to have `expected` bytes.
    pub fn new(stream: &ReadableStream, expected: u64, land: Land) -> Self {
        let expected = expected.min(EXPECTED_MAX);
        let reader = || stream.get_reader().unchecked_into();
        let reader = match land {
            Land::Inside => Reader::Inside(reader(), Vec::with_capacity(expected as usize)),
            // Not every browser's bodies can be told.
            Land::Outside => match ReadableStreamByobReader::new(stream) {
                Ok(told) => Reader::Told(told, Landing::new(expected)),
                Err(_) => Reader::Outside(reader(), Landing::new(expected)),
            },
        };
        Self {
            reader,
            ended: false,
        }
    }

    /// How many bytes came next; `None` at the end.
    ///
    /// # Errors
    /// What the stream throws.
    pub async fn next(&mut self) -> Result<Option<u64>, JsValue> {
        let reading = match &mut self.reader {
            Reader::Told(reader, landing) => reader.read_with_array_buffer_view(&landing.rest()),
            Reader::Outside(reader, _) | Reader::Inside(reader, _) => reader.read(),
        };
        let read = JsFuture::from(reading).await;
        let part = self.failing(read)?;
        let done = js_sys::Reflect::get(&part, &"done".into());
        let done = self.failing(done)?.is_truthy();
        let piece = js_sys::Reflect::get(&part, &"value".into());
        let piece = self.failing(piece)?;
        self.ended |= done;
        let piece: Uint8Array = match piece.dyn_into() {
            Ok(piece) => piece,
            // One that was told has its buffer in any case, but when it was cancelled.
            Err(_) if done && !matches!(self.reader, Reader::Told(..)) => return Ok(None),
            Err(other) => return self.failing(Err(other)),
        };
        let bytes = piece.length();
        match &mut self.reader {
            Reader::Told(_, landing) => landing.written(&piece),
            Reader::Outside(_, landing) => {
                landing.append(&piece);
                release(&piece);
            }
            Reader::Inside(_, landed) => {
                let start = landed.len();
                landed.resize(start + bytes as usize, 0);
                piece.copy_to(&mut landed[start..]);
                release(&piece);
            }
        }
        Ok((!done).then_some(bytes.into()))
    }

    /// The bytes that came.
    pub fn landed(&mut self) -> Landed {
        match &mut self.reader {
            Reader::Told(_, landing) | Reader::Outside(_, landing) => {
                Landed::Outside(landing.landed())
            }
            Reader::Inside(_, landed) => Landed::Inside(std::mem::take(landed)),
        }
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
                Reader::Told(reader, _) => reader.cancel().into(),
                Reader::Outside(reader, _) | Reader::Inside(reader, _) => reader.cancel().into(),
            };
            // Awaited, so that a failure is no unhandled one.
            spawn_local(async move {
                settle(cancelled).await;
            });
        }
    }
}

/// Where the bytes of a body are to be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Land {
    /// In the module's memory.
    Inside,
    /// In a buffer of the browser's, written without a stop where it can be told to.
    Outside,
}

/// Bytes of a body where they were to be.
pub(super) enum Landed {
    Inside(Vec<u8>),
    Outside(Uint8Array),
}

impl Landed {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inside(bytes) => bytes.len() as u64,
            Self::Outside(bytes) => bytes.length().into(),
        }
    }

    /// In the module's memory in any case.
    pub fn inside(self) -> Vec<u8> {
        match self {
            Self::Inside(bytes) => bytes,
            Self::Outside(bytes) => taken(&bytes),
        }
    }
}

/// A buffer of the browser's that grows.
struct Landing {
    buffer: Uint8Array,
    filled: u32,
}

impl Landing {
    /// With room for one byte more than `expected`, so that the end shows.
    fn new(expected: u64) -> Self {
        Self {
            buffer: Uint8Array::new_with_length(expected as u32 + 1),
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

/// The message of a thrown value.
pub(super) fn text_of(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map(|e| String::from(e.message()))
        .or_else(|| error.as_string())
        .unwrap_or_else(|| "unknown".into())
}
