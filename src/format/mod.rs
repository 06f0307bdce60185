//! The file formats, written once: the packer and the browser compile these same definitions.
//!
//! FORMAT.md is the specification; this module is its only implementation. Invariants:
//! - a file other than a manifest or a model head is immutable and named by its content hash;
//! - every byte that influences a result is covered by a SHA-256 that the JSON above it states;
//! - everything read from outside is checked before it is used, with checked arithmetic.

pub mod architecture;
pub mod clustered;
pub mod digest;
pub mod manifest;
pub mod mapper;
pub mod model;
pub mod shard;

pub use architecture::{Activation, Architecture, ResnetConfig, VitConfig};
pub use digest::{FileRef, Sha256Hex, sha256_hex};
pub use manifest::{Calibrator, Items, ItemsShard, Layer, Manifest, Shard, Thumbnails};
pub use mapper::{MapperHead, MapperKind, MapperLayer, MapperRef, MapperRole};
pub use model::{ModelHead, TensorEncoding, TensorEntry};
