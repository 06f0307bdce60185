//! A stream of what is fetched that goes on while something else is done.
//!
//! A stream of buffered futures asks for nothing but when it is polled, and then only up to the first thing that is there. So
//! what has come is taken out into a short queue, until the stream has nothing more for the moment.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};

/// A stream with what has come of it and was not used.
pub(super) struct Arriving<'a, T> {
    stream: Pin<Box<dyn Stream<Item = T> + 'a>>,
    queue: VecDeque<T>,
    /// Most that the queue holds.
    most: usize,
}

impl<'a, T> Arriving<'a, T> {
    /// Takes up to `most` things ahead.
    pub fn new(stream: impl Stream<Item = T> + 'a, most: usize) -> Self {
        Self {
            stream: Box::pin(stream.fuse()),
            queue: VecDeque::new(),
            most,
        }
    }

    /// What is next; waits for it.
    pub async fn next(&mut self) -> Option<T> {
        match self.queue.pop_front() {
            Some(item) => Some(item),
            None => self.stream.next().await,
        }
    }

    /// Asks for what is next, and does not wait.
    pub async fn ask(&mut self) {
        poll_fn(|context| {
            self.take(context);
            Poll::Ready(())
        })
        .await;
    }

    /// What `work` gives; meanwhile the stream goes on.
    pub async fn beside<D>(&mut self, work: impl Future<Output = D>) -> D {
        self.beside_once(|| true, work).await
    }

    /// The same; but the stream stays as it is until `may` says so, which is asked whenever `work` goes on.
    pub async fn beside_once<D>(
        &mut self,
        may: impl Fn() -> bool,
        work: impl Future<Output = D>,
    ) -> D {
        let mut work = pin!(work);
        poll_fn(|context| {
            if may() {
                self.take(context);
            }
            work.as_mut().poll(context)
        })
        .await
    }

    fn take(&mut self, context: &mut Context<'_>) {
        while self.queue.len() < self.most {
            match self.stream.as_mut().poll_next(context) {
                Poll::Ready(Some(item)) => self.queue.push_back(item),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::stream;

    use super::*;
    use crate::attribution::polled::after;

    /// Notes in `asked` which of 0 to 8 was polled, and after how many polls each comes.
    fn files<'a>(
        asked: &'a RefCell<Vec<usize>>,
        waits: fn(usize) -> usize,
    ) -> impl Stream<Item = usize> + 'a {
        stream::iter(0..9)
            .map(move |number| async move {
                asked.borrow_mut().push(number);
                after(waits(number)).await;
                number
            })
            .buffered(2)
    }

    #[test]
    fn what_is_there_does_not_hide_what_is_not_asked_for() {
        let asked = RefCell::new(Vec::new());
        // 1 and 2 are there at once.
        let waits = |number| usize::from(number == 0 || number > 2);
        pollster::block_on(async {
            let mut arriving = Arriving::new(files(&asked, waits), 3);
            assert_eq!(arriving.next().await, Some(0));
            arriving.ask().await;
            assert_eq!(*asked.borrow(), [0, 1, 2, 3, 4]);
        });
    }

    #[test]
    fn the_stream_goes_on_beside_work_up_to_a_bound_and_nothing_is_lost() {
        let asked = RefCell::new(Vec::new());
        pollster::block_on(async {
            let mut arriving = Arriving::new(files(&asked, |_| 1), 3);
            assert_eq!(arriving.next().await, Some(0));
            assert_eq!(
                arriving
                    .beside(async {
                        after(20).await;
                        7
                    })
                    .await,
                7
            );
            // Three that wait, and what was begun beside the last of them.
            assert_eq!(arriving.queue, [1, 2, 3]);
            assert!((4..=6).contains(&asked.borrow().len()), "{asked:?}");
            let mut rest = Vec::new();
            while let Some(number) = arriving.next().await {
                arriving.ask().await;
                rest.push(number);
            }
            assert_eq!(rest, [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(arriving.next().await, None);
        });
    }
}
