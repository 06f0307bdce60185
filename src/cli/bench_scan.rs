//! `data-attribution bench-scan`: how fast rows and codes are scanned, beside a plain copy.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::bench_kernels::write_texts;
use crate::score::bandwidth::{Rows, measure};
use crate::score::texts;

#[derive(Args)]
pub struct BenchScan {
    /// Best rows that are asked for.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,16384")]
    k: Vec<usize>,
    /// Generated int8 rows.
    #[arg(long, default_value_t = 200_000)]
    count: usize,
    #[arg(long, default_value_t = 512)]
    dimension: usize,
    /// Generated codes, a multiple of 64.
    #[arg(long, default_value_t = 1_000_000)]
    codes: usize,
    /// File of int8 rows [n, dimension] to scan in place of generated ones.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Scan on the CPU only.
    #[arg(long)]
    cpu_only: bool,
    /// Write the texts of all kernels to this folder instead, as other compilers than the device's may check them; the last selects in as
    /// much workgroup memory as --memory says.
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Bytes; a power of two from 2048 to 32768.
    #[arg(long, default_value_t = 16384, requires = "texts", value_parser = memory)]
    memory: u32,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

fn memory(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bytes) if (2048..=32768).contains(&bytes) && u32::is_power_of_two(bytes) => Ok(bytes),
        _ => Err("not 2048, 4096, 8192, 16384 or 32768".into()),
    }
}

impl BenchScan {
    pub fn run(self) -> Result<()> {
        if let Some(folder) = &self.texts {
            return write_texts(folder, texts(self.memory));
        }
        let rows = Rows {
            file: self.rows.as_deref(),
            count: self.count,
            dimension: self.dimension,
            codes: self.codes,
        };
        measure(&rows, &self.k, !self.cpu_only, |scan| match scan {
            Err(why) => eprintln!("{why}"),
            Ok(scan) if self.json => println!("{}", serde_json::json!(scan)),
            Ok(scan) => {
                let rate = |seconds| 1e-9 * scan.bytes as f64 / seconds;
                let alone = scan.kernel.map_or_else(String::new, |kernel| {
                    format!(
                        "; the kernel by itself {:.1} GB/s, {:.0} % of a copy's",
                        rate(kernel.seconds),
                        100.0 * kernel.copy_seconds / kernel.seconds
                    )
                });
                println!(
                    "{}, k {}: {} {:.1} M rows/s, {:.2} GB/s with selection and readback{alone}",
                    scan.device,
                    scan.k,
                    scan.what,
                    1e-6 * scan.rows as f64 / scan.seconds,
                    rate(scan.seconds),
                );
            }
        })?;
        Ok(())
    }
}
