//! From a query image to ranked training images with influences: the way itself, for page and tool.
//!
//! Open once (manifest, device, backbone), then attribute any number of images. Hits that are shown
//! while shards still arrive carry no influence: it exists only once every row was scored.

mod arriving;
pub mod ask;
mod clustered;
pub mod estimate;
pub mod event;
pub mod items;
mod memory;
mod placed;
#[cfg(test)]
mod polled;
mod reading;
mod stream;
mod tally;

pub use ask::{Ask, Quality, TOP_K_MAX};
pub use event::{Completeness, Event, Host, Info, ResultHit, Silent, Timings};

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::try_join3;

use crate::backbone::Pace;
use crate::device::{Compute, DeviceChoice};
use crate::error::{Error, Result};
use crate::format::shard::FineShard;
use crate::format::{Manifest, MapperHead, MapperRole, ModelHead};
use crate::mapper::Mapper;
use crate::preprocess::Pixels;
use crate::score::query::normalised;
use crate::source::Source;
use clustered::ClusteredIndex;
use items::ItemStore;
use memory::Memory;
use placed::{Files, Placed, recovering};

/// An opened index with its backbone on a device, and its mapper.
pub struct Attributor<S: Source> {
    source: S,
    manifest_name: String,
    manifest: Manifest,
    /// On the device that is in use now.
    placed: RefCell<Rc<Placed>>,
    /// The synth side, for queries; `None` for an index of unmapped features.
    mapper: Option<Mapper>,
    items: ItemStore,
    memory: Memory<FineShard>,
    /// `None` for a flat index.
    clustered: Option<ClusteredIndex>,
}

/// The answer to one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// Best first.
    pub hits: Vec<ResultHit>,
    /// Share of the influence that lies on images outside of `hits`.
    pub remaining_influence: f64,
    /// Ends of the interval that holds it with a probability of 95 %; equal where it is exact.
    pub remaining_low: f64,
    pub remaining_high: f64,
    /// Number of training images that were scored.
    pub count: u64,
    pub completeness: Completeness,
    pub timings: Timings,
    /// Bytes downloaded for this query, those of reads that were given up too, and bytes taken from the cache.
    pub fetched_bytes: u64,
    pub cached_bytes: u64,
    /// Files and ranges of files that were downloaded for this query, items included; not thumbnails, which
    /// whoever shows them fetches.
    pub requests: u64,
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
    /// Reads the manifest `name`, chooses the device and loads the backbone and the queries' mapper.
    ///
    /// # Errors
    /// Those of [`Source`] and of the formats; [`Error::IdentityMismatch`] when the model head is not
    /// the one that made the rows or the mapper not their mapper's pair; [`Error::Device`] when a GPU was asked for and cannot be used.
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
        let read_head = async {
            let head = source.read(&head_file, &|_| {}).await?;
            ModelHead::parse(&head_file.file, &head.bytes)
        };
        // Beside each other: none is large, and each is a round trip.
        let (head, mapper, clustered) = try_join3(
            read_head,
            read_mapper_head(&source, &manifest),
            ClusteredIndex::open(&source, name, &manifest, host),
        )
        .await?;
        check_identity(&manifest, &head, mapper.as_ref())?;
        let mut files = manifest.files(&head, mapper.as_ref());
        if let Some(clustered) = &clustered {
            files.extend(clustered.head().file_names());
        }
        // Before anything large is stored: it makes room.
        source.keep(name, &manifest_bytes, &files).await;
        let (loaded, cached) = (Cell::new(0), Cell::new(0));
        let total_bytes = head.bytes() + mapper.as_ref().map_or(0, |mapper| mapper.file.bytes);
        let on_bytes = |bytes: u64, hit: bool| {
            let counter = if hit { &cached } else { &loaded };
            counter.set(counter.get() + bytes);
            host.event(Event::Model {
                loaded_bytes: loaded.get() + cached.get(),
                total_bytes,
                cached_bytes: cached.get(),
            });
        };
        let files = Files {
            source: &source,
            head_file: &head_file.file,
            head: &head,
        };
        let chosen = |compute: &Compute, reason: &str| {
            let info = Info::new(&manifest, compute, reason);
            host.event(Event::Manifest { info });
        };
        let placed = Placed::open(&files, choice, host, &chosen, &on_bytes).await?;
        let mapper = match (mapper, manifest.mapper_head()) {
            (Some(head), Some(file)) => {
                Some(Mapper::load(&source, &file.file, head, &on_bytes).await?)
            }
            _ => None,
        };
        host.breathe().await?;
        Ok(Self {
            source,
            manifest_name: name.into(),
            manifest,
            placed: RefCell::new(Rc::new(placed)),
            mapper,
            items: ItemStore::default(),
            memory: Memory::default(),
            clustered,
        })
    }

    /// What is known of the index and the device.
    pub fn info(&self) -> Info {
        Info::new(
            &self.manifest,
            &self.placed().compute,
            &self.placed().reason,
        )
    }

    /// Where the index comes from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Identity of the backbone in use.
    pub fn backbone_identity(&self) -> &str {
        &self.manifest.backbone.identity
    }

    /// `cpu` or `webgpu`.
    pub fn device_name(&self) -> &'static str {
        self.placed().compute.name()
    }

    fn placed(&self) -> Rc<Placed> {
        self.placed.borrow().clone()
    }

    /// What `work` gives on the device at hand, or on the next where that is lost.
    async fn recovering<T>(
        &self,
        host: &impl Host,
        work: impl AsyncFn(&Placed) -> Result<T>,
    ) -> Result<T> {
        let again = async |losses| {
            let placed = self.placed();
            let files = Files {
                source: &self.source,
                head_file: &self.manifest.backbone.head.file,
                head: placed.backbone.head(),
            };
            let moved = Placed::again(&files, losses, host).await?;
            *self.placed.borrow_mut() = Rc::new(moved);
            Ok(())
        };
        recovering(|| self.placed(), again, work).await
    }

    /// The feature of `image`, as the query would be ranked by: mapped where the index is, unit length,
    /// [D].
    ///
    /// # Errors
    /// See [`Backbone::embed`] and [`Mapper::apply`].
    pub async fn embed(&self, image: &Pixels, host: &impl Host) -> Result<Vec<f32>> {
        let embed = async |placed: &Placed| placed.backbone.embed(image, &HostPace(host)).await;
        self.mapped(self.recovering(host, embed).await?)
    }

    /// A feature as the backbone gives it, as a query is ranked by: mapped, unit length.
    fn mapped(&self, feature: Vec<f32>) -> Result<Vec<f32>> {
        let mapped = match &self.mapper {
            Some(mapper) => mapper.apply(&feature)?,
            None => feature,
        };
        normalised(&mapped)
    }

    /// Ranks the training images by their score with `image`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for `top_k` outside of 1..=[`TOP_K_MAX`]; those of
    /// [`Backbone::embed`], of [`Source::read`] and of the formats; [`Error::Cancelled`] by the host.
    pub async fn attribute(
        &self,
        image: &Pixels,
        ask: impl Into<Ask>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let ask = ask.into().check()?;
        let start = host.now_ms();
        host.event(Event::Preprocess {
            width: image.width,
            height: image.height,
        });
        let mut reading = self.begin(ask)?;
        let feature = reading.beside(self.embed(image, host), host).await?;
        let embedded = host.now_ms();
        let mut result = self.rank_read(&feature, ask, reading, host).await?;
        let end = host.now_ms();
        result.timings = Timings {
            embed_ms: embedded - start,
            score_ms: end - embedded,
            total_ms: end - start,
            ..result.timings
        };
        Ok(result)
    }

    /// Ranks the training images by a feature that was computed elsewhere: of the index's backbone, not
    /// mapped, of any length.
    ///
    /// # Errors
    /// As [`Attributor::attribute`]; [`Error::InvalidArgument`] for a feature of another dimension than the
    /// backbone's.
    pub async fn attribute_feature(
        &self,
        feature: &[f32],
        ask: impl Into<Ask>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let wanted = self.placed().backbone.head().dimension;
        if feature.len() != wanted {
            let found = feature.len();
            let what = format!("a feature of {found} values for a backbone of dimension {wanted}");
            return Err(Error::invalid(what));
        }
        let ask = ask.into().check()?;
        let start = host.now_ms();
        let mut result = self
            .rank(&self.mapped(feature.to_vec())?, ask, host)
            .await?;
        result.timings.score_ms = host.now_ms() - start;
        result.timings.total_ms = result.timings.score_ms;
        Ok(result)
    }

    /// Ranks the training images by their score with `feature` [D], of any length; it is as
    /// [`Attributor::embed`] gives it, so mapped already where the index is.
    ///
    /// # Errors
    /// As [`Attributor::attribute`].
    pub async fn rank(
        &self,
        feature: &[f32],
        ask: impl Into<Ask>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let ask = ask.into().check()?;
        if feature.len() != self.manifest.dimension {
            return Err(Error::invalid(format!(
                "a feature of {} values for an index of dimension {}",
                feature.len(),
                self.manifest.dimension
            )));
        }
        self.rank_read(feature, ask, self.begin(ask)?, host).await
    }

    /// Waits until the source's cache holds what was read, and hands it what queries have read in parts; for the time between queries.
    pub async fn save(&self) {
        self.source.settled().await;
        if let Some(index) = &self.clustered {
            index.save(&self.source).await;
        }
    }

    fn shard_list(&self) -> Result<&[crate::format::Shard]> {
        Ok(&self.manifest.fine(&self.manifest_name)?.shards)
    }
}

/// The head of the mapper that queries of `manifest` go through.
async fn read_mapper_head(source: &impl Source, manifest: &Manifest) -> Result<Option<MapperHead>> {
    let (Some(wanted), Some(file)) = (&manifest.synth_mapper, manifest.mapper_head()) else {
        return Ok(None);
    };
    let bytes = source.read(file, &|_| {}).await?.bytes;
    let mapper = MapperHead::parse(&file.file, &bytes)?;
    if mapper.role != MapperRole::Synth {
        return Err(Error::format(
            &file.file,
            "is not the synth side of a mapper",
        ));
    }
    wanted.check(&mapper)?;
    Ok(Some(mapper))
}

/// Refuses to compare features of two backbones, or mapped with unmapped ones.
fn check_identity(
    manifest: &Manifest,
    head: &ModelHead,
    mapper: Option<&MapperHead>,
) -> Result<()> {
    let wanted = &manifest.backbone;
    if let Some(mapper) = mapper {
        mapper.check_backbone(&head.name, head.dimension)?;
    }
    let dimension = mapper.map_or(head.dimension, |mapper| mapper.output);
    if wanted.identity != head.identity || manifest.dimension != dimension {
        return Err(Error::IdentityMismatch {
            index: format!(
                "{} {} (D {})",
                wanted.name,
                short(&wanted.identity),
                manifest.dimension
            ),
            model: format!("{} {} (D {dimension})", head.name, short(&head.identity)),
        });
    }
    Ok(())
}

fn short(identity: &str) -> &str {
    identity.get(..12).unwrap_or(identity)
}
