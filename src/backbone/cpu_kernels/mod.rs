//! Transformer kernels for one CPU thread, in WebAssembly and natively.
//!
//! Burn's CPU backend has no product with quantized weights and no attention that spares the score
//! matrix; these kernels do both several times faster. Everything is row-major f32 outside;
//! [`QuantizedPanels`] keep 8 or 4 bits a weight and multiply in integers. Each kernel is written once
//! over [`simd::Simd`], and `reference` holds the plain twins that define the results. Invariant: no
//! function keeps state or panics for shapes that agree.

#[cfg(test)]
mod activation_tests;
mod activations;
mod attention;
#[cfg(test)]
mod int4_tests;
mod linear;
mod math;
mod norm;
mod panels;
mod quad_simd;
#[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
mod quad_simd_wasm;
mod quads;
#[cfg(test)]
mod reference;
mod simd;
#[cfg(target_arch = "x86_64")]
mod simd_avx2;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd_wasm;
#[cfg(test)]
mod tests;
mod tile;

pub use attention::attention;
pub use linear::{Epilogue, Inputs};
pub use norm::layer_norm;
pub use panels::{DensePanels, QuantizedPanels};
