//! What one more request costs on a host, as the bytes that would come in its time.
//!
//! Why: a query wants a few rows in each of many files. Rows with a gap between them can share a request, which costs the
//! gap's bytes, or have one each, which costs requests: next to nothing over HTTP/2, some 40 kB over HTTP/1.1 at 50 Mbit/s
//! and 40 ms, where six run at a time. Which of the two a page is on, other origins need not tell it, so it is measured.
//!
//! Model: a burst of n ranges with b bytes takes n * c + b / r milliseconds. The rate r is the best that a large file showed,
//! c follows. What is measured decides how the bytes are fetched, never which rows are.

use std::cell::Cell;

use crate::clock::now_ms;

/// A smaller file's time is that of its round trip.
const LARGE_BYTES: u64 = 256 << 10;
/// Fewer ranges at once wait for a round trip each, however they are cut.
const BURST_REQUESTS: u32 = 16;
/// Bytes a millisecond where nothing large was fetched: 50 Mbit/s.
const USUAL_RATE: f64 = 6250.0;

/// The transfers of one host.
#[derive(Default)]
pub struct RequestCost {
    /// Best rate of a large file, bytes a millisecond.
    rate: Cell<f64>,
    under_way: Cell<u32>,
    /// Since a range was last asked for while none was under way.
    burst: Cell<Burst>,
    start_ms: Cell<f64>,
    /// Bursts so far; each halves the weight of those before it.
    seen: Cell<Option<Burst>>,
}

/// A range under way, until it is dropped.
pub struct RangeUnderWay<'a> {
    cost: &'a RequestCost,
    /// What it has brought.
    pub bytes: u64,
}

impl Drop for RangeUnderWay<'_> {
    fn drop(&mut self) {
        self.cost.ended(now_ms(), self.bytes);
    }
}

#[derive(Clone, Copy, Default)]
struct Burst {
    requests: f64,
    bytes: f64,
    milliseconds: f64,
}

impl RequestCost {
    /// Hears that a file of `bytes` bytes took `milliseconds` from its request on.
    pub fn whole(&self, bytes: u64, milliseconds: f64) {
        if bytes >= LARGE_BYTES && milliseconds > 0.0 {
            self.rate
                .set(self.rate.get().max(bytes as f64 / milliseconds));
        }
    }

    /// A range that is asked for now.
    pub fn range(&self) -> RangeUnderWay<'_> {
        self.begun(now_ms());
        RangeUnderWay {
            cost: self,
            bytes: 0,
        }
    }

    /// Hears at `now_ms` that a range is asked for.
    fn begun(&self, now_ms: f64) {
        if self.under_way.get() == 0 {
            self.burst.set(Burst::default());
            self.start_ms.set(now_ms);
        }
        self.under_way.set(self.under_way.get() + 1);
    }

    /// Hears at `now_ms` that a range has brought `bytes`, or that nobody waits for it any more.
    fn ended(&self, now_ms: f64, bytes: u64) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        let mut burst = self.burst.get();
        burst.requests += 1.0;
        burst.bytes += bytes as f64;
        burst.milliseconds = now_ms - self.start_ms.get();
        self.burst.set(burst);
        if self.under_way.get() == 0 && burst.requests >= f64::from(BURST_REQUESTS) {
            let before = self.seen.get().unwrap_or_default();
            self.seen.set(Some(Burst {
                requests: before.requests / 2.0 + burst.requests,
                bytes: before.bytes / 2.0 + burst.bytes,
                milliseconds: before.milliseconds / 2.0 + burst.milliseconds,
            }));
        }
    }

    /// The cost of a request in bytes; `None` before a burst of ranges has come.
    pub fn bytes(&self) -> Option<u64> {
        let seen = self.seen.get().filter(|seen| seen.milliseconds > 0.0)?;
        let known = match self.rate.get() {
            0.0 => USUAL_RATE,
            rate => rate,
        };
        let rate = known.max(seen.bytes / seen.milliseconds);
        let spent = seen.milliseconds * rate - seen.bytes;
        Some((spent / seen.requests).max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that lets `at_once` requests run, each after `latency` ms, on a line of `rate` bytes a millisecond.
    struct Line {
        at_once: usize,
        latency: f64,
        rate: f64,
    }

    /// `requests` ranges of `bytes` bytes at `start`; when the last has come.
    fn burst(cost: &RequestCost, line: &Line, start: f64, requests: usize, bytes: u64) -> f64 {
        let mut slots = vec![start; line.at_once];
        let (mut free, mut ends) = (start, Vec::new());
        for i in 0..requests {
            cost.begun(start);
            let slot = &mut slots[i % line.at_once];
            free = f64::max(free, *slot + line.latency) + bytes as f64 / line.rate;
            *slot = free;
            ends.push(free);
        }
        ends.iter().for_each(|end| cost.ended(*end, bytes));
        free
    }

    #[test]
    fn a_few_connections_make_requests_dear_and_many_streams_make_them_cheap() {
        // 40 ms for six: 6.7 ms each, 41.7 kB; for 32: 1.25 ms each, 7.8 kB.
        for (at_once, wanted) in [(6, 41_667.0), (32, 7_812.0)] {
            let line = Line {
                at_once,
                latency: 40.0,
                rate: 6250.0,
            };
            for gap in [500, 8_000] {
                let cost = RequestCost::default();
                assert_eq!(cost.bytes(), None);
                cost.whole(4 << 20, (4 << 20) as f64 / line.rate + line.latency);
                assert_eq!(cost.bytes(), None, "no range has come");
                let end = burst(&cost, &line, 1e4, 480, gap);
                let found = cost.bytes().unwrap() as f64;
                // With more bytes under way their transfer hides some of the waiting.
                let bound = wanted * 1.1;
                assert!(found < bound, "{at_once}: {found}");
                assert!(gap > 500 || found > wanted * 0.8, "{at_once}: {found}");
                // The rest of a query's rows say the same.
                burst(&cost, &line, end, 480, gap);
                assert!((cost.bytes().unwrap() as f64 - found).abs() < found * 0.1 + 500.0);
            }
        }
    }

    #[test]
    fn a_line_whose_transfers_take_all_the_time_makes_requests_free() {
        let slow = Line {
            at_once: 32,
            latency: 5.0,
            rate: 100.0,
        };
        let cost = RequestCost::default();
        cost.whole(1 << 20, (1 << 20) as f64 / slow.rate);
        burst(&cost, &slow, 0.0, 64, 10_000);
        assert!(cost.bytes().unwrap() < 100, "{:?}", cost.bytes());
    }

    #[test]
    fn little_says_nothing_and_later_bursts_count_more() {
        let cost = RequestCost::default();
        let line = |latency| Line {
            at_once: 6,
            latency,
            rate: 6250.0,
        };
        burst(&cost, &line(40.0), 0.0, 15, 800);
        cost.whole(LARGE_BYTES - 1, 0.1);
        assert_eq!(cost.bytes(), None);
        // Nobody waits for the range: the burst ends all the same.
        cost.begun(500.0);
        cost.ended(501.0, 0);
        burst(&cost, &line(40.0), 1e3, 16, 800);
        let first = cost.bytes().unwrap();
        for round in 2..8 {
            burst(&cost, &line(4.0), 1e3 * f64::from(round), 160, 800);
        }
        assert!(cost.bytes().unwrap() * 4 < first);
        let at_once = RequestCost::default();
        for _ in 0..16 {
            at_once.begun(3.0);
        }
        for _ in 0..16 {
            at_once.ended(3.0, 800);
        }
        assert_eq!(at_once.bytes(), None, "a clock that stands still");
    }
}
