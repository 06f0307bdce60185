//! The streaming part of a query: shards arrive in any order, each is verified, scored and merged.
//!
//! A few fetches run at once.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::{StreamExt, stream};

use super::event::{Completeness, Event, Host};
use super::tally::Tally;
use super::{Attribution, Attributor, Timings};
use crate::error::Result;
use crate::format::shard;
use crate::score::{Scorer, influence};
use crate::source::{Source, Traffic};

/// Fetches that run at the same time.
const CONCURRENT_FETCHES: usize = 6;
/// Least time between two provisional rankings.
pub(super) const PROVISIONAL_MS: f64 = 150.0;

impl<S: Source> Attributor<S> {
    pub(super) async fn stream(&self, mut scorer: Scorer, host: &impl Host) -> Result<Attribution> {
        let shards = self.shard_list()?;
        let total_bytes = shards.iter().map(|s| s.file.bytes).sum();
        // Items count in the tally only: the page compares what came with the bytes of the shards.
        let (fetched, cached) = (Cell::new(0u64), Cell::new(0u64));
        let tally = Tally::default();
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
        let mut arriving = stream::iter(shards)
            .map(|entry| {
                let (fetched, cached, tally) = (&fetched, &cached, &tally);
                async move {
                    let name = &entry.file.file;
                    let known = self.memory.get(name);
                    let shard = match known {
                        Some(shard) => {
                            cached.set(cached.get() + entry.file.bytes);
                            tally.recalled(entry.file.bytes);
                            shard
                        }
                        None => {
                            let count = |bytes| fetched.set(fetched.get() + bytes);
                            let file = tally.read_heard(&self.source, &entry.file, &count).await?;
                            if file.cached {
                                cached.set(cached.get() + entry.file.bytes);
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
                    Ok((name, shard))
                }
            })
            .buffer_unordered(CONCURRENT_FETCHES);
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
        drop(arriving);
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
