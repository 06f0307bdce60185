//! Requests and bodies under way in the browser, that end when nobody waits for them any more.
//!
//! A future that is dropped in the middle, as when a query has enough, would else download on unseen.

use std::pin::Pin;
use std::task::{Context, Poll};

use gloo_net::http::Response;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

use super::verified_cache::settle;

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
    reader: ReadableStreamDefaultReader,
    ended: bool,
}

impl Body {
    pub fn new(stream: &ReadableStream) -> Self {
        Self {
            reader: stream.get_reader().unchecked_into(),
            ended: false,
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// What the stream throws.
    pub async fn next(&mut self) -> Result<Option<js_sys::Uint8Array>, JsValue> {
        let read = JsFuture::from(self.reader.read()).await;
        let part = self.failing(read)?;
        let done = js_sys::Reflect::get(&part, &"done".into());
        if self.failing(done)?.is_truthy() {
            self.ended = true;
            return Ok(None);
        }
        let piece = js_sys::Reflect::get(&part, &"value".into());
        self.failing(piece)?.dyn_into().map(Some)
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
            let cancelled: JsValue = self.reader.cancel().into();
            // Awaited, so that a failure is no unhandled one.
            spawn_local(async move {
                settle(cancelled).await;
            });
        }
    }
}
