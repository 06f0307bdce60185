//! A mapper in a folder of its own: `real.json` and `synth.json` with their weight files.
//!
//! Invariant of an opened [`MapperFolder`]: both heads are of one pair, and that pair is the digest of
//! just these two weight files.

use std::path::{Path, PathBuf};

use super::Mapper;
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::format::mapper::{
    MAPPER_BYTES_MAX, MAPPER_FORMAT, MAPPER_HEAD_BYTES_MAX, pair_identity,
};
use crate::format::shard::VERSION;
use crate::format::{FileRef, MapperHead, MapperKind, MapperLayer, MapperRole};
use crate::source::folder::Folder;

/// Structure of both sides of a mapper, and the values of each: layer after layer, the weight
/// [outputs, inputs] row-major, then the bias; or the factors.
#[derive(Clone, Debug, PartialEq)]
pub struct MapperWeights {
    pub kind: MapperKind,
    pub layers: Vec<MapperLayer>,
    pub real: Vec<f32>,
    pub synth: Vec<f32>,
}

/// The two heads of a mapper and where its files are.
#[derive(Clone, Debug, PartialEq)]
pub struct MapperFolder {
    folder: PathBuf,
    pub real: MapperHead,
    pub synth: MapperHead,
}

impl MapperFolder {
    /// Reads both heads of the mapper in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] when one is not there, [`Error::Format`] when one is damaged or of the other role,
    /// [`Error::IdentityMismatch`] when they are not of one pair.
    pub fn open(folder: &Path) -> Result<Self> {
        let [real, synth] = [MapperRole::Real, MapperRole::Synth].map(|role| {
            let path = folder.join(head_file(role));
            let name = path.display().to_string();
            let length = std::fs::metadata(&path)
                .map_err(|e| Error::io(&path, e))?
                .len();
            if length > MAPPER_HEAD_BYTES_MAX {
                let reason = format!("{length} bytes, the limit is {MAPPER_HEAD_BYTES_MAX}");
                return Err(Error::format(name, reason));
            }
            let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
            let head = MapperHead::parse(&name, &bytes)?;
            if head.role != role {
                let found = head.role.name();
                return Err(Error::format(name, format!("is the {found} side")));
            }
            Ok(head)
        });
        let (real, synth) = (real?, synth?);
        let pair = pair_identity(real.kind, &real.layers, &real.file, &synth.file);
        if [&real.pair, &synth.pair] != [&pair; 2]
            || (&real.name, &real.backbone) != (&synth.name, &synth.backbone)
            || (real.kind, &real.layers) != (synth.kind, &synth.layers)
        {
            return Err(Error::IdentityMismatch {
                index: described(&real),
                model: described(&synth),
            });
        }
        Ok(Self {
            folder: folder.to_owned(),
            real,
            synth,
        })
    }

    /// The side that maps training features, with its weights.
    ///
    /// # Errors
    /// See [`Mapper::load`].
    pub fn load_real(&self) -> Result<Mapper> {
        self.load(&self.real)
    }

    /// The side that maps queries, with its weights.
    ///
    /// # Errors
    /// See [`Mapper::load`].
    pub fn load_synth(&self) -> Result<Mapper> {
        self.load(&self.synth)
    }

    /// The content of the weight file of `head`, verified.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Integrity`].
    pub fn read_weights(&self, head: &MapperHead) -> Result<Vec<u8>> {
        let path = self.folder.join(&head.file.file);
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        head.file.verify(&bytes)?;
        Ok(bytes)
    }

    fn load(&self, head: &MapperHead) -> Result<Mapper> {
        let source = Folder::new(&self.folder);
        let name = head_file(head.role);
        pollster::block_on(Mapper::load(&source, name, head.clone(), &|_, _| {}))
    }
}

/// Writes `weights` as the mapper `name` into the folder `out`, heads last.
///
/// # Errors
/// [`Error::Format`] for a structure outside of the limits, [`Error::InvalidArgument`] for another
/// number of values than it needs, [`Error::NotFinite`], [`Error::Io`].
pub fn write_mapper(
    weights: &MapperWeights,
    name: &str,
    backbone: Option<&str>,
    out: &Path,
) -> Result<MapperFolder> {
    let needed = weights
        .layers
        .iter()
        .try_fold(0usize, |sum, layer| sum.checked_add(layer.values()?));
    let [real, synth] = [&weights.real, &weights.synth].map(|values| {
        if Some(values.len()) != needed || values.len() as u64 > MAPPER_BYTES_MAX / 4 {
            let count = values.len();
            return Err(Error::invalid(format!(
                "{count} values for the layers of the mapper {name}"
            )));
        }
        if values.iter().any(|value| !value.is_finite()) {
            let what = format!("mapper {name}: a weight");
            return Err(Error::NotFinite { what });
        }
        Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    });
    let files: [Vec<u8>; 2] = [real?, synth?];
    let [real, synth] = [&files[0], &files[1]].map(|bytes| FileRef::of("weights", "bin", bytes));
    let pair = pair_identity(weights.kind, &weights.layers, &real, &synth);
    let end = |layer: Option<&MapperLayer>, size: fn(&MapperLayer) -> usize| layer.map_or(0, size);
    let head = |role: MapperRole, file: FileRef| {
        let mut head = MapperHead {
            format: MAPPER_FORMAT.into(),
            version: VERSION,
            name: name.into(),
            kind: weights.kind,
            role,
            pair: pair.clone(),
            identity: String::new(),
            backbone: backbone.map(str::to_owned),
            input: end(weights.layers.first(), MapperLayer::inputs),
            output: end(weights.layers.last(), MapperLayer::outputs),
            layers: weights.layers.clone(),
            file,
        };
        head.identity = head.computed_identity();
        head.validate(head_file(role)).map(|()| head)
    };
    let folder = MapperFolder {
        folder: out.to_owned(),
        real: head(MapperRole::Real, real)?,
        synth: head(MapperRole::Synth, synth)?,
    };
    let heads = [&folder.real, &folder.synth];
    for (head, bytes) in heads.iter().zip(&files) {
        write_atomically(&out.join(&head.file.file), bytes)?;
    }
    for head in heads {
        write_json(&out.join(head_file(head.role)), head)?;
    }
    Ok(folder)
}

/// The file name of a side's head.
fn head_file(role: MapperRole) -> &'static str {
    match role {
        MapperRole::Real => "real.json",
        MapperRole::Synth => "synth.json",
    }
}

fn described(head: &MapperHead) -> String {
    format!(
        "{} mapper {} (pair {})",
        head.role.name(),
        head.name,
        head.pair.get(..12).unwrap_or(&head.pair)
    )
}
