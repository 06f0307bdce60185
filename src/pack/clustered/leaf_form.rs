//! How the codes of leaves are rounded and coded, after the leaves of the sample.
//!
//! Steps follow from those of the rows; which axes are coded, and the tables, from the sample's means. Invariant: a table knows each
//! code of the sample's leaves and one beyond on each side, and every number of rows that a leaf can have.

use super::basis::Basis;
use super::product::Panels;
use super::quantiser::{LEAF_BIT_PRICE, LEAF_RATIO, Quantiser};
use super::residuals::leading;
use super::row_code::Symbols;
use crate::format::clustered::FrequencyTable;
use crate::format::clustered::blocks::LEAF_ROWS_MAX;

/// Smallest ratio of a mean's deviation to its step for an axis that is coded.
const CODED_MIN: f64 = 0.35;
/// Rounds of tables from codes and codes from tables.
const ROUNDS: usize = 2;

/// Steps and tables of leaves, and the codes of the sample's.
#[derive(Clone, Debug, Default)]
pub(super) struct LeafForm {
    /// [V]; empty for no leaves.
    pub steps: Vec<f32>,
    /// [1 + V].
    pub tables: Vec<FrequencyTable>,
    /// [leaves, V].
    codes: Vec<i8>,
    /// Mean bits of a leaf.
    pub bits: f64,
}

/// Leaves beside rows of `quantiser`; none where none of their axes would be coded.
pub(super) fn leaf_form(basis: &Basis, quantiser: &Quantiser) -> LeafForm {
    let leaves = &basis.leaves;
    let step = |j: usize| {
        let of_rows = quantiser.steps.get(j).or(quantiser.steps.last());
        LEAF_RATIO * of_rows.copied().unwrap_or(1.0)
    };
    let squares = leaves.mean_squares();
    let is_coded = |j: &usize| squares[*j].sqrt() > CODED_MIN * f64::from(step(*j));
    let axes = (0..leaves.axes)
        .filter(is_coded)
        .max()
        .map_or(0, |last| last + 1);
    if axes == 0 {
        return LeafForm::default();
    }
    let steps: Vec<f32> = (0..axes).map(step).collect();
    let means: Vec<&[f32]> = leaves.standing().collect();
    let mut symbols = Symbols::any(axes);
    let mut tables = Vec::new();
    for _ in 0..ROUNDS {
        let mut counts = vec![[0u64; 256]; axes];
        for mean in &means {
            for (counts, code) in counts.iter_mut().zip(symbols.leaf_code(mean, &steps)) {
                counts[usize::from(code as u8)] += 1;
            }
        }
        // A leaf of the index may need what no leaf of the sample did.
        let tables_of = counts.iter_mut().map(|counts| {
            widen(counts);
            FrequencyTable::from_counts(counts)
        });
        tables = tables_of.collect();
        symbols = Symbols::new(&tables, LEAF_BIT_PRICE);
    }
    let mut codes = Vec::with_capacity(leaves.stretch.len() * axes);
    for mean in leaves.means.chunks_exact(leaves.axes) {
        codes.extend(symbols.leaf_code(mean, &steps));
    }
    let of_leaves = codes.chunks_exact(axes).zip(&leaves.stretch);
    let standing = of_leaves.filter(|(_, stretch)| **stretch > 0.0);
    let coded = standing.flat_map(|(codes, _)| codes.iter().zip(&tables));
    let bits: f64 = coded
        .map(|(code, table)| f64::from(table.cost_bits(*code as u8)))
        .sum();
    tables.insert(0, sizes());
    LeafForm {
        steps,
        tables,
        codes,
        bits: bits / means.len().max(1) as f64 + 8.0,
    }
}

impl LeafForm {
    /// The code [V] of a row's leaf, and what its residual is stretched by; `None` for a row without.
    pub fn of_row(&self, basis: &Basis, row: usize) -> Option<(&[i8], f32)> {
        let leaf = *basis.leaves.of_row.get(row)? as usize;
        let axes = self.steps.len();
        match basis.leaves.stretch[leaf] {
            0.0 => None,
            _ if axes == 0 => None,
            stretch => Some((&self.codes[leaf * axes..(leaf + 1) * axes], stretch)),
        }
    }

    /// Products [leaves, queries] of what leaves stand for with `queries` [.., kept].
    pub fn products(&self, queries: &[f32], kept: usize) -> Vec<f32> {
        let axes = self.steps.len();
        if axes == 0 {
            return Vec::new();
        }
        let values = self.codes.chunks_exact(axes).flat_map(|codes| {
            let values = codes.iter().zip(&self.steps);
            values.map(|(code, step)| f32::from(*code) * step)
        });
        let values: Vec<f32> = values.collect();
        Panels::new(&leading(queries, kept, axes), axes).multiply_all(&values)
    }
}

/// Gives the neighbours of the outermost codes a place: one beyond on each side.
fn widen(counts: &mut [u64; 256]) {
    let coded = |code: &i16| counts[usize::from(*code as i8 as u8)] > 0;
    let (Some(first), Some(last)) = ((-128..128).find(coded), (-128..128).rev().find(coded)) else {
        return;
    };
    for code in (first - 1).max(-128)..=(last + 1).min(127) {
        let count = &mut counts[usize::from(code as i8 as u8)];
        *count = (*count).max(1);
    }
}

/// The table of leaves' rows less 1: those of one to 64 rows are about as likely.
fn sizes() -> FrequencyTable {
    let mut counts = [1u64; LEAF_ROWS_MAX];
    counts[..64].fill(60);
    FrequencyTable::from_counts(&counts)
}
