//! The worker as the host of a query: events to a callback, cancellation by an AbortSignal.

use js_sys::Function;
use std::cell::Cell;
use wasm_bindgen::JsValue;
use web_sys::AbortSignal;

use super::{pause, to_js};
use crate::attribution::{Event, Host, ResultHit};
use crate::clock::now_ms;
use crate::error::{Error, Result};

/// Work at most this long before the worker looks at its messages.
const BREATH_MS: f64 = 30.0;

/// Weights come in hundreds of pieces a second; so much time is between two reports of them.
const MODEL_EVENT_MS: f64 = 40.0;

/// Reports to `on_event`, ends by `signal`, and makes thumbnails absolute from `base`.
pub struct WorkerHost {
    on_event: Function,
    signal: Option<AbortSignal>,
    base: String,
    last_breath: Cell<f64>,
    last_model_event: Cell<f64>,
}

impl WorkerHost {
    /// `base` is the URL of the manifest's folder, with a final slash.
    pub fn new(on_event: Function, signal: Option<AbortSignal>, base: String) -> Self {
        Self {
            on_event,
            signal,
            base,
            last_breath: Cell::new(now_ms()),
            last_model_event: Cell::new(f64::NEG_INFINITY),
        }
    }

    /// `hits` with absolute thumbnail URLs.
    pub fn absolute(&self, mut hits: Vec<ResultHit>) -> Vec<ResultHit> {
        for hit in &mut hits {
            if let Some(thumbnail) = &mut hit.thumbnail {
                *thumbnail = format!("{}{thumbnail}", self.base);
            }
        }
        hits
    }
}

impl Host for WorkerHost {
    fn event(&self, event: Event) {
        let event = match event {
            Event::Model {
                loaded_bytes,
                total_bytes,
                ..
            } => {
                let now = now_ms();
                // The last is told in any case.
                if loaded_bytes < total_bytes && now - self.last_model_event.get() < MODEL_EVENT_MS
                {
                    return;
                }
                self.last_model_event.set(now);
                event
            }
            Event::Hits {
                hits,
                rows,
                total_rows,
                completeness,
            } => Event::Hits {
                hits: self.absolute(hits),
                rows,
                total_rows,
                completeness,
            },
            other => other,
        };
        // A callback that throws must not end the query.
        if let Ok(event) = to_js(&event) {
            drop(self.on_event.call1(&JsValue::UNDEFINED, &event));
        }
    }

    fn now_ms(&self) -> f64 {
        now_ms()
    }

    async fn breathe(&self) -> Result<()> {
        if now_ms() - self.last_breath.get() > BREATH_MS {
            pause(0).await;
            self.last_breath.set(now_ms());
        }
        match &self.signal {
            Some(signal) if signal.aborted() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}
