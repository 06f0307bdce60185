//! Codes on their way to the scorer: best files first, and the control sample behind the first of them.
//!
//! A line should not be idle while there is something to fetch. So the next file is asked for before one that came is
//! decoded and scored, and the control sample, without which nothing is estimated, has its turn among them.

use std::rc::Rc;

use futures_util::{Stream, StreamExt, stream};

use super::ClusteredIndex;
use super::answer::Course;
use super::arriving::Arriving;
use super::search::Search;
use super::turns::Turns;
use crate::attribution::Attributor;
use crate::attribution::event::{Event, Host};
use crate::error::Result;
use crate::format::clustered::CodeRows;
use crate::source::{Fetched, Source};

/// Files that are on their way or wait for their use.
const FILES_AHEAD: usize = 3;

/// What is fetched.
#[derive(Clone, Copy)]
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

impl<S: Source> Attributor<S> {
    /// Reads and scores the coarse files, best first, and the control sample.
    pub(super) async fn read_codes(
        &self,
        index: &ClusteredIndex,
        search: &mut Search<'_>,
        course: &Course,
        host: &impl Host,
    ) -> Result<()> {
        let files = &index.clusters.coarse;
        let total_bytes: u64 = files.iter().map(|shard| shard.file.bytes).sum();
        let (mut loaded_bytes, mut cached_bytes) = (0, 0);
        let mut parts: Vec<Part> = search.order().into_iter().map(Part::Codes).collect();
        parts.insert(parts.len().min(1), Part::Control);
        let turns = &Turns::default();
        let fetch = move |part| self.part(index, course, part, turns);
        let mut arriving = Arriving::new(first_alone(parts, fetch), FILES_AHEAD);
        while let Some(came) = arriving.next().await {
            let came = came?;
            if !search.is_quick() {
                arriving.ask().await;
            }
            let (number, rows, cached) = match came {
                Came::Control => {
                    search.set_control(index.control(&self.source, &course.tally, turns).await?);
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
                match search.is_quick() {
                    true => show.await?,
                    false => arriving.beside(show).await?,
                }
            }
            if search.is_quick() {
                search.list().await?;
                if search.enough() {
                    break;
                }
            }
        }
        // Where it was enough with the first file.
        search.set_control(index.control(&self.source, &course.tally, turns).await?);
        Ok(())
    }

    async fn part(
        &self,
        index: &ClusteredIndex,
        course: &Course,
        part: Part,
        turns: &Turns,
    ) -> Result<Came> {
        let tally = &course.tally;
        let Part::Codes(number) = part else {
            index.control(&self.source, tally, turns).await?;
            return Ok(Came::Control);
        };
        let file = &index.clusters.coarse[number].file;
        if let Some(rows) = index.codes.get(&file.file) {
            tally.recalled(file.bytes);
            return Ok(Came::Known(number, rows));
        }
        let turn = turns.next(file.bytes).await;
        let came = |bytes| turn.came(bytes);
        let file = tally.read_heard(&self.source, file, &came).await?;
        Ok(Came::File(number, file))
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

    use super::super::polled::after;
    use super::*;

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
}
