//! Rows of a feature file as unit vectors, so that a dot product is the cosine similarity.

use std::collections::HashMap;

use rayon::prelude::*;

use super::clustered::ClusteredRows;
use super::stream::{RowMap, map_rows};
use crate::error::{Error, Result};
use crate::features::RowSource;
use crate::format::shard::{quantize_row, row_stride};
use crate::score::query::normalise;

/// Rows that are read at a time.
const BLOCK_ROWS: usize = 2048;

/// Why a row has no direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotFinite,
    Zero,
}

impl Fault {
    /// The error for row `row`, from 0, of `file`.
    pub fn of(self, file: &str, row: usize) -> Error {
        match self {
            Self::NotFinite => Error::NotFinite {
                what: format!("{file}: row {row} (from 0): a value"),
            },
            Self::Zero => Error::format(
                file,
                format!("row {row} (from 0) is all zero, or nearly, and has no direction"),
            ),
        }
    }
}

/// Writes `row` / |row| to `unit`, just as a packed row is normalised.
pub(super) fn unit_row(row: &[f32], unit: &mut [f32]) -> Result<(), Fault> {
    if normalise(row, unit) {
        return Ok(());
    }
    Err(match row.iter().all(|x| x.is_finite()) {
        true => Fault::Zero,
        false => Fault::NotFinite,
    })
}

/// Normalises every row of `values`, `[rows, dimension]`, in place.
///
/// Fails with the first bad row.
pub(super) fn unit_all(values: &mut [f32], dimension: usize) -> Result<(), (usize, Fault)> {
    let mut unit = vec![0.0; dimension];
    for (at, row) in values.chunks_exact_mut(dimension).enumerate() {
        unit_row(row, &mut unit).map_err(|fault| (at, fault))?;
        row.copy_from_slice(&unit);
    }
    Ok(())
}

/// Reads `rows` (ascending, without repeats) of `file`, as they are.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn read_rows(file: &dyn RowSource, rows: &[usize]) -> Result<Vec<f32>> {
    let [count, dimension] = file.shape();
    let mut values = Vec::with_capacity(rows.len() * dimension);
    for part in rows.chunk_by(|a, b| a / BLOCK_ROWS == b / BLOCK_ROWS) {
        let first = part[0] / BLOCK_ROWS * BLOCK_ROWS;
        let block = file.read_rows_f32(first, BLOCK_ROWS.min(count - first))?;
        for &row in part {
            let start = (row - first) * dimension;
            values.extend_from_slice(&block[start..start + dimension]);
        }
    }
    Ok(values)
}

/// Some rows of a feature file, normalised.
#[derive(Default)]
pub(super) struct UnitRows {
    dimension: usize,
    /// `[rows, dimension]`
    values: Vec<f32>,
    /// Row of the file to row of `values`.
    places: HashMap<usize, usize>,
}

impl UnitRows {
    /// Reads `rows` (ascending, without repeats) of `file`, mapped by `map` if there is one; `name` is
    /// for messages.
    ///
    /// # Errors
    /// [`Error::Io`]; a row that is not finite or zero.
    pub fn read(
        file: &dyn RowSource,
        name: &str,
        rows: &[usize],
        map: Option<&dyn RowMap>,
    ) -> Result<Self> {
        let mut values = read_rows(file, rows)?;
        let mut dimension = file.shape()[1];
        if let Some(map) = map {
            values = map_rows(map, &values, dimension, name)?;
            dimension = map.dimensions()[1];
        }
        unit_all(&mut values, dimension).map_err(|(at, fault)| fault.of(name, rows[at]))?;
        Ok(Self {
            dimension,
            values,
            places: rows.iter().copied().zip(0..).collect(),
        })
    }

    /// Row `row` of the file, which was among those asked for.
    pub fn get(&self, row: usize) -> &[f32] {
        let start = self.places[&row] * self.dimension;
        &self.values[start..start + self.dimension]
    }

    /// The same rows as `index` would hold them.
    ///
    /// # Errors
    /// See [`ClusteredRows::rounded`].
    pub fn through(mut self, index: &ClusteredRows) -> Result<Self> {
        let rows = self.values.par_chunks(self.dimension);
        let rows = rows.map(|row| index.rounded(row));
        self.values = rows.collect::<Result<Vec<_>>>()?.concat();
        Ok(self)
    }

    /// The same rows as a flat index holds them.
    ///
    /// # Errors
    /// None in practice: unit rows are finite.
    pub fn codes(&self) -> Result<CodeRows<'_>> {
        let stride = row_stride(self.dimension);
        let mut rows = CodeRows {
            stride,
            codes: Vec::with_capacity(self.places.len() * stride),
            scales: Vec::with_capacity(self.places.len()),
            places: &self.places,
        };
        for row in self.values.chunks_exact(self.dimension) {
            let scale = quantize_row(row, &mut rows.codes)?;
            rows.scales.push(scale);
        }
        Ok(rows)
    }
}

/// An int8 row and its scale.
pub(super) type CodeRow<'a> = (&'a [i8], f32);

/// Some rows of a feature file, normalised and quantized.
pub(super) struct CodeRows<'a> {
    stride: usize,
    /// `[rows, stride]`
    codes: Vec<i8>,
    scales: Vec<f32>,
    places: &'a HashMap<usize, usize>,
}

impl CodeRows<'_> {
    /// Row `row` of the file, which was among those asked for.
    pub fn get(&self, row: usize) -> CodeRow<'_> {
        let place = self.places[&row];
        let start = place * self.stride;
        (&self.codes[start..start + self.stride], self.scales[place])
    }
}
