//! `data-attribution bench-kernels`: forward passes on the GPU at hand, kernel by kernel, beside what it can do at best.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::backbone::pack::Precision;
use crate::backbone::precision_table::{Rounding, cosine, generated_backbone};
use crate::backbone::recorded::arithmetic::{GROUPS, rates};
use crate::backbone::recorded::kernel::{Arithmetic, Family};
use crate::backbone::recorded::profile::Step;
use crate::backbone::recorded::texts::texts;
use crate::backbone::registry::BackboneSpec;
use crate::backbone::{Network, Unpaced, generated, parity, registry};
use crate::clock::now_ms;
use crate::device::peaks::Peaks;
use crate::device::{Compute, DeviceChoice, GpuDevice};

/// Passes of which the fastest counts.
const PASSES: usize = 20;

#[derive(Args)]
pub struct BenchKernels {
    /// Names of backbones, with generated weights.
    #[arg(default_values_t = ["dino", "dinov2-s14"].map(String::from))]
    backbones: Vec<String>,
    /// Only these forms of the weights.
    #[arg(long, value_delimiter = ',', default_value = "f32,int8,int4")]
    forms: Vec<String>,
    /// Megabytes of the copy that is measured.
    #[arg(long, default_value_t = 256)]
    copy: usize,
    /// What tiles multiply with, in turn for each form: f32, f16, bytes. Unless given, what was measured to suit the device; for
    /// devices that other kernels suit, f32.
    #[arg(long, value_delimiter = ',')]
    products: Vec<String>,
    /// Take the kernels for GPUs even if others suit the device.
    #[arg(long)]
    tiles: bool,
    /// Write the texts of all kernels that backbones may be given to this folder instead, as other compilers than the device's may
    /// want to check them.
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Print one JSON object for the device, and one for each backbone and form.
    #[arg(long)]
    json: bool,
}

/// One backbone in one form.
struct Measured {
    steps: Vec<Step>,
    device_seconds: f64,
    whole_seconds: f64,
    cosine: f64,
}

impl Measured {
    /// Multiply-adds of the linear layers in a second.
    fn linear(&self) -> f64 {
        let linear = self.steps.iter().filter(|step| step.what == "linear");
        let [products, seconds] = linear.fold([0.0; 2], |[products, seconds], step| {
            let calls = step.calls as f64;
            [
                products + calls * step.products as f64,
                seconds + calls * step.seconds,
            ]
        });
        products / seconds
    }
}

/// Writes `texts` to `folder`, each to a file with its number.
pub(super) fn write_texts(folder: &Path, texts: impl IntoIterator<Item = String>) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (i, text) in texts.into_iter().enumerate() {
        std::fs::write(folder.join(format!("{i}.wgsl")), text)?;
    }
    Ok(())
}

impl BenchKernels {
    pub fn run(self) -> Result<()> {
        if let Some(folder) = &self.texts {
            return write_texts(folder, texts()?);
        }
        // Opening the device is in it.
        let start = Instant::now();
        let (auto, _) = pollster::block_on(parity::choose(DeviceChoice::Auto, &now_ms))?;
        let auto_ms = 1e3 * start.elapsed().as_secs_f64();
        let gpu = pollster::block_on(GpuDevice::open())?;
        let mut family = pollster::block_on(gpu.family())?;
        let suited = gpu.arithmetic();
        if self.tiles && !family.has_tiles() {
            family = Family::Tiles;
            gpu.take(family, suited);
        }
        let products_ms = match family.has_tiles() {
            true => pollster::block_on(rates(&gpu, &GROUPS))?,
            false => [None; 3],
        };
        let peaks = Peaks::of(&gpu, self.copy)?;
        let device = gpu.description();
        let teraflops = 2e-12 * peaks.products;
        if self.json {
            let line = json!({
                "device": device, "family": format!("{family:?}"), "teraflops": teraflops, "copied": peaks.copied,
                "dispatch_seconds": peaks.dispatch, "arithmetic": format!("{suited:?}"), "rates_ms": products_ms, "auto": auto.name(), "auto_ms": auto_ms,
            });
            println!("{line}");
        } else {
            println!(
                "{device}, {family:?}, {suited:?} (as many products in f32, f16, bytes: {products_ms:.1?} ms): {teraflops:.2} TFLOP/s in f32, copies at {:.0} GB/s, {:.1} us a dispatch; auto took {} in \
                 {auto_ms:.0} ms",
                1e-9 * peaks.copied,
                1e6 * peaks.dispatch,
                auto.name()
            );
        }
        for name in &self.backbones {
            let Some(spec) = registry::find(name) else {
                bail!("no backbone {name:?}");
            };
            let image = generated::generated_image(0)?;
            let exact =
                generated_backbone(&spec, Precision::F32, Rounding::Nearest, &Compute::Cpu)?;
            let exact = pollster::block_on(exact.embed(&image, &Unpaced))?;
            for form in &self.forms {
                if self.products.is_empty() {
                    self.say(name, form, &measure(&gpu, &spec, form, &exact)?, &peaks);
                }
                for products in &self.products {
                    gpu.take(family, arithmetic(products, &gpu)?);
                    let measured = measure(&gpu, &spec, form, &exact)?;
                    self.say(name, &format!("{form}, {products}"), &measured, &peaks);
                }
                gpu.take(family, suited);
            }
        }
        Ok(())
    }

    fn say(&self, name: &str, form: &str, measured: &Measured, peaks: &Peaks) {
        let share = measured.linear() / peaks.products;
        let (device, whole) = (measured.device_seconds, measured.whole_seconds);
        if self.json {
            let line = json!({
                "backbone": name, "form": form, "device_seconds": device, "whole_seconds": whole, "share": share,
                "cosine": measured.cosine, "steps": measured.steps,
            });
            return println!("{line}");
        }
        println!(
            "\n{name}, {form}: {:.2} ms on the device, {:.2} ms with upload and readback; linear layers at {:.1} % of the peak; \
             cosine with f32 on the CPU {:.6}",
            1e3 * device,
            1e3 * whole,
            100.0 * share,
            measured.cosine
        );
        for step in &measured.steps {
            println!(
                "  {} x {} {:?}: {:.1} us, {:.1} % of the peak, {:.1} % of the time",
                step.calls,
                step.what,
                step.sides,
                1e6 * step.seconds,
                100.0 * step.products as f64 / step.seconds / peaks.products,
                100.0 * step.calls as f64 * step.seconds / device
            );
        }
    }
}

fn arithmetic(products: &str, gpu: &GpuDevice) -> Result<Arithmetic> {
    let (halves, bytes) = match products {
        "f32" => (false, false),
        "f16" if gpu.has_halves() => (true, false),
        "bytes" if gpu.has_packed() => (false, true),
        _ => bail!("no products {products:?} on {}", gpu.description()),
    };
    Ok(Arithmetic { halves, bytes })
}

/// `exact` is the feature by f32 weights on the CPU.
fn measure(
    gpu: &Rc<GpuDevice>,
    spec: &BackboneSpec,
    form: &str,
    exact: &[f32],
) -> Result<Measured> {
    let precision = match form {
        "f32" => Precision::F32,
        "int8" => Precision::Int8,
        "int4" => Precision::Int4,
        _ => bail!("no form {form:?}"),
    };
    let image = generated::generated_image(0)?;
    let compute = Compute::Gpu(gpu.clone());
    let backbone = generated_backbone(spec, precision, Rounding::Marked, &compute)?;
    let found = pollster::block_on(backbone.embed(&image, &Unpaced))?;
    let input = spec.preprocess.apply(&image)?;
    let mut whole_seconds = f64::INFINITY;
    for _ in 0..if gpu.is_software() { 3 } else { PASSES } {
        let start = Instant::now();
        pollster::block_on(backbone.embed_preprocessed(&input, &Unpaced))?;
        whole_seconds = whole_seconds.min(start.elapsed().as_secs_f64());
    }
    let Network::Gpu(recorded) = backbone.network() else {
        bail!("{} is not on the GPU", spec.name);
    };
    let (steps, device_seconds) = recorded.profile(if gpu.is_software() { 1 } else { PASSES })?;
    Ok(Measured {
        steps,
        device_seconds,
        whole_seconds,
        cosine: cosine(&found, exact),
    })
}
