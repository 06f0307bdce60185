//! What a plan's values can be, whether they come from a file or go into one.
//!
//! With values in these ranges scores are finite, and nothing that a plan asks for is larger than its file
//! by more than a known factor.

use std::ops::RangeInclusive;

use half::f16;

use super::fine::norm_is_at_most;
use super::plan::{Plan, leaf_table_count};
use super::widths::Widths;
use crate::format::shard::{DIMENSION_MAX, SCALE_MAX};

/// Most centroids.
pub const CENTROIDS_MAX: usize = 65536;
/// Most rows of a fine file and items of an items file.
pub const FILE_ROWS_MAX: usize = 65536;
/// Most frequency tables of rows, E * P: the decoder expands each of them.
pub const TABLES_MAX: usize = 4096;
/// Largest norm of a centroid: that of a mean of unit rows, and what rounding adds.
pub const CENTROID_NORM_MAX: f64 = 1.1;

/// Most entropy classes.
pub(super) const CLASSES_MAX: usize = 256;

/// Mean of |x - c|^2 and its parts: both ends have norm 1 at most, up to rounding.
const ENERGY: RangeInclusive<f32> = 0.0..=4.1;
const STEP: RangeInclusive<f32> = 1e-12..=1e3;
const ZERO: RangeInclusive<f32> = -4096.0..=4096.0;
const CONST_STEP: RangeInclusive<f32> = 0.0..=1.0;
const GAIN_STEP: RangeInclusive<f32> = 1e-6..=1.0;
/// Rows of the transform are of unit length, or shorter.
const TRANSFORM: RangeInclusive<f32> = -1.01..=1.01;
const CENTROID_SCALE: RangeInclusive<f32> = 0.0..=SCALE_MAX * 1.05;

impl Plan {
    /// What is wrong with the plan, if anything; for values from files and from the packer alike.
    pub(super) fn check(&self) -> Result<(), String> {
        let (coded, count) = (self.widths.dimensions(), self.centroid_count());
        let counted = [
            ("dimension", self.dimension, 1..=DIMENSION_MAX),
            ("centroids", count, 1..=CENTROIDS_MAX),
            ("classes", self.classes, 0..=CLASSES_MAX),
            ("axes of leaves", self.leaf_axes(), 0..=self.dimension),
            ("fine rows", self.fine_rows, 1..=FILE_ROWS_MAX),
            ("items of a file", self.items_per_file, 1..=FILE_ROWS_MAX),
        ];
        for (what, value, range) in counted {
            if !range.contains(&value) {
                return Err(format!("`{what}` is {value}, not in {range:?}"));
            }
        }
        let tables = table_count(self.classes, self.widths)?;
        let leaf_tables = leaf_table_count(self.leaf_axes());
        let lengths = [
            ("steps", self.steps.len(), coded),
            ("zeros", self.zeros.len(), coded),
            ("variances", self.variances.len(), coded),
            (
                "transform",
                self.transform.len(),
                self.axes() * self.dimension,
            ),
            ("spreads", self.spreads.len(), count),
            ("centroids", self.centroids.len(), count * self.stride()),
            ("tables", self.tables.len(), tables),
            ("tables of leaves", self.leaf_tables.len(), leaf_tables),
        ];
        for (what, found, expected) in lengths {
            if found != expected {
                return Err(format!("`{what}` has {found} values of {expected}"));
            }
        }
        let floats: [(&str, &[f32], &RangeInclusive<f32>); 10] = [
            ("const_step", &[self.const_step], &CONST_STEP),
            ("gain_step", &[self.gain_step], &GAIN_STEP),
            ("rest variance", &[self.rest_variance], &ENERGY),
            ("steps", &self.steps, &STEP),
            ("leaf steps", &self.leaf_steps, &STEP),
            ("zeros", &self.zeros, &ZERO),
            ("variances", &self.variances, &ENERGY),
            ("transform", &self.transform, &TRANSFORM),
            ("centroid scales", &self.centroid_scales, &CENTROID_SCALE),
            ("spreads", &self.spreads, &ENERGY),
        ];
        for (what, values, range) in floats {
            // NaN is in no range.
            if let Some(value) = values.iter().find(|value| !range.contains(value)) {
                return Err(format!("`{what}` has the value {value}, not in {range:?}"));
            }
        }
        if let Some(value) = self
            .transform
            .iter()
            .find(|value| f16::from_f32(**value).to_f32() != **value)
        {
            return Err(format!(
                "`transform` has the value {value}, which is no f16"
            ));
        }
        let centroids = self.centroids.chunks_exact(self.stride());
        for (codes, scale) in centroids.zip(&self.centroid_scales) {
            if codes[self.dimension..].iter().any(|code| *code != 0) {
                return Err("the padding of a centroid is not zero".into());
            }
            if !norm_is_at_most(CENTROID_NORM_MAX, *scale, codes) {
                return Err("a centroid is longer than a mean of unit rows can be".into());
            }
        }
        let mut tables = self.tables.iter().chain(&self.leaf_tables);
        match tables.position(|table| !table.is_whole()) {
            Some(table) => Err(format!("table {table} does not sum to 4096")),
            None => Ok(()),
        }
    }
}

/// E * P; an error for widths or a number of tables that no plan has.
pub(super) fn table_count(classes: usize, widths: Widths) -> Result<usize, String> {
    if !widths.check() {
        return Err(format!("impossible widths: {widths:?}"));
    }
    match classes.checked_mul(widths.row_bytes()) {
        Some(tables) if tables <= TABLES_MAX => Ok(tables),
        _ => Err(format!(
            "{classes} classes of {} tables, the limit is {TABLES_MAX} tables",
            widths.row_bytes()
        )),
    }
}
