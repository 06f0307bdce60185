//! What a GPU reaches in the plainest kernels, beside which other kernels are measured; native only.
//!
//! Work is submitted at once and timed by the clock from the submit to its end, the best of several runs.

use std::rc::Rc;
use std::time::Instant;

use super::{GpuDevice, GpuHandle};
use crate::backbone::recorded::kernel::compile;
use crate::error::Result;
use crate::shader::shader;

const RUNS: usize = 5;
/// Workgroups of 256 invocations, rounds of an invocation and products of a round in `fused` of `peaks.wgsl`.
const FUSED: [usize; 3] = [4224, 1024, 64];
const COPY_GROUPS: u32 = 8192;
const NOTHINGS: usize = 500;

/// Rates of a device.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// Multiply-adds of f32 a second, two operations each.
    pub products: f64,
    /// Bytes read and written together a second.
    pub copied: f64,
    /// Seconds of a dispatch that has next to nothing to do, after one that it depends on.
    pub dispatch: f64,
}

/// A pipeline with what it is bound to and its workgroups.
pub(crate) struct Bound {
    pub pipeline: wgpu::ComputePipeline,
    pub group: wgpu::BindGroup,
    pub groups: [u32; 3],
}

/// Seconds of `dispatches`, one after the other `times` times, in one submit.
///
/// # Errors
/// [`crate::Error::Device`] when the device is lost.
pub(crate) fn timed<'a>(
    gpu: &GpuHandle,
    dispatches: impl Iterator<Item = &'a Bound> + Clone,
    times: usize,
) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let mut encoder = gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..times {
                for bound in dispatches.clone() {
                    let [x, y, z] = bound.groups;
                    pass.set_pipeline(&bound.pipeline);
                    pass.set_bind_group(0, &bound.group, &[]);
                    pass.dispatch_workgroups(x, y, z);
                }
            }
        }
        let commands = encoder.finish();
        gpu.wait()?;
        let start = Instant::now();
        gpu.queue().submit([commands]);
        gpu.wait()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// A copy of `bytes` bytes by a kernel.
pub(crate) fn copy_of(gpu: &GpuHandle, bytes: usize) -> Bound {
    let [from, to] = ["from", "to"].map(|label| gpu.storage(label, bytes));
    gpu.queue().write_buffer(&from, 0, &vec![1; bytes]);
    let groups = (bytes / 16).div_ceil(256).clamp(1, COPY_GROUPS as usize);
    bound(gpu, "copied", &[(0, &from), (1, &to)], groups as u32)
}

fn bound(gpu: &GpuHandle, entry: &str, buffers: &[(u32, &wgpu::Buffer)], groups: u32) -> Bound {
    let text = shader!("peaks.wgsl");
    let pipeline = compile(gpu.device(), text, entry);
    let entries: Vec<_> = buffers
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding: *binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    Bound {
        pipeline,
        group,
        groups: [groups, 1, 1],
    }
}

impl Peaks {
    /// Measures `gpu`, the copy with `megabytes`.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when the device fails.
    pub fn of(gpu: &Rc<GpuDevice>, megabytes: usize) -> Result<Self> {
        let sums = gpu.storage("sums", 4096);
        let [most, rounds, each] = FUSED;
        let groups = if gpu.is_software() { 16 } else { most };
        let fused = bound(gpu, "fused", &[(2, &sums)], groups as u32);
        let seconds = timed(gpu, std::iter::once(&fused), 1)?;
        let products = (groups * 256 * rounds * each) as f64 / seconds;
        let bytes = megabytes * 1_000_000 / 16 * 16;
        let seconds = timed(gpu, std::iter::once(&copy_of(gpu, bytes)), 4)?;
        let copied = 4.0 * 2.0 * bytes as f64 / seconds;
        let nothing = bound(gpu, "nothing", &[(2, &sums)], 1);
        let dispatch = timed(gpu, std::iter::once(&nothing), NOTHINGS)? / NOTHINGS as f64;
        Ok(Self {
            products,
            copied,
            dispatch,
        })
    }
}
