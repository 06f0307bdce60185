//! What JavaScript sees: one class, run in a worker, and a function that tells of the worker's helper
//! ([`crate::source`] has it).
//!
//! `www/worker.js` and `www/program.js` are the only callers; the package's public interface is `www/data-attribution.js`.
//! Errors are JavaScript `Error`s with the `code` of [`crate::Error::code`].

mod host;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use crate::attribution::{
    Ask, Attribution, Attributor, Completeness, Host, Quality, ResultHit, Timings,
};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::preprocess::{DEFAULT_LIMIT_MEGAPIXELS, Pixels, decode};
use crate::source::http::Http;
use host::WorkerHost;

/// Waits for `milliseconds`; also lets the worker take messages.
pub(crate) async fn pause(milliseconds: i32) {
    let promise = Promise::new(&mut |resolve, _| {
        let timer = Reflect::get(&js_sys::global(), &"setTimeout".into())
            .ok()
            .and_then(|f| f.dyn_into::<Function>().ok());
        let started = timer.map(|f| f.call2(&JsValue::UNDEFINED, &resolve, &milliseconds.into()));
        if !matches!(started, Some(Ok(_))) {
            // No timers here: go on at once. The promise's own function cannot throw.
            drop(resolve.call0(&JsValue::UNDEFINED));
        }
    });
    // Never rejected.
    drop(JsFuture::from(promise).await);
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OpenOptions {
    device: DeviceChoice,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AttributeOptions {
    top_k: usize,
    quality: Quality,
    limit_megapixels: u32,
}

impl Default for AttributeOptions {
    fn default() -> Self {
        Self {
            top_k: 100,
            quality: Quality::default(),
            limit_megapixels: DEFAULT_LIMIT_MEGAPIXELS,
        }
    }
}

impl AttributeOptions {
    fn ask(&self) -> Ask {
        Ask {
            top_k: self.top_k,
            quality: self.quality,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultObject {
    hits: Vec<ResultHit>,
    remaining_influence: f64,
    remaining_low: f64,
    remaining_high: f64,
    count: u64,
    completeness: Completeness,
    device: &'static str,
    timings: Timings,
    bytes: ResultBytes,
}

#[derive(Serialize)]
struct ResultBytes {
    fetched: u64,
    cached: u64,
    requests: u64,
}

/// An opened index.
#[wasm_bindgen]
pub struct Session {
    attributor: Attributor<Http>,
    base: String,
}

#[wasm_bindgen]
impl Session {
    /// Opens the index whose manifest is at the absolute URL `manifest_url`; `manifest` is the answer, a promise of a Response, to a
    /// request for it that was made before.
    pub async fn open(
        manifest_url: String,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
        manifest: Option<Promise>,
    ) -> Result<Session, JsValue> {
        let opened = async {
            let options: OpenOptions = parse_options(options)?;
            let path_end = manifest_url.find(['?', '#']).unwrap_or(manifest_url.len());
            let name_start = manifest_url[..path_end]
                .rfind('/')
                .map_or(0, |slash| slash + 1);
            let base = manifest_url[..name_start].to_owned();
            let source = Http::new(base.clone(), manifest).await;
            source.set_signal(signal.clone());
            let host = WorkerHost::new(on_event, signal, base.clone());
            let name = &manifest_url[name_start..];
            let attributor = Attributor::open(source, name, options.device, &host).await?;
            attributor.source().set_signal(None);
            Ok(Session { attributor, base })
        };
        opened.await.map_err(thrown)
    }

    /// Ranks the training images by the encoded image `image`.
    pub async fn attribute(
        &self,
        image: Uint8Array,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
    ) -> Result<JsValue, JsValue> {
        let pixels = |limit| decode(&image.to_vec(), limit);
        self.run(pixels, options, on_event, signal)
            .await
            .map_err(thrown)
    }

    /// Ranks the training images by RGBA pixels, as a canvas gives them.
    #[wasm_bindgen(js_name = attributePixels)]
    pub async fn attribute_pixels(
        &self,
        width: u32,
        height: u32,
        rgba: Uint8Array,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
    ) -> Result<JsValue, JsValue> {
        let pixels = |limit_megapixels: u32| {
            if u64::from(width) * u64::from(height) > u64::from(limit_megapixels) * 1_000_000 {
                return Err(Error::ImageTooLarge {
                    width,
                    height,
                    limit_megapixels,
                });
            }
            Pixels::from_rgba(width, height, &rgba.to_vec())
        };
        self.run(pixels, options, on_event, signal)
            .await
            .map_err(thrown)
    }

    /// Ranks the training images by a feature of the backbone that was computed elsewhere.
    #[wasm_bindgen(js_name = attributeFeature)]
    pub async fn attribute_feature(
        &self,
        feature: Vec<f32>,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
    ) -> Result<JsValue, JsValue> {
        self.answer(options, on_event, signal, async |host, options| {
            let ask = options.ask();
            let ranked = self.attributor.attribute_feature(&feature, ask, host);
            ranked.await
        })
        .await
        .map_err(thrown)
    }

    /// Keeps what queries have read, as files and in parts, for later visits.
    pub async fn save(&self) {
        self.attributor.save().await;
    }

    /// Facts of the index and the device.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> Result<JsValue, JsValue> {
        to_js(&self.attributor.info()).map_err(thrown)
    }
}

impl Session {
    /// Attributes what `pixels(limit in megapixels)` gives.
    async fn run(
        &self,
        pixels: impl FnOnce(u32) -> Result<Pixels>,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
    ) -> Result<JsValue> {
        self.answer(options, on_event, signal, async |host, options| {
            let start = host.now_ms();
            let pixels = pixels(options.limit_megapixels)?;
            let decode_ms = host.now_ms() - start;
            let ask = options.ask();
            let mut answer = self.attributor.attribute(&pixels, ask, host).await?;
            answer.timings.decode_ms = decode_ms;
            answer.timings.total_ms += decode_ms;
            Ok(answer)
        })
        .await
    }

    /// What `attribute` gives, as JavaScript sees it; the signal ends its downloads.
    async fn answer(
        &self,
        options: JsValue,
        on_event: Function,
        signal: Option<AbortSignal>,
        attribute: impl AsyncFnOnce(&WorkerHost, AttributeOptions) -> Result<Attribution>,
    ) -> Result<JsValue> {
        let options: AttributeOptions = parse_options(options)?;
        self.attributor.source().set_signal(signal.clone());
        let host = WorkerHost::new(on_event, signal, self.base.clone());
        let done = attribute(&host, options).await;
        self.attributor.source().set_signal(None);
        let Attribution {
            hits,
            remaining_influence,
            remaining_low,
            remaining_high,
            count,
            completeness,
            timings,
            fetched_bytes,
            cached_bytes,
            requests,
        } = done?;
        to_js(&ResultObject {
            hits: host.absolute(hits),
            remaining_influence,
            remaining_low,
            remaining_high,
            count,
            completeness,
            device: self.attributor.device_name(),
            timings,
            bytes: ResultBytes {
                fetched: fetched_bytes,
                cached: cached_bytes,
                requests,
            },
        })
    }
}

fn parse_options<T: Default + for<'a> Deserialize<'a>>(options: JsValue) -> Result<T> {
    if options.is_undefined() || options.is_null() {
        return Ok(T::default());
    }
    serde_wasm_bindgen::from_value(options).map_err(|e| Error::invalid(format!("options: {e}")))
}

/// A plain object: no `Map`, `null` for `None`.
pub(crate) fn to_js(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value
        .serialize(&serializer)
        .map_err(|e| Error::invalid(format!("result: {e}")))
}

fn thrown(error: Error) -> JsValue {
    let object = js_sys::Error::new(&error.to_string());
    // A plain object takes any property.
    drop(Reflect::set(&object, &"code".into(), &error.code().into()));
    object.into()
}
