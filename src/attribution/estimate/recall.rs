//! Which candidates to rerank next, and what share of the true top k the hits are.
//!
//! A row that was not reranked has a normal exact score, see [`super::error`]; a row that was not read has
//! that of its cluster. The line above which k rows are expected, known and unknown ones together, is where
//! the true k-th score is likely to be; what is expected above it among rows that are not shown is missed.
//! The number of candidates follows from this sum and is no constant.
//!
//! Errors that are not normal show in the ranking itself: rows that lie close to the query in directions that codes leave out
//! are hits from far down the list. So how hits thin out from one doubling of the list to the next is a second
//! estimate of what is missed ([`State::thinning`]), and the larger of the two counts.

use super::normal::exceeds;
use super::{Candidate, ScoreError, State, curve::Curve};

/// Halvings of the search for the line: from a range of 4 to below 1e-5.
const HALVINGS: usize = 19;
/// Fewest rows asked for at a time, where there are as many.
const BATCH_ROWS: usize = 64;
/// Of the first rows, so many are fetched at once where twice as many seem to be wanted, however few are looked at
/// first: each look would take a round trip.
const AHEAD_ROWS: usize = 400;
/// Least distance, in deviations of the error, of rows that count as certainly below a line.
const CERTAIN: f64 = 4.0;
/// Part of the allowed misses that is left to the waiting rows, whatever the rest has used up.
const OWN_SHARE: f64 = 0.2;
/// Fewest reranked rows whose thinning out says something.
const THINNING_ROWS: usize = 256;
/// Hits of a doubling are at most this share of those of the one before, in what is expected of those to come.
const THINNING_MAX: f64 = 0.7;
/// Reranked rows from which on thinning out asks for no more: what is left is a few hits for many bytes, and stated.
pub const THINNING_MOST: usize = 7168;

/// How good an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub k: usize,
    /// Reranking ends when this recall is expected.
    pub recall: f64,
    /// Most rows to rerank in all.
    pub rows: usize,
    /// Best rows by code to keep; those that are not reranked stand for themselves in the estimates.
    pub listed: usize,
    /// All rows above the calibrator's line are reranked, where they are no more than this in all.
    pub certify: usize,
    /// Of the first rows, so many may be fetched at once, see [`Next::ahead`].
    pub ahead: usize,
}

/// What to rerank next: waiting rows, from the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// These are looked at before anything else is decided; 0 when done.
    pub rows: usize,
    /// So many behind them are likely to be wanted soon, and may be fetched with them.
    pub ahead: usize,
}

fn listed(k: usize) -> usize {
    (8 * k).max(16_384)
}

impl Rule {
    /// A miss among the hits is unlikely.
    pub fn balanced(k: usize) -> Self {
        Self {
            k,
            recall: 0.995,
            rows: listed(k),
            listed: listed(k),
            certify: 6144,
            ahead: AHEAD_ROWS,
        }
    }

    /// Few fine rows.
    pub fn fast(k: usize) -> Self {
        Self {
            k,
            recall: 0.95,
            rows: 2 * k + 1000,
            listed: listed(k),
            certify: 0,
            // Bytes count most.
            ahead: 0,
        }
    }

    /// Rows of `state.waiting` to rerank next. Called again after
    /// each batch, as every batch tells more of the errors. `curve` is the calibrator's, with the best exact
    /// score so far; it matters where it cuts.
    pub fn next(&self, state: &State, curve: Option<&Curve>) -> Next {
        let left = self.rows.saturating_sub(state.exact.len());
        let waiting = state.waiting.len().min(left);
        let mut wanted = self.wanted(state).min(waiting);
        if let Some(line) = curve.and_then(Curve::line) {
            let rows = candidates_above(state, line);
            let all = state.exact.len() + rows;
            if all <= self.certify.min(self.rows) && certain_below(state, line) {
                wanted = wanted.max(rows);
            }
        }
        if wanted == 0 {
            return Next::default();
        }
        // At most doubling: what was read so far tells whether the rest is needed.
        let most = state.exact.len().max(self.k).max(BATCH_ROWS);
        let rows = wanted.clamp(BATCH_ROWS, most).min(waiting);
        // First estimates are high: of what seems wanted it is half.
        let ahead = self.ahead.saturating_sub(state.exact.len());
        Next {
            rows,
            ahead: ahead.min(wanted / 2).saturating_sub(rows),
        }
    }

    /// Number of waiting rows to rerank for the wanted recall, by what is known now.
    fn wanted(&self, state: &State) -> usize {
        let k = self
            .k
            .min(usize::try_from(state.rows()).unwrap_or(usize::MAX));
        let lacking = k.saturating_sub(state.exact.len());
        let line = state.line(k);
        let allowed = (1.0 - self.recall) * k as f64;
        let own = (allowed - state.unlisted_above(line)).max(OWN_SHARE * allowed);
        let mut missed = 0.0;
        let mut wanted = state.waiting.len();
        for row in state.waiting.iter().rev() {
            missed += state.chance(row, line);
            if missed > own {
                break;
            }
            wanted -= 1;
        }
        if state.thinning(line) > allowed && state.first.len() < THINNING_MOST {
            wanted = wanted.max(state.first.len().min(THINNING_MOST));
        }
        wanted.max(lacking)
    }
}

impl State<'_> {
    /// Probability that a waiting row has an exact score above `line`.
    fn chance(&self, row: &Candidate, line: f64) -> f64 {
        let approximate = f64::from(row.approximate);
        let error = self.error.within(approximate, row.cluster);
        exceeds(line - approximate, error.mean, error.deviation)
    }

    /// The same for a row of any cluster.
    fn chance_below(&self, approximate: f32, line: f64) -> f64 {
        let approximate = f64::from(approximate);
        let error = self.error.at(approximate);
        exceeds(line - approximate, error.mean, error.deviation)
    }

    /// Expected number of waiting rows above `line` by how such rows thin out down the list: the last doubling of it has
    /// so many of them, and each to come a part of those of the one before.
    fn thinning(&self, line: f64) -> f64 {
        let count = self.first.len();
        if count < THINNING_ROWS || self.waiting.is_empty() {
            return 0.0;
        }
        let above = |rows: &[f32]| rows.iter().filter(|s| f64::from(**s) > line).count() as f64;
        let before = above(&self.first[count / 4..count / 2]);
        let last = above(&self.first[count / 2..]);
        let part = ((last + 0.5) / (before + 1.0)).min(THINNING_MAX);
        (last * part / (1.0 - part)).min(self.waiting.len() as f64)
    }

    /// Expected number of rows above `line` among those that are in no list.
    fn unlisted_above(&self, line: f64) -> f64 {
        let below = self.below;
        let scored = if below.rows == 0 {
            0.0
        } else if below.control.is_empty() {
            below.rows as f64 * self.chance_below(below.highest, line)
        } else {
            let chances = below
                .control
                .iter()
                .map(|p| self.chance_below(p.approximate, line));
            below.rows as f64 * chances.sum::<f64>() / below.control.len() as f64
        };
        let unread = self.unread.clusters.iter().map(|c| c.expected_above(line));
        scored + self.unread.share * unread.sum::<f64>()
    }

    /// The score above which `k` rows are expected.
    fn line(&self, k: usize) -> f64 {
        let law =
            |(approximate, error): (f64, ScoreError)| (approximate + error.mean, error.deviation);
        let waiting = self.waiting.iter().map(|row| {
            let approximate = f64::from(row.approximate);
            law((approximate, self.error.within(approximate, row.cluster)))
        });
        let waiting: Vec<(f64, f64)> = waiting.collect();
        let (mut low, mut high) = (-2.0, 2.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            let known = self.exact.partition_point(|s| f64::from(*s) > middle) as f64;
            let chances = waiting.iter().map(|law| exceeds(middle, law.0, law.1));
            if known + chances.sum::<f64>() + self.unlisted_above(middle) > k as f64 {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Expected share of the true top `k` among the hits: the best `k` reranked rows and, where there are
    /// fewer, the first waiting ones.
    pub fn recall(&self, k: usize) -> f64 {
        let k = k.min(usize::try_from(self.rows()).unwrap_or(usize::MAX));
        if k == 0 {
            return 1.0;
        }
        let line = self.line(k);
        // Hits are the best known rows, so what is missed is what is expected above the line elsewhere.
        let shown = k.saturating_sub(self.exact.len());
        let missed: f64 = self
            .waiting
            .iter()
            .skip(shown)
            .map(|row| self.chance(row, line))
            .sum();
        let missed = f64::max(missed, self.thinning(line));
        (1.0 - (missed + self.unlisted_above(line)) / k as f64).clamp(0.0, 1.0)
    }
}

/// Deviations that no error is beyond, by all that was seen.
fn certain(state: &State) -> f64 {
    state.error.reach().max(CERTAIN) * (1.0 + state.error.variance_error())
}

/// Number of waiting rows that are not certainly below `line`.
pub(super) fn candidates_above(state: &State, line: f64) -> usize {
    let certain = certain(state);
    state
        .waiting
        .iter()
        .rposition(|row| {
            let approximate = f64::from(row.approximate);
            reaches(
                approximate,
                state.error.within(approximate, row.cluster),
                certain,
            ) >= line
        })
        .map_or(0, |last| last + 1)
}

/// Whether all rows that are in no list are certainly below `line`.
pub(super) fn certain_below(state: &State, line: f64) -> bool {
    let highest = f64::from(state.below.highest);
    let unlisted =
        state.below.rows == 0 || reaches(highest, state.error.at(highest), certain(state)) < line;
    unlisted && state.unread.clusters.iter().all(|c| c.rows == 0)
}

fn reaches(approximate: f64, error: ScoreError, certain: f64) -> f64 {
    approximate + error.mean + certain * error.deviation
}
