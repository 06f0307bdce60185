//! Making the plan of a clustered index: clusters, axes, steps and tables, from a sample of the rows.
//!
//! Which form of codes is taken is measured on the sample, not assumed: for some steps, what all codes come to
//! and how many candidates queries near the rows need until the top 100 are among them.

use super::basis::Basis;
use super::quantiser::{entropy_form, fixed_form};
use super::sample::draw;
use super::trial::{Form, LARGE_SAMPLE, PART, Trial, try_form};
use crate::error::{Error, Result};
use crate::features::RowSource;
use crate::format::clustered::Plan;
use crate::format::clustered::plan::FILE_ROWS_MAX;
use crate::format::shard::DIMENSION_MAX;

/// Rows a centroid and most centroids.
const ROWS_OF_A_CENTROID: usize = 512;
const CENTROIDS_MAX: usize = 2048;
/// Steps that are tried, in deviations of the first axis... relative to sqrt of mean energy of residuals.
const STEPS: [f64; 7] = [0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.4];
/// Bits of codes a row in the fixed form: 34 bytes with `const` and `gain`.
const FIXED_BITS: usize = 256;
/// Fine rows of a query: no more bytes than this where a form allows it.
const FINE_BYTES_MAX: f64 = 5e6;
/// Share of the top that queries find: no further than this below the best form's. Of a million generated rows queries then found
/// .0016 less than with the best form.
const FOUND_LESS: f64 = 0.005;
/// Fine files, and items files, that the head names at most: 20 bytes each of its 24 MB.
const FILES_MAX: usize = 400_000;
/// How far steps follow the queries' energy: 0 not at all, 1 as errors of scores ask for.
const WEIGHTING: f64 = 1.0;

/// Which coarse codes an index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoarseChoice {
    /// What the sample shows to be smaller.
    Auto,
    /// Fixed rate.
    Packed,
    /// Entropy-coded.
    Entropy,
}

/// Whether rows share the codes of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafChoice {
    /// What the sample shows to be smaller.
    Auto,
    Never,
    /// Wherever rows are entropy-coded.
    Always,
}

impl LeafChoice {
    fn tried(self) -> &'static [bool] {
        match self {
            Self::Auto => &[false, true],
            Self::Never => &[false],
            Self::Always => &[true],
        }
    }
}

/// How a plan is made.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Rows of a fine file.
    pub fine_rows: usize,
    /// Items of an items file.
    pub items_per_file: usize,
    /// Rows that the plan is made after; fewer where they would be more than 2^26 values.
    pub sample_rows: usize,
    pub seed: u64,
    pub coarse: CoarseChoice,
    pub leaves: LeafChoice,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            fine_rows: 128,
            items_per_file: 128,
            sample_rows: 131_072,
            seed: 0,
            coarse: CoarseChoice::Auto,
            leaves: LeafChoice::Auto,
        }
    }
}

/// Makes the plan for `rows`, which `map` takes to unit rows: raw rows [n, d] to [n, `dimension`]. `say` is told
/// what was measured and chosen, line by line. Equal for equal rows and options, for any number of threads.
///
/// # Errors
/// Those of reading and of `map`; [`Error::Format`] where there are no rows; [`Error::InvalidArgument`] for
/// a dimension outside of 1..=2048.
pub fn make_plan(
    rows: &dyn RowSource,
    map: &(dyn Fn(&[f32]) -> Result<Vec<f32>> + Sync),
    dimension: usize,
    options: &PlanOptions,
    say: &dyn Fn(&str),
) -> Result<Plan> {
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        return Err(Error::invalid(format!(
            "rows of dimension {dimension}, where 1 to {DIMENSION_MAX} can be packed"
        )));
    }
    let count = rows.shape()[0];
    let unit = draw(rows, map, dimension, options.sample_rows, options.seed)?;
    let sampled = unit.len() / dimension;
    let clusters = (count / ROWS_OF_A_CENTROID).clamp(1, CENTROIDS_MAX);
    let basis = Basis::new(unit, dimension, count, clusters, options.seed)?;
    say(&format!(
        "plan: {sampled} of {count} rows sampled, {} centroids, mean |x - c|^2 {:.3}",
        basis.centroid_scales.len(),
        basis.energies.iter().sum::<f64>()
    ));
    // Which form is best shows on part of a large sample; the one that is taken is made after all of it.
    let stride = if sampled >= LARGE_SAMPLE { PART } else { 1 };
    let files = rows_of_files(options, count);
    let best = choose(try_forms(&basis, options, files, stride)?, count, say)?;
    let best = match stride {
        1 => best,
        _ => try_form(&basis, best.form, files, 1)?,
    };
    say(&format!(
        "plan: took {:.2} bytes a row, {:.2} MB for a first query with {:.0} candidates",
        best.row_bytes,
        best.first_bytes(count) / 1e6,
        best.candidates
    ));
    Ok(best.plan)
}

/// Fine rows and items of a file: those of the options, or so many more that the head, which names all files,
/// is no larger than hosts allow.
fn rows_of_files(options: &PlanOptions, count: usize) -> [usize; 2] {
    [options.fine_rows, options.items_per_file].map(|mut rows| {
        while rows < FILE_ROWS_MAX && count / rows.max(1) > FILES_MAX {
            rows = (2 * rows).min(FILE_ROWS_MAX);
        }
        rows
    })
}

fn try_forms(
    basis: &Basis,
    options: &PlanOptions,
    files: [usize; 2],
    stride: usize,
) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let kept = basis.kept();
    let energies = &basis.energies[..kept];
    if options.coarse != CoarseChoice::Packed {
        let relative = relative_steps(energies, &basis.weights);
        let scale = 0.06;
        for leaves in options.leaves.tried() {
            let energies = if *leaves {
                &basis.leaves.energies
            } else {
                energies
            };
            for step in STEPS {
                let form = Form {
                    quantiser: entropy_form(energies, &relative, step * scale),
                    entropy: true,
                    leaves: *leaves,
                };
                trials.push(try_form(basis, form, files, stride)?);
            }
        }
    }
    if options.coarse != CoarseChoice::Entropy {
        let form = Form {
            quantiser: fixed_form(energies, &basis.weights, FIXED_BITS),
            entropy: false,
            leaves: false,
        };
        trials.push(try_form(basis, form, files, stride)?);
    }
    Ok(trials)
}

/// Steps in proportion to each other: the error of a score is the sum of errors times the query's energy along
/// the axes, so steps fall as the root of that energy rises.
pub(super) fn relative_steps(energies: &[f64], weights: &[f64]) -> Vec<f64> {
    let total: f64 = energies.iter().sum();
    let products = energies.iter().zip(weights).map(|(e, w)| e * w);
    let mean = products.sum::<f64>() / total.max(1e-30);
    let relative = |w: &f64| (mean.max(1e-12) / w.max(1e-12)).powf(WEIGHTING / 2.0);
    weights
        .iter()
        .map(|w| relative(w).clamp(0.05, 20.0))
        .collect()
}

/// The trial with the least wait for a first query among those that find about as much as any and whose fine rows are few enough;
/// without such the one with the fewest.
fn choose(trials: Vec<Trial>, count: usize, say: &dyn Fn(&str)) -> Result<Trial> {
    say(
        "plan: form     bytes/row  candidates   found   error  fine MB  first query MB  with requests  leaves",
    );
    for trial in &trials {
        let plan = &trial.plan;
        say(&format!(
            "plan: {:8} {:9.2} {:11.0} {:7.4} {:7.4} {:8.2} {:9.2} {:15.2} {:7.2}   {} + {} + {} dimensions, {} classes, {} axes of leaves",
            if plan.classes == 0 {
                "packed"
            } else {
                "entropy"
            },
            trial.row_bytes,
            trial.candidates,
            trial.found,
            trial.deviation,
            trial.fine_bytes() / 1e6,
            trial.first_bytes(count) / 1e6,
            trial.cost(count) / 1e6,
            trial.leaf_bytes,
            plan.widths.eight,
            plan.widths.four,
            plan.widths.two,
            plan.classes,
            plan.leaf_axes(),
        ));
    }
    let most = trials.iter().map(|trial| trial.found).fold(0.0, f64::max);
    let finds = |trial: &Trial| trial.found >= most - FOUND_LESS;
    let finding = trials.into_iter().filter(finds);
    let finding: Vec<Trial> = finding.collect();
    let fine = finding.iter().map(Trial::fine_bytes);
    let limit = fine.fold(f64::INFINITY, f64::min).max(FINE_BYTES_MAX);
    let few = finding
        .into_iter()
        .filter(|trial| trial.fine_bytes() <= limit);
    let best = few
        .min_by(|a, b| a.cost(count).total_cmp(&b.cost(count)))
        .ok_or_else(|| Error::invalid("no form of codes was tried"))?;
    say(&format!(
        "plan: took the form of {:.2} bytes a row: the least wait for a first query among those that find {:.4} of the top with at \
         most {:.1} MB of fine rows",
        best.row_bytes,
        most - FOUND_LESS,
        limit / 1e6
    ));
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_grow_with_the_rows_so_that_the_head_stays_small() {
        let options = PlanOptions::default();
        for (count, rows) in [
            (0, 128),
            (1_000_000, 128),
            (51_200_000, 128),
            (51_400_000, 256),
            (400_000_000, 1024),
            (usize::MAX, FILE_ROWS_MAX),
        ] {
            assert_eq!(rows_of_files(&options, count), [rows; 2], "{count} rows");
        }
    }
}
