//! The streaming part of a query: shards arrive in any order, each is verified, scored and merged.
//!
//! A few fetches run at once; what was read stays in memory up to a bound, so that a second query
//! touches neither network nor cache.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::{StreamExt, stream};

use super::event::{Event, Host};
use super::{Attribution, Attributor, Timings};
use crate::error::Result;
use crate::format::shard::{self, FineShard};
use crate::score::{Scorer, influence};
use crate::source::Source;

/// Fetches that run at the same time.
const CONCURRENT_FETCHES: usize = 6;
/// Bound of decoded shards kept in memory.
const MEMORY_BYTES: usize = 64 << 20;
/// Least time between two provisional rankings.
const PROVISIONAL_MS: f64 = 150.0;

/// Decoded shards by file name, up to [`MEMORY_BYTES`].
#[derive(Default)]
pub(super) struct ShardMemory {
    shards: RefCell<HashMap<String, Rc<FineShard>>>,
    bytes: Cell<usize>,
}

impl ShardMemory {
    fn get(&self, file: &str) -> Option<Rc<FineShard>> {
        self.shards.borrow().get(file).cloned()
    }

    fn keep(&self, file: &str, shard: &Rc<FineShard>) {
        let bytes = self.bytes.get() + shard.codes.len() + 4 * shard.rows();
        if bytes <= MEMORY_BYTES {
            self.bytes.set(bytes);
            self.shards.borrow_mut().insert(file.into(), shard.clone());
        }
    }
}

impl<S: Source> Attributor<S> {
    pub(super) async fn stream(&self, mut scorer: Scorer, host: &impl Host) -> Result<Attribution> {
        let shards = self.shard_list()?;
        let total_bytes = shards.iter().map(|s| s.file.bytes).sum();
        let (fetched, cached) = (Cell::new(0u64), Cell::new(0u64));
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
                let (fetched, cached) = (&fetched, &cached);
                async move {
                    let name = &entry.file.file;
                    let known = self.memory.get(name);
                    let shard = match known {
                        Some(shard) => {
                            cached.set(cached.get() + entry.file.bytes);
                            shard
                        }
                        None => {
                            let count = |bytes| fetched.set(fetched.get() + bytes);
                            let file = self.source.read(&entry.file, &count).await?;
                            if file.cached {
                                cached.set(cached.get() + entry.file.bytes);
                            }
                            let shard = Rc::new(shard::decode(name, &file.bytes)?);
                            self.memory.keep(name, &shard);
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
                    .resolve(&self.source, &self.manifest, &hits)
                    .await?;
                host.event(Event::Hits {
                    hits,
                    rows,
                    total_rows,
                });
                last_shown = host.now_ms();
            }
        }
        drop(arriving);
        report(rows);

        let best = scorer.hits().await?;
        let mut hits = self
            .items
            .resolve(&self.source, &self.manifest, &best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let mut remaining = 0.0;
        if let Some(first) = best.first() {
            let sum = scorer.normaliser(calibrator, first.score).await?;
            remaining = 1.0;
            for hit in &mut hits {
                let share = influence(calibrator, hit.score, first.score, sum);
                hit.influence = Some(share);
                remaining -= share;
            }
        }
        Ok(Attribution {
            hits,
            remaining_influence: remaining.clamp(0.0, 1.0),
            count: total_rows,
            timings: Timings::default(),
            fetched_bytes: fetched.get(),
            cached_bytes: cached.get(),
        })
    }
}
