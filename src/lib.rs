#![doc = include_str!("../README.md")]

pub mod attribution;
pub mod backbone;
#[cfg(feature = "cli")]
pub mod calibrate;
#[cfg(feature = "cli")]
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
#[cfg(feature = "cli")]
pub mod demo;
pub mod device;
pub mod error;
#[cfg(feature = "cli")]
pub mod evaluate;
#[cfg(feature = "cli")]
pub mod extract;
#[cfg(feature = "cli")]
pub mod features;
#[cfg(feature = "cli")]
pub mod files;
pub mod format;
pub mod mapper;
#[cfg(feature = "cli")]
pub mod pack;
pub mod preprocess;
#[cfg(feature = "cli")]
mod random;
pub mod score;
mod shader;
pub mod source;
#[cfg(feature = "cli")]
mod svg;
#[cfg(feature = "cli")]
pub mod tune;
#[cfg(target_arch = "wasm32")]
mod web;

pub use error::{Error, Result};
