//! Answers to requests that the page's script made while this module was still on its way (`www/early.js`).
//!
//! Each is taken once, in place of a request; one that failed is asked for again. It is read and checked like any other.

use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// Those of one opening.
    #[derive(Clone)]
    pub type Early;

    /// The answer to a GET of `url`, a promise of a Response.
    #[wasm_bindgen(method)]
    fn take(this: &Early, url: &str) -> Option<Promise>;
}

/// The answer to a GET of `url`, if one is on its way and comes.
pub(super) async fn answer(early: Option<Early>, url: &str) -> Option<web_sys::Response> {
    let answer: Result<JsValue, JsValue> = JsFuture::from(early?.take(url)?).await;
    answer.ok()?.dyn_into().ok()
}
