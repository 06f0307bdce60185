//! The scoring kernels as compiled pipelines, made once per device; scans once per form of rows.
//!
//! Every shader here validates under naga (when the tests run natively) and under Tint (in the browser
//! tests). Packed products and subgroups are used where the adapter has them, and needed nowhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::kernel_texts::{scan_source, selection_source};
use crate::device::GpuDevice;
use crate::format::clustered::Widths;
use crate::shader::shader;

/// Bytes of a (ordered score, id) pair.
pub const PAIR_BYTES: usize = 8;
/// Bytes of `State` in `candidates.wgsl` and `select_top_k.wgsl`.
pub const STATE_BYTES: usize = 16;
/// Bytes of the query in the scoring shaders.
pub const QUERY_BYTES: usize = 512 * 16;
/// Bytes of workgroup memory for selections on a processor: with 16 KiB SwiftShader takes 1.4 s to compile one.
pub const MEMORY_LEAST: u32 = 2 << 10;
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
    /// Binds `resources` to this kernel's binding numbers, in order.
    pub fn bind(
        &self,
        gpu: &GpuDevice,
        resources: &[wgpu::BindingResource<'_>],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = self
            .bindings
            .iter()
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: resource.clone(),
            })
            .collect();
        gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    #[cfg(feature = "cli")]
    pub(super) fn pipeline(&self) -> &wgpu::ComputePipeline {
        &self.pipeline
    }

    /// Records one dispatch of `groups` workgroups.
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, group: &wgpu::BindGroup, groups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
    }
}

/// How a scan multiplies; the sums are exact and the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Products {
    /// Each field by itself: what software adapters are fast at, and every browser has.
    Single,
    /// Four at once, by packed dot products.
    Packed,
}

impl Products {
    /// The query of integers `codes` up to 4095 in size, four to a vector, as the shader reads it.
    pub fn query(self, codes: &[i32]) -> Vec<[u32; 4]> {
        let fours = codes.as_chunks::<4>().0.iter();
        match self {
            Self::Single => fours.map(|four| four.map(|code| code as u32)).collect(),
            Self::Packed => {
                let low = |code: i32| ((code + 32) & 63) - 32;
                let high = |code: i32| (code - low(code)) / 64;
                let word = |four: [i32; 4]| u32::from_le_bytes(four.map(|piece| piece as u8));
                fours
                    .map(|four| [word(four.map(low)), word(four.map(high)), 0, 0])
                    .collect()
            }
        }
    }
}

/// How a scan's candidates get their places in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Places {
    /// By an atomic addition of every invocation that has some.
    Atomics,
    /// By one for all invocations of a subgroup.
    Subgroups,
}

/// How a query is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub products: Products,
    pub places: Places,
    /// Bytes of workgroup memory that the selection of the best may use: one of [`memories`].
    pub memory: u32,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let products = match self.products {
            Products::Single => "single",
            Products::Packed => "packed",
        };
        let places = match self.places {
            Places::Atomics => "atomics",
            Places::Subgroups => "subgroups",
        };
        write!(
            f,
            "{products} products, {places}, {} KiB",
            self.memory >> 10
        )
    }
}

/// Bytes of workgroup memory that selections have a use for, as far as `device` has them: what suits a processor first.
pub fn memories(device: &wgpu::Device) -> impl Iterator<Item = u32> + use<> {
    let has = device.limits().max_compute_workgroup_storage_size;
    let more = [16 << 10, 32 << 10].into_iter();
    std::iter::once(MEMORY_LEAST).chain(more.filter(move |bytes| *bytes <= has))
}

/// All ways to scan that `gpu` has, for tests and benchmarks.
pub fn ways(gpu: &GpuDevice) -> Vec<Way> {
    let subgroups = gpu.has_subgroups().then_some(Places::Subgroups);
    let mut ways = Vec::new();
    for memory in memories(gpu.device()) {
        for products in [Products::Single, Products::Packed] {
            for places in std::iter::once(Places::Atomics).chain(subgroups) {
                ways.push(Way {
                    products,
                    places,
                    memory,
                });
            }
        }
    }
    ways
}

/// What a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// int8 rows of so many words.
    Rows { words: usize },
    /// Codes with so many words of 8, of 4 and of 2 bits.
    Codes { words: [usize; 3] },
}

impl Form {
    /// The form of codes of `widths`.
    pub fn of_codes(widths: Widths) -> Self {
        let words = [widths.eight / 4, widths.four / 8, widths.two / 16];
        Self::Codes { words }
    }
}

/// All kernels of the scorer.
pub struct Kernels {
    /// Scans, compiled for their form when one is first asked for.
    scans: RefCell<HashMap<(Form, Products, Places), Rc<Kernel>>>,
    /// Selections by their workgroup memory, compiled when one is first asked for.
    selections: RefCell<HashMap<u32, Rc<Kernel>>>,
    pub partial: Kernel,
    pub combine: Kernel,
}

impl Kernels {
    /// Compiles the kernels for `device`.
    pub fn new(device: &wgpu::Device) -> Self {
        let sum = module(device, shader!("normaliser.wgsl"));
        let sum = |entry, bindings| kernel(device, &sum, entry, bindings);
        Self {
            scans: RefCell::default(),
            selections: RefCell::default(),
            partial: sum("partial", &[0, 1, 2, 3]),
            combine: sum("combine", &[2, 3]),
        }
    }

    /// The selection of the best, in so many bytes of workgroup memory.
    pub fn selection(&self, device: &wgpu::Device, memory: u32) -> Rc<Kernel> {
        let compile = || {
            let module = module(device, &selection_source(memory));
            Rc::new(kernel(device, &module, "main", &[0, 1, 2, 3]))
        };
        let mut selections = self.selections.borrow_mut();
        selections.entry(memory).or_insert_with(compile).clone()
    }

    /// The scan of rows of `form`.
    pub fn scan(
        &self,
        device: &wgpu::Device,
        form: Form,
        products: Products,
        places: Places,
    ) -> Rc<Kernel> {
        let compile = || {
            let bindings: &[u32] = match form {
                Form::Rows { .. } => &[0, 1, 2, 3, 4, 5, 6],
                Form::Codes { .. } => &[0, 1, 2, 3, 4, 5, 6, 7],
            };
            let module = module(device, &scan_source(form, products, places));
            Rc::new(kernel(device, &module, "main", bindings))
        };
        let mut scans = self.scans.borrow_mut();
        scans
            .entry((form, products, places))
            .or_insert_with(compile)
            .clone()
    }
}

fn module(device: &wgpu::Device, source: &str) -> wgpu::ShaderModule {
    device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    })
}

fn kernel(
    device: &wgpu::Device,
    module: &wgpu::ShaderModule,
    entry: &str,
    bindings: &'static [u32],
) -> Kernel {
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: None,
        module,
        entry_point: Some(entry),
        compilation_options: Default::default(),
        cache: None,
    });
    Kernel { pipeline, bindings }
}
