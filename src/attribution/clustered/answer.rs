//! The way of a query through a clustered index: read codes, rerank, estimate, answer.

use std::rc::Rc;

use futures_util::{StreamExt, stream};

use super::search::Search;
use super::{ClusteredIndex, note};
use crate::attribution::estimate::mass;
use crate::attribution::event::{Completeness, Event, Host};
use crate::attribution::stream::PROVISIONAL_MS;
use crate::attribution::{Ask, Attribution, Attributor, Timings};
use crate::device::Compute;
use crate::error::Result;
use crate::format::clustered::CodeRows;
use crate::score::{CpuScorer, GpuScorer, Hit, Scorer};
use crate::source::Source;
use crate::source::row_store::Traffic;

/// Coarse files that are fetched ahead.
const FILES_AHEAD: usize = 3;
/// Provisional hits that are named: each may take an items file of its own.
const PROVISIONAL_NAMED: usize = 24;

/// When provisional hits were last shown.
struct Shown {
    at_ms: f64,
}

impl<S: Source> Attributor<S> {
    /// Ranks by the unit query `unit` [D], in another quality than `exact`.
    pub(in crate::attribution) async fn search(
        &self,
        index: &ClusteredIndex,
        unit: &[f32],
        ask: Ask,
        host: &impl Host,
    ) -> Result<Attribution> {
        let k = ask.top_k.min(self.manifest.count as usize);
        let mut search = Search::new(index, unit, k, ask.quality, |query, listed| {
            let count = self.manifest.count;
            Ok(match &self.compute {
                Compute::Cpu => Scorer::Cpu(CpuScorer::new(query, count, listed)?),
                Compute::Gpu(gpu) => {
                    let scorer = GpuScorer::new(gpu.clone(), query, count, listed)?;
                    Scorer::Gpu(Box::new(scorer))
                }
            })
        })?;
        search.traffic = index.opening.take();
        let mut shown = Shown {
            at_ms: f64::NEG_INFINITY,
        };
        self.read_codes(index, &mut search, &mut shown, k, host)
            .await?;
        let control = index.control(&self.source, &mut search.traffic).await?;
        search.set_control(control);
        search.list().await?;
        self.show(index, &search, &mut shown, k, host).await?;
        loop {
            let rows = search.next(&self.manifest.calibrator);
            if rows.is_empty() {
                break;
            }
            self.rerank(index, &mut search, &rows, host).await?;
            self.show(index, &search, &mut shown, k, host).await?;
        }
        let probes = search.probes(&self.manifest.calibrator).await?;
        if !probes.is_empty() {
            self.rerank(index, &mut search, &probes, host).await?;
        }
        self.conclude(index, search, k).await
    }

    /// Reads and scores the coarse files, best first.
    async fn read_codes(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        shown: &mut Shown,
        k: usize,
        host: &impl Host,
    ) -> Result<()> {
        let files = &index.clusters.coarse;
        let total_bytes: u64 = files.iter().map(|shard| shard.file.bytes).sum();
        let mut loaded_bytes = 0;
        let mut arriving = stream::iter(search.order())
            .map(async |number| {
                let (rows, cached) = self.code_rows(index, number).await?;
                Ok::<_, crate::Error>((number, rows, cached))
            })
            .buffered(FILES_AHEAD);
        while let Some(arrived) = arriving.next().await {
            let (number, rows, cached) = arrived?;
            let shard = &files[number];
            note(&mut search.traffic, shard.file.bytes, cached);
            search.add(&shard.file.file, &rows, shard.clusters as usize)?;
            loaded_bytes += shard.file.bytes;
            host.event(Event::Index {
                loaded_bytes,
                total_bytes,
                cached_bytes: search.traffic.cached_bytes,
                rows: search.rows_read,
                total_rows: self.manifest.count,
            });
            host.breathe().await?;
            if search.rows_read > shard.rows {
                let control = index.control(&self.source, &mut search.traffic).await?;
                search.set_control(control);
            }
            let due = host.now_ms() - shown.at_ms > PROVISIONAL_MS;
            if due && search.rows_read < self.manifest.count {
                search.list().await?;
                self.show(index, search, shown, k, host).await?;
            }
            if search.is_quick() {
                search.list().await?;
                if search.enough() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The decoded codes of coarse file `number`, and whether nothing was downloaded for them.
    async fn code_rows(
        &self,
        index: &ClusteredIndex,
        number: usize,
    ) -> Result<(Rc<CodeRows>, bool)> {
        let shard = &index.clusters.coarse[number];
        if let Some(rows) = index.codes.get(&shard.file.file) {
            return Ok((rows, true));
        }
        let file = self.source.read(&shard.file, &|_| {}).await?;
        let rows = index.decoder.decode(&index.head, shard, &file.bytes)?;
        let rows = Rc::new(rows);
        let bytes = 4 * (rows.terms.len() + rows.words.len());
        index.codes.keep(&shard.file.file, &rows, bytes);
        Ok((rows, file.cached))
    }

    /// Fetches and scores the fine rows of `rows`.
    async fn rerank(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        rows: &[u32],
        host: &impl Host,
    ) -> Result<()> {
        let numbers: Vec<u64> = rows.iter().map(|row| u64::from(*row)).collect();
        let (head, fine) = (&index.head, &index.fine);
        let fetched = fine.rows(&self.source, head, &numbers, &|_| {}).await?;
        search.traffic.fetched_bytes += fetched.traffic.fetched_bytes;
        search.traffic.cached_bytes += fetched.traffic.cached_bytes;
        search.traffic.requests += fetched.traffic.requests;
        host.breathe().await?;
        for (number, row) in rows.iter().enumerate() {
            if let Some(fine) = fetched.get(number) {
                search.rerank(*row, fine.scale, fine.codes);
            }
        }
        Ok(())
    }

    /// Shows the best so far, if nothing was shown for a while.
    async fn show(
        &self,
        index: &ClusteredIndex,
        search: &Search<'_>,
        shown: &mut Shown,
        k: usize,
        host: &impl Host,
    ) -> Result<()> {
        if host.now_ms() - shown.at_ms < PROVISIONAL_MS {
            return Ok(());
        }
        let best = search.best(k.min(PROVISIONAL_NAMED));
        let head = Some(index.head());
        let hits = self
            .items
            .resolve(&self.source, &self.manifest, head, &best)
            .await?;
        host.event(Event::Hits {
            hits,
            rows: search.rows_read,
            total_rows: self.manifest.count,
            completeness: self.completeness(search, false),
        });
        shown.at_ms = host.now_ms();
        Ok(())
    }

    fn completeness(&self, search: &Search<'_>, influence_exact: bool) -> Completeness {
        Completeness {
            rows_read: search.rows_read,
            rows: self.manifest.count,
            reranked: search.reranked() as u64,
            estimated_recall: search.recall(),
            influence_exact,
        }
    }

    /// The answer: hits with influences, and what they rest on.
    async fn conclude(
        &self,
        index: &ClusteredIndex,
        mut search: Search<'_>,
        k: usize,
    ) -> Result<Attribution> {
        let best: Vec<Hit> = search.best(k);
        let head = Some(index.head());
        let mut hits = self
            .items
            .resolve(&self.source, &self.manifest, head, &best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let (mut remaining, mut exact) = (0.0, true);
        if let Some(curve) = search.curve(calibrator) {
            let below = search.below(calibrator, curve.best as f32).await?;
            let total = search.with_state(|state| mass::total(state, &curve, below));
            exact = total.exact;
            let mut shown = 0.0;
            for hit in &mut hits {
                let own = curve.of(f64::from(hit.score));
                let share = total.share(own);
                shown += own;
                hit.influence = Some(share.value);
                hit.influence_low = Some(share.low);
                hit.influence_high = Some(share.high);
            }
            remaining = 1.0 - total.share(shown).value;
        }
        let Traffic {
            fetched_bytes,
            cached_bytes,
            requests,
        } = search.traffic;
        Ok(Attribution {
            hits,
            remaining_influence: remaining.clamp(0.0, 1.0),
            count: self.manifest.count,
            completeness: self.completeness(&search, exact),
            timings: Timings::default(),
            fetched_bytes,
            cached_bytes,
            requests,
        })
    }
}
