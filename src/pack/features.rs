//! Packing features that were computed elsewhere.
//!
//! A reader thread fetches the next block of rows and items while the one before is normalised, encoded
//! and written, so at any time a few blocks are held, however many rows there are.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::write::IndexWriter;
use super::{Item, PackOptions, PackReport, read_head};
use crate::error::{Error, Result};
use crate::features::{Duplicates, FeatureSet, RowSource};
use crate::format::ModelHead;

/// Rows that are read together.
const BATCH: usize = 4096;
/// Rows that were left out and are reported by name; the others are counted.
pub(super) const NAMED: usize = 10;

/// Packs the rows of `features` under their names. Without `duplicates` it does about them what is usual
/// for the container, see [`FeatureSet::default_duplicates`].
///
/// Rows that are not finite or have no length are left out and reported.
///
/// # Errors
/// Those of [`FeatureSet`] for unreadable input; [`Error::InvalidArgument`] when the dimension is not the
/// model's, names are duplicates, or no row remains; [`Error::IdentityMismatch`] when the features state
/// another backbone than the model's.
pub fn pack_features(
    features: &FeatureSet,
    duplicates: Option<Duplicates>,
    options: &PackOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<PackReport> {
    let head = read_head(&options.model)?;
    check_features(features, &head, duplicates)?;
    let rows = features.shape()[0];
    let mut writer = IndexWriter::new(options, head, rows)?;
    let (mut left_out, mut left_out_count, mut done) = (Vec::new(), 0, 0);
    std::thread::scope(|scope| {
        let (sender, blocks) = sync_channel(1);
        scope.spawn(move || read_blocks(features, &sender));
        for block in blocks {
            let (items, values) = block?;
            done += items.len();
            let refused = writer.push_rows(items, &values)?;
            left_out_count += refused.len();
            left_out.extend(refused.into_iter().take(NAMED - left_out.len()));
            progress(done, rows);
        }
        Ok(())
    })?;
    if writer.rows() == 0 {
        return Err(Error::invalid(format!(
            "{}: no usable row",
            features.label()
        )));
    }
    Ok(PackReport {
        manifest: writer.finish()?,
        left_out,
        left_out_count,
        reused: 0,
    })
}

/// Whether `features` are of the backbone `head` and their names as they should be.
///
/// # Errors
/// [`Error::InvalidArgument`] when the dimension is not the model's or names are duplicates;
/// [`Error::IdentityMismatch`] when the features state another backbone than the model's.
pub(super) fn check_features(
    features: &FeatureSet,
    head: &ModelHead,
    duplicates: Option<Duplicates>,
) -> Result<()> {
    let [_, dimension] = features.shape();
    if let Some(backbone) = features.backbone()
        && backbone.identity != head.identity
    {
        let named = |name: &str, identity: &str| {
            format!("{name} {}", identity.get(..12).unwrap_or(identity))
        };
        return Err(Error::IdentityMismatch {
            index: named(&backbone.name, &backbone.identity),
            model: named(&head.name, &head.identity),
        });
    }
    if dimension != head.dimension {
        return Err(Error::invalid(format!(
            "{} has rows of {dimension} values, {} makes {}",
            features.label(),
            head.name,
            head.dimension
        )));
    }
    if duplicates.unwrap_or_else(|| features.default_duplicates()) == Duplicates::Stop {
        features.check_duplicates()?;
    }
    Ok(())
}

/// Items and as many rows, row-major.
pub(super) type Block = (Vec<Item>, Vec<f32>);

/// Sends the blocks of `features` in order until an error, which is the last, or until nobody listens.
pub(super) fn read_blocks(features: &FeatureSet, sender: &SyncSender<Result<Block>>) {
    let mut items = match features.items() {
        Ok(items) => items,
        Err(error) => return drop(sender.send(Err(error))),
    };
    let rows = features.shape()[0];
    for first in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - first);
        let mut read = || {
            let named: Result<Vec<Item>> = items
                .by_ref()
                .take(count)
                .map(|item| {
                    let item = item?;
                    Ok(Item {
                        caption: item.caption,
                        link: item.link,
                        fields: item.fields,
                        ..Item::named(item.name)
                    })
                })
                .collect();
            Ok((named?, features.read_rows_f32(first, count)?))
        };
        let block = read();
        let failed = block.is_err();
        if sender.send(block).is_err() || failed {
            return;
        }
    }
}
