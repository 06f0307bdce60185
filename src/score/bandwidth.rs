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

use super::kernels::ways;
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

/// All that is scanned, and by what.
struct Scanned {
    shard: FineShard,
    query: QuantizedQuery,
    head: Head,
    codes: CodeRows,
    code_query: Rc<CodeQuery>,
    /// Of rows and of codes: scores are written and a scale or a term is read beside them.
    bytes: [usize; 2],
}

impl Scanned {
    fn new(asked: &Rows) -> Result<Self> {
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
        let unit = super::query::normalised(&noise(dimension))?;
        let (head, codes) = codes(dimension, asked.codes);
        Ok(Self {
            query: QuantizedQuery::new(&noise(dimension))?,
            code_query: Rc::new(CodeQuery::new(&head.plan, &unit)?),
            bytes: [
                shard.rows() * (dimension + 8),
                asked.codes * (4 * WIDTHS.words() + 8),
            ],
            shard,
            head,
            codes,
        })
    }

    fn said(
        &self,
        device: &str,
        k: usize,
        what: usize,
        seconds: f64,
        kernel: Option<Alone>,
    ) -> Scan {
        Scan {
            what: ["int8", "codes"][what],
            device: device.into(),
            k,
            rows: [self.shard.rows(), self.codes.rows()][what],
            dimension: self.shard.dimension,
            bytes: self.bytes[what] as u64,
            seconds,
            kernel,
        }
    }

    /// Seconds of the best of the runs on the CPU, and the `k` best, of rows and of codes.
    fn on_cpu(&self, k: usize) -> Result<([f64; 2], [Vec<Hit>; 2])> {
        let mut best = [f64::INFINITY; 2];
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            let mut scorer = CpuScorer::new(self.query.clone(), self.shard.rows() as u64, k)?;
            let start = Instant::now();
            scorer.add("rows", &self.shard)?;
            found[0] = scorer.hits();
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let mut scorer = CpuScorer::new(self.code_query.clone(), self.head.rows, k)?;
            let start = Instant::now();
            scorer.add_codes("codes", &self.head, &self.codes)?;
            found[1] = scorer.hits();
            best[1] = best[1].min(start.elapsed().as_secs_f64());
        }
        Ok((best, found))
    }

    /// Seconds of the best of the runs on `gpu`: of the scan, its kernel by itself and a plain copy, of rows and of codes.
    fn on_gpu(
        &self,
        gpu: &Rc<GpuDevice>,
        k: usize,
        wanted: &[Vec<Hit>; 2],
    ) -> Result<[[f64; 3]; 2]> {
        let copies = self.bytes.map(|bytes| copy_of(gpu, bytes / 32 * 16));
        let mut best = [[f64::INFINITY; 3]; 2];
        for _ in 0..RUNS {
            let (rows, codes) = (self.shard.rows(), self.codes.rows());
            let mut of_rows = GpuScorer::new(gpu.clone(), self.query.clone(), rows as u64, k)?;
            of_rows.upload(rows_block(&self.query, &self.shard, 0, rows));
            let mut of_codes =
                GpuScorer::new(gpu.clone(), self.code_query.clone(), self.head.rows, k)?;
            of_codes.upload(codes_block(
                &self.code_query,
                &self.head,
                &self.codes,
                0,
                codes,
            ));
            for (what, scorer) in [of_rows, of_codes].into_iter().enumerate() {
                let ([seconds, kernel], hits) = scan(gpu, scorer)?;
                let copy = alone(gpu, &copies[what])?;
                for (best, seconds) in best[what].iter_mut().zip([seconds, kernel, copy]) {
                    *best = best.min(seconds);
                }
                if hits != wanted[what] {
                    return Err(Error::device("its ranking differs from the CPU's"));
                }
            }
        }
        Ok(best)
    }
}

/// Scans of `asked` for each of `ks` best; `say` hears each result, and why there is no GPU's. Without `gpu` only the
/// CPU scans.
///
/// # Errors
/// [`Error::Io`]; [`Error::InvalidArgument`] for a dimension that is no multiple of 4 up to 2048, and for codes that are no
/// multiple of 64; [`Error::Device`] when the GPU fails or ranks differently from the CPU.
pub fn measure(
    asked: &Rows,
    ks: &[usize],
    gpu: bool,
    mut say: impl FnMut(std::result::Result<Scan, String>),
) -> Result<()> {
    let scanned = Scanned::new(asked)?;
    let opened = gpu.then(|| open_for(&scanned.bytes)).transpose();
    let gpu = opened.unwrap_or_else(|why| {
        say(Err(why));
        None
    });
    for &k in ks {
        let (best, wanted) = scanned.on_cpu(k)?;
        for (what, seconds) in best.into_iter().enumerate() {
            say(Ok(scanned.said("CPU, 1 thread", k, what, seconds, None)));
        }
        let Some(gpu) = &gpu else { continue };
        for way in ways(gpu) {
            gpu.scan_by(way);
            let device = format!("{}, {way}", gpu.description());
            let best = scanned.on_gpu(gpu, k, &wanted)?;
            for (what, [seconds, kernel, copy_seconds]) in best.into_iter().enumerate() {
                let kernel = Alone {
                    seconds: kernel,
                    copy_seconds,
                };
                say(Ok(scanned.said(&device, k, what, seconds, Some(kernel))));
            }
        }
    }
    Ok(())
}

/// The GPU, or why it scans no blocks of `bytes`.
fn open_for(bytes: &[usize]) -> std::result::Result<Rc<GpuDevice>, String> {
    let gpu = pollster::block_on(GpuDevice::open())
        .map_err(|error| format!("no scans on a GPU: {error}"))?;
    let room = gpu.device().limits().max_storage_buffer_binding_size;
    match bytes.iter().find(|bytes| **bytes as u64 > room) {
        Some(bytes) => Err(format!(
            "no scans on a GPU: {bytes} bytes, where it binds {room} at once"
        )),
        None => Ok(gpu),
    }
}
