//! Codes on their way to the scorer: best files first, and the control sample behind the first of them.
//!
//! A line should not be idle while there is something to fetch. So the next file is asked for before one that came is
//! decoded and scored, and the control sample, without which nothing is estimated, has its turn among them. Of an answer that reads
//! all codes, some come while the query is still embedded; which are best is not known then.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::{Stream, StreamExt, stream};

use super::ClusteredIndex;
use super::answer::Course;
use super::search::Search;
use super::turns::Turns;
use crate::attribution::arriving::Arriving;
use crate::attribution::event::{Event, Host};
use crate::attribution::tally::Tally;
use crate::attribution::{Attributor, Quality};
use crate::error::Result;
use crate::format::clustered::CodeRows;
use crate::source::{Fetched, Source};

/// Files that are on their way or wait for their use.
const FILES_AHEAD: usize = 3;

/// Embedding that takes less is waited for: which files are best is known right after it.
const LONG_MS: f64 = 50.0;

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// A coarse file, by number.
    Codes(usize),
    Control,
}

/// What came.
enum Came {
    /// Codes that were kept since an earlier query.
    Known(usize, Rc<CodeRows>),
    File(usize, Fetched),
    Control,
}

/// What is asked for next, first first.
struct Parts(RefCell<VecDeque<Part>>);

impl Parts {
    /// All of them, for a query of which nothing is known.
    fn new(files: usize) -> Self {
        let codes = (0..files).map(Part::Codes);
        let parts = Self(RefCell::new(codes.chain([Part::Control]).collect()));
        parts.sort((0..files).collect());
        parts
    }

    /// Those that are left, in the order `best` of their files, and the control sample behind the first.
    fn sort(&self, best: Vec<usize>) {
        let mut parts = self.0.borrow_mut();
        let mut sorted: VecDeque<Part> = best.into_iter().map(Part::Codes).collect();
        sorted.insert(sorted.len().min(1), Part::Control);
        sorted.retain(|part| parts.contains(part));
        *parts = sorted;
    }

    fn next(&self) -> Option<Part> {
        self.0.borrow_mut().pop_front()
    }
}

/// The codes of an index on their way, and what they have cost.
pub(in crate::attribution) struct Codes<'a> {
    parts: Rc<Parts>,
    arriving: Arriving<'a, Result<Came>>,
    turns: Rc<Turns>,
    pub tally: Rc<Tally>,
    /// Whether the answer need not read all codes.
    quick: bool,
}

impl<'a> Codes<'a> {
    /// Asks for nothing yet.
    pub fn new(source: &'a impl Source, index: &'a ClusteredIndex, quality: Quality) -> Self {
        let files = index.clusters.coarse.len();
        let parts = Rc::new(Parts::new(files));
        let (turns, tally) = (Rc::<Turns>::default(), Rc::<Tally>::default());
        let shared = (parts.clone(), turns.clone(), tally.clone());
        let fetch = move |_| {
            let (parts, turns, tally) = shared.clone();
            async move {
                turns.free().await;
                match parts.next() {
                    Some(part) => index.part(source, part, &tally, &turns).await.map(Some),
                    None => Ok(None),
                }
            }
        };
        let came = first_alone((0..=files).collect(), fetch);
        let came = came.filter_map(async |came| came.transpose());
        Self {
            parts,
            arriving: Arriving::new(came, FILES_AHEAD),
            turns,
            tally,
            quick: quality == Quality::Fast,
        }
    }

    /// What `work` gives, which finds what is looked for; once it takes long, files come that are read in any case.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>, host: &impl Host) -> T {
        let since = host.now_ms();
        let is_long = || !self.quick && host.now_ms() - since >= LONG_MS;
        self.arriving.beside_once(is_long, work).await
    }
}

impl ClusteredIndex {
    async fn part(
        &self,
        source: &impl Source,
        part: Part,
        tally: &Tally,
        turns: &Turns,
    ) -> Result<Came> {
        let Part::Codes(number) = part else {
            self.control(source, tally, turns).await?;
            return Ok(Came::Control);
        };
        let file = &self.clusters.coarse[number].file;
        if let Some(rows) = self.codes.get(&file.file) {
            tally.recalled(file.bytes);
            return Ok(Came::Known(number, rows));
        }
        let turn = turns.begin(file.bytes);
        let came = |bytes| turn.came(bytes);
        let file = tally.read_heard(source, file, &came).await?;
        Ok(Came::File(number, file))
    }
}

impl<S: Source> Attributor<S> {
    /// Reads and scores the coarse files, best first, and the control sample.
    pub(super) async fn read_codes(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        codes: Codes<'_>,
        course: &Course,
        host: &impl Host,
    ) -> Result<()> {
        let files = &index.clusters.coarse;
        let total_bytes: u64 = files.iter().map(|shard| shard.file.bytes).sum();
        let (mut loaded_bytes, mut cached_bytes) = (0, 0);
        let Codes {
            parts,
            mut arriving,
            turns,
            tally,
            quick,
        } = codes;
        parts.sort(search.order());
        while let Some(came) = arriving.next().await {
            let came = came?;
            if !quick {
                arriving.ask().await;
            }
            let (number, rows, cached) = match came {
                Came::Control => {
                    search.set_control(index.control(&self.source, &tally, &turns).await?);
                    continue;
                }
                Came::Known(number, rows) => (number, rows, true),
                Came::File(number, file) => {
                    let rows = index
                        .decoder
                        .decode(&index.head, &files[number], &file.bytes)?;
                    let rows = Rc::new(rows);
                    let name = &files[number].file.file;
                    index.codes.keep(name, &rows, rows.bytes());
                    (number, rows, file.cached)
                }
            };
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
            if course.is_due(host) && search.rows_read < self.manifest.count {
                search.list().await?;
                let show = self.show(index, search, course, host);
                match quick {
                    true => show.await?,
                    false => arriving.beside(show).await?,
                }
            }
            if quick {
                search.list().await?;
                if search.enough() {
                    break;
                }
            }
        }
        // Where it was enough with the first file.
        search.set_control(index.control(&self.source, &tally, &turns).await?);
        Ok(())
    }
}

/// What `fetch` gives for each of `parts`, in order. The first is fetched alone, so that something can be shown
/// as soon as possible.
fn first_alone<P, F: Future>(
    parts: Vec<P>,
    fetch: impl Fn(P) -> F + Clone,
) -> impl Stream<Item = F::Output> {
    let mut parts = parts.into_iter();
    let first = stream::iter(parts.next()).map(fetch.clone()).buffered(1);
    first.chain(stream::iter(parts).map(fetch).buffered(FILES_AHEAD))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::attribution::polled::after;

    #[test]
    fn nothing_is_fetched_beside_the_first_file_and_order_is_kept() {
        let (under_way, most) = (Cell::new(0), RefCell::new(Vec::new()));
        let (counter, log) = (&under_way, &most);
        let fetch = move |number: usize| async move {
            counter.set(counter.get() + 1);
            // Later files are faster.
            after(10 - number).await;
            log.borrow_mut().push(counter.get());
            counter.set(counter.get() - 1);
            number
        };
        let files = vec![4, 0, 7, 2, 1, 5];
        let all = first_alone(files.clone(), fetch);
        let read: Vec<usize> = pollster::block_on(all.collect());
        assert_eq!(read, files);
        let none = first_alone(Vec::new(), fetch);
        let none: Vec<usize> = pollster::block_on(none.collect());
        assert!(none.is_empty());
        let most = most.into_inner();
        assert_eq!(most[0], 1, "the first was not alone");
        assert!(most[1..].contains(&FILES_AHEAD), "{most:?}");
        assert!(most.iter().all(|count| *count <= FILES_AHEAD));
    }

    #[test]
    fn what_was_not_asked_for_is_sorted_once_the_query_is_known() {
        let parts = Parts::new(4);
        assert_eq!(parts.next(), Some(Part::Codes(0)));
        assert_eq!(parts.next(), Some(Part::Control));
        parts.sort(vec![2, 0, 3, 1]);
        let left: Vec<Part> = std::iter::from_fn(|| parts.next()).collect();
        assert_eq!(left, [2, 3, 1].map(Part::Codes));
        let untouched = Parts::new(2);
        untouched.sort(vec![1, 0]);
        let all: Vec<Part> = std::iter::from_fn(|| untouched.next()).collect();
        assert_eq!(all, [Part::Codes(1), Part::Control, Part::Codes(0)]);
    }
}
