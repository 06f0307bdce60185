//! Which family of kernels suits an adapter, by measuring what a barrier costs on it.
//!
//! As many steps with a barrier in each as without any run by the clock, since timestamps are optional in WebGPU.
//! An adapter on which barriers are slow emulates a GPU on a processor, whatever it calls itself. Where there are
//! subgroups, what their instructions do runs beside what does without, sums by workgroup memory or more loads, and
//! is taken if it is right and not plainly slower: in what order invocations lie in a subgroup is nowhere promised. Kernels of a few lines are compiled, so that the choice takes some
//! hundredths of a second.

use std::rc::Rc;

use super::kernel::{Family, OUTPUT, compile};
use super::parts::{with_quads, with_sums};
use super::template::Values;
use crate::clock::now_ms;
use crate::device::{GpuBuffer, GpuDevice};
use crate::error::Result;
use crate::shader::shader;

/// Workgroups of the runs with barriers: one first, as on some adapters these take long, and memory that stays taken.
const BARRIER_GROUPS: [u32; 2] = [1, 8];
/// Values of the results that are compared.
pub(super) const RESULTS: u32 = 4096;
/// Barriers are slow where they make a run so many times as long...
const FACTOR: f64 = 3.0;
/// ...and longer by so many milliseconds: what a submit costs hides the rest, and slow GPUs take some for eight thousand barriers.
const LEAST_MS: f64 = 6.0;
/// Subgroups are slower where sums take so many times as long...
const SLOWER: f64 = 1.2;
/// ...and longer by so many milliseconds: clocks of browsers are no finer.
const CLOCK_MS: f64 = 1.0;

/// The family for `gpu`.
///
/// # Errors
/// [`crate::Error::Device`] when the device refuses the kernels or is lost.
pub async fn choose_family(gpu: &Rc<GpuDevice>) -> Result<Family> {
    let is_slow = are_barriers_slow(gpu).await?;
    let [plain, better] = match is_slow {
        true => [Family::Registers, Family::Quads],
        false => [Family::Tiles, Family::Subgroups],
    };
    if !gpu.has_subgroups() {
        return Ok(plain);
    }
    let compared = match is_slow {
        true => compare_loads(gpu).await?,
        false => compare_sums(gpu).await?,
    };
    Ok(match compared {
        Some([without, with]) if with <= (SLOWER * without).max(without + CLOCK_MS) => better,
        _ => plain,
    })
}

async fn are_barriers_slow(gpu: &GpuDevice) -> Result<bool> {
    let text = shader!("barriers.wgsl");
    let values = 64 * BARRIER_GROUPS[1];
    let refused = gpu.scope();
    let runs = ["without", "with_barriers"].map(|entry| Run::new(gpu, text, entry, values));
    refused.close().await?;
    for groups in BARRIER_GROUPS {
        let [without, with_barriers] = in_turn(gpu, &runs, groups).await?;
        if with_barriers > FACTOR * without && with_barriers - without > LEAST_MS {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Milliseconds of sums by workgroup memory and by subgroups; `None` where subgroups are refused or give other sums.
///
/// # Errors
/// As [`choose_family`].
pub async fn compare_sums(gpu: &GpuDevice) -> Result<Option<[f64; 2]>> {
    let texts = [Family::Tiles, Family::Subgroups]
        .map(|family| with_sums(&Values::default(), shader!("neighbours.wgsl"), family));
    compare(gpu, &texts, 64, RESULTS).await
}

/// Milliseconds of four loads and of one that is handed around; `None` where subgroups are refused or hand around otherwise.
///
/// # Errors
/// As [`choose_family`].
pub async fn compare_loads(gpu: &GpuDevice) -> Result<Option<[f64; 2]>> {
    let four = |loads: &str| {
        Values::default()
            .with("four", loads)
            .with("results", RESULTS)
    };
    let mine = "f32((place ^ R) * 3u + i) + y[at + (place ^ R) % 4u]";
    let loads: Vec<String> = (0..4)
        .map(|r| mine.replace('R', &format!("{r}u")))
        .collect();
    let loaded = four(&format!("vec4<f32>({})", loads.join(", "))).fill(shader!("turns.wgsl"));
    let turned = four(&format!("turned({})", loads[0])).fill(shader!("turns.wgsl"));
    // Behind the results lie the zeros.
    compare(gpu, &[loaded, with_quads(&turned)], 8, 2 * RESULTS).await
}

/// Milliseconds of both kernels, which make [`RESULTS`] in workgroups of `invocations` and may touch `values` values;
/// `None` where the second is refused or makes others.
async fn compare(
    gpu: &GpuDevice,
    texts: &[String; 2],
    invocations: u32,
    values: u32,
) -> Result<Option<[f64; 2]>> {
    let refused = gpu.scope();
    let runs = [0, 1].map(|i| Run::new(gpu, &texts[i], "main", values));
    if refused.close().await.is_err() {
        return Ok(None);
    }
    let ms = in_turn(gpu, &runs, RESULTS / invocations).await?;
    let [wanted, found] = [runs[0].values(gpu).await?, runs[1].values(gpu).await?];
    Ok((wanted == found).then_some(ms))
}

/// A kernel that writes a value for each of its invocations.
pub(super) struct Run {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    written: GpuBuffer,
}

impl Run {
    pub fn new(gpu: &GpuDevice, text: &str, entry: &str, values: u32) -> Self {
        let written = gpu.owned("choosing kernels", 4 * values as usize);
        let pipeline = compile(gpu.device(), text, entry);
        let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: OUTPUT,
                resource: written.as_entire_binding(),
            }],
        });
        Self {
            pipeline,
            group,
            written,
        }
    }

    /// Milliseconds until `groups` workgroups are done.
    pub async fn time(&self, gpu: &GpuDevice, groups: u32) -> Result<f64> {
        let start = now_ms();
        let mut encoder = gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(groups, 1, 1);
        }
        gpu.queue().submit([encoder.finish()]);
        gpu.finished().await?;
        Ok(now_ms() - start)
    }

    /// What it has written.
    pub async fn values(&self, gpu: &GpuDevice) -> Result<Vec<u8>> {
        let bytes = self.written.bytes() as usize;
        gpu.read(&[(&*self.written, bytes)]).await
    }
}

/// The best of two runs of each, after one that compiles.
async fn in_turn(gpu: &GpuDevice, runs: &[Run; 2], groups: u32) -> Result<[f64; 2]> {
    let mut best = [f64::INFINITY; 2];
    for round in 0..3 {
        for (best, run) in best.iter_mut().zip(runs) {
            let ms = run.time(gpu, groups).await?;
            if round > 0 {
                *best = best.min(ms);
            }
        }
    }
    Ok(best)
}
