//! A graph bound to buffers: recorded once, replayed with one submit and one small readback.
//!
//! Buffers of results are shared by lifetime, so a transformer takes about five. Bind groups are made by
//! [`Pass::new`] only. On devices with barriers that are slow, which have seconds to work, the parts of a pass
//! are submitted one after the other, so that progress shows and a caller can give up. Invariants: a
//! kernel's output buffer is none of its inputs; runs do not overlap, as each awaits its readback.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "shared between threads natively; a browser's handles are not, and need not be"
)]

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use super::graph::{Graph, Operand};
use super::kernel::{DIMS, OUTPUT, Pipelines};
use super::weights::Weights;
use crate::backbone::Pace;
use crate::device::{GpuBuffer, GpuHandle};
use crate::error::{Error, Result};

/// Bytes between the sizes of two calls, as every device takes them.
const DIMS_STRIDE: usize = 256;

/// A forward pass ready to run.
pub struct Pass {
    pub(super) gpu: GpuHandle,
    pub(super) dispatches: Vec<Dispatch>,
    /// The parts that a run is divided into.
    parts: Vec<Range<usize>>,
    /// With the values that enter and leave.
    input: (Arc<GpuBuffer>, usize),
    output: (Arc<GpuBuffer>, usize),
    /// Held for the bind groups' sake, which do not own them.
    _buffers: Vec<Arc<GpuBuffer>>,
    _weights: Weights,
}

/// One call, bound.
pub(super) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub group: wgpu::BindGroup,
    pub kernel: Called,
}

/// What is left of a kernel once it is compiled; see `Kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub groups: [u32; 3],
    pub dims: [u32; 8],
    pub what: &'static str,
    pub products: usize,
}

/// Which buffer holds each slot, and the sizes of the buffers in bytes.
fn plan(graph: &Graph) -> (Vec<usize>, Vec<u64>) {
    let bytes = |slot: usize| 4 * graph.slots[slot] as u64;
    // The input is read by the first calls, the last result after all of them.
    let mut last_use = vec![0; graph.slots.len()];
    for (i, call) in graph.calls.iter().enumerate() {
        for (_, operand) in &call.reads {
            if let Operand::Slot(slot) = operand {
                last_use[slot.0] = i;
            }
        }
    }
    let mut places = vec![0; graph.slots.len()];
    let mut sizes = vec![bytes(0)];
    let mut free: Vec<usize> = Vec::new();
    for (i, call) in graph.calls.iter().enumerate() {
        let need = bytes(call.writes.0);
        // The free buffer whose size is nearest; it grows where it must.
        let nearest = (0..free.len()).min_by_key(|f| sizes[free[*f]].abs_diff(need));
        let place = match nearest {
            Some(f) => free.swap_remove(f),
            None => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[place] = sizes[place].max(need);
        places[call.writes.0] = place;
        let mut done: Vec<usize> = Vec::new();
        for (_, operand) in &call.reads {
            // The input's buffer stays its own: the next run writes it.
            if let Operand::Slot(slot) = operand
                && last_use[slot.0] == i
                && slot.0 > 0
                && !done.contains(&places[slot.0])
            {
                done.push(places[slot.0]);
            }
        }
        free.extend(done);
    }
    (places, sizes)
}

impl Pass {
    /// Allocates and binds; pipelines that are not in `pipelines` are compiled.
    ///
    /// # Errors
    /// [`Error::Device`] for whatever the device refuses; [`Error::InvalidArgument`] for weights that are
    /// missing or shorter than what a kernel reads.
    pub async fn new(
        gpu: &GpuHandle,
        pipelines: &mut Pipelines,
        graph: &Graph,
        weights: Weights,
    ) -> Result<Self> {
        let (places, sizes) = plan(graph);
        let refused = gpu.scope();
        let buffers: Vec<Arc<GpuBuffer>> = sizes
            .iter()
            .map(|bytes| Arc::new(gpu.owned("results", *bytes as usize)))
            .collect();
        let dims = gpu.uniform("sizes of calls", DIMS_STRIDE * graph.calls.len());
        for (i, call) in graph.calls.iter().enumerate() {
            let bytes = bytemuck::cast_slice(&call.kernel.dims);
            gpu.queue()
                .write_buffer(&dims, (i * DIMS_STRIDE) as u64, bytes);
        }
        let mut dispatches = Vec::with_capacity(graph.calls.len());
        for (i, call) in graph.calls.iter().enumerate() {
            let pipeline = pipelines.get(gpu.device(), &call.kernel.text);
            let mut bound = Vec::with_capacity(call.reads.len() + 2);
            for (number, operand) in &call.reads {
                let (buffer, bytes) = match operand {
                    Operand::Slot(slot) => {
                        (&buffers[places[slot.0]], 4 * graph.slots[slot.0] as u64)
                    }
                    Operand::Weights(name, bytes) => (weights.of(name, *bytes)?, *bytes),
                };
                bound.push((*number, &***buffer, 0, bytes));
            }
            let written = &buffers[places[call.writes.0]];
            bound.push((OUTPUT, written, 0, 4 * graph.slots[call.writes.0] as u64));
            bound.push((
                DIMS,
                &dims,
                (i * DIMS_STRIDE) as u64,
                size_of_val(&call.kernel.dims) as u64,
            ));
            let entries: Vec<_> = bound
                .into_iter()
                .map(|(number, buffer, offset, bytes)| wgpu::BindGroupEntry {
                    binding: number,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset,
                        size: NonZeroU64::new(bytes),
                    }),
                })
                .collect();
            let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            dispatches.push(Dispatch {
                pipeline,
                group,
                kernel: Called {
                    groups: call.kernel.groups,
                    dims: call.kernel.dims,
                    what: call.kernel.what,
                    products: call.kernel.products,
                },
            });
        }
        refused.close().await?;
        let last = graph.slots.len() - 1;
        let of = |slot: usize| (buffers[places[slot]].clone(), graph.slots[slot]);
        let ends = graph.steps.iter().copied().chain([graph.calls.len()]);
        let starts = [0].into_iter().chain(graph.steps.iter().copied());
        Ok(Self {
            gpu: gpu.clone(),
            parts: starts.zip(ends).map(|(start, end)| start..end).collect(),
            input: of(0),
            output: of(last),
            dispatches,
            _buffers: buffers,
            _weights: weights,
        })
    }

    /// One forward pass; `divided` submits one part after the other and awaits each.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an input of another length, [`Error::Device`] when the device is lost, and
    /// those of `pace`, which counts the parts.
    pub async fn run(&self, input: &[f32], divided: bool, pace: &impl Pace) -> Result<Vec<f32>> {
        if input.len() != self.input.1 {
            let expected = self.input.1;
            return Err(Error::invalid(format!(
                "{} values where {expected} enter",
                input.len()
            )));
        }
        let bytes = bytemuck::cast_slice(input);
        self.gpu.queue().write_buffer(&self.input.0, 0, bytes);
        let parts = self.parts.len();
        pace.step(0, parts).await?;
        if divided {
            for (i, part) in self.parts.iter().enumerate() {
                pace.step(i, parts).await?;
                self.gpu.queue().submit([self.encoded(part.clone())]);
                self.gpu.finished().await?;
            }
        } else {
            let all = 0..self.dispatches.len();
            self.gpu.queue().submit([self.encoded(all)]);
        }
        let found = self
            .gpu
            .read(&[(&self.output.0, 4 * self.output.1)])
            .await?;
        Ok(bytemuck::pod_collect_to_vec(&found))
    }

    fn encoded(&self, part: Range<usize>) -> wgpu::CommandBuffer {
        let mut encoder = self.gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for dispatch in &self.dispatches[part] {
                let [x, y, z] = dispatch.kernel.groups;
                pass.set_pipeline(&dispatch.pipeline);
                pass.set_bind_group(0, &dispatch.group, &[]);
                pass.dispatch_workgroups(x, y, z);
            }
        }
        encoder.finish()
    }
}
