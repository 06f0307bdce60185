//! `data-attribution bench-scan`: how fast rows and codes are scanned, beside a plain copy.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::score::bandwidth::measure;

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
    /// File of int8 rows [n, dimension] to scan in place of generated ones.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl BenchScan {
    pub fn run(self) -> Result<()> {
        measure(
            self.rows.as_deref(),
            self.count,
            self.dimension,
            &self.k,
            |scan| match scan {
                Err(why) => eprintln!("{why}"),
                Ok(scan) if self.json => println!("{}", serde_json::json!(scan)),
                Ok(scan) => {
                    let share = scan.copy_seconds.map_or_else(String::new, |copy| {
                        format!(", {:.0} % of a copy's", 100.0 * copy / scan.seconds)
                    });
                    println!(
                        "{}, k {}: {} {:.1} M rows/s, {:.2} GB/s{share}",
                        scan.device,
                        scan.k,
                        scan.what,
                        scan.rows as f64 / scan.seconds / 1e6,
                        scan.bytes as f64 / scan.seconds / 1e9,
                    );
                }
            },
        )?;
        Ok(())
    }
}
