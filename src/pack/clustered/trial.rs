//! A form of codes, tried on the sample: what it costs and how many candidates a query then needs.

use rayon::prelude::*;

use super::basis::Basis;
use super::classes::CodedSample;
use super::encode::{RowEncoder, Terms};
use super::leaf_form::{LeafForm, leading, leaf_form};
use super::leaves::LEAF_ROWS;
use super::product::Panels;
use super::quantiser::Quantiser;
use crate::attribution::estimate::THINNING_MOST;
use crate::error::Result;
use crate::format::clustered::Plan;

/// Candidates that a query reads for one that it would need if it knew how far down the last of its top is: between 1
/// and 2, measured at a million rows.
const MARGIN: f64 = 1.5;
/// Rows that are encoded or scored together.
const BLOCK_ROWS: usize = 1024;
/// One row of this many makes the first tables, and is coded where a form is tried on part of a large sample.
pub(super) const PART: usize = 4;
/// Rows of a sample that is large enough for that.
pub(super) const LARGE_SAMPLE: usize = 65_536;
/// Steps of `const` and `gain` in both forms.
const CONST_STEP: f32 = 0.03;
const GAIN_STEP: f32 = 0.05;
const FIXED_CONST_STEP: f32 = 0.005;
const FIXED_GAIN_STEP: f32 = 0.02;
/// Bytes of a block beside its codes: rANS states of rows and leaves, its header and place, the cluster's entry in the head.
const BLOCK_BYTES: usize = 56;
/// Bytes that come for one of a candidate's row: ranges span what lies between candidates.
const GAPS: f64 = 2.4;
/// What asking for a candidate costs beside its bytes: about two of five are a request of their own, which on a
/// line of 50 Mbit/s and 40 ms, with 32 under way, takes as long as 8 kB.
const REQUEST_BYTES: f64 = 3.2e3;

pub(super) struct Trial {
    pub plan: Plan,
    pub form: Form,
    /// Coarse bytes a row, with what leaves and blocks add.
    pub row_bytes: f64,
    /// Of these those of leaves.
    pub leaf_bytes: f64,
    /// Mean number of candidates of a query, about.
    pub candidates: f64,
    /// Share of the queries' top that is among the most candidates that a query reads.
    pub found: f64,
    /// Root mean square of exact less approximate score, over the queries' top.
    pub deviation: f64,
}

impl Trial {
    /// Bytes of the first query: the plan, all coarse rows and its fine rows.
    pub fn first_bytes(&self, rows: usize) -> f64 {
        let plan = self.plan.encode().map_or(0, |bytes| bytes.len());
        plan as f64 + self.row_bytes * rows as f64 + self.fine_bytes()
    }

    /// What a first query costs, in bytes of time on the line: its bytes, and the requests for candidates.
    pub fn cost(&self, rows: usize) -> f64 {
        self.first_bytes(rows) + self.candidates * REQUEST_BYTES
    }

    /// Bytes of fine rows a query, with those between them.
    pub fn fine_bytes(&self) -> f64 {
        GAPS * self.candidates * self.plan.fine_row_bytes() as f64
    }
}

/// A form to try: steps, and whether it has entropy classes and leaves.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub quantiser: Quantiser,
    pub entropy: bool,
    pub leaves: bool,
}

/// Tries `form` on one row of `stride` of the sample; the plan of a trial with the stride 1 is the one to pack with.
pub(super) fn try_form(
    basis: &Basis,
    form: Form,
    files: [usize; 2],
    stride: usize,
) -> Result<Trial> {
    let entropy = form.entropy;
    let leaves = match form.leaves {
        true => leaf_form(basis, &form.quantiser),
        false => LeafForm::default(),
    };
    let mut plan = bare_plan(basis, form.quantiser.clone(), entropy, files);
    plan.transform = transform(basis, plan.widths.dimensions().max(leaves.steps.len()));
    plan.leaf_steps = leaves.steps.clone();
    plan.leaf_tables = leaves.tables.clone();
    let held = basis.sample.centroids.len();
    let mut bits = 8.0 * plan.widths.row_bytes() as f64;
    let mut codes;
    let mut classes = vec![0; basis.spreads.len()];
    if entropy {
        // Costs depend on tables, tables on choices, choices on costs: from rough tables to final ones.
        for (pass, step) in [PART, PART, stride].into_iter().enumerate() {
            let rows: Vec<usize> = (0..held).step_by(step).collect();
            codes = encode_sample(basis, &plan, &leaves, &classes, &rows);
            let centroids: Vec<u32> = rows.iter().map(|r| basis.sample.centroids[*r]).collect();
            let coded = CodedSample {
                positions: plan.widths.row_bytes(),
                codes: &codes,
                centroids: &centroids,
                spreads: &basis.spreads,
                rows: basis.rows,
            };
            let found = match pass {
                2 => coded.classify(),
                _ => coded.into_classes(1),
            };
            bits = found.bits;
            plan.classes = found.count;
            classes = found.of_centroid;
            plan.tables = found.tables;
        }
    }
    let counted = Counted::new(basis, stride);
    codes = encode_sample(basis, &plan, &leaves, &classes, &counted.rows);
    let centroids: Vec<u32> = counted
        .rows
        .iter()
        .map(|r| basis.sample.centroids[*r])
        .collect();
    if entropy {
        bits = mean_bits(&plan, &classes, &codes, &centroids);
    }
    let approximate = approximate_scores(basis, &plan, &leaves, &codes, &counted.rows);
    let (candidates, found, deviation) = candidates(basis, &approximate, &counted);
    let blocks = BLOCK_BYTES * plan.centroid_count();
    let leaf_bytes = leaves.bits / 8.0 / LEAF_ROWS as f64;
    Ok(Trial {
        leaf_bytes,
        row_bytes: bits / 8.0 + leaf_bytes + blocks as f64 / basis.rows as f64,
        candidates,
        found,
        deviation,
        plan,
        form,
    })
}

fn bare_plan(basis: &Basis, quantiser: Quantiser, entropy: bool, files: [usize; 2]) -> Plan {
    let (dimension, coded) = (basis.dimension, quantiser.widths.dimensions());
    let rest = basis.energies.get(coded..).unwrap_or(&[]);
    let variance = |j: usize| basis.energies.get(j).map_or(0.0, |e| *e as f32);
    Plan {
        dimension,
        widths: quantiser.widths,
        classes: 0,
        fine_rows: files[0],
        items_per_file: files[1],
        const_step: if entropy {
            CONST_STEP
        } else {
            FIXED_CONST_STEP
        },
        gain_step: if entropy { GAIN_STEP } else { FIXED_GAIN_STEP },
        rest_variance: (rest.iter().sum::<f64>() / rest.len().max(1) as f64) as f32,
        steps: quantiser.steps,
        zeros: quantiser.zeros,
        variances: (0..coded).map(variance).collect(),
        transform: transform(basis, coded),
        leaf_steps: Vec::new(),
        centroid_scales: basis.centroid_scales.clone(),
        spreads: basis.spreads.clone(),
        centroids: basis.centroid_codes.clone(),
        tables: Vec::new(),
        leaf_tables: Vec::new(),
    }
}

/// The first `axes` axes; beyond those that there are, zeros.
fn transform(basis: &Basis, axes: usize) -> Vec<f32> {
    let mut transform = basis.axes[..axes.min(basis.kept()) * basis.dimension].to_vec();
    transform.resize(axes * basis.dimension, 0.0);
    transform
}

/// Codes [rows, P] of rows of the sample, less their leaves.
fn encode_sample(
    basis: &Basis,
    plan: &Plan,
    leaves: &LeafForm,
    classes: &[u8],
    rows: &[usize],
) -> Vec<u8> {
    let encoder = RowEncoder::new(plan);
    let (kept, axes) = (basis.kept(), encoder.axes());
    let blocks = rows.par_chunks(BLOCK_ROWS).flat_map_iter(|rows| {
        let mut codes = Vec::with_capacity(rows.len() * plan.widths.row_bytes());
        let mut turned = vec![0.0; axes];
        for row in rows {
            let all = &basis.sample.turned[row * kept..][..axes.min(kept)];
            turned[..all.len()].copy_from_slice(all);
            let centroid = basis.sample.centroids[*row] as usize;
            let mut terms = basis.sample.terms[*row];
            if let Some((code, stretch)) = leaves.of_row(basis, *row) {
                encoder.less_leaf(centroid, code, &mut terms, &mut turned);
                turned.iter_mut().for_each(|value| *value *= stretch);
                terms = Terms {
                    square: terms.square * stretch * stretch,
                    along: terms.along * stretch,
                };
            }
            let class = usize::from(classes[centroid]);
            encoder.encode_turned((class, centroid), terms, &turned, &mut codes);
        }
        codes
    });
    blocks.collect()
}

fn mean_bits(plan: &Plan, classes: &[u8], codes: &[u8], centroids: &[u32]) -> f64 {
    let positions = plan.widths.row_bytes();
    let costs: Vec<[f32; 256]> = plan
        .tables
        .iter()
        .map(|table| std::array::from_fn(|symbol| table.cost_bits(symbol as u8)))
        .collect();
    let bits = codes
        .chunks_exact(positions)
        .zip(centroids)
        .map(|(row, k)| {
            let class = usize::from(classes[*k as usize]);
            let costs = &costs[class * positions..][..positions];
            let bits = row
                .iter()
                .zip(costs)
                .map(|(s, costs)| costs[usize::from(*s)]);
            f64::from(bits.sum::<f32>())
        });
    bits.sum::<f64>() / centroids.len().max(1) as f64
}

/// Rows of the sample by which candidates are counted: one of `stride`, and all that are in the top of a query.
struct Counted {
    /// Ascending.
    rows: Vec<usize>,
    stride: usize,
}

impl Counted {
    fn new(basis: &Basis, stride: usize) -> Self {
        let tops = basis.queries.tops.iter().flatten();
        let mut rows: Vec<usize> = tops.map(|row| *row as usize).collect();
        rows.extend((0..basis.sample.centroids.len()).step_by(stride));
        rows.sort_unstable();
        rows.dedup();
        Self { rows, stride }
    }
}

/// The candidates that queries need in all N rows, the share of their top that they then find, and the deviation of the scores of that top; `approximate` are the scores
/// [queries, n] of the `counted` rows.
fn candidates(basis: &Basis, approximate: &[f32], counted: &Counted) -> (f64, f64, f64) {
    let held = basis.sample.centroids.len();
    let queries = basis.queries.tops.len();
    let (rows, stride) = (&counted.rows, counted.stride);
    let rows_of_one = basis.rows as f64 / held as f64;
    let by_query: Vec<(f64, usize, f64)> = (0..queries)
        .into_par_iter()
        .map(|query| {
            let scores = &approximate[query * rows.len()..][..rows.len()];
            let score_of = |row: &u32| {
                let at = rows.partition_point(|other| *other < *row as usize);
                scores[at]
            };
            let exact = &basis.queries.exact[query * held..][..held];
            let top = &basis.queries.tops[query];
            let ranks: Vec<usize> = top
                .iter()
                .map(|row| {
                    let own = score_of(row);
                    let others = rows.iter().zip(scores);
                    let above = others.filter(|(row, score)| **row % stride == 0 && **score > own);
                    above.count() * stride + 1
                })
                .collect();
            let most = THINNING_MOST as f64 / rows_of_one;
            let found = ranks.iter().filter(|rank| **rank as f64 <= most).count();
            let error = |row: &u32| f64::from(exact[*row as usize] - score_of(row));
            let squares = top.iter().map(|row| error(row).powi(2)).sum();
            (ranks.into_iter().max().unwrap_or(1) as f64, found, squares)
        })
        .collect();
    let found: usize = by_query.iter().map(|(_, found, _)| found).sum();
    let tops: usize = basis.queries.tops.iter().map(Vec::len).sum();
    // Each query reads as far as it must, so what counts is the mean and not a rank that is enough for most.
    let read = |last: &f64| (MARGIN * last * rows_of_one).min(THINNING_MOST as f64);
    let last: f64 = by_query.iter().map(|(last, ..)| read(last)).sum();
    let squares: f64 = by_query.iter().map(|(.., squares)| squares).sum();
    (
        last / queries.max(1) as f64,
        found as f64 / tops.max(1) as f64,
        (squares / tops.max(1) as f64).sqrt(),
    )
}

/// Approximate scores [queries, n] of `rows` of the sample with `codes` [n, P]: their exact scores less the error of a row whose
/// residual is stretched as its leaf says.
fn approximate_scores(
    basis: &Basis,
    plan: &Plan,
    leaves: &LeafForm,
    codes: &[u8],
    rows: &[usize],
) -> Vec<f32> {
    let (coded, positions) = (plan.widths.dimensions(), plan.widths.row_bytes());
    let (kept, count) = (basis.kept(), plan.centroid_count());
    let held = basis.sample.centroids.len();
    let queries = basis.queries.turned.len() / kept;
    let panels = Panels::new(&leading(&basis.queries.turned, kept, coded), coded);
    let of_leaves = leaves.products(&basis.queries.turned, kept);
    let blocks = codes
        .par_chunks(BLOCK_ROWS * positions)
        .zip(rows.par_chunks(BLOCK_ROWS));
    let by_row: Vec<f32> = blocks
        .flat_map_iter(|(codes, rows)| {
            let mut values = vec![0.0; rows.len() * coded];
            let mut words = vec![0; plan.widths.words()];
            let mut fields = vec![0i16; coded];
            for (row, values) in codes
                .chunks_exact(positions)
                .zip(values.chunks_exact_mut(coded))
            {
                for (word, bytes) in words.iter_mut().zip(row[2..].as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                plan.widths.unpack(&words, &mut fields);
                let gain = f32::from(row[1]) * plan.gain_step;
                for (j, value) in values.iter_mut().enumerate() {
                    *value = gain * (f32::from(fields[j]) - plan.zeros[j]) * plan.steps[j];
                }
            }
            let mut scores = vec![0.0; rows.len() * queries];
            panels.multiply(&values, &mut scores);
            for ((scores, row), code) in scores
                .chunks_exact_mut(queries)
                .zip(rows)
                .zip(codes.chunks_exact(positions))
            {
                let along = f32::from(code[0] as i8) * plan.const_step;
                let centroid = basis.sample.centroids[*row] as usize;
                let leaf = leaves.of_row(basis, *row);
                let stretch = leaf.map_or(1.0, |(_, stretch)| stretch);
                for (query, score) in scores.iter_mut().enumerate() {
                    let base = basis.queries.bases[query * count + centroid];
                    let exact = basis.queries.exact[query * held + row];
                    let of_leaf = match leaf {
                        Some(_) => of_leaves[basis.leaves.of_row[*row] as usize * queries + query],
                        None => 0.0,
                    };
                    let found = along * base + *score;
                    *score = exact - stretch * (exact - base - of_leaf) + found;
                }
            }
            scores
        })
        .collect();
    super::basis::transposed(&by_row, queries)
}
