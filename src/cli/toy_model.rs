//! `data-attribution toy-model`: a tiny backbone with generated weights, for benchmarks and tests of what
//! comes after the backbone.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::backbone::import::HEAD_FILE;
use crate::backbone::parity::toy_pack_of;
use crate::files::{write_atomically, write_json};

#[derive(Args)]
pub struct ToyModel {
    /// Values of a feature.
    #[arg(long)]
    dimension: usize,
    /// Folder to write.
    #[arg(long)]
    out: PathBuf,
}

impl ToyModel {
    pub fn run(self) -> Result<()> {
        let (memory, head) = toy_pack_of(self.dimension)?;
        for (file, bytes) in &memory.files {
            write_atomically(&self.out.join(file), bytes)?;
        }
        write_json(&self.out.join(HEAD_FILE), &head)?;
        Ok(())
    }
}
