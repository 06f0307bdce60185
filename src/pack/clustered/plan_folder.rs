//! The folder that `plan` makes and the other steps of packing read: the plan, and all that the machines
//! which pack its parts have to know.
//!
//! ```text
//! plan.bin        the plan, see FORMAT.md
//! plan.json       what it is for
//! backbone.json   the head of the model
//! mapper/         the mapper, if there is one
//! ```
//!
//! Only `merge` needs the folder of the model itself, for its weights. `plan.json` is written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::assign::Assigner;
use super::encode::RowEncoder;
use crate::backbone::import::HEAD_FILE;
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::format::clustered::plan::CENTROIDS_MAX;
use crate::format::clustered::{Plan, Salt};
use crate::format::manifest::check_head;
use crate::format::{Calibrator, FileRef, ModelHead};
use crate::mapper::MapperFolder;
use crate::pack::index_folder::unit_rows;
use crate::pack::{PackMapper, PackOptions, read_head};

const PLAN_FORMAT: &str = "data-attribution-plan";
const VERSION: u32 = 1;
const PLAN: &str = "plan.bin";
const PLAN_HEAD: &str = "plan.json";
const MAPPER: &str = "mapper";

/// `plan.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanHead {
    pub format: String,
    pub version: u32,
    /// Digest of the inputs and options that the plan was made from.
    pub stamp: String,
    /// Rows of the features, those without a direction included.
    pub rows: u64,
    /// Parts that fit one machine's memory.
    pub parts: usize,
    /// Folder of the model where the plan was made.
    pub model: PathBuf,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub calibrator: Calibrator,
    /// CSV of captions and links where the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PathBuf>,
    pub plan: FileRef,
    pub backbone: FileRef,
    /// Identity of the mapper's pair.
    pub mapper: Option<String>,
}

/// An opened plan with what turns features into codes.
pub struct OpenPlan {
    pub folder: PathBuf,
    pub head: PlanHead,
    pub plan: Plan,
    /// The file of the plan.
    pub encoded: Vec<u8>,
    pub salt: Salt,
    pub backbone: ModelHead,
    pub assigner: Assigner,
    pub encoder: RowEncoder,
    mapper: Option<PackMapper>,
}

impl PlanHead {
    /// Writes a plan folder for `plan`, made from what `stamp` stands for.
    ///
    /// # Errors
    /// [`Error::Io`], and those of the model's and the mapper's folders.
    pub fn write(
        folder: &Path,
        plan: &[u8],
        stamp: &str,
        rows: u64,
        parts: usize,
        options: &PackOptions,
    ) -> Result<Self> {
        write_atomically(&folder.join(PLAN), plan)?;
        let backbone = read_file(&options.model.join(HEAD_FILE))?;
        write_atomically(&folder.join(HEAD_FILE), &backbone)?;
        let mut pair = None;
        if let Some(from) = &options.mapper {
            let mapper = MapperFolder::open(from)?;
            for head in [&mapper.real, &mapper.synth] {
                let weights = mapper.read_weights(head)?;
                write_atomically(&folder.join(MAPPER).join(&head.file.file), &weights)?;
                let name = format!("{}.json", head.role.name());
                let head = read_file(&from.join(&name))?;
                write_atomically(&folder.join(MAPPER).join(&name), &head)?;
            }
            pair = Some(mapper.real.pair);
        }
        let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Error::io(path, e));
        let metadata = options.metadata.as_deref();
        let head = Self {
            format: PLAN_FORMAT.into(),
            version: VERSION,
            stamp: stamp.into(),
            rows,
            parts,
            model: absolute(&options.model)?,
            title: options.title.clone(),
            description: options.description.clone(),
            calibrator: options.calibrator,
            metadata: metadata.map(absolute).transpose()?,
            plan: named(PLAN, plan),
            backbone: named(HEAD_FILE, &backbone),
            mapper: pair,
        };
        write_json(&folder.join(PLAN_HEAD), &head)?;
        Ok(head)
    }

    /// Reads `plan.json` in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::NewerVersion`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN_HEAD);
        let (name, bytes) = (path.display().to_string(), read_file(&path)?);
        check_head(&name, &bytes, PLAN_FORMAT)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::format(name, e.to_string()))
    }

    /// The plan in `folder` if it was made from what `stamp` stands for and is whole; else whether one is
    /// there.
    pub(super) fn read_made(folder: &Path, stamp: &str) -> Result<Vec<u8>, bool> {
        let head = Self::read(folder).map_err(|_| folder.join(PLAN_HEAD).exists())?;
        let encoded = read_file(&folder.join(PLAN)).map_err(|_| true)?;
        match head.stamp == stamp && head.plan.verify(&encoded).is_ok() {
            true => Ok(encoded),
            false => Err(true),
        }
    }

    /// The options of an index in `out` after this plan, which lies in `folder`.
    pub fn pack_options(&self, folder: &Path, model: Option<&Path>, out: &Path) -> PackOptions {
        PackOptions {
            mapper: self.mapper.as_ref().map(|_| folder.join(MAPPER)),
            title: self.title.clone(),
            description: self.description.clone(),
            calibrator: self.calibrator,
            metadata: self.metadata.clone(),
            ..PackOptions::new(model.unwrap_or(&self.model), out)
        }
    }
}

impl OpenPlan {
    /// Opens the plan in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] and [`Error::Integrity`] for damaged files;
    /// [`Error::IdentityMismatch`] where its parts do not belong together.
    pub fn open(folder: &Path) -> Result<Self> {
        let head = PlanHead::read(folder)?;
        let encoded = read_file(&folder.join(PLAN))?;
        head.plan.verify(&encoded)?;
        head.backbone.verify(&read_file(&folder.join(HEAD_FILE))?)?;
        let plan = Plan::parse(&folder.join(PLAN).display().to_string(), &encoded)?;
        let backbone = read_head(folder)?;
        let mapper = match &head.mapper {
            None => None,
            Some(pair) => {
                let found = MapperFolder::open(&folder.join(MAPPER))?.real.pair;
                if found != *pair {
                    return Err(Error::IdentityMismatch {
                        index: format!("the mapper {pair}"),
                        model: format!("the mapper {found}"),
                    });
                }
                Some(PackMapper::open(&folder.join(MAPPER), &backbone)?)
            }
        };
        let dimension = mapper.as_ref().map_or(backbone.dimension, |m| m.output());
        if dimension != plan.dimension {
            let reason = format!(
                "rows of {} values, model and mapper make {dimension}",
                plan.dimension
            );
            return Err(Error::format(
                folder.join(PLAN).display().to_string(),
                reason,
            ));
        }
        Ok(Self {
            folder: folder.to_owned(),
            head,
            salt: Plan::salt(&encoded),
            assigner: Assigner::new(&plan),
            encoder: RowEncoder::new(&plan),
            plan,
            encoded,
            backbone,
            mapper,
        })
    }

    /// Unit rows of unmapped features; see [`unit_rows`].
    ///
    /// # Errors
    /// See [`PackMapper::apply`].
    pub fn unit_rows(&self, features: &[f32]) -> Result<(Vec<f32>, Vec<bool>)> {
        unit_rows(self.mapper.as_ref(), self.plan.dimension, features)
    }

    /// The part of each of `features` [n, d] among `parts`; 0 for a row without a direction.
    ///
    /// # Errors
    /// See [`PackMapper::apply`].
    pub fn parts_of(&self, features: &[f32], parts: &Parts) -> Result<Vec<usize>> {
        let (units, sound) = self.unit_rows(features)?;
        let centroids = self.assigner.assign(&units);
        let rows = centroids.into_par_iter().zip(sound);
        Ok(rows
            .map(|(centroid, sound)| if sound { parts.of(centroid) } else { 0 })
            .collect())
    }
}

/// One part of several, as in `2/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    /// From 0 on.
    pub part: usize,
    pub count: usize,
}

impl FromStr for PartOf {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('/').and_then(|(part, count)| {
            let part: usize = part.parse().ok()?;
            Some((part.checked_sub(1)?, count.parse().ok()?))
        });
        match numbers {
            Some((part, count)) if part < count => Ok(Self { part, count }),
            _ => Err(Error::invalid(format!("{text:?} is no part such as 2/8"))),
        }
    }
}

/// The contiguous ranges of centroids that are packed apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    centroids: usize,
    pub count: usize,
}

impl Parts {
    /// Splits `centroids` into `count` ranges of equal length, up to one; some are empty where there are
    /// more parts than centroids.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no part or too many.
    pub fn new(centroids: usize, count: usize) -> Result<Self> {
        if !(1..=CENTROIDS_MAX).contains(&count) {
            let what = format!("{count} parts, where 1 to {CENTROIDS_MAX} are possible");
            return Err(Error::invalid(what));
        }
        Ok(Self { centroids, count })
    }

    /// The part of a centroid.
    pub fn of(&self, centroid: u32) -> usize {
        centroid as usize * self.count / self.centroids.max(1)
    }
}

fn named(name: &str, bytes: &[u8]) -> FileRef {
    FileRef {
        file: name.into(),
        ..FileRef::of("", "", bytes)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_ranges_of_about_one_length() {
        for (centroids, count) in [(1, 1), (7, 3), (4096, 13), (65536, 65536), (10, 10)] {
            let parts = Parts::new(centroids, count).unwrap();
            let of: Vec<usize> = (0..centroids as u32).map(|c| parts.of(c)).collect();
            assert!(of.is_sorted() && of[0] == 0 && of[centroids - 1] == count - 1);
            let lengths: Vec<usize> = of.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
            let longest = lengths.iter().max().unwrap();
            assert!(lengths.len() == count && longest - lengths.iter().min().unwrap() <= 1);
        }
        let sparse = Parts::new(2, 5).unwrap();
        assert_eq!([sparse.of(0), sparse.of(1)], [0, 2]);
        assert!(Parts::new(4, 0).is_err() && Parts::new(4, 65537).is_err());
    }
}
