//! The way of a query through a clustered index: read codes, rerank, estimate, answer.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::try_join;

use super::search::Search;
use super::{ClusteredIndex, Codes};
use crate::attribution::estimate::{Share, mass};
use crate::attribution::event::{Completeness, Event, Host};
use crate::attribution::stream::PROVISIONAL_MS;
use crate::attribution::tally::Tally;
use crate::attribution::{Ask, Attribution, Attributor, Timings};
use crate::device::Compute;
use crate::error::Result;
use crate::score::{CpuScorer, GpuScorer, Hit, Scorer};
use crate::source::Source;
use crate::source::row_store::Traffic;

/// Provisional hits that are named: each may take an items file of its own.
const PROVISIONAL_NAMED: usize = 24;

/// How many hits a query wants, what it has cost, and when it last showed provisional hits.
pub(super) struct Course {
    k: usize,
    pub tally: Rc<Tally>,
    shown_ms: Cell<f64>,
}

impl Course {
    /// Whether nothing was shown for a while.
    pub fn is_due(&self, host: &impl Host) -> bool {
        host.now_ms() - self.shown_ms.get() >= PROVISIONAL_MS
    }
}

impl<S: Source> Attributor<S> {
    /// Ranks by the unit query `unit` [D], in another quality than `exact`; `codes` are on their way.
    pub(in crate::attribution) async fn search(
        &self,
        index: &ClusteredIndex,
        compute: &Compute,
        unit: &[f32],
        ask: Ask,
        codes: Codes<'_>,
        host: &impl Host,
    ) -> Result<Attribution> {
        let k = ask.top_k.min(self.manifest.count as usize);
        let mut search = Search::new(index, unit, k, ask.quality, |query, listed| {
            let count = self.manifest.count;
            Ok(match compute {
                Compute::Cpu => Scorer::Cpu(CpuScorer::new(query, count, listed)?),
                Compute::Gpu(gpu) => {
                    let scorer = GpuScorer::new(gpu.clone(), query, count, listed)?;
                    Scorer::Gpu(Box::new(scorer))
                }
            })
        })?;
        codes.tally.add(index.opening.take());
        let course = &Course {
            k,
            tally: codes.tally.clone(),
            shown_ms: Cell::new(f64::NEG_INFINITY),
        };
        self.read_codes(index, &mut search, codes, course, host)
            .await?;
        search.list().await?;
        loop {
            let [now, mut ahead] = search.next(&self.manifest.calibrator);
            if now.is_empty() {
                break;
            }
            if !self.source.gives_ranges() {
                ahead.clear();
            }
            self.bring(index, &mut search, course, &now, &ahead, host)
                .await?;
            search.rerank(&now);
        }
        let drawn = search.draw(&self.manifest.calibrator).await?;
        self.bring(index, &mut search, course, &drawn, &[], host)
            .await?;
        search.rerank(&drawn);
        self.conclude(index, search, course).await
    }

    /// Fetches those of the rows `now` that are not at hand, and with them those of `ahead`; meanwhile shows what was
    /// known before.
    async fn bring(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        course: &Course,
        now: &[u32],
        ahead: &[u32],
        host: &impl Host,
    ) -> Result<()> {
        let lacking = |rows: &[u32]| -> Vec<u32> {
            rows.iter()
                .copied()
                .filter(|row| search.lacks(*row))
                .collect()
        };
        let mut rows = lacking(now);
        if !rows.is_empty() {
            rows.extend(lacking(ahead));
        }
        let numbers: Vec<u64> = rows.iter().map(|row| u64::from(*row)).collect();
        let fetch = index
            .fine
            .rows(&self.source, &index.head, &numbers, &|_| {});
        let show = self.show(index, search, course, host);
        let ((), fetched) = try_join(show, fetch).await?;
        course.tally.add(fetched.traffic);
        for (i, row) in rows.iter().enumerate() {
            if let Some(fine) = fetched.get(i) {
                search.bring(*row, fine.scale, fine.codes);
            }
        }
        host.breathe().await
    }

    /// Shows the best so far, if nothing was shown for a while.
    pub(super) async fn show(
        &self,
        index: &ClusteredIndex,
        search: &Search<'_>,
        course: &Course,
        host: &impl Host,
    ) -> Result<()> {
        if !course.is_due(host) {
            return Ok(());
        }
        let best = search.best(course.k.min(PROVISIONAL_NAMED));
        let head = Some(index.head());
        let hits = self
            .items
            .resolve(&self.source, &course.tally, &self.manifest, head, &best)
            .await?;
        // What goes on beside this is asked for before recall is estimated.
        host.breathe().await?;
        host.event(Event::Hits {
            hits,
            rows: search.rows_read,
            total_rows: self.manifest.count,
            completeness: self.completeness(search, false),
        });
        course.shown_ms.set(host.now_ms());
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
        course: &Course,
    ) -> Result<Attribution> {
        let best: Vec<Hit> = search.best(course.k);
        let head = Some(index.head());
        let mut hits = self
            .items
            .resolve(&self.source, &course.tally, &self.manifest, head, &best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let (mut remaining, mut exact) = (Share::default(), true);
        if let Some(curve) = search.curve(calibrator) {
            let below = search.below(calibrator, curve.best as f32).await?;
            let total = search.with_state(|state| mass::total(state, &curve, below));
            exact = total.exact;
            let rounding = search.rounding(curve, total.value);
            remaining = rounding.share_out(&mut hits, &total);
        }
        let Traffic {
            fetched_bytes,
            cached_bytes,
            requests,
        } = course.tally.traffic();
        Ok(Attribution {
            hits,
            remaining_influence: remaining.value,
            remaining_low: remaining.low,
            remaining_high: remaining.high,
            count: self.manifest.count,
            completeness: self.completeness(&search, exact),
            timings: Timings::default(),
            fetched_bytes,
            cached_bytes,
            requests,
        })
    }
}
