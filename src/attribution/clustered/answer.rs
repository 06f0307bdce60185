//! The way of a query through a clustered index: read codes, rerank, estimate, answer.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use futures_util::{Stream, StreamExt, stream};

use super::ClusteredIndex;
use super::search::Search;
use crate::attribution::estimate::{Share, mass};
use crate::attribution::event::{Completeness, Event, Host};
use crate::attribution::stream::PROVISIONAL_MS;
use crate::attribution::tally::Tally;
use crate::attribution::{Ask, Attribution, Attributor, Timings};
use crate::device::Compute;
use crate::error::Result;
use crate::format::clustered::CodeRows;
use crate::score::{CpuScorer, GpuScorer, Hit, Scorer};
use crate::source::Source;
use crate::source::row_store::Traffic;

/// Coarse files that are fetched at the same time, but for the first.
const FILES_AHEAD: usize = 3;
/// Provisional hits that are named: each may take an items file of its own.
const PROVISIONAL_NAMED: usize = 24;

/// What a query has cost, and when it last showed provisional hits.
struct Course {
    tally: Tally,
    shown_ms: Cell<f64>,
}

impl<S: Source> Attributor<S> {
    /// Ranks by the unit query `unit` [D], in another quality than `exact`.
    pub(in crate::attribution) async fn search(
        &self,
        index: &ClusteredIndex,
        compute: &Compute,
        unit: &[f32],
        ask: Ask,
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
        let course = &Course {
            tally: Tally::new(index.opening.take()),
            shown_ms: Cell::new(f64::NEG_INFINITY),
        };
        self.read_codes(index, &mut search, course, k, host).await?;
        let control = index.control(&self.source, &course.tally).await?;
        search.set_control(control);
        search.list().await?;
        self.show(index, &search, course, k, host).await?;
        loop {
            let rows = search.next(&self.manifest.calibrator);
            if rows.is_empty() {
                break;
            }
            self.rerank(index, &mut search, course, &rows, host).await?;
            self.show(index, &search, course, k, host).await?;
        }
        let drawn = search.draw(&self.manifest.calibrator).await?;
        if !drawn.is_empty() {
            self.rerank(index, &mut search, course, &drawn, host)
                .await?;
        }
        self.conclude(index, search, course, k).await
    }

    /// Reads and scores the coarse files, best first.
    async fn read_codes(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        course: &Course,
        k: usize,
        host: &impl Host,
    ) -> Result<()> {
        let files = &index.clusters.coarse;
        let total_bytes: u64 = files.iter().map(|shard| shard.file.bytes).sum();
        let (mut loaded_bytes, mut cached_bytes) = (0, 0);
        let fetch = move |number| async move {
            let (rows, cached) = self.code_rows(index, &course.tally, number).await?;
            Ok::<_, crate::Error>((number, rows, cached))
        };
        let mut arriving = pin!(first_alone(search.order(), fetch));
        while let Some(arrived) = arriving.next().await {
            let (number, rows, cached) = arrived?;
            let shard = &files[number];
            search.add(&shard.file.file, &rows, shard.clusters as usize)?;
            loaded_bytes += shard.file.bytes;
            cached_bytes += if cached { shard.file.bytes } else { 0 };
            host.event(Event::Index {
                loaded_bytes,
                total_bytes,
                cached_bytes,
                rows: search.rows_read,
                total_rows: self.manifest.count,
            });
            host.breathe().await?;
            if search.rows_read > shard.rows {
                let control = index.control(&self.source, &course.tally).await?;
                search.set_control(control);
            }
            let due = host.now_ms() - course.shown_ms.get() > PROVISIONAL_MS;
            if due && search.rows_read < self.manifest.count {
                search.list().await?;
                self.show(index, search, course, k, host).await?;
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
        tally: &Tally,
        number: usize,
    ) -> Result<(Rc<CodeRows>, bool)> {
        let shard = &index.clusters.coarse[number];
        if let Some(rows) = index.codes.get(&shard.file.file) {
            tally.recalled(shard.file.bytes);
            return Ok((rows, true));
        }
        let file = tally.read(&self.source, &shard.file).await?;
        let rows = index.decoder.decode(&index.head, shard, &file.bytes)?;
        let rows = Rc::new(rows);
        index.codes.keep(&shard.file.file, &rows, rows.bytes());
        Ok((rows, file.cached))
    }

    /// Fetches and scores the fine rows of `rows`.
    async fn rerank(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        course: &Course,
        rows: &[u32],
        host: &impl Host,
    ) -> Result<()> {
        let numbers: Vec<u64> = rows.iter().map(|row| u64::from(*row)).collect();
        let (head, fine) = (&index.head, &index.fine);
        let fetched = fine.rows(&self.source, head, &numbers, &|_| {}).await?;
        course.tally.add(fetched.traffic);
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
        course: &Course,
        k: usize,
        host: &impl Host,
    ) -> Result<()> {
        if host.now_ms() - course.shown_ms.get() < PROVISIONAL_MS {
            return Ok(());
        }
        let best = search.best(k.min(PROVISIONAL_NAMED));
        let head = Some(index.head());
        let hits = self
            .items
            .resolve(&self.source, &course.tally, &self.manifest, head, &best)
            .await?;
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
        k: usize,
    ) -> Result<Attribution> {
        let best: Vec<Hit> = search.best(k);
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
            let mut shown = 0.0;
            for hit in &mut hits {
                let own = curve.of(f64::from(hit.score));
                shown += own;
                // Two deviations, as of the estimate.
                let rounded = 2.0 * rounding.of(hit.id, hit.score);
                let at = |score: f64| total.share(curve.of(score));
                let score = f64::from(hit.score);
                hit.influence = Some(total.share(own).value);
                hit.influence_low = Some(at(score - rounded).low);
                hit.influence_high = Some(at(score + rounded).high);
            }
            let share = total.share(shown);
            let rounded = 2.0 * rounding.of_sum(hits.iter().map(|hit| hit.id), share.value);
            remaining = share.rest().widened(rounded);
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

/// What `fetch` gives for each of `files`, in order. The first is fetched alone, so that something can be shown
/// as soon as possible, the others several at a time.
fn first_alone<F: Future>(
    files: Vec<usize>,
    fetch: impl Fn(usize) -> F + Copy,
) -> impl Stream<Item = F::Output> {
    let mut files = files.into_iter();
    let first = stream::iter(files.next()).map(fetch).buffered(1);
    first.chain(stream::iter(files).map(fetch).buffered(FILES_AHEAD))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[test]
    fn nothing_is_fetched_beside_the_first_file_and_order_is_kept() {
        let (under_way, most) = (Cell::new(0), RefCell::new(Vec::new()));
        let (counter, log) = (&under_way, &most);
        let fetch = move |number: usize| async move {
            counter.set(counter.get() + 1);
            // Later files are faster.
            let mut waits = 10 - number;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                waits -= 1;
                match waits {
                    0 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
            .await;
            log.borrow_mut().push(counter.get());
            counter.set(counter.get() - 1);
            number
        };
        let files = vec![4, 0, 7, 2, 1, 5];
        let read: Vec<usize> = pollster::block_on(first_alone(files.clone(), fetch).collect());
        assert_eq!(read, files);
        let none: Vec<usize> = pollster::block_on(first_alone(Vec::new(), fetch).collect());
        assert!(none.is_empty());
        let most = most.into_inner();
        assert_eq!(most[0], 1, "the first was not alone");
        assert!(most[1..].contains(&FILES_AHEAD), "{most:?}");
        assert!(most.iter().all(|count| *count <= FILES_AHEAD));
    }
}
