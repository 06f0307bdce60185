//! The head of a mapper (`real.json`, `synth.json`) and the layout of its weight file.
//!
//! A mapper takes backbone features to the space in which they are compared. It comes as a pair of one
//! shape: the `real` side maps training features, the `synth` side maps queries. Training layouts are
//! reduced to two kinds of layer at import. The weight file holds f32 values alone: layer after layer,
//! the weight [outputs, inputs] row-major, then the bias [outputs]; or the factors [channels].
//!
//! Invariant after [`MapperHead::parse`]: each layer takes what the one before gives, all sizes are
//! within the limits, and the weight file has exactly the bytes that the layers need.

use serde::{Deserialize, Serialize};

use super::digest::{FileRef, Sha256Hex, sha256_hex};
use super::manifest::check_head;
use super::shard::{DIMENSION_MAX, VERSION};
use crate::error::{Error, Result};

/// `format` of a mapper head.
pub const MAPPER_FORMAT: &str = "data-attribution-mapper";
/// Largest mapper head that a reader accepts, in bytes.
pub const MAPPER_HEAD_BYTES_MAX: u64 = 64 << 10;
/// Largest weight file of a mapper.
pub const MAPPER_BYTES_MAX: u64 = 64_000_000;
/// Most layers of a mapper.
pub const LAYERS_MAX: usize = 8;
/// Largest width between two layers.
pub const HIDDEN_MAX: usize = 16384;

/// One side of a mapper; see FORMAT.md for each field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapperHead {
    pub format: String,
    pub version: u32,
    /// The mapper's name, such as `clip-tuned`; both sides have the same.
    pub name: String,
    pub kind: MapperKind,
    pub role: MapperRole,
    /// [`pair_identity`], the same in both heads.
    pub pair: Sha256Hex,
    /// SHA-256 of what determines a mapped feature; see [`MapperHead::computed_identity`].
    pub identity: Sha256Hex,
    /// Name of the backbone that the mapper was trained for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// Length D of a backbone feature.
    pub input: usize,
    /// Length D' of a mapped feature.
    pub output: usize,
    pub layers: Vec<MapperLayer>,
    /// The weight file, relative to the head.
    pub file: FileRef,
}

/// What a mapper was trained as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapperKind {
    /// One matrix with a bias.
    Linear,
    /// One factor a channel.
    Channel,
    /// Matrices with a ReLU after each but the last.
    Mlp,
}

/// Which features a side maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapperRole {
    /// Those of training images.
    Real,
    /// Those of queries.
    Synth,
}

/// One layer, as it is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MapperLayer {
    /// `x W^T + b`, then `max(., 0)` with `relu`.
    Linear {
        inputs: usize,
        outputs: usize,
        bias: bool,
        relu: bool,
    },
    /// `x * w`, channel by channel.
    Scale { channels: usize },
}

impl MapperKind {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Channel => "channel",
            Self::Mlp => "mlp",
        }
    }
}

impl MapperRole {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Synth => "synth",
        }
    }
}

impl MapperLayer {
    /// Values that a row has before this layer.
    pub fn inputs(&self) -> usize {
        match *self {
            Self::Linear { inputs, .. } => inputs,
            Self::Scale { channels } => channels,
        }
    }

    /// Values that a row has after this layer.
    pub fn outputs(&self) -> usize {
        match *self {
            Self::Linear { outputs, .. } => outputs,
            Self::Scale { channels } => channels,
        }
    }

    /// Weights and biases, or `None` when their number overflows.
    pub fn values(&self) -> Option<usize> {
        match *self {
            Self::Linear {
                inputs,
                outputs,
                bias,
                ..
            } => outputs.checked_mul(inputs.checked_add(usize::from(bias))?),
            Self::Scale { channels } => Some(channels),
        }
    }
}

/// SHA-256 over structure and weights of both sides: of the compact JSON
/// `[kind, layers, sha256 of the real side's weight file, sha256 of the synth side's]`.
pub fn pair_identity(
    kind: MapperKind,
    layers: &[MapperLayer],
    real: &FileRef,
    synth: &FileRef,
) -> Sha256Hex {
    let content = (kind, layers, &real.sha256, &synth.sha256);
    sha256_hex(&serde_json::to_vec(&content).unwrap_or_default())
}

impl MapperHead {
    /// Parses and checks a head: kind, layers, sizes and the weight file's length must agree.
    ///
    /// # Errors
    /// [`Error::NewerVersion`] or [`Error::Format`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        check_head(file, bytes, MAPPER_FORMAT)?;
        let head: Self =
            serde_json::from_slice(bytes).map_err(|e| Error::format(file, e.to_string()))?;
        head.validate(file)?;
        Ok(head)
    }

    /// SHA-256 of the head's compact JSON with an empty `identity`; covers structure, role, pair and,
    /// through the file's digest, every weight.
    pub fn computed_identity(&self) -> Sha256Hex {
        let mut bare = self.clone();
        bare.identity.clear();
        sha256_hex(&serde_json::to_vec(&bare).unwrap_or_default())
    }

    /// Refuses to map features of a backbone that this mapper was not trained for: of another name, where
    /// the mapper states one, or of another length.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`] naming both.
    pub fn check_backbone(&self, name: &str, dimension: usize) -> Result<()> {
        let trained_for = self.backbone.as_deref().unwrap_or(name);
        if trained_for == name && self.input == dimension {
            return Ok(());
        }
        Err(Error::IdentityMismatch {
            index: format!(
                "mapper {} for {} (D {})",
                self.name,
                self.backbone.as_deref().unwrap_or("any backbone"),
                self.input
            ),
            model: format!("{name} (D {dimension})"),
        })
    }

    /// Checks the head against itself; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn validate(&self, file: &str) -> Result<()> {
        let bad = |reason: String| Err(Error::format(file, reason));
        if self.name.is_empty() {
            return bad("`name` is empty".into());
        }
        for (field, length) in [("input", self.input), ("output", self.output)] {
            if length == 0 || length > DIMENSION_MAX {
                return bad(format!("{field} {length} is not in 1..={DIMENSION_MAX}"));
            }
        }
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            let count = self.layers.len();
            return bad(format!("{count} layers, where 1 to {LAYERS_MAX} are read"));
        }
        let mut width = self.input;
        for (i, layer) in self.layers.iter().enumerate() {
            if layer.inputs() != width || !(1..=HIDDEN_MAX).contains(&layer.outputs()) {
                return bad(format!(
                    "layer {i} takes {} values and gives {}; it gets {width} and may give {HIDDEN_MAX}",
                    layer.inputs(),
                    layer.outputs()
                ));
            }
            width = layer.outputs();
        }
        if width != self.output {
            let output = self.output;
            return bad(format!(
                "the layers give {width} values, output is {output}"
            ));
        }
        if !self.has_form_of_kind() {
            let kind = self.kind.name();
            return bad(format!("the layers are not those of a {kind} mapper"));
        }
        self.file.validate(file, MAPPER_BYTES_MAX)?;
        if self.expected_bytes() != Some(self.file.bytes) {
            let (name, bytes) = (&self.file.file, self.file.bytes);
            return bad(format!("{name}: the layers do not take {bytes} bytes"));
        }
        for (field, digest) in [("pair", &self.pair), ("identity", &self.identity)] {
            let hex = digest.bytes().all(|b| b"0123456789abcdef".contains(&b));
            if digest.len() != 64 || !hex {
                return bad(format!("malformed `{field}`"));
            }
        }
        if self.version == VERSION && self.identity != self.computed_identity() {
            return bad("the identity does not match the content".into());
        }
        Ok(())
    }

    /// Bytes that the layers take, or `None` when that overflows.
    fn expected_bytes(&self) -> Option<u64> {
        let values = self
            .layers
            .iter()
            .try_fold(0usize, |sum, layer| sum.checked_add(layer.values()?))?;
        (values as u64).checked_mul(4)
    }

    fn has_form_of_kind(&self) -> bool {
        let last = self.layers.len() - 1;
        let mut layers = self.layers.iter().enumerate();
        match self.kind {
            MapperKind::Channel => {
                last == 0 && layers.all(|(_, layer)| matches!(layer, MapperLayer::Scale { .. }))
            }
            MapperKind::Linear | MapperKind::Mlp => {
                (self.kind == MapperKind::Mlp || last == 0)
                    && layers.all(|(i, layer)| {
                        matches!(layer, MapperLayer::Linear { relu, .. } if *relu == (i < last))
                    })
            }
        }
    }
}

/// One side of a mapper by name and content hash, and where its files are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapperRef {
    pub name: String,
    /// [`MapperHead::identity`] of the side.
    pub identity: Sha256Hex,
    pub kind: MapperKind,
    /// [`MapperHead::pair`], the same on both sides.
    pub pair: Sha256Hex,
    /// The side's head, relative to the manifest; queries need only the synth side's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<FileRef>,
}

impl MapperRef {
    /// The reference to the side `mapper`, whose head lies at `head`.
    pub fn of(mapper: &MapperHead, head: Option<FileRef>) -> Self {
        Self {
            name: mapper.name.clone(),
            identity: mapper.identity.clone(),
            kind: mapper.kind,
            pair: mapper.pair.clone(),
            head,
        }
    }

    /// Refuses a `mapper` that is not the one referred to.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`] naming both.
    pub fn check(&self, mapper: &MapperHead) -> Result<()> {
        if (&self.identity, &self.pair, self.kind) == (&mapper.identity, &mapper.pair, mapper.kind)
        {
            return Ok(());
        }
        Err(Error::IdentityMismatch {
            index: format!("mapper {}", self.label()),
            model: format!("mapper {}", Self::of(mapper, None).label()),
        })
    }

    /// Name, identity and pair, for messages.
    fn label(&self) -> String {
        let [identity, pair] = [&self.identity, &self.pair].map(|hex| hex.get(..12).unwrap_or(hex));
        format!("{} {identity} (pair {pair})", self.name)
    }
}

/// Refuses rows and queries that go through mappers of two pairs, or only one of them through any, and a
/// synth side without files.
///
/// # Errors
/// [`Error::IdentityMismatch`] naming both sides, [`Error::Format`].
pub(super) fn check_pair(
    file: &str,
    real: Option<&MapperRef>,
    synth: Option<&MapperRef>,
) -> Result<()> {
    let described = |role: MapperRole, side: Option<&MapperRef>| match side {
        Some(mapper) => format!("{} mapper {}", role.name(), mapper.label()),
        None => format!("no {} mapper", role.name()),
    };
    let pair = |side: Option<&MapperRef>| side.map(|mapper| (mapper.pair.clone(), mapper.kind));
    if pair(real) != pair(synth) {
        return Err(Error::IdentityMismatch {
            index: described(MapperRole::Real, real),
            model: described(MapperRole::Synth, synth),
        });
    }
    match synth.map(|mapper| &mapper.head) {
        Some(Some(head)) => head.validate(file, MAPPER_HEAD_BYTES_MAX),
        Some(None) => Err(Error::format(file, "`synth_mapper` has no `head`")),
        None => Ok(()),
    }
}
