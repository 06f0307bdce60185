//! Which family of kernels suits an adapter, by measuring what a barrier costs on it.
//!
//! As many steps with a barrier in each as without any run by the clock, since timestamps are optional in WebGPU.
//! An adapter on which barriers are slow emulates a GPU on a processor, whatever it calls itself. Where there are subgroups, what
//! their instructions do runs beside what does without, sums by workgroup memory or more loads, and is taken if it is right and
//! not plainly slower: in what order invocations lie in a subgroup is nowhere promised. Kernels of a few lines are compiled, so that the choice takes some
//! hundredths of a second.

use std::rc::Rc;

use super::kernel::{Family, OUTPUT, compile};
use super::parts::with_sums;
use super::template::Values;
use crate::clock::now_ms;
use crate::device::{GpuBuffer, GpuDevice};
use crate::error::Result;
use crate::shader::{ENABLE_SUBGROUPS, shader};

/// Workgroups of each run that compares instructions of subgroups.
const GROUPS: u32 = 64;
/// Those of a run with barriers: where these are slow, one takes milliseconds.
const BARRIER_GROUPS: u32 = 8;
/// Barriers are slow where they make a run so many times as long...
const FACTOR: f64 = 3.0;
/// ...and longer by so many milliseconds: what a submit costs hides the rest.
const LEAST_MS: f64 = 2.0;
/// Subgroups are slower where sums take so many times as long...
const SLOWER: f64 = 1.2;
/// ...and longer by so many milliseconds: clocks of browsers are no finer.
const CLOCK_MS: f64 = 1.0;

/// The family for `gpu`.
///
/// # Errors
/// [`crate::Error::Device`] when the device refuses the kernels or is lost.
pub async fn choose_family(gpu: &Rc<GpuDevice>) -> Result<Family> {
    let text = shader!("barriers.wgsl");
    let refused = gpu.scope();
    let runs =
        ["without", "with_barriers"].map(|entry| Run::new(gpu, text, entry, [BARRIER_GROUPS, 256]));
    refused.close().await?;
    let [without, with_barriers] = in_turn(gpu, &runs).await?;
    let is_slow = with_barriers > FACTOR * without && with_barriers - without > LEAST_MS;
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

/// Milliseconds of sums by workgroup memory and by subgroups; `None` where subgroups are refused or give other sums.
///
/// # Errors
/// As [`choose_family`].
pub async fn compare_sums(gpu: &GpuDevice) -> Result<Option<[f64; 2]>> {
    let texts = [Family::Tiles, Family::Subgroups]
        .map(|family| with_sums(&Values::default(), shader!("neighbours.wgsl"), family));
    compare(gpu, &texts, 64).await
}

/// Milliseconds of four loads and of one that is handed around; `None` where subgroups are refused or hand around otherwise.
///
/// # Errors
/// As [`choose_family`].
pub async fn compare_loads(gpu: &GpuDevice) -> Result<Option<[f64; 2]>> {
    let four = |loads: &str| Values::default().with("four", loads);
    let mine = "f32((place ^ R) * 3u + i) + y[at + (place ^ R) % 4u]";
    let loads: Vec<String> = (0..4)
        .map(|r| mine.replace('R', &format!("{r}u")))
        .collect();
    let loaded = four(&format!("vec4<f32>({})", loads.join(", "))).fill(shader!("turns.wgsl"));
    let turned = four(&format!("turned({})", loads[0])).fill(shader!("turns.wgsl"));
    let turned = [ENABLE_SUBGROUPS, shader!("quads.wgsl"), &turned].concat();
    // Twice the results, the other half being zeros.
    compare(gpu, &[loaded, turned], 128).await
}

/// Milliseconds of both kernels, of `values` values a workgroup; `None` where the second is refused or gives others.
async fn compare(gpu: &GpuDevice, texts: &[String; 2], values: u32) -> Result<Option<[f64; 2]>> {
    let refused = gpu.scope();
    let runs = [0, 1].map(|i| Run::new(gpu, &texts[i], "main", [GROUPS, values]));
    if refused.close().await.is_err() {
        return Ok(None);
    }
    let ms = in_turn(gpu, &runs).await?;
    let [wanted, found] = [runs[0].values(gpu).await?, runs[1].values(gpu).await?];
    Ok((wanted == found).then_some(ms))
}

/// A kernel that writes a value for each invocation.
struct Run {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    written: GpuBuffer,
    groups: u32,
}

impl Run {
    /// With `values` values for each workgroup.
    fn new(gpu: &GpuDevice, text: &str, entry: &str, [groups, values]: [u32; 2]) -> Self {
        let written = gpu.owned("choosing kernels", 4 * (groups * values) as usize);
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
            groups,
        }
    }

    /// Milliseconds until it is done.
    async fn time(&self, gpu: &GpuDevice) -> Result<f64> {
        let start = now_ms();
        let mut encoder = gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(self.groups, 1, 1);
        }
        gpu.queue().submit([encoder.finish()]);
        gpu.finished().await?;
        Ok(now_ms() - start)
    }

    /// What it has written.
    async fn values(&self, gpu: &GpuDevice) -> Result<Vec<u8>> {
        let bytes = self.written.bytes() as usize;
        gpu.read(&[(&*self.written, bytes)]).await
    }
}

/// The best of two runs of each, after one that compiles.
async fn in_turn(gpu: &GpuDevice, runs: &[Run; 2]) -> Result<[f64; 2]> {
    let mut best = [f64::INFINITY; 2];
    for round in 0..3 {
        for (best, run) in best.iter_mut().zip(runs) {
            let ms = run.time(gpu).await?;
            if round > 0 {
                *best = best.min(ms);
            }
        }
    }
    Ok(best)
}
