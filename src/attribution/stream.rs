//! The streaming part of a query of a flat index: shards arrive in any order, each is verified, scored and merged.
//!
//! A few fetches run at once. Every query reads all shards, so some come while it is still embedded.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::{StreamExt, stream};

use super::arriving::Arriving;
use super::event::{Completeness, Event, Host};
use super::tally::Tally;
use super::{Attribution, Attributor, Timings};
use crate::error::Result;
use crate::format::Shard;
use crate::format::shard::{self, FineShard};
use crate::score::{Scorer, influence};
use crate::source::{Source, Traffic};

/// Fetches that run at the same time.
const CONCURRENT_FETCHES: usize = 6;
/// Least time between two provisional rankings.
pub(super) const PROVISIONAL_MS: f64 = 150.0;

/// The shards of a flat index on their way, and what they have cost.
pub(super) struct Shards<'a> {
    arriving: Arriving<'a, Result<(&'a str, Rc<FineShard>)>>,
    tally: Rc<Tally>,
    /// Of shards alone: fetched, and taken from cache or memory.
    bytes: Rc<[Cell<u64>; 2]>,
}

impl Shards<'_> {
    /// What `work` gives; meanwhile shards come.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.arriving.beside(work).await
    }
}

impl<S: Source> Attributor<S> {
    /// All shards; asks for nothing yet.
    ///
    /// # Errors
    /// [`crate::Error::Format`] for a manifest without any.
    pub(super) fn shards(&self) -> Result<Shards<'_>> {
        let (tally, bytes) = (Rc::<Tally>::default(), Rc::<[Cell<u64>; 2]>::default());
        let shared = (tally.clone(), bytes.clone());
        let coming = stream::iter(self.shard_list()?)
            .map(move |entry| {
                let (tally, bytes) = shared.clone();
                async move { Ok((&*entry.file.file, self.shard(entry, &tally, &bytes).await?)) }
            })
            .buffer_unordered(CONCURRENT_FETCHES);
        Ok(Shards {
            arriving: Arriving::new(coming, CONCURRENT_FETCHES),
            tally,
            bytes,
        })
    }

    async fn shard(
        &self,
        entry: &Shard,
        tally: &Tally,
        [fetched, cached]: &[Cell<u64>; 2],
    ) -> Result<Rc<FineShard>> {
        let name = &entry.file.file;
        let taken = || cached.set(cached.get() + entry.file.bytes);
        let shard = match self.memory.get(name) {
            Some(shard) => {
                taken();
                tally.recalled(entry.file.bytes);
                shard
            }
            None => {
                let count = |bytes| fetched.set(fetched.get() + bytes);
                let file = tally.read_heard(&self.source, &entry.file, &count).await?;
                if file.cached {
                    taken();
                }
                let shard = Rc::new(shard::decode(name, &file.bytes)?);
                let bytes = shard.codes.len() + 4 * shard.rows();
                self.memory.keep(name, &shard, bytes);
                shard
            }
        };
        if shard.first_row != entry.first_row || shard.rows() as u64 != entry.rows {
            return Err(crate::Error::format(
                name,
                "holds other rows than the manifest says",
            ));
        }
        Ok(shard)
    }

    /// Scores `shards` as they come, and answers.
    pub(super) async fn stream(
        &self,
        mut scorer: Scorer,
        shards: Shards<'_>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let total_bytes = self.shard_list()?.iter().map(|s| s.file.bytes).sum();
        // Items count in the tally only: the page compares what came with the bytes of the shards.
        let Shards {
            mut arriving,
            tally,
            bytes,
        } = shards;
        let [fetched, cached] = &*bytes;
        let (mut rows, total_rows) = (0, self.manifest.count);
        let mut last_shown = f64::NEG_INFINITY;
        let report = |rows| {
            host.event(Event::Index {
                loaded_bytes: fetched.get() + cached.get(),
                total_bytes,
                cached_bytes: cached.get(),
                rows,
                total_rows,
            });
        };
        while let Some(arrived) = arriving.next().await {
            let (name, shard) = arrived?;
            scorer.add(name, &shard)?;
            rows += shard.rows() as u64;
            report(rows);
            host.breathe().await?;
            if rows < total_rows && host.now_ms() - last_shown > PROVISIONAL_MS {
                let hits = scorer.hits().await?;
                let hits = self
                    .items
                    .resolve(&self.source, &tally, &self.manifest, None, &hits)
                    .await?;
                host.event(Event::Hits {
                    hits,
                    rows,
                    total_rows,
                    completeness: Completeness::of_fine_rows(rows, total_rows),
                });
                last_shown = host.now_ms();
            }
        }
        report(rows);

        let best = scorer.hits().await?;
        let mut hits = self
            .items
            .resolve(&self.source, &tally, &self.manifest, None, &best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let mut remaining = 0.0;
        if let Some(first) = best.first() {
            let sum = scorer.normaliser(calibrator, first.score).await?;
            remaining = 1.0;
            for hit in &mut hits {
                let share = influence(calibrator, hit.score, first.score, sum);
                hit.influence = Some(share);
                hit.influence_low = Some(share);
                hit.influence_high = Some(share);
                remaining -= share;
            }
        }
        // Who scores less has no more influence: behind a hit without any, what is left is the sum's rounding.
        let none_behind = hits.last().and_then(|hit| hit.influence) == Some(0.0);
        remaining = if none_behind {
            0.0
        } else {
            remaining.clamp(0.0, 1.0)
        };
        let Traffic {
            fetched_bytes,
            cached_bytes,
            requests,
        } = tally.traffic();
        Ok(Attribution {
            hits,
            remaining_influence: remaining,
            remaining_low: remaining,
            remaining_high: remaining,
            count: total_rows,
            completeness: Completeness::of_fine_rows(total_rows, total_rows),
            timings: Timings::default(),
            fetched_bytes,
            cached_bytes,
            requests,
        })
    }
}
