//! What a query reads whatever it looks for, and the ranking by it.
//!
//! It is on its way while the query is embedded, when a line would be idle: all shards of a flat index, and where embedding takes long,
//! codes of a clustered one if the answer reads all of them. Nothing of it is asked for before the query is there.

use std::cell::Cell;

use super::clustered::{ClusteredIndex, Codes};
use super::event::Host;
use super::placed::Placed;
use super::stream::Shards;
use super::{Ask, Attribution, Attributor, Quality};
use crate::device::Compute;
use crate::error::Result;
use crate::score::query::normalised;
use crate::score::{CpuScorer, GpuScorer, QuantizedQuery, Scorer};
use crate::source::Source;

/// What is on its way, by the kind of index and of answer.
pub(super) enum Reading<'a> {
    Shards(Shards<'a>),
    Codes(&'a ClusteredIndex, Codes<'a>),
    /// All rows of a clustered index, which are many: nothing comes ahead.
    Rows(&'a ClusteredIndex),
}

impl Reading<'_> {
    /// What `work` gives; meanwhile comes what can.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>, host: &impl Host) -> T {
        match self {
            Self::Shards(shards) => shards.beside(work).await,
            Self::Codes(_, codes) => codes.beside(work, host).await,
            Self::Rows(_) => work.await,
        }
    }
}

impl<S: Source> Attributor<S> {
    /// Begins a query.
    ///
    /// # Errors
    /// Those of [`Attributor::shards`].
    pub(super) fn begin(&self, ask: Ask) -> Result<Reading<'_>> {
        self.items.begin();
        let Some(index) = &self.clustered else {
            self.memory.begin();
            return Ok(Reading::Shards(self.shards()?));
        };
        index.begin();
        Ok(match ask.quality {
            Quality::Exact => Reading::Rows(index),
            quality => Reading::Codes(index, Codes::new(&self.source, index, quality)),
        })
    }

    /// Ranks by `feature` [D]; what is read for it may be on its way.
    pub(super) async fn rank_read<'a>(
        &'a self,
        feature: &[f32],
        ask: Ask,
        reading: Reading<'a>,
        host: &impl Host,
    ) -> Result<Attribution> {
        // On another device the query begins anew.
        let begun = Cell::new(Some(reading));
        self.recovering(host, async |placed| {
            let reading = match begun.take() {
                Some(reading) => reading,
                None => self.begin(ask)?,
            };
            self.rank_on(placed, feature, ask, reading, host).await
        })
        .await
    }

    /// [`Attributor::rank_read`] on the device of `placed`.
    async fn rank_on(
        &self,
        placed: &Placed,
        feature: &[f32],
        ask: Ask,
        reading: Reading<'_>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let shards = match reading {
            Reading::Shards(shards) => shards,
            Reading::Codes(index, codes) => {
                let unit = normalised(feature)?;
                return self
                    .search(index, &placed.compute, &unit, ask, codes, host)
                    .await;
            }
            Reading::Rows(index) => {
                return self
                    .search_all(index, &normalised(feature)?, ask, host)
                    .await;
            }
        };
        let query = QuantizedQuery::new(feature)?;
        let count = self.manifest.count;
        let k = ask.top_k.min(count as usize);
        let scorer = match &placed.compute {
            Compute::Cpu => Scorer::Cpu(CpuScorer::new(query, count, k)?),
            Compute::Gpu(gpu) => {
                Scorer::Gpu(Box::new(GpuScorer::new(gpu.clone(), query, count, k)?))
            }
        };
        self.stream(scorer, shards, host).await
    }
}
