//! Queries of a clustered index: codes best first, then fine rows of the candidates, then the estimate of the
//! rest.
//!
//! Invariants: what is called exact is the score of a fine row whose check passed; a hit that is returned
//! (not one that is provisional) has an exact score; no estimate is given without its interval.

mod answer;
mod codes;
mod control;
mod rounding;
mod search;
mod turns;
mod whole;

use std::cell::{Cell, OnceCell};

use super::event::Host;
use super::memory::Memory;
use super::tally::Tally;
use crate::error::Result;
use crate::format::Manifest;
use crate::format::clustered::{Clusters, CoarseDecoder, CodeRows, Control, Head};
use crate::source::Source;
use crate::source::row_store::{RowStore, Traffic};
pub(super) use codes::Codes;
use turns::Turns;

/// What queries of a clustered index keep between them.
pub(super) struct ClusteredIndex {
    head: Head,
    clusters: Clusters,
    decoder: CoarseDecoder,
    /// Read behind the first codes: what comes first should come soon.
    control: OnceCell<Control>,
    /// Decoded codes by file.
    codes: Memory<CodeRows>,
    fine: RowStore,
    /// What reading the head has cost, until a query has reported it.
    opening: Cell<Traffic>,
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
        let opening = Tally::default();
        let file = opening.read(source, &clusters.head).await?;
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
            opening: Cell::new(opening.traffic()),
        }))
    }

    /// Another query begins.
    pub fn begin(&self) {
        self.codes.begin();
    }

    /// The control sample; reads it once, in its turn, and takes note in `tally`.
    async fn control(
        &self,
        source: &impl Source,
        tally: &Tally,
        turns: &Turns,
    ) -> Result<&Control> {
        if let Some(control) = self.control.get() {
            return Ok(control);
        }
        let reference = &self.clusters.control;
        let turn = turns.next(reference.bytes).await;
        let came = |bytes| turn.came(bytes);
        let file = tally.read_heard(source, reference, &came).await?;
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
