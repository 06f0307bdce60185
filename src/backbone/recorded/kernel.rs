//! A kernel as text, sizes and workgroups, and the pipelines made of such texts.
//!
//! A text is a pipeline's whole identity, and [`Pipelines`] compiles each once for all backbones of a device: what differs between
//! calls of one kernel, such as the rows of a layer, comes in [`Kernel::dims`], so that a transformer needs about six pipelines.
//! Every kernel reads bindings 0..=3, 5, 6 and 8, writes binding 4 and has its sizes at binding 7, all in group 0.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// The binding that a kernel writes.
pub const OUTPUT: u32 = 4;
/// The binding of [`Kernel::dims`].
pub const DIMS: u32 = 7;
/// Most workgroups of one dimension that every WebGPU device takes.
const GROUPS_MAX: usize = 65535;

/// How kernels use the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Registers only: for adapters on which barriers are slow.
    Registers,
    /// Registers, with what is loaded handed around among four neighbours: for such adapters that have subgroups.
    Quads,
    /// Tiles in workgroup memory: for GPUs.
    Tiles,
    /// Tiles, with sums and maxima by the instructions of subgroups: for GPUs that have them.
    Subgroups,
}

impl Family {
    /// Whether it is one for GPUs.
    pub fn has_tiles(self) -> bool {
        matches!(self, Self::Tiles | Self::Subgroups)
    }
}

/// What the tiles of linear layers multiply with beside f32: what an adapter has, and `arithmetic` found to suit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arithmetic {
    /// f16, for quantized weights.
    pub halves: bool,
    /// Four products of bytes at once, for 8-bit weights whose inputs suffice in 8 bits; before f16.
    pub bytes: bool,
}

/// A kernel and what one call of it is given.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub text: String,
    pub groups: [u32; 3],
    pub dims: [u32; 8],
    /// What it computes, for profiles, and its multiply-adds where these are what takes time.
    pub what: &'static str,
    pub products: usize,
}

impl Kernel {
    /// `dims` are filled up with zeros.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more workgroups than a device takes, and sizes beyond 32 bits.
    pub fn new(text: String, groups: [usize; 3], dims: &[usize]) -> Result<Self> {
        let mut filled = [0; 8];
        let mut fits = groups.iter().all(|count| (1..=GROUPS_MAX).contains(count));
        for (to, from) in filled.iter_mut().zip(dims) {
            *to = *from as u32;
            fits &= u32::try_from(*from).is_ok();
        }
        match fits {
            true => Ok(Self {
                text,
                groups: groups.map(|count| count as u32),
                dims: filled,
                what: "",
                products: 0,
            }),
            false => Err(Error::invalid(format!(
                "a kernel of {groups:?} workgroups for sizes {dims:?}"
            ))),
        }
    }

    /// Says what it computes; `products` are multiply-adds.
    pub fn computing(self, what: &'static str, products: usize) -> Self {
        Self {
            what,
            products,
            ..self
        }
    }
}

/// Compiled kernels by text.
#[derive(Clone, Debug, Default)]
pub struct Pipelines(HashMap<String, wgpu::ComputePipeline>);

impl Pipelines {
    /// The pipeline of a kernel's text, compiled on first use.
    pub fn get(&mut self, device: &wgpu::Device, text: &str) -> wgpu::ComputePipeline {
        if let Some(pipeline) = self.0.get(text) {
            return pipeline.clone();
        }
        let pipeline = compile(device, text, "main");
        self.0.insert(text.into(), pipeline.clone());
        pipeline
    }

    /// Takes those of `others` too.
    pub fn extend(&mut self, others: &Self) {
        let others = others.0.iter();
        self.0
            .extend(others.map(|(text, made)| (text.clone(), made.clone())));
    }
}

/// Compiles the entry point `entry` of `text`.
pub fn compile(device: &wgpu::Device, text: &str, entry: &str) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}
