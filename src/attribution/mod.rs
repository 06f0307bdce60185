//! From a query image to ranked training images with influences: the way itself, for page and tool.
//!
//! Open once (manifest, device, backbone), then attribute any number of images. Hits that are shown
//! while shards still arrive carry no influence: it exists only once every row was scored.

pub mod event;
pub mod items;
mod stream;

pub use event::{Event, Host, Info, ResultHit, Silent, Timings};

use std::cell::Cell;

use crate::backbone::{Backbone, Pace, parity};
use crate::device::{Compute, DeviceChoice};
use crate::error::{Error, Result};
use crate::format::{Manifest, ModelHead};
use crate::preprocess::Pixels;
use crate::score::{CpuScorer, GpuScorer, QuantizedQuery, Scorer};
use crate::source::Source;
use items::ItemStore;
use stream::ShardMemory;

/// Largest number of hits that a caller may ask for.
pub const TOP_K_MAX: usize = 10_000;

/// An opened index with its backbone on a device.
pub struct Attributor<S: Source> {
    source: S,
    manifest_name: String,
    manifest: Manifest,
    backbone: Backbone,
    compute: Compute,
    device_reason: String,
    items: ItemStore,
    memory: ShardMemory,
}

/// The answer to one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// Best first.
    pub hits: Vec<ResultHit>,
    /// Share of the influence that lies on images outside of `hits`.
    pub remaining_influence: f64,
    /// Number of training images that were scored.
    pub count: u64,
    pub timings: Timings,
    /// Bytes downloaded for this query, and bytes taken from the cache.
    pub fetched_bytes: u64,
    pub cached_bytes: u64,
}

/// Lets a forward pass report to the host and end with it.
struct HostPace<'a, H>(&'a H);

impl<H: Host> Pace for HostPace<'_, H> {
    async fn step(&self, step: usize, steps: usize) -> Result<()> {
        self.0.event(Event::Embed { step, steps });
        self.0.breathe().await
    }
}

impl<S: Source> Attributor<S> {
    /// Reads the manifest `name`, chooses the device and loads the backbone.
    ///
    /// # Errors
    /// Those of [`Source`] and of the formats; [`Error::IdentityMismatch`] when the model head is not
    /// the one that made the rows; [`Error::Device`] when a GPU was asked for and cannot be used.
    pub async fn open(
        source: S,
        name: &str,
        choice: DeviceChoice,
        host: &impl Host,
    ) -> Result<Self> {
        let manifest_bytes = source.read_manifest(name).await?;
        let manifest = Manifest::parse(name, &manifest_bytes)?;
        host.breathe().await?;
        let head_file = manifest.backbone.head.clone();
        let head = source.read(&head_file, &|_| {}).await?;
        let head = ModelHead::parse(&head_file.file, &head.bytes)?;
        check_identity(&manifest, &head)?;
        source
            .keep(name, &manifest_bytes, &manifest.files(&head))
            .await;
        host.event(Event::Choosing);
        let (compute, device_reason) = parity::choose(choice, &|| host.now_ms()).await?;
        host.event(Event::Device {
            device: compute.name().into(),
            reason: device_reason.clone(),
        });
        host.event(Event::Manifest {
            info: Info::new(&manifest, &compute, &device_reason),
        });
        host.breathe().await?;
        let (loaded, cached) = (Cell::new(0), Cell::new(0));
        let total_bytes = head.bytes();
        let backbone = Backbone::load(&source, &head_file.file, head, &compute, &|bytes, hit| {
            let counter = if hit { &cached } else { &loaded };
            counter.set(counter.get() + bytes);
            host.event(Event::Model {
                loaded_bytes: loaded.get() + cached.get(),
                total_bytes,
                cached_bytes: cached.get(),
            });
        })
        .await?;
        host.breathe().await?;
        Ok(Self {
            source,
            manifest_name: name.into(),
            manifest,
            backbone,
            compute,
            device_reason,
            items: ItemStore::default(),
            memory: ShardMemory::default(),
        })
    }

    /// What is known of the index and the device.
    pub fn info(&self) -> Info {
        Info::new(&self.manifest, &self.compute, &self.device_reason)
    }

    /// Where the index comes from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Identity of the backbone in use.
    pub fn backbone_identity(&self) -> &str {
        &self.backbone.head().identity
    }

    /// `cpu` or `webgpu`.
    pub fn device_name(&self) -> &'static str {
        self.compute.name()
    }

    /// The feature of `image`, as the query would be ranked by; unit length, [D].
    ///
    /// # Errors
    /// See [`Backbone::embed`].
    pub async fn embed(&self, image: &Pixels, host: &impl Host) -> Result<Vec<f32>> {
        let feature = self.backbone.embed(image, &HostPace(host)).await?;
        crate::score::query::normalised(&feature)
    }

    /// Ranks the training images by their score with `image`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for `top_k` outside of 1..=[`TOP_K_MAX`]; those of
    /// [`Backbone::embed`], of [`Source::read`] and of the formats; [`Error::Cancelled`] by the host.
    pub async fn attribute(
        &self,
        image: &Pixels,
        top_k: usize,
        host: &impl Host,
    ) -> Result<Attribution> {
        if top_k == 0 || top_k > TOP_K_MAX {
            return Err(Error::invalid(format!(
                "topK {top_k} is not in 1..={TOP_K_MAX}"
            )));
        }
        let start = host.now_ms();
        host.event(Event::Preprocess {
            width: image.width,
            height: image.height,
        });
        let feature = self.embed(image, host).await?;
        let embedded = host.now_ms();
        let mut result = self.rank(&feature, top_k, host).await?;
        let end = host.now_ms();
        result.timings = Timings {
            embed_ms: embedded - start,
            score_ms: end - embedded,
            total_ms: end - start,
            ..result.timings
        };
        Ok(result)
    }

    /// Ranks the training images by their score with `feature` [D], of any length.
    ///
    /// # Errors
    /// As [`Attributor::attribute`].
    pub async fn rank(
        &self,
        feature: &[f32],
        top_k: usize,
        host: &impl Host,
    ) -> Result<Attribution> {
        if feature.len() != self.manifest.dimension {
            return Err(Error::invalid(format!(
                "a feature of {} values for an index of dimension {}",
                feature.len(),
                self.manifest.dimension
            )));
        }
        let query = QuantizedQuery::new(feature)?;
        let count = self.manifest.count;
        let k = top_k.min(count as usize);
        let scorer = match &self.compute {
            Compute::Cpu => Scorer::Cpu(CpuScorer::new(query, count, k)?),
            Compute::Gpu(gpu) => {
                Scorer::Gpu(Box::new(GpuScorer::new(gpu.clone(), query, count, k)?))
            }
        };
        self.stream(scorer, host).await
    }

    fn shard_list(&self) -> Result<&[crate::format::Shard]> {
        Ok(&self.manifest.fine(&self.manifest_name)?.shards)
    }
}

/// Refuses to compare features of two backbones, or mapped with unmapped ones.
fn check_identity(manifest: &Manifest, head: &ModelHead) -> Result<()> {
    let wanted = &manifest.backbone;
    if wanted.identity != head.identity || manifest.dimension != head.dimension {
        return Err(Error::IdentityMismatch {
            index: format!(
                "{} {} (D {})",
                wanted.name,
                short(&wanted.identity),
                manifest.dimension
            ),
            model: format!(
                "{} {} (D {})",
                head.name,
                short(&head.identity),
                head.dimension
            ),
        });
    }
    if let Some(mapper) = manifest
        .synth_mapper
        .as_ref()
        .or(manifest.real_mapper.as_ref())
    {
        return Err(Error::IdentityMismatch {
            index: format!("mapper {} {}", mapper.name, short(&mapper.identity)),
            model: format!("{} without a mapper", head.name),
        });
    }
    Ok(())
}

fn short(identity: &str) -> &str {
    identity.get(..12).unwrap_or(identity)
}
