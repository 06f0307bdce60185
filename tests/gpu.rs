//! The GPU kernels against their CPU twins, natively on whatever Vulkan adapter there is.
//!
//! One test function, because a process has one GPU device. Without any adapter it says that it skips;
//! scripts/test installs a software one.

use data_attribution::backbone::dense_ops::{
    dense_linear, linear_reference, norm_reference, row_norm,
};
use data_attribution::backbone::quantized_linear::{
    quantized_linear, quantized_linear4, reference, reference4,
};
use data_attribution::backbone::{attention, parity};
use data_attribution::device::{Compute, DeviceChoice, GpuDevice};
use data_attribution::format::{Calibrator, shard};
use data_attribution::score::{CpuScorer, GpuScorer, QuantizedQuery, normaliser};

use burn::tensor::{DType, Int, Tensor, TensorData};

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
    linear_layers(&gpu);
    linear_layers_of_4_bits(&gpu);
    dense_layers(&gpu);
    attention_layers(&gpu);
    for (count, shard_rows, dimension, k) in [
        (1, 1, 4, 1),
        (5, 2, 3, 10),
        (777, 100, 37, 64),
        (1000, 256, 384, 1000),
        (4099, 4099, 64, 100),
        (300, 64, 2048, 7),
    ] {
        ranking(&gpu, count, shard_rows, dimension, k, false);
        ranking(&gpu, count, shard_rows, dimension, k, true);
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

fn dense_layers(gpu: &GpuDevice) {
    let device = gpu.burn();
    let values = |stream, count| -> Vec<f32> { (0..count).map(|i| noise(stream, i)).collect() };
    let vector = |v: &[f32]| Tensor::<1>::from_data(TensorData::new(v.to_vec(), [v.len()]), device);
    let matrix = |v: &[f32], columns: usize| {
        Tensor::<2>::from_data(
            TensorData::new(v.to_vec(), [v.len() / columns, columns]),
            device,
        )
    };
    let close = |y: Tensor<2>, wanted: &[f32], what: &str| {
        let found: Vec<f32> = pollster::block_on(y.into_data_async())
            .unwrap()
            .try_to_vec()
            .unwrap();
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(
                (found - wanted).abs() <= 1e-4 * (1.0 + wanted.abs()),
                "{what}: {found} {wanted}"
            );
        }
    };
    for (rows, inputs, outputs) in [(1, 4, 4), (7, 12, 20), (9, 148, 36), (65, 100, 132)] {
        let (x, bias) = (values(1, rows * inputs), values(2, outputs));
        let weights = values(3, inputs * outputs);
        let y = dense_linear(
            matrix(&x, inputs),
            &matrix(&weights, inputs),
            &vector(&bias),
        );
        let wanted = linear_reference(&x, &weights, &bias, inputs);
        close(y, &wanted, &format!("{rows} x {inputs} x {outputs}"));
        // Rows far from zero: a variance in one pass would lose all digits.
        let x: Vec<f32> = x.iter().map(|v| v + 300.0).collect();
        let (weight, bias) = (values(4, inputs), values(5, inputs));
        let y = row_norm(matrix(&x, inputs), &vector(&weight), &vector(&bias), 1e-6);
        let wanted = norm_reference(&x, &weight, &bias, 1e-6);
        let found: Vec<f32> = pollster::block_on(y.into_data_async())
            .unwrap()
            .try_to_vec()
            .unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(
                (found - wanted).abs() <= 2e-3,
                "norm of {inputs}: {found} {wanted}"
            );
        }
    }
}

fn linear_layers(gpu: &GpuDevice) {
    let device = gpu.burn();
    for (rows, inputs, outputs) in [(1, 4, 4), (7, 12, 20), (9, 588, 36), (65, 100, 132)] {
        let x: Vec<f32> = (0..rows * inputs).map(|i| noise(1, i)).collect();
        let codes: Vec<i8> = (0..inputs * outputs)
            .map(|i| (127.0 * noise(2, i)) as i8)
            .collect();
        let scales: Vec<f32> = (0..outputs).map(|i| 0.01 + 0.005 * noise(3, i)).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| noise(4, i)).collect();
        let words: Vec<i32> = bytemuck::pod_collect_to_vec(&codes);
        let vector =
            |v: &[f32]| Tensor::<1>::from_data(TensorData::new(v.to_vec(), [v.len()]), device);
        let y = quantized_linear(
            Tensor::<2>::from_data(TensorData::new(x.clone(), [rows, inputs]), device),
            &Tensor::<2, Int>::from_data(
                TensorData::new(words, [outputs, inputs / 4]),
                (device, DType::I32),
            ),
            &vector(&scales).unsqueeze(),
            &vector(&bias),
        );
        let found: Vec<f32> = y.into_data().try_to_vec().unwrap();
        let wanted = reference(&x, &codes, &scales, &bias, inputs);
        assert_eq!(found.len(), wanted.len());
        for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
            assert!(
                (a - b).abs() <= 1e-4 * (1.0 + b.abs()),
                "{rows}x{inputs}x{outputs} at {i}: {a} {b}"
            );
        }
    }
}

fn linear_layers_of_4_bits(gpu: &GpuDevice) {
    let device = gpu.burn();
    for (rows, inputs, outputs) in [(1, 32, 4), (7, 64, 20), (9, 608, 36), (65, 96, 132)] {
        let x: Vec<f32> = (0..rows * inputs).map(|i| noise(1, i)).collect();
        let codes: Vec<u8> = (0..inputs * outputs / 2)
            .map(|i| (128.0 + 127.9 * noise(2, i)) as u8)
            .collect();
        let groups = inputs / 32;
        let scales: Vec<f32> = (0..groups * outputs).map(|i| 0.1 * noise(3, i)).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| noise(4, i)).collect();
        let words: Vec<i32> = bytemuck::pod_collect_to_vec(&codes);
        let y = quantized_linear4(
            Tensor::<2>::from_data(TensorData::new(x.clone(), [rows, inputs]), device),
            &Tensor::<2, Int>::from_data(
                TensorData::new(words, [outputs, inputs / 8]),
                (device, DType::I32),
            ),
            &Tensor::<2>::from_data(TensorData::new(scales.clone(), [groups, outputs]), device),
            &Tensor::<1>::from_data(TensorData::new(bias.clone(), [outputs]), device),
        );
        let found: Vec<f32> = y.into_data().try_to_vec().unwrap();
        let wanted = reference4(&x, &codes, &scales, &bias, inputs);
        assert_eq!(found.len(), wanted.len());
        for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
            assert!(
                (a - b).abs() <= 1e-4 * (1.0 + b.abs()),
                "4 bits {rows}x{inputs}x{outputs} at {i}: {a} {b}"
            );
        }
    }
}

fn attention_layers(gpu: &GpuDevice) {
    for (batch, tokens, heads, head, queries) in [
        (1, 1, 1, 4, 1),
        (2, 17, 3, 8, 17),
        (1, 65, 2, 64, 1),
        (3, 70, 5, 12, 70),
    ] {
        let width = heads * head;
        let qkv: Vec<f32> = (0..batch * tokens * 3 * width)
            .map(|i| 3.0 * noise(5, i))
            .collect();
        let input = TensorData::new(qkv.clone(), [batch, tokens, 3 * width]);
        let mixed = attention::attention(Tensor::<3>::from_data(input, gpu.burn()), heads, queries);
        let found: Vec<f32> = mixed.into_data().try_to_vec().unwrap();
        let wanted = attention::reference(&qkv, tokens, width, heads, queries);
        assert_eq!(found.len(), wanted.len());
        for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
            assert!(
                (a - b).abs() < 1e-4,
                "{batch} {tokens} {heads} {head} at {i}: {a} {b}"
            );
        }
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
