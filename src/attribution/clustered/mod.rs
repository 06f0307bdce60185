//! Queries of a clustered index: codes best first, then fine rows of the candidates, then the estimate of the
//! rest.
//!
//! Invariants: what is called exact is the score of a fine row whose check passed; a hit that is returned
//! (not one that is provisional) has an exact score; no estimate is given without its interval.

mod answer;
mod control;
mod search;
mod whole;

use std::cell::{OnceCell, RefCell};

use super::event::Host;
use super::memory::Memory;
use crate::error::Result;
use crate::format::Manifest;
use crate::format::clustered::{Clusters, CoarseDecoder, CodeRows, Control, Head};
use crate::source::Source;
use crate::source::row_store::{RowStore, Traffic};

/// What queries of a clustered index keep between them.
pub(super) struct ClusteredIndex {
    head: Head,
    clusters: Clusters,
    decoder: CoarseDecoder,
    /// Read when a query first has codes to show: what comes first should come soon.
    control: OnceCell<Control>,
    /// Decoded codes by file.
    codes: Memory<CodeRows>,
    fine: RowStore,
    /// Bytes of the head, fetched and cached, until a query has reported them.
    opening: RefCell<Traffic>,
}

/// Takes note of a file in `traffic`.
fn note(traffic: &mut Traffic, bytes: u64, cached: bool) {
    if cached {
        traffic.cached_bytes += bytes;
    } else {
        traffic.fetched_bytes += bytes;
        traffic.requests += 1;
    }
}

impl ClusteredIndex {
    /// Reads the head. `None` for a flat index.
    pub async fn open(
        source: &impl Source,
        name: &str,
        manifest: &Manifest,
        host: &impl Host,
    ) -> Result<Option<Self>> {
        let Some(clusters) = &manifest.clusters else {
            return Ok(None);
        };
        let mut opening = Traffic::default();
        let file = source.read(&clusters.head, &|_| {}).await?;
        note(&mut opening, clusters.head.bytes, file.cached);
        let head = Head::parse(&clusters.head.file, &file.bytes)?;
        clusters.check_head(name, &head, manifest.count, manifest.dimension)?;
        host.breathe().await?;
        Ok(Some(Self {
            decoder: CoarseDecoder::new(&head),
            fine: RowStore::default(),
            clusters: clusters.clone(),
            head,
            control: OnceCell::new(),
            codes: Memory::default(),
            opening: RefCell::new(opening),
        }))
    }

    /// The control sample; reads it once, and takes note in `traffic`.
    async fn control(&self, source: &impl Source, traffic: &mut Traffic) -> Result<&Control> {
        if let Some(control) = self.control.get() {
            return Ok(control);
        }
        let reference = &self.clusters.control;
        let file = source.read(reference, &|_| {}).await?;
        note(traffic, reference.bytes, file.cached);
        let control = Control::parse(&reference.file, &file.bytes, &self.head)?;
        Ok(self.control.get_or_init(|| control))
    }

    /// Hands the fine rows that were read to the source's cache.
    pub async fn save(&self, source: &impl Source) {
        self.fine.save(source).await;
    }

    /// The head, which names the items files.
    pub fn head(&self) -> &Head {
        &self.head
    }
}
