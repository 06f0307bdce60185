//! A mapper in a folder as the evaluation uses it: both sides opened, rows through either.

use std::path::Path;

use super::{Mapper, MapperFolder};
use crate::error::Result;
use crate::evaluate::{MapperName, Mappers, NamedMappers, RowMap};
use crate::format::MapperHead;

impl RowMap for Mapper {
    fn dimensions(&self) -> [usize; 2] {
        [self.head().input, self.head().output]
    }

    /// Rows without a finite result stay so; whoever normalises them refuses them by their place.
    fn map(&self, rows: &[f32]) -> Result<Vec<f32>> {
        self.apply_rows(rows)
    }
}

/// Opens the mapper in `folder`.
///
/// # Errors
/// Those of [`MapperFolder::open`] and [`Mapper::load`].
pub fn open_mappers(folder: &Path) -> Result<Mappers> {
    let folder = MapperFolder::open(folder)?;
    Ok(Mappers {
        real: Box::new(folder.load_real()?),
        synth: Box::new(folder.load_synth()?),
    })
}

/// Opens the mapper in `folder` with its names.
///
/// # Errors
/// See [`open_mappers`].
pub fn open_named_mappers(folder: &Path) -> Result<NamedMappers> {
    let heads = MapperFolder::open(folder)?;
    let named = |head: &MapperHead| MapperName {
        name: head.name.clone(),
        identity: head.identity.clone(),
    };
    Ok(NamedMappers {
        real: named(&heads.real),
        synth: named(&heads.synth),
        pair: heads.real.pair.clone(),
        backbone: heads.real.backbone.clone(),
        mappers: open_mappers(folder)?,
    })
}
