//! Rows of a feature file as unit vectors, so that a dot product is the cosine similarity.

use std::collections::HashMap;

use crate::checkpoint::NpyFile;
use crate::error::{Error, Result};

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
                format!("row {row} (from 0) is all zero and has no direction"),
            ),
        }
    }
}

/// Writes `row` / |row| to `unit`. Length and quotient are computed in f64 and rounded once.
pub(super) fn unit_row(row: &[f32], unit: &mut [f32]) -> Result<(), Fault> {
    // No overflow: the square of any f32 is far inside the range of f64.
    let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if !squares.is_finite() {
        return Err(Fault::NotFinite);
    }
    if squares == 0.0 {
        return Err(Fault::Zero);
    }
    let scale = 1.0 / squares.sqrt();
    for (unit, &x) in unit.iter_mut().zip(row) {
        *unit = (f64::from(x) * scale) as f32;
    }
    Ok(())
}

/// Some rows of a feature file, normalised.
pub(super) struct UnitRows {
    dimension: usize,
    /// `[rows, dimension]`
    values: Vec<f32>,
    /// Row of the file to row of `values`.
    places: HashMap<usize, usize>,
}

impl UnitRows {
    /// Reads `rows` (ascending, without repeats) of `file`; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`]; a row that is not finite or zero.
    pub fn read(file: &NpyFile, name: &str, rows: &[usize]) -> Result<Self> {
        let [count, dimension] = file.shape();
        let mut unit = Self {
            dimension,
            values: vec![0.0; rows.len() * dimension],
            places: rows.iter().copied().zip(0..).collect(),
        };
        let mut to = unit.values.chunks_exact_mut(dimension);
        for part in rows.chunk_by(|a, b| a / BLOCK_ROWS == b / BLOCK_ROWS) {
            let first = part[0] / BLOCK_ROWS * BLOCK_ROWS;
            let block = file.read_rows_f32(first, BLOCK_ROWS.min(count - first))?;
            for (&row, to) in part.iter().zip(&mut to) {
                let start = (row - first) * dimension;
                unit_row(&block[start..start + dimension], to)
                    .map_err(|fault| fault.of(name, row))?;
            }
        }
        Ok(unit)
    }

    /// Row `row` of the file, which was among those asked for.
    pub fn get(&self, row: usize) -> &[f32] {
        let start = self.places[&row] * self.dimension;
        &self.values[start..start + self.dimension]
    }
}
