//! Memory of the browser's that is given back at once.
//!
//! Pieces of files that were copied are garbage; but browsers collect it when they like, which for tens of megabytes of
//! weights is late. A buffer that is transferred to a length of 0 is freed there and then, where the browser can do that.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;

/// Frees the buffer under `bytes`, of which nothing is read any more; a no-op on memory that cannot go, such as the module's.
pub(super) fn release(bytes: &Uint8Array) {
    if let Some(buffer) = bytes.buffer().dyn_ref::<ArrayBuffer>() {
        // Browsers without it throw, and collect as ever.
        let _ = buffer.transfer_with_length(0);
    }
}

/// `bytes`, copied into the module's memory; their buffer is freed.
pub(super) fn taken(bytes: &Uint8Array) -> Vec<u8> {
    let copied = bytes.to_vec();
    release(bytes);
    copied
}
