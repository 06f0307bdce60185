//! `data-attribution toy-model`: a backbone with generated weights, for benchmarks and tests of what comes after
//! the weights.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::import::Precision;
use crate::backbone::import::HEAD_FILE;
use crate::backbone::parity::{generated_pack_of, mark_blocks, toy_pack_of};
use crate::files::{write_atomically, write_json};

#[derive(Args)]
pub struct ToyModel {
    /// Values of a feature of a tiny transformer.
    #[arg(long, conflicts_with = "backbone")]
    dimension: Option<usize>,
    /// The architecture of this name, at its full size.
    #[arg(long)]
    backbone: Option<String>,
    /// How its matrices are stored.
    #[arg(long, value_enum, default_value = "int8", requires = "backbone")]
    precision: Precision,
    /// Say that tokens in its blocks may be rounded to 8 bits, as an import finds out by samples.
    #[arg(long, requires = "backbone")]
    eight_bits: bool,
    /// Folder to write.
    #[arg(long)]
    out: PathBuf,
}

impl ToyModel {
    pub fn run(self) -> Result<()> {
        let (memory, mut head) = match (self.dimension, &self.backbone) {
            (Some(dimension), _) => toy_pack_of(dimension)?,
            (None, Some(name)) => generated_pack_of(name, self.precision.into())?,
            (None, None) => bail!("either --dimension or --backbone is needed"),
        };
        if self.eight_bits {
            mark_blocks(&mut head);
        }
        for (file, bytes) in &memory.files {
            write_atomically(&self.out.join(file), bytes)?;
        }
        write_json(&self.out.join(HEAD_FILE), &head)?;
        Ok(())
    }
}
