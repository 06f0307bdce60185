//! How fast the scans are beside plain copies, on the device at hand and on the CPU; for
//! `data-attribution bench-scan`.
//!
//! A GPU scan counts from the first dispatch until the best k lie in memory, rows being on the device: all
//! selections and the readback are in it. Bytes are what a kernel must read and write. Each figure is the
//! best of several runs, which take turns.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;

use super::planes::{codes_block, rows_block};
use super::{CodeQuery, CpuScorer, GpuScorer, Hit, QuantizedQuery};
use crate::device::GpuDevice;
use crate::device::peaks::{copy_of, timed, wait};
use crate::error::{Error, Result};
use crate::format::clustered::{Cluster, CodeRows, Head, Plan, Widths};
use crate::format::shard::{DIMENSION_MAX, FineShard};

const CODE_ROWS: usize = 1_000_000;
const RUNS: usize = 7;
/// 8 words a row.
const WIDTHS: Widths = Widths {
    eight: 8,
    four: 32,
    two: 32,
};

fn bits(i: usize) -> u32 {
    let n = (i as u32).wrapping_mul(0x9e37_79b1);
    let n = (n ^ (n >> 15)).wrapping_mul(0x2c1b_3c6d);
    n ^ (n >> 13)
}

fn noise(count: usize) -> Vec<f32> {
    let value = |i| bits(i + 77) as f32 / u32::MAX as f32 - 0.5;
    (0..count).map(value).collect()
}

/// One scan: how long the best of the runs took, and how long a copy of as many bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Scan {
    /// `int8` rows or `codes`.
    pub what: &'static str,
    pub device: String,
    pub k: usize,
    pub rows: usize,
    pub dimension: usize,
    pub bytes: u64,
    pub seconds: f64,
    /// Seconds of a plain copy that reads and writes as many bytes together; GPU only.
    pub copy_seconds: Option<f64>,
}

/// Int8 rows `codes` [n, dimension].
fn shard(codes: Vec<i8>, dimension: usize) -> FineShard {
    FineShard {
        first_row: 0,
        dimension,
        stride: dimension,
        scales: vec![0.001; codes.len() / dimension],
        codes,
    }
}

fn codes(dimension: usize) -> (Head, CodeRows) {
    let (m, words) = (WIDTHS.dimensions(), WIDTHS.words());
    let plan = Plan {
        dimension,
        widths: WIDTHS,
        classes: 0,
        fine_rows: 1,
        items_per_file: 1,
        const_step: 0.002,
        gain_step: 0.006,
        rest_variance: 0.0,
        steps: vec![0.05; m],
        zeros: vec![1.5; m],
        variances: vec![0.01; m],
        transform: noise(m * dimension),
        centroid_scales: vec![0.001; 64],
        spreads: vec![0.5; 64],
        centroid_classes: vec![0; 64],
        centroids: (0..64 * dimension).map(|i| bits(i) as i8).collect(),
        tables: Vec::new(),
    };
    let clusters = (0..64).map(|centroid| Cluster {
        centroid,
        rows: CODE_ROWS as u32 / 64,
    });
    let head = Head {
        plan,
        salt: [0; 16],
        row_salt: [0; 16],
        rows: CODE_ROWS as u64,
        clusters: clusters.collect(),
        first_rows: (0..=64).map(|i| i * CODE_ROWS as u64 / 64).collect(),
        fine: Vec::new(),
        items: Vec::new(),
    };
    let term = |i: usize| (bits(i) & 0xffff) | ((i * 64 / CODE_ROWS) as u32) << 16;
    let rows = CodeRows {
        first_row: 0,
        first_cluster: 0,
        words_per_row: words,
        terms: (0..CODE_ROWS).map(term).collect(),
        words: (0..CODE_ROWS * words).map(bits).collect(),
    };
    (head, rows)
}

/// Seconds from the first dispatch to the hits, rows being on the device.
fn scan(gpu: &Rc<GpuDevice>, mut scorer: GpuScorer) -> Result<(f64, Vec<Hit>)> {
    // Uploads start with a submit.
    gpu.queue().submit([]);
    wait(gpu)?;
    let start = Instant::now();
    scorer.scan();
    let a = start.elapsed().as_secs_f64();
    wait(gpu)?;
    let b = start.elapsed().as_secs_f64();
    let hits = pollster::block_on(scorer.hits())?;
    let c = start.elapsed().as_secs_f64();
    if let Some(bound) = scorer.whole_scan() {
        eprintln!("TRACE host {:.0} gpu {:.0} hits {:.0} us, kernel alone {:.1} us", a * 1e6, (b - a) * 1e6, (c - b) * 1e6, 1e6 * timed(gpu, std::iter::once(&bound), 20)? / 20.0);
    }
    Ok((c, hits))
}

/// Scans of generated rows, or of the int8 rows in the file `rows` [n, dimension], for each of `ks` best; `say` hears each
/// result, and why there is no GPU's.
///
/// # Errors
/// [`Error::Io`]; [`Error::InvalidArgument`] for a dimension that is no multiple of 4 up to 2048, [`Error::Device`] when the
/// GPU fails or ranks differently from the CPU.
pub fn measure(
    rows: Option<&Path>,
    count: usize,
    dimension: usize,
    ks: &[usize],
    mut say: impl FnMut(std::result::Result<Scan, String>),
) -> Result<()> {
    if dimension == 0 || dimension > DIMENSION_MAX || !dimension.is_multiple_of(4) {
        return Err(Error::invalid(format!("rows of {dimension} values")));
    }
    let generated = || (0..count * dimension).map(|i| bits(i) as i8).collect();
    let values: Vec<i8> = match rows {
        Some(file) => bytemuck::cast_vec(std::fs::read(file).map_err(|e| Error::io(file, e))?),
        None => generated(),
    };
    let shard = shard(values, dimension);
    let query = QuantizedQuery::new(&noise(dimension))?;
    let unit = super::query::normalised(&noise(dimension))?;
    let (head, codes) = codes(dimension);
    let code_query = Rc::new(CodeQuery::new(&head.plan, &unit)?);
    // Scores are written and a scale or a term is read beside the codes.
    let row_bytes = shard.rows() * (dimension + 8);
    let code_bytes = CODE_ROWS * (4 * WIDTHS.words() + 8);
    let row_scan = |device: &str, k, seconds, copy_seconds| Scan {
        what: "int8",
        device: device.into(),
        k,
        rows: shard.rows(),
        dimension,
        bytes: row_bytes as u64,
        seconds,
        copy_seconds,
    };
    let code_scan = |scan: Scan, seconds, copy_seconds| Scan {
        what: "codes",
        rows: CODE_ROWS,
        bytes: code_bytes as u64,
        seconds,
        copy_seconds,
        ..scan
    };
    let gpu = pollster::block_on(GpuDevice::open());
    if let Err(error) = &gpu {
        say(Err(format!("no scans on a GPU: {error}")));
    }
    for &k in ks {
        let mut best = [f64::INFINITY; 2];
        let mut wanted = Vec::new();
        for _ in 0..RUNS {
            let mut scorer = CpuScorer::new(query.clone(), shard.rows() as u64, k)?;
            let start = Instant::now();
            scorer.add("rows", &shard)?;
            let found = scorer.hits();
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let mut scorer = CpuScorer::new(code_query.clone(), head.rows, k)?;
            let start = Instant::now();
            scorer.add_codes("codes", &head, &codes)?;
            let of_codes = scorer.hits();
            best[1] = best[1].min(start.elapsed().as_secs_f64());
            wanted = vec![found, of_codes];
        }
        let scan_of_rows = row_scan("CPU, 1 thread", k, best[0], None);
        say(Ok(scan_of_rows.clone()));
        say(Ok(code_scan(scan_of_rows, best[1], None)));
        let Ok(gpu) = &gpu else { continue };
        let copies = [row_bytes, code_bytes].map(|bytes| copy_of(gpu, bytes / 32 * 16));
        let mut best = [f64::INFINITY; 4];
        for _ in 0..RUNS {
            let mut scorer = GpuScorer::new(gpu.clone(), query.clone(), shard.rows() as u64, k)?;
            scorer.upload(rows_block(&query, &shard, 0, shard.rows()));
            let (seconds, of_rows) = scan(gpu, scorer)?;
            best[0] = best[0].min(seconds);
            let mut scorer = GpuScorer::new(gpu.clone(), code_query.clone(), head.rows, k)?;
            scorer.upload(codes_block(&code_query, &head, &codes, 0, CODE_ROWS));
            let (seconds, of_codes) = scan(gpu, scorer)?;
            best[1] = best[1].min(seconds);
            if vec![of_rows, of_codes] != wanted {
                return Err(Error::device("its ranking differs from the CPU's"));
            }
            for (copy, best) in copies.iter().zip(&mut best[2..]) {
                *best = best.min(timed(gpu, std::iter::once(copy), 1)?);
            }
        }
        let scan_of_rows = row_scan(&gpu.description(), k, best[0], Some(best[2]));
        say(Ok(scan_of_rows.clone()));
        say(Ok(code_scan(scan_of_rows, best[1], Some(best[3]))));
    }
    Ok(())
}
