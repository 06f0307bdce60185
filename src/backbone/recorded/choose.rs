//! Which family of kernels suits an adapter, by measuring what a barrier costs on it.
//!
//! As many steps with a barrier in each as without any run by the clock, since timestamps are optional in WebGPU.
//! An adapter on which barriers are slow emulates a GPU on a processor, whatever it calls itself. Two kernels of a few lines are
//! compiled, so that the choice takes some hundredths of a second.

use std::rc::Rc;

use super::kernel::{Family, OUTPUT, compile};
use crate::clock::now_ms;
use crate::device::GpuDevice;
use crate::error::Result;
use crate::shader::shader;

/// Workgroups of each run, of 256 invocations.
const GROUPS: u32 = 64;
/// Barriers are slow where they make a run so many times as long...
const FACTOR: f64 = 3.0;
/// ...and longer by so many milliseconds: what a submit costs hides the rest.
const LEAST_MS: f64 = 2.0;

/// The family for `gpu`.
///
/// # Errors
/// [`crate::Error::Device`] when the device refuses the kernels or is lost.
pub async fn choose_family(gpu: &Rc<GpuDevice>) -> Result<Family> {
    let text = shader!("barriers.wgsl");
    let refused = gpu.scope();
    let buffer = gpu.owned("choosing kernels", 4 * 256 * GROUPS as usize);
    let runs = ["without", "with_barriers"].map(|entry| {
        let pipeline = compile(gpu.device(), text, entry);
        let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry {
                binding: OUTPUT,
                resource: buffer.as_entire_binding(),
            }],
        });
        (pipeline, group)
    });
    refused.close().await?;
    let mut best = [f64::INFINITY; 2];
    // The first run compiles.
    for round in 0..3 {
        for (best, (pipeline, group)) in best.iter_mut().zip(&runs) {
            let start = now_ms();
            let mut encoder = gpu.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(GROUPS, 1, 1);
            }
            gpu.queue().submit([encoder.finish()]);
            gpu.finished().await?;
            if round > 0 {
                *best = best.min(now_ms() - start);
            }
        }
    }
    let [without, with_barriers] = best;
    let slow = with_barriers > FACTOR * without && with_barriers - without > LEAST_MS;
    Ok(if slow {
        Family::Registers
    } else {
        Family::Tiles
    })
}
