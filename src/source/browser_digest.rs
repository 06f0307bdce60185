//! SHA-256 by the browser, several times faster than in WebAssembly and beside it.
//!
//! The browser first copies what it is to digest, and everything waits; a helper beside the page's worker, once it runs, gets the bytes
//! themselves and waits alone. `crypto.subtle` exists in secure contexts only; without it the digest is computed here. Either way
//! the same check decides.

use std::cell::OnceCell;

use js_sys::{Array, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::SubtleCrypto;

use super::release::release;
use super::verified_cache::settle;
use crate::error::{Error, Result};
use crate::format::FileRef;

/// Below this, asking the browser takes longer than the digest.
const ASKED_FROM: u32 = 64 << 10;

#[wasm_bindgen]
extern "C" {
    /// The module `www/digests.js`.
    pub type Digests;
    #[wasm_bindgen(method)]
    fn start(this: &Digests);
    /// A promise of the bytes in another buffer and their digest, if the helper runs.
    #[wasm_bindgen(method)]
    fn sha256(this: &Digests, bytes: &Uint8Array) -> Option<Promise>;
}

thread_local! {
    static DIGESTS: OnceCell<Digests> = const { OnceCell::new() };
}

/// Tells the program of the helper, which it may start.
#[wasm_bindgen(js_name = digestWith)]
pub fn digest_with(digests: Digests) {
    DIGESTS.with(|known| drop(known.set(digests)));
}

/// Starts the helper, as files will come.
pub(super) fn start_helper() {
    DIGESTS.with(|known| {
        if let Some(digests) = known.get() {
            digests.start();
        }
    });
}

/// [`verify`] by the helper, if there is one. The bytes that were checked lie in another buffer then; those that are not right are freed.
///
/// # Errors
/// Those of [`FileRef::verify`]; [`Error::Integrity`] also where the helper has lost the bytes.
pub(super) async fn verify_beside(file: &FileRef, bytes: Uint8Array) -> Result<Uint8Array> {
    let length = bytes.length();
    let asked = match length >= ASKED_FROM && u64::from(length) == file.bytes {
        true => DIGESTS.with(|known| known.get()?.sha256(&bytes)),
        false => None,
    };
    let kept_if = |sound: Result<()>, bytes: Uint8Array| match sound {
        Ok(()) => Ok(bytes),
        Err(error) => {
            release(&bytes);
            Err(error)
        }
    };
    let Some(asked) = asked else {
        return kept_if(verify(file, &bytes, None).await, bytes);
    };
    let lost = |_| Error::Integrity {
        file: file.file.clone(),
        expected: file.sha256.clone(),
        found: "nothing: its bytes were lost as they were checked".into(),
    };
    let answer = Array::from(&JsFuture::from(asked).await.map_err(lost)?);
    let bytes: Uint8Array = answer.get(0).dyn_into().map_err(lost)?;
    let sound = match digest_of(&answer.get(1)) {
        Some(digest) => file.check_digest(&digest),
        None => file.verify(&bytes.to_vec()),
    };
    kept_if(sound, bytes)
}

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
    digest_of(&settle(found).await?)
}

/// The bytes of a digest's buffer.
fn digest_of(buffer: &JsValue) -> Option<[u8; 32]> {
    let buffer: &js_sys::ArrayBuffer = buffer.dyn_ref()?;
    Uint8Array::new(buffer).to_vec().try_into().ok()
}
