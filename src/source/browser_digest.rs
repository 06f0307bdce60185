//! SHA-256 by the browser, several times faster than in WebAssembly and beside it.
//!
//! `crypto.subtle` exists in secure contexts only; without it the digest is computed here. Either way the same check
//! decides.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::SubtleCrypto;

use super::verified_cache::settle;
use crate::error::Result;
use crate::format::FileRef;

/// Below this, asking the browser takes longer than the digest.
const ASKED_FROM: u32 = 64 << 10;

/// [`FileRef::verify`] of bytes outside of the module's memory, by the browser's digest where it has one; `inside` are the same, if they
/// lie there too.
pub(super) async fn verify(
    file: &FileRef,
    bytes: &Uint8Array,
    inside: Option<&[u8]>,
) -> Result<()> {
    let length = bytes.length();
    if length >= ASKED_FROM
        && u64::from(length) == file.bytes
        && let Some(digest) = digest(bytes).await
    {
        return file.check_digest(&digest);
    }
    match inside {
        Some(inside) => file.verify(inside),
        None => file.verify(&bytes.to_vec()),
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
