//! `data-attribution attribute`: the browser's computation, natively.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::attribution::{Attribution, Attributor, Host, ResultHit, Silent, Timings};
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::pack::{MANIFEST, read_head};
use crate::preprocess::decode;
use crate::source::folder::Folder;

#[derive(Args)]
pub struct Attribute {
    /// Folder of the index.
    #[arg(long)]
    index: PathBuf,
    /// Folder of the backbone, to make sure that it is the index's; the index carries a copy.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Images to attribute.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Number of training images to show.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Device to compute on.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// Images with more pixels are refused.
    #[arg(long, default_value_t = crate::preprocess::DEFAULT_LIMIT_MEGAPIXELS)]
    limit_megapixels: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Device {
    Auto,
    Cpu,
    Webgpu,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    image: &'a str,
    device: &'static str,
    hits: &'a [ResultHit],
    remaining_influence: f64,
    timings: Timings,
}

impl Attribute {
    pub fn run(self) -> Result<()> {
        let choice = match self.device {
            Device::Auto => DeviceChoice::Auto,
            Device::Cpu => DeviceChoice::Cpu,
            Device::Webgpu => DeviceChoice::WebGpu,
        };
        let source = Folder::new(&self.index);
        let attributor = pollster::block_on(Attributor::open(source, MANIFEST, choice, &Silent))
            .with_context(|| format!("opening {}", self.index.display()))?;
        if let Some(model) = &self.model {
            let identity = read_head(model)?.identity;
            if identity != attributor.backbone_identity() {
                return Err(Error::IdentityMismatch {
                    index: attributor.backbone_identity().into(),
                    model: identity,
                }
                .into());
            }
        }
        let mut failed = 0;
        for image in &self.images {
            match self.one(&attributor, image) {
                Ok(()) => {}
                Err(error) if self.images.len() > 1 => {
                    failed += 1;
                    eprintln!("{}: {error:#}", image.display());
                }
                Err(error) => return Err(error.context(image.display().to_string())),
            }
        }
        anyhow::ensure!(
            failed == 0,
            "{failed} of {} images failed",
            self.images.len()
        );
        Ok(())
    }

    fn one(&self, attributor: &Attributor<Folder>, image: &Path) -> Result<()> {
        let bytes = std::fs::read(image)?;
        let start = Silent.now_ms();
        let pixels = decode(&bytes, self.limit_megapixels)?;
        let decode_ms = Silent.now_ms() - start;
        let mut answer = pollster::block_on(attributor.attribute(&pixels, self.top, &Silent))?;
        answer.timings.decode_ms = decode_ms;
        answer.timings.total_ms += decode_ms;
        match self.json {
            true => {
                let line = Line {
                    image: &image.display().to_string(),
                    device: attributor.device_name(),
                    hits: &answer.hits,
                    remaining_influence: answer.remaining_influence,
                    timings: answer.timings,
                };
                println!("{}", serde_json::to_string(&line)?);
            }
            false => print(image, &answer),
        }
        Ok(())
    }
}

fn print(image: &Path, answer: &Attribution) {
    println!("{}", image.display());
    println!("  rank  similarity  influence  training image");
    for hit in &answer.hits {
        println!(
            "  {:4}  {:10.4}  {:8.2} %  {}",
            hit.rank,
            hit.score,
            100.0 * hit.influence.unwrap_or_default(),
            hit.name
        );
    }
    println!(
        "  the other {} images together: {:.2} %",
        answer.count - answer.hits.len() as u64,
        100.0 * answer.remaining_influence
    );
}
