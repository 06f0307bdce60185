//! What is compared: a features folder, its database, and the mappers that the features go through.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::features::FeatureFolder;
use super::stream::{Mappers, RowMap};
use crate::error::{Error, Result};
use crate::features::FeaturesBackbone;

/// A features folder and what it is called in the results.
#[derive(Clone, Debug)]
pub struct FeatureSource {
    /// What was done to the features: `untuned`, `tuned`, …
    pub name: String,
    /// Which features they are: `clip`, `dino`, …
    pub feature: String,
    pub folder: PathBuf,
    /// The database, where it is not `database.npy` of the folder: a `.npy` matrix, a packed index, or
    /// another container of features.
    pub database: Option<PathBuf>,
    /// A packed index of the same database, which the int8 rows are then taken from.
    pub index: Option<PathBuf>,
    /// What the features go through before they are compared; without, they are compared as they are.
    pub mapper: Option<Arc<NamedMappers>>,
}

/// A mapper by name and content hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapperName {
    pub name: String,
    pub identity: String,
}

/// A pair of mappers, and what it is called.
pub struct NamedMappers {
    pub real: MapperName,
    pub synth: MapperName,
    /// Digest over both sides.
    pub pair: String,
    /// The backbone that the pair was trained for, where that is known.
    pub backbone: Option<String>,
    pub mappers: Mappers,
}

impl FeatureSource {
    /// Features in `folder`, compared as they are with the database in there.
    pub fn new(name: &str, feature: &str, folder: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            feature: feature.into(),
            folder: folder.into(),
            database: None,
            index: None,
            mapper: None,
        }
    }

    /// `name/feature`, or the feature alone where both are the same.
    pub fn label(&self) -> String {
        if self.name == self.feature {
            self.feature.clone()
        } else {
            format!("{}/{}", self.name, self.feature)
        }
    }

    /// The maps of a source: which features go through which.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`] for a packed index of other mappers than the source's, and for mappers
    /// of another backbone; [`Error::Format`] and [`Error::InvalidArgument`] for dimensions that do not
    /// meet.
    pub(super) fn maps(&self, folder: &FeatureFolder) -> Result<Maps<'_>> {
        let mapper = self.mapper.as_deref();
        let database = &folder.database;
        let indexed = database.index_mappers();
        if let Some([real, synth]) = &indexed {
            let [own_real, own_synth] = match mapper {
                Some(mapper) => [Some(&mapper.real), Some(&mapper.synth)],
                None => [None, None],
            };
            let sides = [("real", real, own_real), ("synth", synth, own_synth)];
            for (side, of_index, of_source) in sides {
                let of_index = of_index.as_ref();
                if of_index.map(|mapper| &mapper.identity) != of_source.map(|m| &m.identity) {
                    let named = |mapper: Option<&MapperName>, place: &str| match mapper {
                        Some(mapper) => format!("the {side} mapper {mapper} ({place})"),
                        None => format!("no {side} mapper ({place})"),
                    };
                    return Err(Error::IdentityMismatch {
                        index: named(of_index, &database.name),
                        model: named(of_source, &self.label()),
                    });
                }
            }
        }
        if let Some(mapper) = mapper {
            mapper.check_backbone(folder.backbone.as_ref(), &self.folder)?;
        }
        let width = folder.exemplar.rows.shape()[1];
        let mut dimension = width;
        if let Some(named) = mapper {
            let [real, synth] = [&named.mappers.real, &named.mappers.synth];
            let ([real_in, real_out], [synth_in, synth_out]) =
                (real.dimensions(), synth.dimensions());
            if real_in != width || synth_in != width {
                return Err(Error::invalid(format!(
                    "{}: the mapper {} takes rows of {real_in} and {synth_in} values, {} has rows of {width}",
                    self.label(),
                    named.real.name,
                    folder.exemplar.name
                )));
            }
            if real_out != synth_out || real_out == 0 {
                return Err(Error::invalid(format!(
                    "the mappers {} and {} make rows of {real_out} and of {synth_out} values, which cannot be compared",
                    named.real.name, named.synth.name
                )));
            }
            dimension = real_out;
        }
        if indexed.is_some() && database.shape()[1] != dimension {
            let stored = database.shape()[1];
            let reason = format!("rows of {stored} values, where the features have {dimension}");
            return Err(Error::format(&database.name, reason));
        }
        let real = mapper.map(|mapper| &*mapper.mappers.real);
        Ok(Maps {
            // The rows of an index were mapped when it was packed.
            database: real.filter(|_| indexed.is_none()),
            exemplar: real,
            synth: mapper.map(|mapper| &*mapper.mappers.synth),
            dimension,
        })
    }
}

impl NamedMappers {
    /// Refuses to map features of another backbone than the mappers', as far as both are known; `folder`
    /// is where the features are.
    ///
    /// # Errors
    /// [`Error::IdentityMismatch`], naming both.
    pub fn check_backbone(&self, backbone: Option<&FeaturesBackbone>, folder: &Path) -> Result<()> {
        match (backbone, &self.backbone) {
            (Some(backbone), Some(trained_for)) if *trained_for != backbone.name => {
                Err(Error::IdentityMismatch {
                    index: format!("{backbone} ({})", folder.display()),
                    model: format!("the mapper {} for {trained_for}", self.real.name),
                })
            }
            _ => Ok(()),
        }
    }
}

/// What the features of a source go through.
pub(super) struct Maps<'a> {
    pub database: Option<&'a dyn RowMap>,
    pub exemplar: Option<&'a dyn RowMap>,
    pub synth: Option<&'a dyn RowMap>,
    /// D of what is compared.
    pub dimension: usize,
}

impl std::fmt::Debug for NamedMappers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamedMappers({}, {})", self.real, self.synth)
    }
}

impl std::fmt::Display for MapperName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.identity.get(..12).unwrap_or(&self.identity);
        write!(f, "{} {short}", self.name)
    }
}
