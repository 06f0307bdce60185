//! Room for files outside of the module's memory, while they are checked and until they are stored; those on their way are not
//! counted.
//!
//! Invariant: all that have some together have no more bytes than was said, but for one that has more by itself. Nobody passes the
//! one who waits for room. To be waited for by tasks of their own: who is not polled holds up the others.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures_util::lock::Mutex;

/// The room; clones share it.
#[derive(Clone, Default)]
pub struct Room {
    state: Rc<State>,
    turn: Arc<Mutex<()>>,
}

#[derive(Default)]
struct State {
    most: Cell<u64>,
    held: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
}

/// Room that is held until this is dropped.
pub struct Held {
    state: Rc<State>,
    bytes: u64,
}

impl Room {
    /// Makes it `most` bytes from now on.
    pub fn set_most(&self, most: u64) {
        self.state.most.set(most);
        self.state.wake();
    }

    /// Whether there is room for more than one file at a time.
    pub fn is_wide(&self) -> bool {
        self.state.most.get() > 0
    }

    /// Room for `bytes`, once there is.
    pub async fn take(&self, bytes: u64) -> Held {
        let turn = self.turn.lock().await;
        let state = self.state.clone();
        poll_fn(|context| {
            let held = state.held.get();
            if held == 0 || held.saturating_add(bytes) <= state.most.get() {
                return Poll::Ready(());
            }
            *state.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        state.held.set(state.held.get().saturating_add(bytes));
        drop(turn);
        Held { state, bytes }
    }
}

impl State {
    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.state.held.get();
        self.state.held.set(held.saturating_sub(self.bytes));
        self.state.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn copies_wait_in_turn_until_there_is_room() {
        let room = Room::default();
        room.set_most(10);
        let first = room.take(4).now_or_never().unwrap();
        let second = room.take(6).now_or_never().unwrap();
        let mut third = Box::pin(room.take(5));
        let mut fourth = Box::pin(room.take(1));
        assert!(third.as_mut().now_or_never().is_none());
        // There would be room for it, but it is not its turn.
        drop(first);
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        let third = third.as_mut().now_or_never().unwrap();
        let fourth = fourth.as_mut().now_or_never().unwrap();
        assert!(room.take(5).now_or_never().is_none());
        drop((third, fourth));
        assert!(room.take(10).now_or_never().is_some());
    }

    #[test]
    fn a_copy_that_is_too_large_goes_alone() {
        let room = Room::default();
        let large = room.take(100).now_or_never().unwrap();
        let mut next = Box::pin(room.take(0));
        assert!(next.as_mut().now_or_never().is_none());
        drop(large);
        assert!(next.as_mut().now_or_never().is_some());
        let mut woken = Box::pin(room.take(1));
        let held = woken.as_mut().now_or_never().unwrap();
        let mut raised = Box::pin(room.take(7));
        assert!(raised.as_mut().now_or_never().is_none());
        room.set_most(8);
        assert!(raised.as_mut().now_or_never().is_some());
        drop(held);
    }
}
