//! `data-attribution bench-kernels`: forward passes on the GPU at hand, kernel by kernel, beside what it can do at best.

use anyhow::{Result, bail};
use clap::Args;

use crate::backbone::pack::Precision;
use crate::backbone::precision_table::{Rounding, cosine, generated_backbone};
use crate::backbone::{Network, Unpaced, generated, registry};
use crate::device::peaks::Peaks;
use crate::device::{Compute, GpuDevice};

#[derive(Args)]
pub struct BenchKernels {
    /// Names of backbones, with generated weights.
    #[arg(default_values_t = ["dino", "dinov2-s14"].map(String::from))]
    backbones: Vec<String>,
    /// Megabytes of the copy that is measured.
    #[arg(long, default_value_t = 256)]
    copy: usize,
    /// Only the whole passes.
    #[arg(long)]
    brief: bool,
}

const FORMS: [(Precision, &str); 3] = [
    (Precision::F32, "f32"),
    (Precision::Int8, "int8"),
    (Precision::Int4, "int4"),
];

impl BenchKernels {
    pub fn run(self) -> Result<()> {
        let gpu = pollster::block_on(GpuDevice::open())?;
        let family = pollster::block_on(gpu.family())?;
        let peaks = Peaks::of(&gpu, self.copy)?;
        println!(
            "{}, {family:?}: {:.2} TFLOP/s in f32, copies at {:.0} GB/s, {:.1} us a dispatch",
            gpu.description(),
            2e-12 * peaks.products,
            1e-9 * peaks.copied,
            1e6 * peaks.dispatch
        );
        let image = generated::generated_image(0)?;
        for name in &self.backbones {
            let Some(spec) = registry::find(name) else {
                bail!("no backbone {name:?}");
            };
            let exact = generated_backbone(&spec, FORMS[0].0, Rounding::Nearest, &Compute::Cpu)?;
            let exact = pollster::block_on(exact.embed(&image, &Unpaced))?;
            for (precision, form) in FORMS {
                let compute = Compute::Gpu(gpu.clone());
                let backbone = generated_backbone(&spec, precision, Rounding::Nearest, &compute)?;
                let found = pollster::block_on(backbone.embed(&image, &Unpaced))?;
                let mut best = f64::INFINITY;
                let input = spec.preprocess.apply(&image)?;
                for _ in 0..20 {
                    let start = std::time::Instant::now();
                    pollster::block_on(backbone.embed_preprocessed(&input, &Unpaced))?;
                    best = best.min(start.elapsed().as_secs_f64());
                }
                let Network::Gpu(recorded) = backbone.network() else {
                    bail!("{name} is not on the GPU");
                };
                let (steps, whole) = recorded.profile()?;
                let linear: Vec<_> = steps.iter().filter(|s| s.what == "linear").collect();
                let products: f64 = linear.iter().map(|s| (s.calls * s.products) as f64).sum();
                let seconds: f64 = linear.iter().map(|s| s.calls as f64 * s.seconds).sum();
                println!(
                    "\n{name}, {form}: {:.2} ms on the device, {:.2} ms with upload and readback; linear layers at {:.1} % of \
                     the peak; cosine with f32 on the CPU {:.6}",
                    1e3 * whole,
                    1e3 * best,
                    100.0 * products / seconds / peaks.products,
                    cosine(&found, &exact)
                );
                for step in steps.iter().filter(|_| !self.brief) {
                    let share = step.products as f64 / step.seconds / peaks.products;
                    println!(
                        "  {} x {} {:?}: {:.1} us, {:.1} % of the peak, {:.1} % of the time",
                        step.calls,
                        step.what,
                        step.sides,
                        1e6 * step.seconds,
                        100.0 * share,
                        100.0 * step.calls as f64 * step.seconds / whole
                    );
                }
            }
        }
        Ok(())
    }
}
