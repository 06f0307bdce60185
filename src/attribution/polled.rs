//! What tests wait for: a future that counts polls, so that what happens meanwhile is the same every time.

use std::future::poll_fn;
use std::task::Poll;

/// Comes at the poll after the `waits`-th.
pub(super) fn after(mut waits: usize) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        context.waker().wake_by_ref();
        match waits.checked_sub(1) {
            None => Poll::Ready(()),
            Some(left) => {
                waits = left;
                Poll::Pending
            }
        }
    })
}
