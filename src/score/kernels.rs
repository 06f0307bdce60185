//! The scoring kernels as compiled pipelines, made once per device; scans once per form of rows.
//!
//! Every shader here validates under naga (when the tests run natively) and under Tint (in the browser
//! tests). Packed products and subgroups are used where the adapter has them, and needed nowhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use crate::backbone::recorded::template::Values;
use crate::device::GpuDevice;
use crate::format::clustered::Widths;
use crate::shader::{ENABLE_SUBGROUPS, shader};

/// Bytes of a (ordered score, id) pair.
pub const PAIR_BYTES: usize = 8;
/// Bytes of `State` in `candidates.wgsl` and `select_top_k.wgsl`.
pub const STATE_BYTES: usize = 16;
/// Rounds of a selection.
pub const ROUNDS: usize = 8;
/// Bytes of the rounds' results in `select_top_k.wgsl`.
pub const ROUND_BYTES: usize = (ROUNDS + 1) * 16;
/// Bytes of the rounds' histograms.
pub const HISTOGRAM_BYTES: usize = ROUNDS * 256 * 4;
/// Bytes of the query in the scoring shaders.
pub const QUERY_BYTES: usize = 512 * 16;
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

/// All ways to scan that an adapter has, with `subgroups` or without, and their names; for tests and benchmarks.
pub fn ways(subgroups: bool) -> impl Iterator<Item = (Products, Places, &'static str)> {
    [
        (Products::Single, Places::Atomics, "single products"),
        (Products::Packed, Places::Atomics, "packed products"),
        (
            Products::Single,
            Places::Subgroups,
            "single products, subgroups",
        ),
        (
            Products::Packed,
            Places::Subgroups,
            "packed products, subgroups",
        ),
    ]
    .into_iter()
    .filter(move |(_, places, _)| subgroups || *places == Places::Atomics)
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
    pub begin: Kernel,
    pub histogram: Kernel,
    pub choose: Kernel,
    pub gather: Kernel,
    pub finish: Kernel,
    pub partial: Kernel,
    pub combine: Kernel,
}

impl Kernels {
    /// Compiles the kernels for `device`.
    pub fn new(device: &wgpu::Device) -> Self {
        let select = module(device, shader!("select_top_k.wgsl"));
        let sum = module(device, shader!("normaliser.wgsl"));
        let select = |entry, bindings| kernel(device, &select, entry, bindings);
        let sum = |entry, bindings| kernel(device, &sum, entry, bindings);
        Self {
            scans: RefCell::default(),
            begin: select("begin", &[0, 1, 2, 4]),
            histogram: select("histogram", &[0, 1, 2, 4, 5]),
            choose: select("choose", &[0, 4, 6]),
            gather: select("gather", &[1, 2, 3, 4]),
            finish: select("finish", &[0, 1, 3, 4]),
            partial: sum("partial", &[0, 1, 2, 3]),
            combine: sum("combine", &[2, 3]),
        }
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

/// Words that are written out one by one.
const UNROLLED: usize = 16;

/// The shader that scans rows of `form`. Up to [`UNROLLED`] words of a width are written out one by one: their
/// places in the query are constants, which processors multiply by without loading them first. More words
/// are read by a loop over as many, as compilers take long over long functions.
fn scan_source(form: Form, products: Products, places: Places) -> String {
    let words_part = match products {
        Products::Single => shader!("score_words.wgsl"),
        Products::Packed => shader!("score_dots.wgsl"),
    };
    let (classes, score) = match form {
        Form::Rows { words } => ([words, 0, 0], shader!("score_rows.wgsl")),
        Form::Codes { words } => (words, shader!("score_codes.wgsl")),
    };
    let (enable, places_part, lanes, lane) = match places {
        Places::Atomics => ("", shader!("places_atomics.wgsl"), "", ""),
        Places::Subgroups => (
            ENABLE_SUBGROUPS,
            shader!("places_subgroups.wgsl"),
            ", @builtin(subgroup_invocation_id) lane: u32",
            ", lane",
        ),
    };
    let values = Values::default().with("lanes", lanes).with("lane", lane);
    let mut lines = String::new();
    let mut q = 0;
    // Writing to a String cannot fail.
    for (words, (name, vectors)) in classes
        .into_iter()
        .zip([("eight", 1), ("four", 2), ("two", 4)])
    {
        let loops = if words > UNROLLED {
            words / UNROLLED
        } else {
            0
        };
        if loops > 0 {
            let step = UNROLLED * vectors;
            let end = q + loops * step;
            let _ = writeln!(lines, "for (var q = {q}u; q < {end}u; q += {step}u) {{");
            for word in 0..UNROLLED {
                let _ = writeln!(lines, "{name}(&sums, planes[at], q + {}u);", word * vectors);
                lines.push_str("at += stride;\n");
            }
            lines.push_str("}\n");
            q = end;
        }
        for _ in loops * UNROLLED..words {
            let _ = writeln!(lines, "{name}(&sums, planes[at], {q}u);\nat += stride;");
            q += vectors;
        }
    }
    format!(
        "{enable}{}{places_part}{words_part}fn products(first: u32, stride: u32) -> vec4<i32> {{\n\
         var sums = Sums();\nvar at = first;\n{lines}return whole(sums);\n}}\n{score}{}",
        shader!("candidates.wgsl"),
        values.fill(shader!("scan.wgsl")),
    )
}
