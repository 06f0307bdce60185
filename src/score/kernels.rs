//! The scoring kernels as compiled pipelines, made once per device.
//!
//! Every shader here validates under naga (when the tests run natively) and under Tint (in the browser
//! tests), and needs no optional feature.

use crate::device::GpuDevice;

/// Bytes of a (ordered score, id) pair.
pub const PAIR_BYTES: usize = 8;
/// Bytes of `State` in `select_top_k.wgsl`.
pub const STATE_BYTES: usize = (6 + 256) * 4;
/// Partial sums in `normaliser.wgsl`.
pub const NORMALISER_SUMS: usize = 1024;

/// Workgroups of 64 for `items` items; the kernels loop when this is capped.
pub fn groups(items: usize) -> u32 {
    items.div_ceil(64).clamp(1, 4096) as u32
}

/// One entry point, ready to dispatch.
pub struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bindings: &'static [u32],
}

impl Kernel {
    /// Binds `buffers` to this kernel's binding numbers, in order.
    pub fn bind(&self, gpu: &GpuDevice, buffers: &[&wgpu::Buffer]) -> wgpu::BindGroup {
        let entries: Vec<_> = self
            .bindings
            .iter()
            .filter_map(|binding| {
                let buffer = match buffers.len() {
                    1 => buffers.first(),
                    _ => buffers.get(*binding as usize),
                };
                buffer.map(|buffer| wgpu::BindGroupEntry {
                    binding: *binding,
                    resource: buffer.as_entire_binding(),
                })
            })
            .collect();
        gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    /// Records one dispatch of `groups` workgroups.
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, group: &wgpu::BindGroup, groups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
    }
}

/// All kernels of the scorer.
pub struct Kernels {
    pub score: Kernel,
    pub histogram: Kernel,
    pub choose: Kernel,
    pub gather: Kernel,
    pub partial: Kernel,
    pub combine: Kernel,
}

impl Kernels {
    /// Compiles the kernels for `device`.
    pub fn new(device: &wgpu::Device) -> Self {
        let module = |label: &str, source: &'static str| {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            })
        };
        let score = module("score_rows", include_str!("../../shaders/score_rows.wgsl"));
        let select = module(
            "select_top_k",
            include_str!("../../shaders/select_top_k.wgsl"),
        );
        let sum = module("normaliser", include_str!("../../shaders/normaliser.wgsl"));
        let kernel = |module: &wgpu::ShaderModule, entry: &str, bindings| Kernel {
            pipeline: device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            }),
            bindings,
        };
        Self {
            score: kernel(&score, "main", &[0, 1, 2, 3, 4, 5]),
            histogram: kernel(&select, "histogram", &[0, 1]),
            choose: kernel(&select, "choose", &[0]),
            gather: kernel(&select, "gather", &[0, 1, 2]),
            partial: kernel(&sum, "partial", &[0, 1, 2]),
            combine: kernel(&sum, "combine", &[2]),
        }
    }
}
