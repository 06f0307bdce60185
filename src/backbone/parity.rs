//! The start-up check of a GPU, and the short race that `auto` decides by.
//!
//! A small transformer with generated weights runs on the CPU and on the GPU: it passes through every
//! kernel that a real backbone uses, so a driver that computes any of them wrongly is found before a
//! result is shown. Then both devices time one product of the shape that a backbone spends its time in.

use burn::tensor::{Tensor, TensorData};

use super::linear::{Linear, Weight};
use super::pack::{Precision, pack};
use super::{Backbone, Unpaced, registry};
use crate::device::{Compute, DeviceChoice, GpuDevice};
use crate::error::{Error, Result};
use crate::score::{CpuScorer, GpuScorer, QuantizedQuery};
use crate::source::memory::Memory;

/// Largest relative difference of a feature between the devices, as |a - b| / |a|.
const TOLERANCE: f64 = 1e-3;
/// Shape of the timed product: a ViT-S MLP layer over one image.
const RACE: (usize, usize, usize) = (257, 384, 1536);

/// The device for `choice`, and the reason in words.
///
/// `now_ms` is a clock. `auto` never fails: it ends on the CPU.
///
/// # Errors
/// [`Error::Device`] when the GPU was asked for by name and is absent or computes wrongly.
pub async fn choose(choice: DeviceChoice, now_ms: &dyn Fn() -> f64) -> Result<(Compute, String)> {
    if choice == DeviceChoice::Cpu {
        return Ok((Compute::Cpu, "asked for".into()));
    }
    let opened = match GpuDevice::open().await {
        Ok(gpu) => check(&Compute::Gpu(gpu.clone())).await.map(|()| gpu),
        Err(error) => Err(error),
    };
    match (choice, opened) {
        (DeviceChoice::WebGpu, Ok(gpu)) => {
            let reason = format!("asked for: {}", gpu.description());
            Ok((Compute::Gpu(gpu), reason))
        }
        (DeviceChoice::WebGpu, Err(error)) => Err(error),
        (_, Err(error)) => Ok((Compute::Cpu, error.to_string())),
        (_, Ok(gpu)) => {
            let adapter = gpu.description();
            let gpu = Compute::Gpu(gpu);
            let cpu_ms = race(&Compute::Cpu, now_ms).await?;
            let gpu_ms = match race(&gpu, now_ms).await {
                Ok(ms) => ms,
                Err(error) => return Ok((Compute::Cpu, error.to_string())),
            };
            let figures = format!("{adapter}: {gpu_ms:.0} ms, CPU: {cpu_ms:.0} ms");
            match gpu_ms < cpu_ms {
                true => Ok((gpu, format!("the GPU is faster ({figures})"))),
                false => Ok((Compute::Cpu, format!("the CPU is faster ({figures})"))),
            }
        }
    }
}

/// Compares the backbone's and the scorer's kernels on `gpu` with the CPU.
async fn check(gpu: &Compute) -> Result<()> {
    let on_gpu = toy_feature(gpu).await?;
    let on_cpu = toy_feature(&Compute::Cpu).await?;
    let distance: f64 = on_cpu.iter().zip(&on_gpu).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let length: f64 = on_cpu.iter().map(|a| f64::from(*a).powi(2)).sum();
    let difference = (distance / length).sqrt();
    if difference.is_nan() || difference > TOLERANCE {
        return Err(Error::device(format!(
            "computes wrongly: a feature differs by {difference:.1e} from the CPU's"
        )));
    }
    let Compute::Gpu(device) = gpu else {
        return Ok(());
    };
    let rows: Vec<f32> = (0..97 * 32).map(|i| generated(1, i)).collect();
    let bytes = crate::format::shard::encode(0, 32, &rows)?;
    let shard = crate::format::shard::decode("parity", &bytes)?;
    let query = QuantizedQuery::new(&on_cpu)?;
    let mut cpu = CpuScorer::new(query.clone(), 97, 10);
    let mut gpu = GpuScorer::new(device.clone(), query, 97, 10)?;
    cpu.add("parity", &shard)?;
    gpu.add("parity", &shard)?;
    match gpu.hits().await? == cpu.hits() {
        true => Ok(()),
        false => Err(Error::device("computes wrongly: its ranking differs from the CPU's")),
    }
}

/// The feature of a generated image by a generated toy backbone.
async fn toy_feature(compute: &Compute) -> Result<Vec<f32>> {
    let (memory, backbone) = toy_pack(Precision::Int8)?;
    let backbone = Backbone::load(&memory, "backbone.json", backbone, compute, &|_, _| {}).await?;
    let side = backbone.head().architecture.image;
    let image: Vec<f32> = (0..3 * side * side).map(|i| 4.0 * generated(0, i)).collect();
    backbone.embed_preprocessed(&image, &Unpaced).await
}

/// A packed toy backbone with generated weights.
pub fn toy_pack(precision: Precision) -> Result<(Memory, crate::format::ModelHead)> {
    let spec = registry::find("toy-p14").ok_or_else(|| Error::invalid("no toy backbone"))?;
    let mut memory = Memory::default();
    let mut stream = 2;
    let head = pack(
        spec.name,
        spec.architecture,
        spec.preprocess,
        precision,
        |name, shape| {
            stream += 1;
            Ok(toy_tensor(stream, name, shape))
        },
        |file, bytes| {
            memory.files.insert(file.file.clone(), bytes.to_vec());
            Ok(())
        },
    )?;
    Ok((memory, head))
}

/// Values of the scale that training gives: norms near 1, matrices that keep the variance.
fn toy_tensor(stream: u32, name: &str, shape: &[usize]) -> Vec<f32> {
    let length: usize = shape.iter().product();
    let inputs: usize = shape[1..].iter().product();
    let (base, spread) = match name {
        _ if name.contains("norm") && name.ends_with("weight") => (1.0, 0.2),
        _ if name.ends_with("gamma") => (0.5, 0.5),
        _ if shape.len() > 1 => (0.0, 3.0 / (inputs as f32).sqrt()),
        _ => (0.0, 0.2),
    };
    (0..length).map(|i| base + spread * generated(stream, i)).collect()
}

/// A value in -1..1 that depends only on its arguments.
fn generated(stream: u32, index: usize) -> f32 {
    let mut x = (u64::from(stream) << 32 | index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 40) as f32) / (1 << 23) as f32 - 1.0
}

/// Milliseconds of one product of [`RACE`], the better of two after a warm-up.
async fn race(compute: &Compute, now_ms: &dyn Fn() -> f64) -> Result<f64> {
    let (rows, inputs, outputs) = RACE;
    let device = compute.burn();
    let codes: Vec<u8> = (0..inputs * outputs).map(|i| (i * 31 % 251) as u8).collect();
    let weight = Weight::int8(vec![0.01; outputs], &codes, inputs, compute.keeps_int8(), &device)?;
    let linear = Linear {
        weight,
        bias: Tensor::zeros([outputs], &device),
    };
    let x: Vec<f32> = (0..rows * inputs).map(|i| generated(0, i)).collect();
    let x = Tensor::<3>::from_data(TensorData::new(x, [1, rows, inputs]), &device);
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = now_ms();
        let y = linear.forward(x.clone()).slice([0..1, 0..1, 0..4]);
        y.into_data_async()
            .await
            .map_err(|e| Error::device(format!("{e:?}")))?;
        let elapsed = now_ms() - start;
        best = best.min(elapsed);
        // A device this slow in the warm-up will not win.
        if elapsed > 1500.0 {
            break;
        }
    }
    Ok(best)
}
