//! How fast the scans are beside plain copies, on the device at hand and on the CPU:
//!
//! ```text
//! cargo test --release --features cli --lib score::bandwidth -- --ignored --nocapture
//! ```
//!
//! A GPU scan counts from the first dispatch until the best k lie in memory, rows being on the device: all
//! selections and the readback are in it. Bytes are what a kernel must read and write. Each figure is the
//! best of several runs, which take turns. With `SCAN_ROWS` naming a file of int8 rows [n, 512], those are scanned
//! on the CPU instead of generated ones (scripts/bench_scan.py).

use std::rc::Rc;
use std::time::Instant;

use super::planes::{codes_block, rows_block};
use super::{CodeQuery, CpuScorer, GpuScorer, Hit, QuantizedQuery};
use crate::device::GpuDevice;
use crate::format::clustered::{Cluster, CodeRows, Head, Plan, Widths};
use crate::format::shard::FineShard;

const DIMENSION: usize = 512;
const ROWS: usize = 200_000;
const CODE_ROWS: usize = 1_000_000;
const RUNS: usize = 7;
/// 8 words a row.
const WIDTHS: Widths = Widths {
    eight: 8,
    four: 32,
    two: 32,
};

const COPY: &str = "
@group(0) @binding(0) var<storage, read> from_: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> to_: array<vec4<u32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < arrayLength(&from_); i += groups.x * 64u) {
        to_[i] = from_[i];
    }
}";

fn bits(i: usize) -> u32 {
    let n = (i as u32).wrapping_mul(0x9e37_79b1);
    let n = (n ^ (n >> 15)).wrapping_mul(0x2c1b_3c6d);
    n ^ (n >> 13)
}

fn noise(count: usize) -> Vec<f32> {
    let value = |i| bits(i + 77) as f32 / u32::MAX as f32 - 0.5;
    (0..count).map(value).collect()
}

fn shard() -> FineShard {
    let codes: Vec<i8> = match std::env::var("SCAN_ROWS") {
        Ok(file) => bytemuck::cast_vec(std::fs::read(file).unwrap()),
        Err(_) => (0..ROWS * DIMENSION).map(|i| bits(i) as i8).collect(),
    };
    FineShard {
        first_row: 0,
        dimension: DIMENSION,
        stride: DIMENSION,
        scales: vec![0.001; codes.len() / DIMENSION],
        codes,
    }
}

fn codes() -> (Head, CodeRows) {
    let (m, words) = (WIDTHS.dimensions(), WIDTHS.words());
    let plan = Plan {
        dimension: DIMENSION,
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
        transform: noise(m * DIMENSION),
        centroid_scales: vec![0.001; 64],
        spreads: vec![0.5; 64],
        centroid_classes: vec![0; 64],
        centroids: (0..64 * DIMENSION).map(|i| bits(i) as i8).collect(),
        tables: Vec::new(),
    };
    let clusters = (0..64).map(|centroid| Cluster {
        centroid,
        rows: CODE_ROWS as u32 / 64,
    });
    let head = Head {
        plan,
        salt: [0; 16],
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

/// Seconds of a copy of `bytes` bytes on the device.
fn copy(gpu: &Rc<GpuDevice>, bytes: usize) -> impl Fn() -> f64 + use<> {
    let device = gpu.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(COPY.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let (from, to) = (gpu.storage("from", bytes), gpu.storage("to", bytes));
    gpu.queue().write_buffer(&from, 0, &vec![1; bytes]);
    let entries = [&from, &to].map(|buffer| buffer.as_entire_binding());
    let entries: Vec<_> = (0..)
        .zip(entries)
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
        .collect();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let gpu = gpu.clone();
    move || {
        let start = Instant::now();
        let mut encoder = gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(4096, 1, 1);
        }
        gpu.queue().submit([encoder.finish()]);
        wait(&gpu);
        start.elapsed().as_secs_f64()
    }
}

fn wait(gpu: &GpuDevice) {
    gpu.device()
        .poll(wgpu::PollType::wait_indefinitely())
        .unwrap();
}

/// Seconds from the first dispatch to the hits, rows being on the device.
fn scan(gpu: &Rc<GpuDevice>, mut scorer: GpuScorer) -> (f64, Vec<Hit>) {
    wait(gpu);
    let start = Instant::now();
    scorer.scan();
    let hits = pollster::block_on(scorer.hits()).unwrap();
    (start.elapsed().as_secs_f64(), hits)
}

#[test]
#[ignore = "a measurement"]
fn scans_beside_copies() {
    let query = QuantizedQuery::new(&noise(DIMENSION)).unwrap();
    let unit = super::query::normalised(&noise(DIMENSION)).unwrap();
    let shard = shard();
    let (head, codes) = codes();
    let code_query = Rc::new(CodeQuery::new(&head.plan, &unit).unwrap());
    let row_bytes = (shard.rows() * (DIMENSION + 4 + 4)) as f64;
    let code_bytes = (CODE_ROWS * (4 * WIDTHS.words() + 4 + 4)) as f64;

    for k in [100, 1000, 16384] {
        let mut best = [f64::INFINITY; 2];
        let mut hits = Vec::new();
        for _ in 0..RUNS {
            let mut scorer = CpuScorer::new(query.clone(), shard.rows() as u64, k).unwrap();
            let start = Instant::now();
            scorer.add("rows", &shard).unwrap();
            let found = scorer.hits();
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let mut scorer = CpuScorer::new(code_query.clone(), head.rows, k).unwrap();
            let start = Instant::now();
            scorer.add_codes("codes", &head, &codes).unwrap();
            let of_codes = scorer.hits();
            best[1] = best[1].min(start.elapsed().as_secs_f64());
            hits = vec![found, of_codes];
        }
        println!(
            "CPU, 1 thread, k {k}: int8 {:.1} M rows/s, {:.1} GB/s; codes {:.1} M rows/s, {:.1} GB/s",
            shard.rows() as f64 / best[0] / 1e6,
            row_bytes / best[0] / 1e9,
            CODE_ROWS as f64 / best[1] / 1e6,
            code_bytes / best[1] / 1e9,
        );
        let gpu = match pollster::block_on(GpuDevice::open()) {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("SKIPPED the GPU's scans: {error}");
                continue;
            }
        };
        let copies = [row_bytes, code_bytes].map(|bytes| {
            let bytes = (bytes / 2.0) as usize / 16 * 16;
            (copy(&gpu, bytes), 2.0 * bytes as f64)
        });
        let mut best = [f64::INFINITY; 4];
        for _ in 0..RUNS {
            let mut scorer =
                GpuScorer::new(gpu.clone(), query.clone(), shard.rows() as u64, k).unwrap();
            scorer.upload(rows_block(&query, &shard, 0, shard.rows()));
            let (seconds, found) = scan(&gpu, scorer);
            assert_eq!(found, hits[0]);
            best[0] = best[0].min(seconds);
            let mut scorer = GpuScorer::new(gpu.clone(), code_query.clone(), head.rows, k).unwrap();
            scorer.upload(codes_block(&code_query, &head, &codes, 0, CODE_ROWS));
            let (seconds, found) = scan(&gpu, scorer);
            assert_eq!(found, hits[1]);
            best[1] = best[1].min(seconds);
            for ((copy, _), best) in copies.iter().zip(&mut best[2..]) {
                *best = best.min(copy());
            }
        }
        let rates = [
            row_bytes / best[0],
            code_bytes / best[1],
            copies[0].1 / best[2],
            copies[1].1 / best[3],
        ]
        .map(|rate| rate / 1e9);
        println!(
            "{}, k {k}: int8 {:.2} GB/s, {:.0} % of a copy's {:.2}; codes {:.2} GB/s, {:.0} % of {:.2}",
            gpu.description(),
            rates[0],
            100.0 * rates[0] / rates[2],
            rates[2],
            rates[1],
            100.0 * rates[1] / rates[3],
            rates[3],
        );
    }
}
