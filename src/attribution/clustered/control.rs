//! The control sample under one query: rows whose score is known both by code and by fine row.

use crate::attribution::estimate::{Pair, ScoreError};
use crate::format::clustered::{Control, Head, Plan};
use crate::score::{CodeQuery, FineQuery};

/// A row of the control sample.
pub(super) struct ControlRow {
    pub row: u32,
    pub cluster: usize,
    pub scores: Pair,
}

/// What rounding to the plan's steps costs a score, and what lies outside of the code dimensions; where rows have leaves, which
/// hold part of the latter, it is more than what is true.
pub(super) fn prior(plan: &Plan, projected: &[f64]) -> ScoreError {
    let energy: f64 = projected.iter().map(|p| p * p).sum();
    let rest = f64::from(plan.rest_variance) * (1.0 - energy).max(0.0);
    let steps = plan.steps.iter().zip(&plan.variances);
    let rounding = projected.iter().zip(steps).map(|(p, (step, variance))| {
        let of_step = f64::from(*step).powi(2) / 12.0;
        p * p * of_step.min(f64::from(*variance))
    });
    ScoreError {
        mean: 0.0,
        deviation: (rest + rounding.sum::<f64>()).sqrt(),
    }
}

/// Both scores of the control sample's rows.
pub(super) fn control_scores(
    head: &Head,
    control: &Control,
    query: &CodeQuery,
    fine: &FineQuery,
    bases: &[f64],
) -> Vec<ControlRow> {
    let (row_bytes, stride) = (head.plan.widths.row_bytes(), head.plan.stride());
    let mut words = Vec::with_capacity(head.plan.widths.words());
    let codes = control.codes.chunks_exact(row_bytes);
    let fine_rows = control.fine.chunks_exact(stride).zip(&control.scales);
    let leaf_bytes = head.plan.leaf_tables.len();
    let leaves = (0..control.rows.len()).map(|at| {
        let leaf = control.leaves.get(at * leaf_bytes..(at + 1) * leaf_bytes);
        leaf.unwrap_or_default()
    });
    let rows = control.rows.iter().zip(codes.zip(leaves)).zip(fine_rows);
    rows.map(|((row, (code, leaf)), (fine_codes, scale))| {
        let cluster = head.cluster_of(u64::from(*row));
        let centroid = head.clusters[cluster].centroid as usize;
        words.clear();
        let (terms, code) = code.split_at(2);
        words.extend(
            code.as_chunks::<4>()
                .0
                .iter()
                .map(|b| u32::from_le_bytes(*b)),
        );
        let leaf = leaf.get(1..).unwrap_or_default();
        let leaf: &[i8] = bytemuck::cast_slice(leaf);
        let approximate = query.score_row(centroid, leaf, terms[0] as i8, terms[1], &words);
        let exact = fine.score(bases[cluster], *scale, fine_codes);
        ControlRow {
            row: *row,
            cluster,
            scores: Pair {
                approximate,
                exact,
                cluster: centroid as u32,
            },
        }
    })
    .collect()
}
