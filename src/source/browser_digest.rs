//! SHA-256 by the browser, several times faster than in WebAssembly and beside it.
//!
//! `crypto.subtle` exists in secure contexts only; without it the digest is computed here. Either way the same check
//! decides.

use std::cell::OnceCell;

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::SubtleCrypto;

use super::release::release;
use super::verified_cache::settle;
use crate::error::Result;
use crate::format::FileRef;

/// Below this, asking the browser takes longer than the digest.
const ASKED_FROM: usize = 64 << 10;

/// The copy of a file that the browser works on, made once.
#[derive(Default)]
pub(super) struct Copied(OnceCell<Uint8Array>);

impl Copied {
    /// The copy of `bytes`.
    pub(super) fn of(&self, bytes: &[u8]) -> &Uint8Array {
        self.0.get_or_init(|| Uint8Array::from(bytes))
    }

    /// Frees the copy.
    pub(super) fn release(self) {
        if let Some(copy) = self.0.get() {
            release(copy);
        }
    }
}

/// [`FileRef::verify`], by the browser's digest where it has one.
pub(super) async fn verify(file: &FileRef, bytes: &[u8], copied: &Copied) -> Result<()> {
    if bytes.len() < ASKED_FROM || bytes.len() as u64 != file.bytes {
        return file.verify(bytes);
    }
    match digest(copied.of(bytes)).await {
        Some(digest) => file.check_digest(&digest),
        None => file.verify(bytes),
    }
}

async fn digest(bytes: &Uint8Array) -> Option<[u8; 32]> {
    let crypto = Reflect::get(&js_sys::global(), &JsValue::from("crypto")).ok()?;
    let subtle = Reflect::get(&crypto, &JsValue::from("subtle")).ok()?;
    let subtle: SubtleCrypto = subtle.dyn_into().ok()?;
    let found = subtle
        .digest_with_str_and_buffer_source("SHA-256", bytes)
        .ok()?;
    Uint8Array::new(&settle(found).await?)
        .to_vec()
        .try_into()
        .ok()
}
