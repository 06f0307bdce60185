//! Clustered unit vectors whose exact and approximate scores are all known, to hold the estimates against.

use super::*;
use crate::random::Sequence;

/// Length of a vector.
const DIMENSION: usize = 32;
const CLUSTERS: usize = 80;

/// A standard normal value, by Box and Muller.
pub(crate) fn normal(sequence: &mut Sequence) -> f64 {
    let radius = (-2.0 * (1.0 - f64::from(sequence.unit())).ln()).sqrt();
    radius * (std::f64::consts::TAU * f64::from(sequence.unit())).cos()
}

fn direction(sequence: &mut Sequence) -> Vec<f32> {
    let values: Vec<f64> = (0..DIMENSION).map(|_| normal(sequence)).collect();
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    values.iter().map(|v| (v / length) as f32).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A set of vectors around centres that lean to one side, as features do.
pub struct Vectors {
    rows: Vec<Vec<f32>>,
    cluster: Vec<u32>,
}

impl Vectors {
    pub fn new(count: usize, seed: u64) -> Self {
        let mut sequence = Sequence::new(seed, 1);
        let side = direction(&mut sequence);
        let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| direction(&mut sequence)).collect();
        let cluster: Vec<u32> = (0..count)
            .map(|_| sequence.below(CLUSTERS) as u32)
            .collect();
        let rows = cluster.iter().map(|c| {
            let own = direction(&mut sequence);
            let centre = &centres[*c as usize];
            let values: Vec<f32> = (0..DIMENSION)
                .map(|d| side[d] + 0.5 * centre[d] + 0.5 * own[d])
                .collect();
            let length = dot(&values, &values).sqrt();
            values.iter().map(|v| v / length).collect()
        });
        Self {
            rows: rows.collect(),
            cluster,
        }
    }
}

/// All scores of one query.
pub struct Scores {
    pub exact: Vec<f32>,
    pub approximate: Vec<f32>,
    pub cluster: Vec<u32>,
}

impl Scores {
    /// A query near a row, and approximate scores with an error of about 0.01 that depends on the row
    /// and, a little, on its cluster.
    pub fn new(vectors: &Vectors, seed: u64) -> Self {
        let mut sequence = Sequence::new(seed, 2);
        let near = &vectors.rows[sequence.below(vectors.rows.len())];
        let away = direction(&mut sequence);
        let values: Vec<f32> = near.iter().zip(&away).map(|(n, a)| n + 0.4 * a).collect();
        let length = dot(&values, &values).sqrt();
        let query: Vec<f32> = values.iter().map(|v| v / length).collect();
        let exact: Vec<f32> = vectors.rows.iter().map(|row| dot(row, &query)).collect();
        let common: Vec<f64> = (0..CLUSTERS)
            .map(|_| 0.002 * normal(&mut sequence))
            .collect();
        let approximate = exact.iter().zip(&vectors.cluster).map(|(score, cluster)| {
            let size = 0.007 + 0.006 * f64::from(sequence.unit());
            score + (common[*cluster as usize] + size * normal(&mut sequence)) as f32
        });
        Self {
            approximate: approximate.collect(),
            exact: exact.clone(),
            cluster: vectors.cluster.clone(),
        }
    }

    /// The sum over all rows of the calibrator, and the best score.
    pub fn truth(&self, inv_tau: f64, offset: f64) -> (f64, f64) {
        let best = self.exact.iter().copied().fold(f32::MIN, f32::max).into();
        let curve = Curve {
            inv_tau,
            offset,
            best,
        };
        (self.exact.iter().map(|s| curve.of((*s).into())).sum(), best)
    }
}

/// A query that has read `read` clusters, best first.
pub struct Reading<'a> {
    scores: &'a Scores,
    /// Rows in descending order of their approximate scores, as many as the list holds.
    listed: Vec<usize>,
    is_listed: Vec<bool>,
    reranked: Vec<bool>,
    drawn: Option<(f64, Vec<(usize, f64)>)>,
    control: Vec<usize>,
    below: u64,
    highest: f32,
    unread: Vec<ClusterScores>,
    laws: Vec<ClusterScores>,
    /// Position of a cluster among those that were not read.
    places: Vec<Option<usize>>,
    pub k: usize,
}

/// What came of a reading.
pub struct Outcome {
    pub reranked: usize,
    pub estimated_recall: f64,
    pub recall: f64,
    pub mass: Mass,
}

impl<'a> Reading<'a> {
    pub fn new(
        scores: &'a Scores,
        k: usize,
        list: usize,
        control: usize,
        read: usize,
        seed: u64,
    ) -> Self {
        let count = scores.exact.len();
        let mut clusters = vec![(0.0, 0.0, 0u64); CLUSTERS];
        for (score, cluster) in scores.exact.iter().zip(&scores.cluster) {
            let sum = &mut clusters[*cluster as usize];
            let score = f64::from(*score);
            *sum = (sum.0 + score, sum.1 + score * score, sum.2 + 1);
        }
        let laws: Vec<ClusterScores> = clusters
            .iter()
            .map(|(sum, square, rows)| {
                let count = (*rows).max(1) as f64;
                let base = sum / count;
                // Taken as somewhat wider than it is: the plan does not know it exactly.
                let deviation = 1.1 * (square / count - base * base).max(0.0).sqrt();
                ClusterScores {
                    base,
                    deviation,
                    rows: *rows,
                }
            })
            .collect();
        let order = file_order(&expected_hits(&laws, k), &[1; CLUSTERS]);
        let mut places = vec![None; CLUSTERS];
        let mut unread = Vec::new();
        for cluster in order.into_iter().skip(read) {
            places[cluster] = Some(unread.len());
            unread.push(laws[cluster]);
        }
        let is_read = |row: &usize| places[scores.cluster[*row] as usize].is_none();
        let mut rows: Vec<usize> = (0..count).filter(is_read).collect();
        rows.sort_by(|a, b| scores.approximate[*b].total_cmp(&scores.approximate[*a]));
        let below = rows.len().saturating_sub(list) as u64;
        rows.truncate(list);
        let mut is_listed = vec![false; count];
        rows.iter().for_each(|row| is_listed[*row] = true);
        let mut sequence = Sequence::new(seed, 3);
        let control = if count == 0 { 0 } else { control };
        Self {
            highest: rows.last().map_or(-1.0, |row| scores.approximate[*row]),
            listed: rows,
            reranked: vec![false; count],
            drawn: None,
            is_listed,
            laws,
            control: (0..control).map(|_| sequence.below(count)).collect(),
            below,
            unread,
            places,
            scores,
            k,
        }
    }

    fn pair(&self, row: usize) -> Pair {
        Pair {
            approximate: self.scores.approximate[row],
            exact: self.scores.exact[row],
            cluster: self.scores.cluster[row],
        }
    }

    /// Calls `what` with the state by what was reranked so far.
    pub fn at<T>(&self, what: impl FnOnce(&State) -> T) -> T {
        let place = |row: usize| self.places[self.scores.cluster[row] as usize];
        let control: Vec<Pair> = self.control.iter().map(|row| self.pair(*row)).collect();
        let below = self
            .control
            .iter()
            .filter(|row| place(**row).is_none() && !self.is_listed[**row]);
        let below: Vec<Pair> = below.map(|row| self.pair(*row)).collect();
        let unread = self
            .control
            .iter()
            .filter_map(|row| Some((place(*row)?, self.scores.exact[*row])));
        let unread: Vec<(usize, f32)> = unread.collect();
        let (reranked, waiting): (Vec<usize>, Vec<usize>) =
            self.listed.iter().partition(|row| self.reranked[**row]);
        let reranked: Vec<Pair> = reranked.iter().map(|row| self.pair(*row)).collect();
        let mut exact: Vec<f32> = reranked.iter().map(|p| p.exact).collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        let waiting: Vec<Candidate> = waiting
            .iter()
            .map(|row| self.pair(*row))
            .map(|p| Candidate {
                approximate: p.approximate,
                cluster: p.cluster,
            })
            .collect();
        let prior = ScoreError {
            mean: 0.0,
            deviation: 0.01,
        };
        let error = ErrorModel::new(&control, &reranked, prior);
        let mut best: Vec<(f32, usize)> = self
            .listed
            .iter()
            .map(|row| {
                let known = self.reranked[*row];
                let pair = self.pair(*row);
                (
                    if known { pair.exact } else { pair.approximate },
                    pair.cluster as usize,
                )
            })
            .collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(self.k);
        let read = (0..CLUSTERS).filter(|cluster| self.places[*cluster].is_none());
        let (laws, hits): (Vec<ClusterScores>, Vec<u64>) = read
            .map(|cluster| {
                let hits = best.iter().filter(|row| row.1 == cluster).count();
                (self.laws[cluster], hits as u64)
            })
            .unzip();
        let line = best.last().map_or(0.0, |row| row.0.into());
        let first = self.listed.iter().take_while(|row| self.reranked[**row]);
        let first: Vec<f32> = first.map(|row| self.pair(*row).exact).collect();
        let drawn = self.drawn.iter().flat_map(|drawn| &drawn.1);
        let drawn = drawn.map(|(row, size)| (*size, self.pair(*row).exact));
        let drawn: Vec<(f64, f32)> = drawn.collect();
        what(&State {
            exact: &exact,
            waiting: &waiting,
            first: &first,
            below: Below {
                rows: self.below,
                highest: self.highest,
                control: &below,
            },
            unread: Unread {
                clusters: &self.unread,
                share: tail_share(&laws, &hits, line),
                control: &unread,
            },
            error: &error,
            drawn: self.drawn.as_ref().map(|(rest, _)| Drawn {
                rest: *rest,
                rows: &drawn,
            }),
        })
    }

    /// The calibrator with the best exact score so far, and its sum over the approximate scores below.
    fn curve(&self, state: &State, inv_tau: f64, offset: f64) -> (Curve, f64) {
        let best = state.exact.first().copied().unwrap_or(1.0).into();
        let curve = Curve {
            inv_tau,
            offset,
            best,
        };
        let below = (0..self.scores.exact.len())
            .filter(|row| self.places[self.scores.cluster[*row] as usize].is_none())
            .filter(|row| !self.is_listed[*row]);
        (
            curve,
            below
                .map(|row| curve.of(self.scores.approximate[row].into()))
                .sum(),
        )
    }

    /// Reranks by `rule` to its end.
    pub fn run(mut self, rule: &Rule, inv_tau: f64, offset: f64) -> Outcome {
        self.rerank(rule, inv_tau, offset);
        self.outcome(inv_tau, offset)
    }

    /// Reranks by `rule` to its end, then a draw of `count`.
    pub fn drawing(mut self, rule: &Rule, inv_tau: f64, offset: f64, count: usize) -> Outcome {
        self.rerank(rule, inv_tau, offset);
        let draw = self.at(|state| Draw::new(state, &self.curve(state, inv_tau, offset).0, count));
        let waiting = self.listed.iter().filter(|row| !self.reranked[**row]);
        let waiting: Vec<usize> = waiting.copied().collect();
        for position in draw.positions() {
            self.reranked[waiting[position]] = true;
        }
        let drawn = draw.drawn.iter().map(|(at, size)| (waiting[*at], *size));
        self.drawn = Some((draw.rest, drawn.collect()));
        self.outcome(inv_tau, offset)
    }

    fn rerank(&mut self, rule: &Rule, inv_tau: f64, offset: f64) {
        loop {
            let next = self.at(|state| {
                let curve = state.exact.first().map(|best| Curve {
                    inv_tau,
                    offset,
                    best: f64::from(*best),
                });
                rule.next(state, curve.as_ref()).rows
            });
            if next == 0 {
                break;
            }
            let waiting = self.listed.iter().filter(|row| !self.reranked[**row]);
            let rows: Vec<usize> = waiting.take(next).copied().collect();
            assert_eq!(rows.len(), next);
            rows.into_iter().for_each(|row| self.reranked[row] = true);
        }
    }

    fn outcome(&self, inv_tau: f64, offset: f64) -> Outcome {
        let mut best = self.scores.exact.clone();
        best.sort_by(|a, b| b.total_cmp(a));
        let k = self.k.min(best.len());
        self.at(|state| {
            let (curve, below) = self.curve(state, inv_tau, offset);
            let found = state
                .exact
                .iter()
                .take(k)
                .filter(|s| **s >= best[k - 1])
                .count();
            Outcome {
                reranked: state.exact.len(),
                estimated_recall: state.recall(self.k),
                recall: found as f64 / k.max(1) as f64,
                mass: mass::total(state, &curve, below),
            }
        })
    }
}
