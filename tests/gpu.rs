//! The scorer's GPU kernels against their CPU twins, natively on whatever Vulkan adapter there is.
//!
//! One test function, because a process has one GPU device. Without any adapter it says that it skips;
//! scripts/test installs a software one.

use data_attribution::backbone::parity;
use data_attribution::device::{Compute, DeviceChoice, GpuDevice};
use data_attribution::format::{Calibrator, shard};
use data_attribution::score::kernels::ways;
use data_attribution::score::{CpuScorer, GpuScorer, QuantizedQuery, normaliser};

fn noise(stream: u32, i: usize) -> f32 {
    let mut n = (i as u32).wrapping_mul(0x9e37_79b1) ^ stream.wrapping_mul(0x85eb_ca77);
    n = (n ^ (n >> 15)).wrapping_mul(0x2c1b_3c6d);
    n = (n ^ (n >> 12)).wrapping_mul(0x297a_2d39);
    (n ^ (n >> 15)) as f32 / u32::MAX as f32 * 2.0 - 1.0
}

#[test]
fn gpu_kernels_equal_their_cpu_twins() {
    let gpu = match pollster::block_on(GpuDevice::open()) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("SKIPPED: {error}");
            return;
        }
    };
    println!("adapter: {}", gpu.description());
    if !gpu.has_subgroups() {
        println!("SKIPPED: the adapter has no subgroups");
    }
    for (count, shard_rows, dimension, k) in [
        (1, 1, 4, 1),
        (5, 2, 3, 10),
        (777, 100, 37, 64),
        (1000, 256, 384, 1000),
        (4099, 4099, 64, 100),
        (300, 64, 2048, 7),
    ] {
        for way in ways(&gpu) {
            gpu.scan_by(way);
            ranking(&gpu, count, shard_rows, dimension, k, false);
            ranking(&gpu, count, shard_rows, dimension, k, true);
        }
    }
    let (compute, reason) =
        pollster::block_on(parity::choose(DeviceChoice::WebGpu, &|| 0.0)).expect("parity check");
    assert!(matches!(compute, Compute::Gpu(_)), "{reason}");
    // Which device wins depends on the machine; that the race is run and won by one does not.
    let start = std::time::Instant::now();
    let clock = || start.elapsed().as_secs_f64() * 1e3;
    let (_, reason) = pollster::block_on(parity::race(gpu.clone(), &clock)).unwrap();
    assert!(
        reason.contains("is faster") && reason.contains(" ms"),
        "{reason}"
    );
    println!("race: {reason}");
    if gpu.is_software() {
        let (compute, _) = pollster::block_on(parity::choose(DeviceChoice::Auto, &clock)).unwrap();
        assert!(matches!(compute, Compute::Cpu));
    }
}

/// Scores, selection and normaliser of a generated index; with `ties`, only five distinct rows exist.
fn ranking(
    gpu: &std::rc::Rc<GpuDevice>,
    count: usize,
    shard_rows: usize,
    dimension: usize,
    k: usize,
    ties: bool,
) {
    let what = format!("{count} rows by {shard_rows}, D {dimension}, k {k}, ties {ties}");
    let rows: Vec<f32> = (0..count * dimension)
        .map(|i| {
            let row = if ties {
                i / dimension % 5
            } else {
                i / dimension
            };
            noise(7, row * dimension + i % dimension)
        })
        .collect();
    let feature: Vec<f32> = (0..dimension).map(|i| noise(8, i)).collect();
    let query = QuantizedQuery::new(&feature).unwrap();
    let mut on_cpu = CpuScorer::new(query.clone(), count as u64, k).unwrap();
    let mut on_gpu = GpuScorer::new(gpu.clone(), query, count as u64, k).unwrap();
    let mut shards: Vec<_> = rows
        .chunks(shard_rows * dimension)
        .enumerate()
        .map(|(i, rows)| shard::encode((i * shard_rows) as u64, dimension, rows).unwrap())
        .map(|bytes| shard::decode("s", &bytes).unwrap())
        .collect();
    // Shards may arrive in any order.
    let middle = shards.len() / 2;
    shards.rotate_left(middle);
    for shard in &shards {
        on_cpu.add("s", shard).unwrap();
        on_gpu.add("s", shard).unwrap();
        let hits = pollster::block_on(on_gpu.hits()).unwrap();
        assert_eq!(hits, on_cpu.hits(), "{what}");
    }
    let best = on_cpu.hits()[0].score;
    for (inv_tau, bias) in [(20.0, 0.0), (50.0, -1.0), (100.0, 10.0)] {
        let calibrator = Calibrator {
            inv_tau,
            bias,
            fitted: true,
        };
        let wanted = normaliser(&calibrator, on_cpu.scores(), best);
        let found = pollster::block_on(on_gpu.normaliser(&calibrator, best)).unwrap();
        assert!(
            (found / wanted - 1.0).abs() < 1e-4,
            "{what}: {found} {wanted}"
        );
    }
}
