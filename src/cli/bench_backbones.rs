//! `data-attribution bench-backbones`: what 8 and 4 bits cost each backbone, as a table.

use anyhow::{Result, bail};
use clap::Args;

use crate::backbone::pack::Precision;
use crate::backbone::precision_table::{Rounding, precision_rows};
use crate::backbone::registry;

#[derive(Args)]
pub struct BenchBackbones {
    /// Names of backbones.
    #[arg(default_values_t = ["clip", "dino", "moco", "vit", "sscd", "dinov2-s14"].map(String::from))]
    backbones: Vec<String>,
    /// Leave out the forms whose rounding goes by sample images, which take minutes.
    #[arg(long)]
    nearest: bool,
}

impl BenchBackbones {
    pub fn run(self) -> Result<()> {
        let mut forms = vec![(Precision::F32, Rounding::Nearest)];
        for precision in [Precision::Int8, Precision::Int4] {
            forms.push((precision, Rounding::Nearest));
            if !self.nearest {
                forms.push((precision, Rounding::Sampled));
            }
        }
        println!(
            "| backbone | weights | MB | cosine, mean | cosine, least | native ms | packed in s |"
        );
        println!("|---|---|---|---|---|---|---|");
        for name in &self.backbones {
            let Some(spec) = registry::find(name) else {
                bail!("no backbone {name:?}");
            };
            precision_rows(&spec, &forms, &mut |row| {
                println!(
                    "| {name} | {}{} | {:.1} | {:.6} | {:.6} | {:.0} | {:.0} |",
                    row.precision,
                    if row.sampled { ", by samples" } else { "" },
                    row.bytes as f64 / 1e6,
                    row.cosine_mean,
                    row.cosine_min,
                    row.native_ms,
                    row.packing_seconds
                );
            })?;
        }
        Ok(())
    }
}
