//! The plan of a clustered index: all that is fixed before rows are encoded.
//!
//! Centroids, the transform of residuals, the steps of its values and the tables of the entropy
//! coder. Invariant after [`Plan::parse`]: every value is one with which scores are finite;
//! [`Plan::encode`] of it gives the same bytes.

use half::f16;
use sha2::{Digest, Sha256};

use super::fields::Fields;
pub use super::plan_limits::{CENTROID_NORM_MAX, CENTROIDS_MAX, FILE_ROWS_MAX, TABLES_MAX};
use super::plan_limits::{CLASSES_MAX, table_count};
use super::rans::FrequencyTable;
use super::widths::Widths;
use super::{Salt, VERSION};
use crate::error::{Error, Result};
use crate::format::shard::{DIMENSION_MAX, row_stride};

const MAGIC: &[u8; 8] = b"DATTRPL1";

/// See FORMAT.md, "The plan", for each field. M: [`Widths::dimensions`]; D: `dimension`; S: [`Plan::stride`];
/// P: [`Widths::row_bytes`]; V: [`Plan::leaf_axes`]; A: [`Plan::axes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub dimension: usize,
    pub widths: Widths,
    /// E, entropy classes; 0 where coarse rows are stored as they are.
    pub classes: usize,
    pub fine_rows: usize,
    pub items_per_file: usize,
    pub const_step: f32,
    pub gain_step: f32,
    /// Mean energy of residuals outside of the code dimensions, for each of the D - M other axes.
    pub rest_variance: f32,
    /// [M].
    pub steps: Vec<f32>,
    /// [M].
    pub zeros: Vec<f32>,
    /// [M], of the transformed residuals.
    pub variances: Vec<f32>,
    /// [V].
    pub leaf_steps: Vec<f32>,
    /// [A, D], every value exactly an f16.
    pub transform: Vec<f32>,
    /// [K].
    pub centroid_scales: Vec<f32>,
    /// [K], mean of |x - c|^2.
    pub spreads: Vec<f32>,
    /// [K, S], `c = scale * code`.
    pub centroids: Vec<i8>,
    /// [E, P].
    pub tables: Vec<FrequencyTable>,
    /// [1 + V]; empty where V is 0.
    pub leaf_tables: Vec<FrequencyTable>,
}

impl Plan {
    /// The file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for values that a plan cannot have.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check().map_err(Error::invalid)?;
        let mut bytes = MAGIC.to_vec();
        let (widths, classes) = (self.widths, self.classes);
        for word in [
            VERSION as usize,
            self.dimension,
            self.centroid_count(),
            widths.eight,
            widths.four,
            widths.two,
            classes,
            self.fine_rows,
            self.items_per_file,
        ] {
            bytes.extend_from_slice(&(word as u32).to_le_bytes());
        }
        for value in [self.const_step, self.gain_step, self.rest_variance] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.leaf_axes() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for value in [&self.steps, &self.zeros, &self.variances, &self.leaf_steps]
            .into_iter()
            .flatten()
        {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        for value in &self.transform {
            bytes.extend_from_slice(&f16::from_f32(*value).to_le_bytes());
        }
        for value in self.centroid_scales.iter().chain(&self.spreads) {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(bytemuck::cast_slice(&self.centroids));
        for table in self.tables.iter().chain(&self.leaf_tables) {
            let symbols = table.frequencies.iter().filter(|f| **f > 0).count();
            bytes.extend_from_slice(&(symbols as u16).to_le_bytes());
            for (symbol, frequency) in (0u8..=255).zip(table.frequencies.iter()) {
                if *frequency > 0 {
                    bytes.push(symbol);
                    bytes.extend_from_slice(&frequency.to_le_bytes());
                }
            }
        }
        Ok(bytes)
    }

    /// Parses and checks a plan; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`] for anything but a whole plan, [`Error::NewerVersion`] for a later version.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::open(file, bytes, MAGIC)?;
        let dimension = fields.count("dimension", 1..=DIMENSION_MAX)?;
        let centroids = fields.count("centroids", 1..=CENTROIDS_MAX)?;
        let widths = Widths {
            eight: fields.count("n8", 0..=DIMENSION_MAX)?,
            four: fields.count("n4", 0..=DIMENSION_MAX)?,
            two: fields.count("n2", 0..=DIMENSION_MAX)?,
        };
        let classes = fields.count("classes", 0..=CLASSES_MAX)?;
        let tables = table_count(classes, widths).map_err(|reason| fields.bad(reason))?;
        let coded = widths.dimensions();
        let fine_rows = fields.count("fine rows", 1..=FILE_ROWS_MAX)?;
        let items_per_file = fields.count("items of a file", 1..=FILE_ROWS_MAX)?;
        let const_step = fields.f32("const_step")?;
        let gain_step = fields.f32("gain_step")?;
        let rest_variance = fields.f32("rest variance")?;
        let leaf_axes = fields.count("axes of leaves", 0..=dimension)?;
        fields.zeros(4, "header")?;
        let plan = Self {
            dimension,
            widths,
            classes,
            fine_rows,
            items_per_file,
            const_step,
            gain_step,
            rest_variance,
            steps: fields.f32s(coded, "steps")?,
            zeros: fields.f32s(coded, "zeros")?,
            variances: fields.f32s(coded, "variances")?,
            leaf_steps: fields.f32s(leaf_axes, "leaf steps")?,
            transform: fields
                .elements(coded.max(leaf_axes) * dimension, 2, "transform")?
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect(),
            centroid_scales: fields.f32s(centroids, "centroid scales")?,
            spreads: fields.f32s(centroids, "spreads")?,
            centroids: bytemuck::cast_slice(fields.elements(
                centroids,
                row_stride(dimension),
                "centroids",
            )?)
            .to_vec(),
            tables: read_tables(&mut fields, tables)?,
            leaf_tables: read_tables(&mut fields, leaf_table_count(leaf_axes))?,
        };
        fields.finish()?;
        plan.check().map_err(|reason| fields.bad(reason))?;
        Ok(plan)
    }

    /// The first 16 bytes of the SHA-256 of an encoded plan.
    pub fn salt(encoded: &[u8]) -> Salt {
        let digest = Sha256::digest(encoded);
        let mut salt = Salt::default();
        salt.copy_from_slice(&digest[..16]);
        salt
    }

    /// K.
    pub fn centroid_count(&self) -> usize {
        self.centroid_scales.len()
    }

    /// V, axes of leaf codes.
    pub fn leaf_axes(&self) -> usize {
        self.leaf_steps.len()
    }

    /// A, rows of the transform: for the codes of rows, of leaves, or both.
    pub fn axes(&self) -> usize {
        self.widths.dimensions().max(self.leaf_axes())
    }

    /// S, codes of a centroid or of a fine row: D rounded up to a multiple of 4.
    pub fn stride(&self) -> usize {
        row_stride(self.dimension)
    }

    /// Writes centroid `k` into `out` [D].
    ///
    /// # Panics
    /// When there is no centroid `k`.
    pub fn centroid(&self, k: usize, out: &mut [f32]) {
        let scale = self.centroid_scales[k];
        let codes = &self.centroids[k * self.stride()..][..self.dimension];
        for (value, code) in out.iter_mut().zip(codes) {
            *value = scale * f32::from(*code);
        }
    }

    /// Bytes of a fine row: check, scale, codes.
    pub fn fine_row_bytes(&self) -> usize {
        12 + self.stride()
    }

    /// The tables of an entropy class, [P]; empty for one that the plan does not have.
    pub fn tables_of(&self, class: usize) -> &[FrequencyTable] {
        let positions = self.widths.row_bytes();
        let tables = class.checked_mul(positions);
        tables
            .and_then(|first| self.tables.get(first..first.checked_add(positions)?))
            .unwrap_or(&[])
    }
}

/// Tables of leaves: one for their rows, and one a value.
pub(super) fn leaf_table_count(leaf_axes: usize) -> usize {
    match leaf_axes {
        0 => 0,
        axes => 1 + axes,
    }
}

fn read_tables(fields: &mut Fields, count: usize) -> Result<Vec<FrequencyTable>> {
    (0..count).map(|_| read_table(fields)).collect()
}

fn read_table(fields: &mut Fields) -> Result<FrequencyTable> {
    let head = fields.take(2, "symbols of a table")?;
    let count = usize::from(u16::from_le_bytes([head[0], head[1]]));
    if !(1..=256).contains(&count) {
        return Err(fields.bad(format!("a table has {count} symbols")));
    }
    let mut frequencies = Box::new([0u16; 256]);
    let mut last = None;
    for entry in fields.elements(count, 3, "table")?.as_chunks::<3>().0 {
        let (symbol, frequency) = (entry[0], u16::from_le_bytes([entry[1], entry[2]]));
        if last >= Some(symbol) || frequency == 0 {
            return Err(fields.bad(format!(
                "a table has the symbol {symbol} of frequency {frequency} after {last:?}"
            )));
        }
        frequencies[usize::from(symbol)] = frequency;
        last = Some(symbol);
    }
    Ok(FrequencyTable { frequencies })
}
