//! Verified files in the browser's Cache API.
//!
//! The cache is a convenience: where it is absent, full or blocked, files are simply fetched again.
//! Whatever comes out is verified like a download; what does not verify is deleted, so that damage
//! heals itself.

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, CacheStorage, Request, Response};

use crate::format::FileRef;

/// Name of the cache; rises with the format.
const CACHE_NAME: &str = "data-attribution-1";

/// A handle to the cache, or to nothing.
pub struct VerifiedCache {
    cache: Option<Cache>,
}

impl VerifiedCache {
    /// Opens the cache of this origin, if there is one.
    pub async fn open() -> Self {
        Self {
            cache: Self::try_open().await,
        }
    }

    async fn try_open() -> Option<Cache> {
        // `caches` exists in pages and workers alike, and only in secure contexts.
        let storage = Reflect::get(&js_sys::global(), &"caches".into()).ok()?;
        let storage: CacheStorage = storage.dyn_into().ok()?;
        settle(storage.open(CACHE_NAME)).await?.dyn_into().ok()
    }

    /// The verified bytes of `file`, stored under `url`.
    pub async fn get(&self, url: &str, file: &FileRef) -> Option<Vec<u8>> {
        let bytes = self.get_unpinned(url).await?;
        if file.verify(&bytes).is_ok() {
            return Some(bytes);
        }
        settle(self.cache.as_ref()?.delete_with_str(url)).await;
        None
    }

    /// The bytes stored under `url`, whatever they are.
    pub async fn get_unpinned(&self, url: &str) -> Option<Vec<u8>> {
        let cache = self.cache.as_ref()?;
        let response: Response = settle(cache.match_with_str(url)).await?.dyn_into().ok()?;
        let buffer = settle(response.array_buffer().ok()?).await?;
        Some(Uint8Array::new(&buffer).to_vec())
    }

    /// Stores `bytes` under `url`; a full quota is no error.
    pub async fn put(&self, url: &str, bytes: &[u8]) {
        let Some(cache) = &self.cache else { return };
        let body: Object = Uint8Array::from(bytes).into();
        if let Ok(response) = Response::new_with_opt_buffer_source(Some(&body)) {
            settle(cache.put_with_str(url, &response)).await;
        }
    }

    /// Deletes every entry whose URL `wanted` does not want.
    pub async fn retain(&self, wanted: impl Fn(&str) -> bool) {
        let Some(cache) = &self.cache else { return };
        let Some(keys) = settle(cache.keys()).await else {
            return;
        };
        for request in js_sys::Array::from(&keys).iter() {
            let Ok(request) = request.dyn_into::<Request>() else {
                continue;
            };
            if !wanted(&request.url()) {
                settle(cache.delete_with_request(&request)).await;
            }
        }
    }
}

/// The value of a promise; `None` when it is rejected or `undefined`.
async fn settle<T: Into<JsValue>>(promise: T) -> Option<JsValue> {
    let promise: Promise = promise.into().dyn_into().ok()?;
    let value = JsFuture::from(promise).await.ok()?;
    (!value.is_undefined()).then_some(value)
}
