//! `data-attribution import`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::Progress;
use crate::backbone::{import::import, pack, registry};

#[derive(Args)]
pub struct Import {
    /// Name of the backbone; an unknown name lists all.
    #[arg(long)]
    backbone: String,
    /// The checkpoint: safetensors or a torch state_dict.
    weights: PathBuf,
    /// Folder for the model pack.
    #[arg(short, long, default_value = "model")]
    out: PathBuf,
    /// How matrices are stored.
    #[arg(long, value_enum, default_value = "int8")]
    precision: Precision,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    Int8,
    F32,
}

impl Import {
    pub fn run(self) -> Result<()> {
        let Some(spec) = registry::find(&self.backbone) else {
            let names: Vec<String> = registry::backbones()
                .iter()
                .map(|b| format!("{} ({})", b.name, b.about))
                .collect();
            bail!(
                "no backbone {:?}; known are {}",
                self.backbone,
                names.join("; ")
            );
        };
        let precision = match self.precision {
            Precision::Int8 => pack::Precision::Int8,
            Precision::F32 => pack::Precision::F32,
        };
        let progress = Progress::new("tensors");
        let imported = import(spec, &self.weights, precision, &self.out, |done, total| {
            progress.update(done, total);
        })
        .with_context(|| format!("importing {}", self.weights.display()))?;
        progress.finish();
        if !imported.surplus.is_empty() {
            eprintln!(
                "not used by {}: {}",
                self.backbone,
                imported.surplus.join(", ")
            );
        }
        let head = imported.head;
        println!(
            "{}: {} tensors, {:.1} MB in {} files, identity {}",
            self.out.display(),
            head.tensors.len(),
            head.bytes() as f64 / 1e6,
            head.files.len(),
            &head.identity[..16]
        );
        Ok(())
    }
}
