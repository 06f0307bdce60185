//! A form of codes, tried on the sample: what it costs and how many candidates a query then needs.

use rayon::prelude::*;

use super::basis::Basis;
use super::candidates::{Counted, approximate_scores, candidates};
use super::classes::CodedSample;
use super::encode::RowEncoder;
use super::leaf_form::{LeafForm, leaf_form};
use super::leaves::LEAF_ROWS;
use super::quantiser::Quantiser;
use super::residuals::Terms;
use crate::error::Result;
use crate::format::clustered::Plan;

/// Rows that are encoded or scored together.
pub(super) const BLOCK_ROWS: usize = 1024;
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
    let mut plan = bare_plan(basis, &form, &leaves, files);
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

/// The plan without tables of rows.
fn bare_plan(basis: &Basis, form: &Form, leaves: &LeafForm, files: [usize; 2]) -> Plan {
    let quantiser = form.quantiser.clone();
    let (dimension, coded) = (basis.dimension, quantiser.widths.dimensions());
    let rest = basis.energies.get(coded..).unwrap_or(&[]);
    let variance = |j: usize| basis.energies.get(j).map_or(0.0, |e| *e as f32);
    Plan {
        dimension,
        widths: quantiser.widths,
        classes: 0,
        fine_rows: files[0],
        items_per_file: files[1],
        const_step: if form.entropy {
            CONST_STEP
        } else {
            FIXED_CONST_STEP
        },
        gain_step: if form.entropy {
            GAIN_STEP
        } else {
            FIXED_GAIN_STEP
        },
        rest_variance: (rest.iter().sum::<f64>() / rest.len().max(1) as f64) as f32,
        steps: quantiser.steps,
        zeros: quantiser.zeros,
        variances: (0..coded).map(variance).collect(),
        transform: transform(basis, coded.max(leaves.steps.len())),
        leaf_steps: leaves.steps.clone(),
        centroid_scales: basis.centroid_scales.clone(),
        spreads: basis.spreads.clone(),
        centroids: basis.centroid_codes.clone(),
        tables: Vec::new(),
        leaf_tables: leaves.tables.clone(),
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
