//! The control sample: some rows drawn uniformly, with coarse codes and fine rows.
//!
//! A query scores them both ways; the differences are a sample of the error of its approximate scores.

use super::fields::{Fields, padding};
use super::fine::is_possible;
use super::head::Head;
use super::plan::Plan;
use super::rans::{self, Decoder};
use super::{Salt, VERSION};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"DATTRCT1";

/// A sample of n rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    /// [n], ascending.
    pub rows: Vec<u32>,
    /// [n, P].
    pub codes: Vec<u8>,
    /// [n, 1 + V]: the leaf of each row, as in a block; empty where V is 0.
    pub leaves: Vec<u8>,
    /// [n].
    pub scales: Vec<f32>,
    /// [n, S].
    pub fine: Vec<i8>,
}

impl Control {
    /// The file, for an index of `plan`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for columns of different lengths, rows that do not ascend, scales that
    /// no row has, or leaves with a symbol that the plan's tables do not have.
    pub fn encode(&self, plan: &Plan, salt: &Salt) -> Result<Vec<u8>> {
        let leaf_bytes = plan.leaf_tables.len();
        let count = self.rows.len();
        let whole = |length: usize| match count {
            0 => length == 0,
            _ => length.is_multiple_of(count),
        };
        let words = u32::try_from(count).ok().filter(|_| {
            self.scales.len() == count
                && self.leaves.len() == count * leaf_bytes
                && whole(self.codes.len())
                && whole(self.fine.len())
        });
        let Some(words) = words else {
            return Err(Error::invalid(format!(
                "a control sample of {count} rows has {} codes, {} scales, {} fine codes",
                self.codes.len(),
                self.scales.len(),
                self.fine.len()
            )));
        };
        self.check().map_err(Error::invalid)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&words.to_le_bytes());
        bytes.extend_from_slice(salt);
        for row in &self.rows {
            bytes.extend_from_slice(&row.to_le_bytes());
        }
        bytes.extend_from_slice(&self.codes);
        bytes.resize(bytes.len() + padding(self.codes.len()), 0);
        let leaves = match self.leaves.is_empty() {
            true => Vec::new(),
            false => rans::encode_block(&plan.leaf_tables, &self.leaves)?,
        };
        bytes.extend_from_slice(&(leaves.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&leaves);
        for scale in &self.scales {
            bytes.extend_from_slice(&scale.to_le_bytes());
        }
        bytes.extend_from_slice(bytemuck::cast_slice(&self.fine));
        Ok(bytes)
    }

    /// Parses and checks a sample of the index of `head`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`] for anything but a whole sample of this index, [`Error::NewerVersion`] for a later
    /// version.
    pub fn parse(file: &str, bytes: &[u8], head: &Head) -> Result<Self> {
        let mut fields = Fields::open(file, bytes, MAGIC)?;
        let count = fields.u32("rows")? as usize;
        fields.salt(&head.salt)?;
        let rows = fields.u32s(count, "row numbers")?;
        let codes = fields.elements(count, head.plan.widths.row_bytes(), "codes")?;
        fields.zeros(padding(codes.len()), "codes")?;
        let leaf_bytes = head.plan.leaf_tables.len();
        let coded = fields.u32("bytes of leaves")? as usize;
        let coded = fields.take(coded, "leaves")?;
        // Each row has a fine row in the file, so that a few bytes cannot ask for much.
        fields.expect(count, head.plan.stride(), "fine codes")?;
        let mut leaves = vec![0; count * leaf_bytes];
        if leaves.is_empty() && !coded.is_empty() {
            return Err(fields.bad("it has leaves of no row"));
        }
        if !leaves.is_empty() {
            let decoder = Decoder::new(&head.plan.leaf_tables, leaf_bytes);
            let result = decoder.decode(0, coded, &mut leaves);
            result.map_err(|reason| fields.bad(format!("its leaves: {reason}")))?;
        }
        let control = Self {
            rows,
            codes: codes.to_vec(),
            leaves,
            scales: fields.f32s(count, "scales")?,
            fine: bytemuck::cast_slice(fields.elements(count, head.plan.stride(), "fine codes")?)
                .to_vec(),
        };
        fields.finish()?;
        control.check().map_err(|reason| fields.bad(reason))?;
        match control.rows.last() {
            Some(last) if u64::from(*last) >= head.rows => {
                Err(fields.bad(format!("row {last} of {}", head.rows)))
            }
            _ => Ok(control),
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(pair) = self.rows.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("row {} stands before row {}", pair[0], pair[1]));
        }
        let stride = self.fine.len() / self.rows.len().max(1);
        for (at, (row, scale)) in self.rows.iter().zip(&self.scales).enumerate() {
            let codes = self.fine.get(at * stride..(at + 1) * stride);
            if codes.is_none_or(|codes| !is_possible(*scale, codes)) {
                return Err(format!(
                    "row {row} with the scale {scale} is no difference of unit rows"
                ));
            }
        }
        Ok(())
    }
}
