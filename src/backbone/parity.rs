//! The start-up check of a GPU, and the short race that `auto` decides by.
//!
//! A small transformer with generated weights runs on the CPU and on the GPU: it passes through the
//! kernels of an int8 backbone and of the scorer, of int8 rows and of coarse codes, so that a driver that computes one of them wrongly is
//! found before a result is shown. For `auto`, both devices first time a shallow ViT-S.

use std::rc::Rc;

use super::pack::{Encoded, Precision, pack};
use super::parity_codes::toy_codes;
use super::recorded::kernel::Arithmetic;
use super::{Backbone, Unpaced, registry};
use crate::device::{Compute, DeviceChoice, GpuDevice};
use crate::error::{Error, Result};
use crate::format::model::EIGHT_BITS;
use crate::format::{Architecture, Calibrator, ModelHead, VitConfig};
use crate::score::query::normalised;
use crate::score::{CodeQuery, CpuScorer, GpuScorer, QuantizedQuery, Query, normaliser};
use crate::source::memory::Memory;

/// Largest [`difference`] of a feature between the devices, in f32 and in f16 or bytes: 1e-2 was measured in bytes.
const TOLERANCE: f64 = 1e-3;
const TOLERANCE_ROUNDED: f64 = 5e-2;
/// Rows of the rankings that are compared: several workgroups, the last one in part, and more than a selection holds in workgroup memory.
pub(super) const ROWS: usize = 3001;
/// Values of a row of them.
pub(super) const DIMENSION: usize = 32;
/// Width of the transformer, whose heads are as wide as those of most backbones.
const WIDTH: usize = 192;
/// Blocks of the timed backbone, which is a ViT-S on a 224-pixel image otherwise.
const RACE_DEPTH: usize = 2;
/// A GPU that takes longer than this for its first, compiling run is not waited for again.
const RACE_PATIENCE_MS: f64 = 4000.0;

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
    if choice == DeviceChoice::WebGpu {
        let gpu = GpuDevice::open().await?;
        let reason = format!("asked for: {}", gpu.description());
        let gpu = Compute::Gpu(gpu);
        check(&gpu).await?;
        return Ok((gpu, reason));
    }
    let raced = async {
        let gpu = GpuDevice::open().await?;
        match gpu.is_software() {
            // The same processor, with a detour.
            true => Ok((Compute::Cpu, "the only GPU is emulated on the CPU".into())),
            false => race(gpu, now_ms).await,
        }
    };
    Ok(raced
        .await
        .unwrap_or_else(|error: Error| (Compute::Cpu, error.to_string())))
}

/// Times both devices; the GPU wins only if it also computes rightly.
///
/// # Errors
/// [`Error::Device`] when the GPU fails or computes wrongly.
pub async fn race(device: Rc<GpuDevice>, now_ms: &dyn Fn() -> f64) -> Result<(Compute, String)> {
    let adapter = device.description();
    let gpu = Compute::Gpu(device);
    let cpu_ms = lap(&Compute::Cpu, 2, now_ms).await?;
    let gpu_ms = lap(&gpu, 2, now_ms).await?;
    let figures = format!("{adapter}: {gpu_ms:.0} ms, CPU: {cpu_ms:.0} ms");
    if gpu_ms >= cpu_ms {
        return Ok((Compute::Cpu, format!("the CPU is faster ({figures})")));
    }
    check(&gpu).await?;
    Ok((gpu, format!("the GPU is faster ({figures})")))
}

/// Checks `gpu` in f32, and once more without subgroups where it fails with them: their order may be another one in each kernel.
/// What else its tiles multiply with is given up where that is wrong.
async fn check(gpu: &Compute) -> Result<()> {
    let Compute::Gpu(device) = gpu else {
        return Ok(());
    };
    let toy = generated_pack("toy-p14", Precision::Int8, shape)?;
    let on_cpu = toy_feature(&toy, &Compute::Cpu).await?;
    let family = device.family().await?;
    let arithmetic = device.arithmetic();
    device.take(family, Arithmetic::default());
    let checked = compare_with_cpu(device, &toy, &on_cpu).await;
    if checked.is_err() && device.give_up_subgroups() {
        compare_with_cpu(device, &toy, &on_cpu).await?;
    } else {
        checked?;
    }
    if arithmetic == Arithmetic::default() {
        return Ok(());
    }
    let family = device.family().await?;
    device.take(family, arithmetic);
    let (memory, mut head) = toy;
    mark_blocks(&mut head);
    let near = match toy_feature(&(memory, head), gpu).await {
        Ok(on_gpu) => difference(&on_cpu, &on_gpu) <= TOLERANCE_ROUNDED,
        Err(error) if device.is_lost() => return Err(error),
        Err(_) => false,
    };
    if !near {
        device.take(family, Arithmetic::default());
    }
    Ok(())
}

/// Compares the backbone's and the scorer's kernels on `device` with the CPU, which makes the feature `on_cpu` of `toy`.
async fn compare_with_cpu(
    device: &Rc<GpuDevice>,
    toy: &(Memory, ModelHead),
    on_cpu: &[f32],
) -> Result<()> {
    let on_gpu = toy_feature(toy, &Compute::Gpu(device.clone())).await?;
    let difference = difference(on_cpu, &on_gpu);
    if difference.is_nan() || difference > TOLERANCE {
        return Err(Error::device(format!(
            "computes wrongly: a feature differs by {difference:.1e} from the CPU's"
        )));
    }
    let on_cpu = &on_cpu[..DIMENSION];
    let rows: Vec<f32> = (0..ROWS * DIMENSION)
        .map(|i| 0.5 * generated(1, i))
        .collect();
    let bytes = crate::format::shard::encode(0, DIMENSION, &rows)?;
    let shard = crate::format::shard::decode("parity", &bytes)?;
    let (mut cpu, mut gpu) = scorers(device, QuantizedQuery::new(on_cpu)?)?;
    cpu.add("parity", &shard)?;
    gpu.add("parity", &shard)?;
    compare(&cpu, &mut gpu).await?;
    let (head, codes) = toy_codes();
    let query = CodeQuery::new(&head.plan, &normalised(on_cpu)?)?;
    let (mut cpu, mut gpu) = scorers(device, Rc::new(query))?;
    cpu.add_codes("parity", &head, &codes)?;
    gpu.add_codes("parity", &head, &codes)?;
    compare(&cpu, &mut gpu).await
}

/// |a - b| / |a|
fn difference(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let distance: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    let length: f64 = a.iter().map(|a| square(*a)).sum();
    (distance / length).sqrt()
}

/// The same empty ranking on both devices.
fn scorers(device: &Rc<GpuDevice>, query: impl Into<Query>) -> Result<(CpuScorer, GpuScorer)> {
    let (query, rows) = (query.into(), ROWS as u64);
    let cpu = CpuScorer::new(query.clone(), rows, 10)?;
    Ok((cpu, GpuScorer::new(device.clone(), query, rows, 10)?))
}

/// Compares two rankings of the same rows, and their sums of influences.
async fn compare(cpu: &CpuScorer, gpu: &mut GpuScorer) -> Result<()> {
    let hits = cpu.hits();
    if gpu.hits().await? != hits {
        return Err(Error::device(
            "computes wrongly: its ranking differs from the CPU's",
        ));
    }
    let calibrator = Calibrator {
        inv_tau: 20.0,
        bias: -1.0,
        fitted: false,
    };
    let best = hits.first().map_or(0.0, |hit| hit.score);
    let wanted = normaliser(&calibrator, cpu.scores(), best);
    let found = gpu.normaliser(&calibrator, best).await?;
    match (found / wanted - 1.0).abs() <= TOLERANCE {
        true => Ok(()),
        false => Err(Error::device(
            "computes wrongly: its sum of influences differs from the CPU's",
        )),
    }
}

/// Makes `vit` what a GPU is checked with. Its kernels are DINOv2's on software adapters, where compiling takes longest.
pub(super) fn shape(vit: &mut VitConfig) {
    (vit.width, vit.heads, vit.mlp) = (WIDTH, WIDTH / 64, 4 * WIDTH);
}

/// The feature of a generated image by a generated toy backbone.
async fn toy_feature(toy: &(Memory, ModelHead), compute: &Compute) -> Result<Vec<f32>> {
    let backbone = load(toy, compute).await?;
    backbone
        .embed_preprocessed(&noise_image(&backbone), &Unpaced)
        .await
}

async fn load((memory, head): &(Memory, ModelHead), compute: &Compute) -> Result<Backbone> {
    Backbone::load(memory, "backbone.json", head.clone(), compute, &|_, _| {}).await
}

fn noise_image(backbone: &Backbone) -> Vec<f32> {
    let side = backbone.head().architecture.image();
    (0..3 * side * side)
        .map(|i| 4.0 * generated(0, i))
        .collect()
}

/// A packed toy backbone with generated weights.
pub fn toy_pack(precision: Precision) -> Result<(Memory, ModelHead)> {
    generated_pack("toy-p14", precision, |_| {})
}

/// The backbone `name` at its full size with generated weights.
///
/// # Errors
/// [`Error::InvalidArgument`] for an unknown name.
pub fn generated_pack_of(name: &str, precision: Precision) -> Result<(Memory, ModelHead)> {
    generated_pack(name, precision, |_| {})
}

/// The same with features of `dimension` values: an index of any features can be packed with it.
pub fn toy_pack_of(dimension: usize) -> Result<(Memory, ModelHead)> {
    generated_pack("toy-p14", Precision::Int8, |vit| {
        vit.projection = Some(dimension);
    })
}

/// The backbone `name`, its architecture changed by `change`, with generated weights.
fn generated_pack(
    name: &str,
    precision: Precision,
    change: impl Fn(&mut VitConfig),
) -> Result<(Memory, ModelHead)> {
    let mut spec =
        registry::find(name).ok_or_else(|| Error::invalid(format!("no backbone {name}")))?;
    if let Architecture::Vit(vit) = &mut spec.architecture {
        change(vit);
    }
    let mut memory = Memory::default();
    let mut stream = 2;
    let head = pack(
        spec.name,
        spec.architecture,
        spec.preprocess,
        |name, shape| {
            stream += 1;
            Encoded::new(name, &toy_tensor(stream, name, shape), shape, precision)
        },
        |file, bytes| {
            memory.files.insert(file.file.clone(), bytes.to_vec());
            Ok(())
        },
    )?;
    Ok((memory, head))
}

/// Says of all quantized matrices in a transformer's blocks that 8 bits of activations suffice, as `import` finds of nearly
/// all by its samples.
pub fn mark_blocks(head: &mut ModelHead) {
    let blocks = head.tensors.iter_mut();
    for tensor in blocks.filter(|tensor| tensor.name.starts_with("blocks.")) {
        tensor.activations = tensor.encoding.is_quantized().then_some(EIGHT_BITS);
    }
    head.identity = head.computed_identity();
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
    (0..length)
        .map(|i| base + spread * generated(stream, i))
        .collect()
}

/// A value in -1..1 that depends only on its arguments.
pub(super) fn generated(stream: u32, index: usize) -> f32 {
    let mut x = (u64::from(stream) << 32 | index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 40) as f32) / (1 << 23) as f32 - 1.0
}

/// Milliseconds of the last of `runs` forward passes of a shallow ViT-S.
async fn lap(compute: &Compute, runs: usize, now_ms: &dyn Fn() -> f64) -> Result<f64> {
    let mut shallow = generated_pack("dinov2-s14", Precision::Int8, |vit| vit.depth = RACE_DEPTH)?;
    // As imported models are, which makes the CPU a third faster.
    mark_blocks(&mut shallow.1);
    let backbone = load(&shallow, compute).await?;
    let image = noise_image(&backbone);
    let mut elapsed = 0.0;
    for _ in 0..runs {
        let start = now_ms();
        backbone.embed_preprocessed(&image, &Unpaced).await?;
        elapsed = now_ms() - start;
        if elapsed > RACE_PATIENCE_MS {
            break;
        }
    }
    Ok(elapsed)
}
