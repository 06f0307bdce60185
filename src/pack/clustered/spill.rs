//! Distributing rows over the parts of an index: one pass over the features, a group of files a part.
//!
//! | file of a part | a record |
//! |---|---|
//! | keys | u64 number of the row in the features, u32 centroid |
//! | values | f32 [D], the row after the mapper at unit length |
//! | items | a line of JSON |
//!
//! Record i of all three is of the same row, in the order of the features. At any time a few blocks of
//! rows are held.

use std::fs;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::journal::{OutputFile, write_entry};
use super::plan_folder::{OpenPlan, Parts};
use crate::error::{Error, Result};
use crate::features::{FeatureSet, RowSource};
use crate::format::FileRef;
use crate::pack::Item;
use crate::pack::features::{NAMED, read_blocks};
use crate::pack::write::NO_DIRECTION;

/// The entry of a spill, written last.
pub const SPILL: &str = "spill.json";
/// Bytes of a record of keys.
pub const KEY_BYTES: usize = 12;
/// Parts that one pass distributes to: each has three open files.
pub const PARTS_MAX: usize = 256;

/// A row that cannot be one: its number in the features, name and reason.
pub type LeftOut = (u64, String, String);

/// Rows that were left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOuts {
    pub count: u64,
    /// The first ones.
    pub first: Vec<LeftOut>,
}

/// The rows of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpilledPart {
    pub rows: u64,
    pub keys: FileRef,
    pub values: FileRef,
    pub items: FileRef,
    pub left_out: LeftOuts,
}

/// Which rows are distributed where.
pub struct Distribution<'a> {
    pub parts: Parts,
    /// Only this part's rows are there, as another engine has distributed them; `None` for all rows.
    pub only: Option<usize>,
    /// Numbers of the rows in the whole of the features, unless they are all there, in order.
    pub numbers: Option<&'a [u64]>,
    /// Items, one a row, in place of those of the features.
    pub items: Option<&'a [Item]>,
}

/// The files of a part on the way.
struct Writers {
    keys: OutputFile,
    values: OutputFile,
    items: OutputFile,
    rows: u64,
    left_out: LeftOuts,
}

/// Distributes the rows of `features` into files in `folder` and notes them under `stamp`: an element a part,
/// or one with [`Distribution::only`].
///
/// Rows without a direction are left out; they count as left out of the first part that is there.
///
/// # Errors
/// Those of the features; [`Error::Io`]; [`Error::InvalidArgument`] for a row of another part than the only
/// one, or too many parts.
pub fn spill(
    features: &FeatureSet,
    plan: &OpenPlan,
    distribution: &Distribution,
    folder: &Path,
    stamp: &str,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<SpilledPart>> {
    let first_part = distribution.only.unwrap_or(0);
    let count = match distribution.only {
        Some(_) => 1,
        None => distribution.parts.count,
    };
    if count > PARTS_MAX {
        return Err(Error::invalid(format!(
            "{count} parts, the limit on one machine is {PARTS_MAX}"
        )));
    }
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let mut writers: Vec<Writers> = (first_part..first_part + count)
        .map(|part| Writers::create(folder, part))
        .collect::<Result<_>>()?;
    let rows = features.shape()[0];
    let mut done = 0;
    std::thread::scope(|scope| {
        let (sender, blocks) = sync_channel(1);
        scope.spawn(move || read_blocks(features, &sender));
        for block in blocks {
            let (mut items, values) = block?;
            let first = done;
            done += items.len();
            if let Some(known) = distribution.items {
                let known = known.get(first..done).ok_or_else(|| {
                    Error::invalid(format!("{}: more rows than items", features.label()))
                })?;
                items = known.to_vec();
            }
            let number = |at: usize| match distribution.numbers {
                None => Some((first + at) as u64),
                Some(numbers) => numbers.get(first + at).copied(),
            };
            let numbers: Option<Vec<u64>> = (0..items.len()).map(number).collect();
            let numbers = numbers.ok_or_else(|| {
                Error::invalid(format!("{}: more rows than numbers", features.label()))
            })?;
            distribute(plan, distribution, &mut writers, &items, &numbers, &values)?;
            progress(done, rows);
        }
        Ok::<_, Error>(())
    })?;
    let spilled = writers
        .into_iter()
        .map(Writers::finish)
        .collect::<Result<Vec<_>>>()?;
    write_entry(&folder.join(SPILL), stamp, &spilled)?;
    Ok(spilled)
}

/// A part without rows.
///
/// # Errors
/// [`Error::Io`].
pub fn empty(folder: &Path) -> Result<SpilledPart> {
    Writers::create(folder, 0)?.finish()
}

/// Appends one block of rows to the files of their parts.
fn distribute(
    plan: &OpenPlan,
    distribution: &Distribution,
    writers: &mut [Writers],
    items: &[Item],
    numbers: &[u64],
    features: &[f32],
) -> Result<()> {
    let (units, sound) = plan.unit_rows(features)?;
    let centroids = plan.assigner.assign(&units);
    let mut of_part: Vec<Vec<usize>> = vec![Vec::new(); writers.len()];
    for (at, (centroid, sound)) in centroids.iter().zip(&sound).enumerate() {
        if !sound {
            if let Some(writers) = writers.first_mut() {
                writers.leave_out(numbers[at], &items[at].name);
            }
            continue;
        }
        let part = distribution.parts.of(*centroid);
        let slot = match distribution.only {
            None => part,
            Some(only) if only == part => 0,
            Some(only) => {
                return Err(Error::invalid(format!(
                    "row {} ({:?}) is of part {part}, where rows of part {only} are expected",
                    numbers[at], items[at].name
                )));
            }
        };
        of_part[slot].push(at);
    }
    let dimension = plan.plan.dimension;
    writers
        .par_iter_mut()
        .zip(of_part)
        .try_for_each(|(writers, rows)| {
            for at in rows {
                let unit = &units[at * dimension..(at + 1) * dimension];
                writers.push(numbers[at], centroids[at], unit, &items[at])?;
            }
            Ok(())
        })
}

impl Writers {
    fn create(folder: &Path, part: usize) -> Result<Self> {
        let create = |what: &str| OutputFile::create(folder, &format!("{part}.{what}"));
        Ok(Self {
            keys: create("keys")?,
            values: create("values")?,
            items: create("items")?,
            rows: 0,
            left_out: LeftOuts::default(),
        })
    }

    fn push(&mut self, number: u64, centroid: u32, unit: &[f32], item: &Item) -> Result<()> {
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key[8..].copy_from_slice(&centroid.to_le_bytes());
        self.keys.write(&key)?;
        self.values.write(bytemuck::cast_slice(unit))?;
        let mut line =
            serde_json::to_vec(item).map_err(|e| Error::format("item", e.to_string()))?;
        line.push(b'\n');
        self.items.write(&line)?;
        self.rows += 1;
        Ok(())
    }

    fn leave_out(&mut self, number: u64, name: &str) {
        self.left_out.count += 1;
        if self.left_out.first.len() < NAMED {
            let row = (number, name.to_owned(), NO_DIRECTION.to_owned());
            self.left_out.first.push(row);
        }
    }

    fn finish(self) -> Result<SpilledPart> {
        Ok(SpilledPart {
            rows: self.rows,
            keys: self.keys.finish()?,
            values: self.values.finish()?,
            items: self.items.finish()?,
            left_out: self.left_out,
        })
    }
}
