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

use super::kernels::Products;
use super::planes::{codes_block, rows_block};
use super::{CodeQuery, CpuScorer, GpuScorer, Hit, QuantizedQuery};
use crate::device::GpuDevice;
use crate::device::peaks::{Bound, copy_of, timed};
use crate::error::{Error, Result};
use crate::format::clustered::{Cluster, CodeRows, Head, Plan, Widths};
use crate::format::shard::{DIMENSION_MAX, FineShard};

const RUNS: usize = 7;
/// Repeats of a kernel that is timed by itself.
const ALONE: usize = 20;
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
    /// From the first command to the hits in memory.
    pub seconds: f64,
    /// GPU only.
    pub kernel: Option<Alone>,
}

/// Seconds of a scan's kernel by itself, and of a plain copy that reads and writes as many bytes together; each among others
/// of its kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Alone {
    pub seconds: f64,
    pub copy_seconds: f64,
}

/// What is scanned.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// A file of int8 rows [n, dimension] in place of `count` generated ones.
    pub file: Option<&'a Path>,
    pub count: usize,
    pub dimension: usize,
    /// Generated codes.
    pub codes: usize,
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

fn codes(dimension: usize, count: usize) -> (Head, CodeRows) {
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
        leaf_steps: Vec::new(),
        transform: noise(m * dimension),
        centroid_scales: vec![0.001; 64],
        spreads: vec![0.5; 64],
        centroids: (0..64 * dimension).map(|i| bits(i) as i8).collect(),
        tables: Vec::new(),
        leaf_tables: Vec::new(),
    };
    let clusters = (0..64).map(|centroid| Cluster {
        centroid,
        rows: (count / 64) as u32,
    });
    let head = Head {
        plan,
        salt: [0; 16],
        row_salt: [0; 16],
        rows: count as u64,
        clusters: clusters.collect(),
        first_rows: (0..=64).map(|i| i * count as u64 / 64).collect(),
        fine: Vec::new(),
        items: Vec::new(),
    };
    let term = |i: usize| (bits(i) & 0xffff) | ((i * 64 / count) as u32) << 16;
    let rows = CodeRows {
        first_row: 0,
        first_cluster: 0,
        words_per_row: words,
        terms: (0..count).map(term).collect(),
        words: (0..count * words).map(bits).collect(),
        leaves: (0..64).collect(),
        leaf_codes: Vec::new(),
    };
    (head, rows)
}

/// Seconds from the first dispatch to the hits, rows being on the device.
fn scan(gpu: &Rc<GpuDevice>, mut scorer: GpuScorer) -> Result<([f64; 2], Vec<Hit>)> {
    // Uploads start with a submit.
    gpu.queue().submit([]);
    gpu.wait()?;
    let start = Instant::now();
    scorer.scan();
    let hits = pollster::block_on(scorer.hits())?;
    let seconds = start.elapsed().as_secs_f64();
    let kernel = scorer.whole_scan().map(|scan| alone(gpu, &scan));
    Ok(([seconds, kernel.transpose()?.unwrap_or(seconds)], hits))
}

/// Seconds of one dispatch among others of its kind.
fn alone(gpu: &Rc<GpuDevice>, bound: &Bound) -> Result<f64> {
    Ok(timed(gpu, std::iter::once(bound), ALONE)? / ALONE as f64)
}

/// Scans of `asked` for each of `ks` best; `say` hears each result, and why there is no GPU's.
///
/// # Errors
/// [`Error::Io`]; [`Error::InvalidArgument`] for a dimension that is no multiple of 4 up to 2048, for codes that are no
/// multiple of 64, and for more than the GPU binds at once; [`Error::Device`] when the GPU fails or ranks differently from the CPU.
pub fn measure(
    asked: &Rows,
    ks: &[usize],
    mut say: impl FnMut(std::result::Result<Scan, String>),
) -> Result<()> {
    let dimension = asked.dimension;
    if dimension == 0 || dimension > DIMENSION_MAX || !dimension.is_multiple_of(4) {
        return Err(Error::invalid(format!("rows of {dimension} values")));
    }
    if asked.codes == 0 || !asked.codes.is_multiple_of(64) {
        return Err(Error::invalid(format!("{} codes", asked.codes)));
    }
    let values: Vec<i8> = match asked.file {
        Some(file) => bytemuck::cast_vec(std::fs::read(file).map_err(|e| Error::io(file, e))?),
        None => (0..asked.count * dimension)
            .map(|i| bits(i) as i8)
            .collect(),
    };
    let shard = shard(values, dimension);
    let query = QuantizedQuery::new(&noise(dimension))?;
    let unit = super::query::normalised(&noise(dimension))?;
    let (head, codes) = codes(dimension, asked.codes);
    let code_query = Rc::new(CodeQuery::new(&head.plan, &unit)?);
    // Scores are written and a scale or a term is read beside the codes.
    let bytes = [
        shard.rows() * (dimension + 8),
        asked.codes * (4 * WIDTHS.words() + 8),
    ];
    let said = |device: &str, k, what: usize, seconds, kernel| Scan {
        what: ["int8", "codes"][what],
        device: device.into(),
        k,
        rows: [shard.rows(), asked.codes][what],
        dimension,
        bytes: bytes[what] as u64,
        seconds,
        kernel,
    };
    let gpu = pollster::block_on(GpuDevice::open());
    match &gpu {
        Err(error) => say(Err(format!("no scans on a GPU: {error}"))),
        Ok(gpu) => {
            let room = gpu.device().limits().max_storage_buffer_binding_size;
            let most = bytes.into_iter().max().unwrap_or(0) as u64;
            if most > room {
                return Err(Error::invalid(format!(
                    "{most} bytes, where the GPU binds {room} at once: ask for fewer rows"
                )));
            }
        }
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
        for (what, seconds) in best.into_iter().enumerate() {
            say(Ok(said("CPU, 1 thread", k, what, seconds, None)));
        }
        let Ok(gpu) = &gpu else { continue };
        let copies = bytes.map(|bytes| copy_of(gpu, bytes / 32 * 16));
        for (products, name) in [
            (Products::Single, "single products"),
            (Products::Packed, "packed products"),
        ] {
            gpu.multiply(products);
            let device = format!("{}, {name}", gpu.description());
            let mut best = [[f64::INFINITY; 3]; 2];
            for _ in 0..RUNS {
                let mut of_rows =
                    GpuScorer::new(gpu.clone(), query.clone(), shard.rows() as u64, k)?;
                of_rows.upload(rows_block(&query, &shard, 0, shard.rows()));
                let mut of_codes = GpuScorer::new(gpu.clone(), code_query.clone(), head.rows, k)?;
                of_codes.upload(codes_block(&code_query, &head, &codes, 0, asked.codes));
                let mut found = Vec::new();
                for ((scorer, best), copy) in
                    [of_rows, of_codes].into_iter().zip(&mut best).zip(&copies)
                {
                    let ([seconds, kernel], hits) = scan(gpu, scorer)?;
                    for (best, seconds) in best.iter_mut().zip([seconds, kernel, alone(gpu, copy)?])
                    {
                        *best = best.min(seconds);
                    }
                    found.push(hits);
                }
                if found != wanted {
                    return Err(Error::device("its ranking differs from the CPU's"));
                }
            }
            for (what, [seconds, kernel, copy_seconds]) in best.into_iter().enumerate() {
                let kernel = Alone {
                    seconds: kernel,
                    copy_seconds,
                };
                say(Ok(said(&device, k, what, seconds, Some(kernel))));
            }
        }
    }
    Ok(())
}
