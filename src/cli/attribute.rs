//! `data-attribution attribute`: the browser's computation, natively.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::attribution::{
    Ask, Attribution, Attributor, Completeness, Host, Quality, ResultHit, Silent, Timings,
};
use crate::checkpoint::NpyFile;
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
    #[arg(required_unless_present = "features")]
    images: Vec<PathBuf>,
    /// Features of queries [n, D] (.npy), as the backbone gives them, beside or instead of images.
    #[arg(long)]
    features: Option<PathBuf>,
    /// Number of training images to show.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// How much of a clustered index is read.
    #[arg(long, value_enum, default_value = "balanced")]
    quality: QualityChoice,
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

#[derive(Clone, Copy, ValueEnum)]
enum QualityChoice {
    Fast,
    Balanced,
    Exact,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    image: &'a str,
    device: &'static str,
    hits: &'a [ResultHit],
    remaining_influence: f64,
    remaining_low: f64,
    remaining_high: f64,
    completeness: Completeness,
    fetched_bytes: u64,
    cached_bytes: u64,
    requests: u64,
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
        if let Some(path) = &self.features {
            self.features(&attributor, path)?;
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
        let ask = self.ask();
        let mut answer = pollster::block_on(attributor.attribute(&pixels, ask, &Silent))?;
        answer.timings.decode_ms = decode_ms;
        answer.timings.total_ms += decode_ms;
        self.show(attributor, &image.display().to_string(), &answer)
    }

    /// Attributes the rows of a matrix.
    fn features(&self, attributor: &Attributor<Folder>, path: &Path) -> Result<()> {
        let rows = NpyFile::open(path)?;
        for row in 0..rows.shape()[0] {
            let feature = rows.read_rows_f32(row, 1)?;
            let answer = attributor.attribute_feature(&feature, self.ask(), &Silent);
            let answer = pollster::block_on(answer)?;
            self.show(attributor, &format!("{}[{row}]", path.display()), &answer)?;
        }
        Ok(())
    }

    fn ask(&self) -> Ask {
        Ask {
            top_k: self.top,
            quality: match self.quality {
                QualityChoice::Fast => Quality::Fast,
                QualityChoice::Balanced => Quality::Balanced,
                QualityChoice::Exact => Quality::Exact,
            },
        }
    }

    fn show(
        &self,
        attributor: &Attributor<Folder>,
        query: &str,
        answer: &Attribution,
    ) -> Result<()> {
        match self.json {
            true => {
                let line = Line {
                    image: query,
                    device: attributor.device_name(),
                    hits: &answer.hits,
                    remaining_influence: answer.remaining_influence,
                    remaining_low: answer.remaining_low,
                    remaining_high: answer.remaining_high,
                    completeness: answer.completeness,
                    fetched_bytes: answer.fetched_bytes,
                    cached_bytes: answer.cached_bytes,
                    requests: answer.requests,
                    timings: answer.timings,
                };
                println!("{}", serde_json::to_string(&line)?);
            }
            false => print(query, answer),
        }
        Ok(())
    }
}

fn print(query: &str, answer: &Attribution) {
    println!("{query}");
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
    let part = &answer.completeness;
    if !part.influence_exact {
        println!(
            "  read {} of {} rows, {} by their fine rows; estimated recall {:.1} %",
            part.rows_read,
            part.rows,
            part.reranked,
            100.0 * part.estimated_recall
        );
    }
}
