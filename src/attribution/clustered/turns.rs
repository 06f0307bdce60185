//! Files take turns on a line: the next is asked for when little of those before it is still to come.
//!
//! Files that are asked for together share the line and come together, at the end; meanwhile there is nothing to work on,
//! and afterwards nothing to fetch. In turns each comes as early as it can, and what is still to come covers the round trip of
//! the next.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// With fewer bytes to come another file is asked for: what 100 Mbit/s bring in 80 ms.
const LITTLE_BYTES: u64 = 1_000_000;

/// What is asked for and did not come yet.
#[derive(Default)]
pub(super) struct Turns {
    bytes: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

/// A file on its way, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    left: Cell<u64>,
}

impl Turns {
    /// Waits for the turn of a file of `bytes` bytes. Turns are given in the order in which they were first waited for.
    pub async fn next(&self, bytes: u64) -> Turn<'_> {
        self.free().await;
        self.begin(bytes)
    }

    /// Waits for a turn, which is that of whoever calls [`Turns::begin`] before it waits again.
    pub async fn free(&self) {
        poll_fn(|context| {
            if self.bytes.get() < LITTLE_BYTES {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The turn of a file of `bytes` bytes.
    pub fn begin(&self, bytes: u64) -> Turn<'_> {
        self.bytes.set(self.bytes.get() + bytes);
        Turn {
            turns: self,
            left: Cell::new(bytes),
        }
    }
}

impl Turn<'_> {
    /// Hears that so many bytes came.
    pub fn came(&self, bytes: u64) {
        // A file that is fetched once more brings more than it has.
        let bytes = bytes.min(self.left.get());
        self.left.set(self.left.get() - bytes);
        let turns = self.turns;
        turns.bytes.set(turns.bytes.get() - bytes);
        if turns.bytes.get() < LITTLE_BYTES {
            turns.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.came(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;
    use crate::attribution::polled::after;

    #[test]
    fn the_next_begins_when_little_is_left() {
        let turns = Turns::default();
        let first = turns.next(3 * LITTLE_BYTES).now_or_never().unwrap();
        assert!(turns.next(5).now_or_never().is_none());
        first.came(2 * LITTLE_BYTES);
        assert!(
            turns.next(5).now_or_never().is_none(),
            "just as much is left"
        );
        first.came(1);
        let second = turns.next(5).now_or_never().unwrap();
        assert_eq!(turns.bytes.get(), LITTLE_BYTES + 4);
        first.came(u64::MAX);
        assert_eq!(turns.bytes.get(), 5);
        drop((first, second));
        assert_eq!(turns.bytes.get(), 0);
    }

    #[test]
    fn whoever_waits_is_woken_in_order_and_a_file_given_up_frees_the_line() {
        let turns = Turns::default();
        let order = RefCell::new(Vec::new());
        let (turns, begun) = (&turns, &order);
        let file = move |number: i32| async move {
            let turn = turns.next(LITTLE_BYTES).await;
            begun.borrow_mut().push(number);
            // Others are polled first.
            after(3).await;
            // Every other is given up.
            if number % 2 == 0 {
                turn.came(LITTLE_BYTES);
            }
            number
        };
        let files = stream::iter(0..5).map(file).buffer_unordered(3);
        let done: Vec<i32> = pollster::block_on(files.collect());
        assert_eq!(done, [0, 1, 2, 3, 4]);
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
        assert_eq!(turns.bytes.get(), 0);
        assert!(turns.waiting.borrow().is_empty());
    }

    #[test]
    fn what_is_given_up_before_it_came_frees_the_line() {
        let turns = Turns::default();
        let held = turns.next(2 * LITTLE_BYTES).now_or_never().unwrap();
        let mut next = pin!(turns.next(1));
        assert!(next.as_mut().now_or_never().is_none());
        assert_eq!(turns.waiting.borrow().len(), 1);
        drop(held);
        assert!(turns.waiting.borrow().is_empty());
        assert!(next.now_or_never().is_some());
    }
}
