//! What a query costs: bytes and requests of all files that are read for it.
//!
//! Bytes count as they arrive, so a read that nobody waits for any more counts with what it has brought.

use std::cell::Cell;

use crate::error::Result;
use crate::format::FileRef;
use crate::source::row_store::Traffic;
use crate::source::{Fetched, Source};

/// A running sum of [`Traffic`].
#[derive(Default)]
pub(super) struct Tally(Cell<Traffic>);

impl Tally {
    /// Starts from what has been read for the query before.
    pub fn new(before: Traffic) -> Self {
        Self(Cell::new(before))
    }

    /// The sum so far.
    pub fn traffic(&self) -> Traffic {
        self.0.get()
    }

    /// Adds what another reader has counted.
    pub fn add(&self, more: Traffic) {
        let sum = self.0.get();
        self.0.set(Traffic {
            requests: sum.requests + more.requests,
            fetched_bytes: sum.fetched_bytes + more.fetched_bytes,
            cached_bytes: sum.cached_bytes + more.cached_bytes,
        });
    }

    /// Adds bytes that were taken from memory.
    pub fn recalled(&self, bytes: u64) {
        self.add(Traffic {
            cached_bytes: bytes,
            ..Traffic::default()
        });
    }

    /// Reads a file from `source` and counts it.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub async fn read(&self, source: &impl Source, file: &FileRef) -> Result<Fetched> {
        self.read_heard(source, file, &|_| {}).await
    }

    /// The same; `on_bytes` hears of what arrives.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub async fn read_heard(
        &self,
        source: &impl Source,
        file: &FileRef,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Fetched> {
        let begun = Cell::new(false);
        let arrived = |bytes| {
            on_bytes(bytes);
            self.add(Traffic {
                requests: u64::from(!begun.replace(true)),
                fetched_bytes: bytes,
                cached_bytes: 0,
            });
        };
        let fetched = source.read(file, &arrived).await?;
        if fetched.cached {
            self.recalled(file.bytes);
        }
        Ok(fetched)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Brings 60 bytes, waits once, and brings 40.
    struct Slow;

    impl Source for Slow {
        async fn read(&self, _: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched> {
            on_bytes(60);
            let mut waited = false;
            poll_fn(|_| match std::mem::replace(&mut waited, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            on_bytes(40);
            Ok(Fetched {
                bytes: vec![0; 100],
                cached: false,
            })
        }

        async fn read_manifest(&self, _: &str) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_read_that_is_dropped_counts_with_what_it_has_brought() {
        let (tally, file) = (Tally::default(), FileRef::of("f", "bin", &[0; 100]));
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut dropped = pin!(tally.read(&Slow, &file));
            assert!(dropped.as_mut().poll(&mut context).is_pending());
        }
        let after = tally.traffic();
        assert_eq!((after.requests, after.fetched_bytes), (1, 60));
        pollster::block_on(async {
            let mut whole = pin!(tally.read(&Slow, &file));
            assert!(whole.as_mut().poll(&mut context).is_pending());
            whole.await
        })
        .unwrap();
        let after = tally.traffic();
        assert_eq!((after.requests, after.fetched_bytes), (2, 160));
    }
}
