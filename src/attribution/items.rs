//! Names, sizes and captions of the rows that are shown, fetched only for those.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::event::ResultHit;
use crate::error::{Error, Result};
use crate::format::manifest::ItemColumns;
use crate::format::{ItemsShard, Manifest};
use crate::score::Hit;
use crate::source::Source;

/// Items files that were read, by index.
#[derive(Default)]
pub struct ItemStore {
    shards: RefCell<HashMap<usize, Rc<ItemColumns>>>,
}

impl ItemStore {
    /// `hits` with what is known of their images; influences are left open.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`Error::Format`] for an items file with columns of wrong length.
    pub async fn resolve(
        &self,
        source: &impl Source,
        manifest: &Manifest,
        hits: &[Hit],
    ) -> Result<Vec<ResultHit>> {
        let mut resolved = Vec::with_capacity(hits.len());
        for (i, hit) in hits.iter().enumerate() {
            let shards = &manifest.items.shards;
            let index = shards.partition_point(|s| s.first_item + s.items <= u64::from(hit.id));
            let shard = shards
                .get(index)
                .ok_or_else(|| Error::format("items", format!("no item {}", hit.id)))?;
            let columns = self.shard(source, index, shard).await?;
            let at = (u64::from(hit.id) - shard.first_item) as usize;
            resolved.push(ResultHit {
                rank: i + 1,
                id: hit.id,
                name: columns.names.get(at).cloned().unwrap_or_default(),
                score: hit.score,
                influence: None,
                thumbnail: match (&manifest.thumbnails, columns.thumbnails.get(at)) {
                    (Some(folder), Some(name)) if !name.is_empty() => {
                        Some(format!("{}/{name}", folder.folder))
                    }
                    _ => None,
                },
                width: columns.widths.get(at).copied(),
                height: columns.heights.get(at).copied(),
                caption: columns.captions.get(at).cloned().flatten(),
                link: columns.links.get(at).cloned().flatten(),
            });
        }
        Ok(resolved)
    }

    async fn shard(
        &self,
        source: &impl Source,
        index: usize,
        shard: &ItemsShard,
    ) -> Result<Rc<ItemColumns>> {
        if let Some(columns) = self.shards.borrow().get(&index) {
            return Ok(columns.clone());
        }
        let bytes = source.read(&shard.file, &|_| {}).await?.bytes;
        let columns: ItemColumns = serde_json::from_slice(&bytes)
            .map_err(|e| Error::format(&shard.file.file, e.to_string()))?;
        check(&columns, shard)?;
        let columns = Rc::new(columns);
        self.shards.borrow_mut().insert(index, columns.clone());
        Ok(columns)
    }
}

fn check(columns: &ItemColumns, shard: &ItemsShard) -> Result<()> {
    let wanted = shard.items as usize;
    let optional = [
        columns.widths.len(),
        columns.heights.len(),
        columns.thumbnails.len(),
        columns.captions.len(),
        columns.links.len(),
    ];
    let plain = |name: &String| {
        name.split('/').all(|part| part != "..")
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
    };
    if columns.names.len() != wanted || optional.iter().any(|n| *n != 0 && *n != wanted) {
        return Err(Error::format(
            &shard.file.file,
            format!("columns do not have {wanted} entries each"),
        ));
    }
    match columns.thumbnails.iter().find(|name| !plain(name)) {
        Some(name) => Err(Error::format(
            &shard.file.file,
            format!("thumbnail {name:?}"),
        )),
        None => Ok(()),
    }
}
