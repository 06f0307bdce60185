//! Names, sizes and captions of the rows that are shown, fetched only for those.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::event::ResultHit;
use super::memory::Memory;
use super::tally::Tally;
use crate::error::{Error, Result};
use crate::format::clustered::Head;
use crate::format::manifest::ItemColumns;
use crate::format::{FileRef, Manifest};
use crate::score::Hit;
use crate::source::Source;

/// Items files that are fetched at the same time.
const FILES_AT_ONCE: usize = 8;

/// Bound of the items files that are kept in memory, in bytes.
const MEMORY_BYTES: usize = 24 << 20;
/// What an item takes in memory beside its texts, roughly.
const ITEM_OVERHEAD: usize = 128;

/// Items files that were read.
pub struct ItemStore {
    files: Memory<ItemColumns>,
}

impl Default for ItemStore {
    fn default() -> Self {
        Self {
            files: Memory::new(MEMORY_BYTES),
        }
    }
}

/// An items file, and where an item stands in it.
struct Place {
    file: FileRef,
    index: usize,
    items: u64,
    at: usize,
}

impl ItemStore {
    /// Another query begins.
    pub(super) fn begin(&self) {
        self.files.begin();
    }

    /// `hits` with what is known of their images; influences are left open. `head` is that of a clustered
    /// index; `tally` takes note of what is read.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`Error::Format`] for an items file with columns of wrong length.
    pub(super) async fn resolve(
        &self,
        source: &impl Source,
        tally: &Tally,
        manifest: &Manifest,
        head: Option<&Head>,
        hits: &[Hit],
    ) -> Result<Vec<ResultHit>> {
        let places = hits.iter().map(|hit| place(manifest, head, hit.id));
        let places: Vec<Place> = places.collect::<Result<_>>()?;
        let wanted: BTreeMap<usize, &Place> = places.iter().map(|p| (p.index, p)).collect();
        let files: HashMap<usize, Rc<ItemColumns>> = stream::iter(wanted)
            .map(async |(index, place)| {
                Ok::<_, Error>((index, self.columns(source, tally, place).await?))
            })
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        let resolved = hits.iter().zip(&places).enumerate();
        let resolved = resolved.filter_map(|(i, (hit, place))| {
            let columns = files.get(&place.index)?;
            Some(described(i + 1, hit, manifest, columns, place.at))
        });
        Ok(resolved.collect())
    }

    async fn columns(
        &self,
        source: &impl Source,
        tally: &Tally,
        place: &Place,
    ) -> Result<Rc<ItemColumns>> {
        if let Some(columns) = self.files.get(&place.file.file) {
            return Ok(columns);
        }
        let bytes = tally.read(source, &place.file).await?.bytes;
        let columns: ItemColumns = serde_json::from_slice(&bytes)
            .map_err(|e| Error::format(&place.file.file, e.to_string()))?;
        check(&columns, &place.file.file, place.items)?;
        let columns = Rc::new(columns);
        let taken = bytes.len() + ITEM_OVERHEAD * columns.names.len();
        self.files.keep(&place.file.file, &columns, taken);
        Ok(columns)
    }
}

/// Where the item of row `id` stands.
fn place(manifest: &Manifest, head: Option<&Head>, id: u32) -> Result<Place> {
    let missing = || Error::format("items", format!("no item {id}"));
    let row = u64::from(id);
    if let Some(head) = head {
        let index =
            usize::try_from(row / head.plan.items_per_file as u64).map_err(|_| missing())?;
        if row >= head.rows {
            return Err(missing());
        }
        let (path, first, items, bytes, name) = head.items_file(index);
        return Ok(Place {
            file: FileRef::named(&path, bytes, &name),
            index,
            items: items as u64,
            at: (row - first) as usize,
        });
    }
    let shards = &manifest.items.shards;
    let index = shards.partition_point(|s| s.first_item + s.items <= row);
    let shard = shards.get(index).ok_or_else(missing)?;
    Ok(Place {
        file: shard.file.clone(),
        index,
        items: shard.items,
        at: (row - shard.first_item) as usize,
    })
}

fn described(
    rank: usize,
    hit: &Hit,
    manifest: &Manifest,
    columns: &ItemColumns,
    at: usize,
) -> ResultHit {
    ResultHit {
        rank,
        id: hit.id,
        name: columns.names.get(at).cloned().unwrap_or_default(),
        score: hit.score,
        influence: None,
        influence_low: None,
        influence_high: None,
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
        fields: columns
            .fields
            .iter()
            .filter_map(|(name, texts)| Some((name.clone(), texts.get(at).cloned().flatten()?)))
            .collect(),
    }
}

fn check(columns: &ItemColumns, file: &str, items: u64) -> Result<()> {
    let wanted = items as usize;
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
    let fields = columns.fields.values().map(Vec::len);
    if columns.names.len() != wanted
        || optional.iter().any(|n| *n != 0 && *n != wanted)
        || fields.clone().any(|n| n != wanted)
    {
        return Err(Error::format(
            file,
            format!("columns do not have {wanted} entries each"),
        ));
    }
    match columns.thumbnails.iter().find(|name| !plain(name)) {
        Some(name) => Err(Error::format(file, format!("thumbnail {name:?}"))),
        None => Ok(()),
    }
}
