#![doc = include_str!("../README.md")]

pub mod attribution;
pub mod backbone;
#[cfg(feature = "cli")]
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod format;
pub mod preprocess;
pub mod score;
pub mod source;

pub use error::{Error, Result};
