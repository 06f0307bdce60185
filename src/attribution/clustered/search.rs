//! One query of a clustered index, short of the exact kind.
//!
//! Every row of the index is in one of four parts: reranked (exact score known), waiting (among the best by
//! code), below (scored, but not among those), unread. [`Search::with_state`] tells the estimates which is which.

use std::collections::HashMap;
use std::rc::Rc;

use super::ClusteredIndex;
use super::control::{ControlRow, control_scores, prior};
use super::rounding::Rounding;
use crate::attribution::Quality;
use crate::attribution::estimate::{
    Below, Candidate, ClusterScores, Curve, Draw, Drawn, ErrorModel, Pair, ResidualVariance, Rule,
    ScoreError, State, Unread, expected_hits, file_order, mass, tail_share,
};
use crate::error::{Error, Result};
use crate::format::Calibrator;
use crate::format::clustered::{CodeRows, Control};
use crate::score::calibrator::unnormalised;
use crate::score::{CodeQuery, FineQuery, Hit, Scorer, top_k};

/// A quick answer stops to read codes when fewer than this share of the hits is expected in the rest.
const FAST_UNREAD: f64 = 0.03;

/// An interval of the sum of influences that reaches further than this share to each side is narrowed by
/// reranking so many rows that stand for the others.
const DRAWN_WIDTH: f64 = 0.01;
const DRAWS: usize = 256;
const DRAWS_FAST: usize = 64;

/// What is known so far.
pub(super) struct Search<'a> {
    index: &'a ClusteredIndex,
    query: Rc<CodeQuery>,
    fine: FineQuery,
    rule: Rule,
    fast: bool,
    /// The error of a code where nothing is known of it.
    prior: ScoreError,
    clusters: Vec<ClusterScores>,
    /// `<q, c>` of each cluster's centroid.
    bases: Vec<f64>,
    control: Vec<ControlRow>,
    /// Whether the clusters were read.
    read: Vec<bool>,
    pub rows_read: u64,
    scorer: Scorer,
    /// Best by code, best first; of all that was read.
    listed: Vec<Hit>,
    /// Exact scores and steps of rows that were fetched, and not reranked yet.
    at_hand: HashMap<u32, (f32, f32)>,
    /// Exact scores by row.
    exact: HashMap<u32, f32>,
    /// Steps of the int8 codes of those rows.
    steps: HashMap<u32, f32>,
    /// See [`Drawn::rest`], and row and size of each drawn row.
    drawn: Option<(f64, Vec<(u32, f64)>)>,
}

impl<'a> Search<'a> {
    /// Starts a query with `unit` [D]; `scorer` makes one that keeps so many rows.
    pub fn new(
        index: &'a ClusteredIndex,
        unit: &[f32],
        k: usize,
        quality: Quality,
        scorer: impl FnOnce(Rc<CodeQuery>, usize) -> Result<Scorer>,
    ) -> Result<Self> {
        let (head, plan) = (&index.head, &index.head.plan);
        let query = Rc::new(CodeQuery::new(plan, unit)?);
        let fine = FineQuery::new(unit)?;
        let fast = quality == Quality::Fast;
        let rule = if fast {
            Rule::fast(k)
        } else {
            Rule::balanced(k)
        };
        let variance = ResidualVariance::new(
            &plan.variances,
            plan.rest_variance,
            plan.dimension,
            query.projected(),
        );
        let bases: Vec<f64> = head
            .clusters
            .iter()
            .map(|cluster| query.base(cluster.centroid as usize))
            .collect();
        let clusters = head.clusters.iter().zip(&bases).map(|(cluster, base)| {
            let spread = plan.spreads[cluster.centroid as usize];
            ClusterScores {
                base: *base,
                deviation: variance.deviation(f64::from(spread)),
                rows: u64::from(cluster.rows),
            }
        });
        let clusters: Vec<ClusterScores> = clusters.collect();
        let projected = query.projected().to_vec();
        let listed_rows = rule.listed.min(head.rows as usize);
        Ok(Self {
            read: vec![false; clusters.len()],
            scorer: scorer(query.clone(), listed_rows)?,
            index,
            fine,
            rule,
            fast,
            query,
            prior: prior(plan, &projected),
            clusters,
            bases,
            control: Vec::new(),
            rows_read: 0,
            listed: Vec::new(),
            at_hand: HashMap::new(),
            exact: HashMap::new(),
            steps: HashMap::new(),
            drawn: None,
        })
    }

    /// Scores the control sample, if that was not done.
    pub fn set_control(&mut self, control: &Control) {
        if self.control.is_empty() {
            let head = &self.index.head;
            self.control = control_scores(head, control, &self.query, &self.fine, &self.bases);
        }
    }

    /// The coarse files, best first.
    pub fn order(&self) -> Vec<usize> {
        let expected = expected_hits(&self.clusters, self.rule.k);
        let files = &self.index.clusters.coarse;
        let hits: Vec<f64> = files
            .iter()
            .map(|file| {
                let first = file.first_cluster as usize;
                expected[first..first + file.clusters as usize].iter().sum()
            })
            .collect();
        let bytes: Vec<u64> = files.iter().map(|file| file.file.bytes).collect();
        file_order(&hits, &bytes)
    }

    /// Scores the codes of a file.
    pub fn add(&mut self, file: &str, rows: &CodeRows, clusters: usize) -> Result<()> {
        self.scorer.add_codes(file, &self.index.head, rows)?;
        for read in self.read.iter_mut().skip(rows.first_cluster).take(clusters) {
            *read = true;
        }
        self.rows_read += rows.rows() as u64;
        Ok(())
    }

    /// Brings the list of the best by code up to date.
    pub async fn list(&mut self) -> Result<()> {
        self.listed = self.scorer.hits().await?;
        Ok(())
    }

    /// Whether the rest of the codes may stay unread; [`Search::list`] was called since the last file.
    pub fn enough(&self) -> bool {
        let k = self.rule.k.min(self.index.head.rows as usize);
        let Some(kth) = self.listed.get(k.saturating_sub(1)) else {
            return false;
        };
        let unread = self.clusters.iter().zip(&self.read).filter(|c| !c.1);
        let line = f64::from(kth.score);
        let expected: f64 = unread.map(|c| c.0.expected_above(line)).sum();
        self.fast && self.tail_share() * expected <= FAST_UNREAD * k as f64
    }

    /// Rows to rerank next, best first, and some behind them that are likely to be wanted soon; none when the answer is as
    /// good as was asked for.
    pub fn next(&self, calibrator: &Calibrator) -> [Vec<u32>; 2] {
        let curve = self.curve(calibrator);
        let next = self.with_state(|state| self.rule.next(state, curve.as_ref()));
        let mut waiting = self.waiting().map(|hit| hit.id);
        [next.rows, next.ahead].map(|count| waiting.by_ref().take(count).collect())
    }

    /// Rows that would narrow the interval of the sum of influences, where it is wide; the last rows to be reranked.
    pub async fn draw(&mut self, calibrator: &Calibrator) -> Result<Vec<u32>> {
        let Some(curve) = self.curve(calibrator) else {
            return Ok(Vec::new());
        };
        let below = self.below(calibrator, curve.best as f32).await?;
        let draws = if self.fast { DRAWS_FAST } else { DRAWS };
        let draw = self.with_state(|state| {
            let total = mass::total(state, &curve, below);
            let wide = total.high - total.low > 2.0 * DRAWN_WIDTH * total.value;
            wide.then(|| Draw::new(state, &curve, draws))
        });
        let Some(draw) = draw else {
            return Ok(Vec::new());
        };
        let waiting: Vec<u32> = self.waiting().map(|hit| hit.id).collect();
        let drawn = draw.drawn.iter().map(|row| (waiting[row.0], row.1));
        self.drawn = Some((draw.rest, drawn.collect()));
        Ok(draw.positions().map(|at| waiting[at]).collect())
    }

    /// Scores the fine row of `row`, for when it is reranked.
    pub fn bring(&mut self, row: u32, scale: f32, codes: &[i8]) {
        let cluster = self.index.head.cluster_of(u64::from(row));
        let score = self.fine.score(self.bases[cluster], scale, codes);
        self.at_hand.insert(row, (score, scale));
    }

    /// Whether the fine row of `row` has to be fetched.
    pub fn lacks(&self, row: u32) -> bool {
        !self.at_hand.contains_key(&row)
    }

    /// Takes note of the exact scores of `rows`.
    pub fn rerank(&mut self, rows: &[u32]) {
        for row in rows {
            if let Some((score, step)) = self.at_hand.remove(row) {
                self.exact.insert(*row, score);
                self.steps.insert(*row, step);
            }
        }
    }

    /// What the rounding of fine rows does to influences; `total` is the calibrator's sum.
    pub fn rounding(&self, curve: Curve, total: f64) -> Rounding {
        let step = |row| self.steps.get(row).copied().unwrap_or(0.0);
        let rows = self
            .exact
            .iter()
            .map(|(row, score)| (*row, *score, step(row)));
        // In an order of their own, so that sums are the same every time.
        let mut rows: Vec<(u32, f32, f32)> = rows.collect();
        rows.sort_unstable_by_key(|row| row.0);
        let others = self.index.head.rows - rows.len() as u64;
        Rounding::new(curve, total, rows, others)
    }

    pub fn reranked(&self) -> usize {
        self.exact.len()
    }

    /// The best `k` so far: by exact score, and where there are fewer of those, by code.
    pub fn best(&self, k: usize) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self
            .exact
            .iter()
            .map(|(id, score)| Hit {
                id: *id,
                score: *score,
            })
            .collect();
        top_k::sort(&mut hits);
        let missing = k.saturating_sub(hits.len());
        let waiting: Vec<Hit> = self.waiting().take(missing).copied().collect();
        hits.extend(waiting);
        hits.truncate(k);
        hits
    }

    pub fn recall(&self) -> f64 {
        self.with_state(|state| state.recall(self.rule.k))
    }

    /// The calibrator with the best exact score; `None` before there is one.
    pub fn curve(&self, calibrator: &Calibrator) -> Option<Curve> {
        let best = self.exact.values().copied().max_by(f32::total_cmp)?;
        Some(Curve::new(calibrator, best))
    }

    /// The calibrator's sum over the rows below the list, by their codes.
    pub async fn below(&mut self, calibrator: &Calibrator, best: f32) -> Result<f64> {
        let scored = self.scorer.normaliser(calibrator, best).await?;
        let of_list = |hit: &Hit| f64::from(unnormalised(calibrator, hit.score, best));
        let listed: f64 = self.listed.iter().map(of_list).sum();
        let below = scored - listed;
        if below.is_nan() {
            return Err(Error::NotFinite {
                what: "the sum of influences".into(),
            });
        }
        Ok(below.max(0.0))
    }

    /// See [`tail_share`]; 1 while nothing was read.
    fn tail_share(&self) -> f64 {
        let k = self.rule.k.min(self.listed.len());
        let Some(last) = k.checked_sub(1).map(|last| self.listed[last]) else {
            return 1.0;
        };
        let mut hits = vec![0; self.clusters.len()];
        for hit in &self.listed[..k] {
            hits[self.index.head.cluster_of(u64::from(hit.id))] += 1;
        }
        let read = self.clusters.iter().zip(&hits).zip(&self.read);
        let (clusters, hits): (Vec<ClusterScores>, Vec<u64>) = read
            .filter(|c| *c.1)
            .map(|((c, hits), _)| (*c, *hits))
            .unzip();
        tail_share(&clusters, &hits, f64::from(last.score))
    }

    fn centroid_of(&self, row: u32) -> u32 {
        let head = &self.index.head;
        head.clusters[head.cluster_of(u64::from(row))].centroid
    }

    /// Listed rows that were not reranked, best first.
    fn waiting(&self) -> impl Iterator<Item = &Hit> {
        self.listed
            .iter()
            .filter(|hit| !self.exact.contains_key(&hit.id))
    }

    /// Calls `use_it` with what is known of all rows.
    pub fn with_state<T>(&self, use_it: impl FnOnce(&State) -> T) -> T {
        let mut exact: Vec<f32> = self.exact.values().copied().collect();
        exact.sort_by(|a, b| b.total_cmp(a));
        let waiting = self.waiting().map(|hit| Candidate {
            approximate: hit.score,
            cluster: self.centroid_of(hit.id),
        });
        let waiting: Vec<Candidate> = waiting.collect();
        let reranked = self.listed.iter().filter_map(|hit| {
            Some(Pair {
                approximate: hit.score,
                exact: *self.exact.get(&hit.id)?,
                cluster: self.centroid_of(hit.id),
            })
        });
        let reranked: Vec<Pair> = reranked.collect();
        let first = self.listed.iter().map_while(|hit| self.exact.get(&hit.id));
        let first: Vec<f32> = first.copied().collect();
        let last = self.listed.last().copied();
        let is_listed = |row: &ControlRow| {
            let hit = Hit {
                id: row.row,
                score: row.scores.approximate,
            };
            last.is_some_and(|last| {
                hit.score > last.score || hit.score == last.score && hit.id <= last.id
            })
        };
        let (read, unread): (Vec<_>, Vec<_>) =
            self.control.iter().partition(|row| self.read[row.cluster]);
        let below = read.into_iter().filter(|row| !is_listed(row));
        let below: Vec<Pair> = below.map(|row| row.scores).collect();
        let mut positions = vec![usize::MAX; self.clusters.len()];
        let mut rest = Vec::new();
        for (number, cluster) in self.clusters.iter().enumerate() {
            if !self.read[number] {
                positions[number] = rest.len();
                rest.push(*cluster);
            }
        }
        let rest_control = unread
            .iter()
            .map(|row| (positions[row.cluster], row.scores.exact));
        let rest_control: Vec<(usize, f32)> = rest_control.collect();
        let control: Vec<Pair> = self.control.iter().map(|row| row.scores).collect();
        let error = ErrorModel::new(&control, &reranked, self.prior);
        let drawn = self.drawn.iter().flat_map(|drawn| &drawn.1);
        let drawn = drawn.filter_map(|(row, size)| Some((*size, *self.exact.get(row)?)));
        let drawn: Vec<(f64, f32)> = drawn.collect();
        use_it(&State {
            exact: &exact,
            waiting: &waiting,
            first: &first,
            below: Below {
                rows: self.rows_read - self.listed.len() as u64,
                highest: last.map_or(f32::MIN, |hit| hit.score),
                control: &below,
            },
            unread: Unread {
                clusters: &rest,
                share: self.tail_share(),
                control: &rest_control,
            },
            error: &error,
            drawn: self.drawn.as_ref().map(|(rest, _)| Drawn {
                rest: *rest,
                rows: &drawn,
            }),
        })
    }
}
