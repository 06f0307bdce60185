//! Coarse codes on the GPU against the CPU, bit for bit, natively on whatever Vulkan adapter there is.
//!
//! One test function, because a process has one GPU device. Without any adapter it says that it skips.

mod code_rows;

use std::rc::Rc;

use code_rows::{Codes, index, joined, unit, widths};
use data_attribution::device::GpuDevice;
use data_attribution::format::clustered::{CodeRows, Head};
use data_attribution::format::{Calibrator, shard};
use data_attribution::score::kernels::ways;
use data_attribution::score::{CodeQuery, CpuScorer, GpuScorer, QuantizedQuery, normaliser};

#[test]
fn codes_on_the_gpu_score_as_on_the_cpu() {
    let gpu = match pollster::block_on(GpuDevice::open()) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("SKIPPED codes_on_the_gpu_score_as_on_the_cpu: {error}");
            return;
        }
    };
    println!("adapter: {}", gpu.description());
    let all = [
        Codes::Random,
        Codes::Ties,
        Codes::Lowest,
        Codes::Highest,
        Codes::Extreme,
    ];
    for (eight, four, two) in [
        (4, 0, 0),
        (0, 8, 0),
        (0, 0, 16),
        (0, 16, 32),
        (8, 0, 64),
        (8, 24, 0),
        (20, 40, 80),
        (2048, 0, 0),
    ] {
        for codes in all {
            let sizes = [1, 64, 0, 65, 63, 300];
            let (head, files) = index(widths(eight, four, two), 40, &sizes, codes);
            for k in [1, 10, 493] {
                ranking(
                    &gpu,
                    &head,
                    &files,
                    k,
                    &format!("{eight} {four} {two} {codes:?}"),
                );
            }
        }
    }
    // Several selections, within a file and after one; more rows than the first of them waits for.
    for codes in [Codes::Random, Codes::Ties] {
        let (head, files) = index(widths(4, 8, 16), 16, &[30_000, 40_000, 5, 1_000], codes);
        for k in [1, 1_000, 5_000, 100_000] {
            ranking(&gpu, &head, &files, k, "many");
            ranking(&gpu, &head, &[joined(&files)], k, "many in one file");
        }
    }
    for way in ways(&gpu) {
        gpu.scan_by(way);
        rising_rows(&gpu);
    }
    let (head, files) = index(widths(4, 8, 16), 16, &[5, 5], Codes::Random);
    let query = Rc::new(CodeQuery::new(&head.plan, &unit(8, 16)).unwrap());
    let mut scorer = GpuScorer::new(gpu.clone(), query, head.rows, 3).unwrap();
    assert!(pollster::block_on(scorer.hits()).unwrap().is_empty());
    let mut wrong = files[0].clone();
    wrong.terms[0] |= 9 << 16;
    let error = scorer.add_codes("c", &head, &wrong).unwrap_err();
    assert_eq!(error.code(), "format");
}

fn ranking(gpu: &Rc<GpuDevice>, head: &Head, files: &[CodeRows], k: usize, what: &str) {
    let query = Rc::new(CodeQuery::new(&head.plan, &unit(8, head.plan.dimension)).unwrap());
    for way in ways(gpu) {
        gpu.scan_by(way);
        let what = format!("{what}, {way}");
        ranking_of(gpu, head, &query, files, k, &what);
    }
}

fn ranking_of(
    gpu: &Rc<GpuDevice>,
    head: &Head,
    query: &Rc<CodeQuery>,
    files: &[CodeRows],
    k: usize,
    what: &str,
) {
    let mut on_cpu = CpuScorer::new(query.clone(), head.rows, k).unwrap();
    let mut on_gpu = GpuScorer::new(gpu.clone(), query.clone(), head.rows, k).unwrap();
    let calibrator = Calibrator {
        inv_tau: 20.0,
        bias: 10.0,
        fitted: true,
    };
    // Not in order, and with a look at the result before all have come.
    let mut order: Vec<&CodeRows> = files.iter().collect();
    order.rotate_left(files.len() / 2);
    for (i, file) in order.into_iter().enumerate() {
        on_cpu.add_codes("c", head, file).unwrap();
        on_gpu.add_codes("c", head, file).unwrap();
        if i % 2 == 0 {
            let hits = pollster::block_on(on_gpu.hits()).unwrap();
            assert_eq!(hits, on_cpu.hits(), "{what}, k {k}");
            let best = hits.first().map_or(0.0, |hit| hit.score);
            let wanted = normaliser(&calibrator, on_cpu.scores(), best);
            let found = pollster::block_on(on_gpu.normaliser(&calibrator, best)).unwrap();
            assert!((found - wanted).abs() <= 1e-4 * wanted, "{found} {wanted}");
        }
    }
    let hits = pollster::block_on(on_gpu.hits()).unwrap();
    assert_eq!(hits, on_cpu.hits(), "{what}, k {k}");
}

/// Rows that get better and better: all pass every threshold.
fn rising_rows(gpu: &Rc<GpuDevice>) {
    let (dimension, count) = (4, 60_000);
    let q = unit(8, dimension);
    let rows: Vec<f32> = (0..count * dimension)
        .map(|i| q[i % dimension] * (1.0 + (i / dimension) as f32) / 60_000.0)
        .collect();
    let bytes = shard::encode(0, dimension, &rows).unwrap();
    let shard = shard::decode("s", &bytes).unwrap();
    let query = QuantizedQuery::new(&q).unwrap();
    let mut on_cpu = CpuScorer::new(query.clone(), count as u64, 700).unwrap();
    let mut on_gpu = GpuScorer::new(gpu.clone(), query, count as u64, 700).unwrap();
    on_cpu.add("s", &shard).unwrap();
    on_gpu.add("s", &shard).unwrap();
    let hits = pollster::block_on(on_gpu.hits()).unwrap();
    assert_eq!(hits, on_cpu.hits());
    assert_eq!(hits[0].id, count as u32 - 1);
}
