//! Items on their way into an index, and the items files.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::metadata::Metadata;
use crate::error::{Error, Result};
use crate::format::manifest::ItemColumns;

/// One training image or feature on its way into the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
    /// Name within the thumbnails folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
    /// Unless the metadata has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Whatever else is known, as text, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl Item {
    /// An item of which only the name is known.
    pub fn named(name: String) -> Self {
        Self {
            name,
            size: None,
            thumbnail: None,
            caption: None,
            link: None,
            fields: BTreeMap::new(),
        }
    }
}

/// The items file of `items`.
///
/// # Errors
/// [`Error::Format`].
pub(super) fn items_file(
    items: Vec<Item>,
    metadata: &HashMap<String, Metadata>,
) -> Result<Vec<u8>> {
    let sized = items.iter().all(|item| item.size.is_some());
    let illustrated = items.iter().any(|item| item.thumbnail.is_some());
    let mut columns = ItemColumns::default();
    for (row, item) in items.into_iter().enumerate() {
        if let Some((width, height)) = item.size.filter(|_| sized) {
            columns.widths.push(width);
            columns.heights.push(height);
        }
        if illustrated {
            columns.thumbnails.push(item.thumbnail.unwrap_or_default());
        }
        let known = metadata.get(&item.name).cloned().unwrap_or_default();
        columns.captions.push(known.caption.or(item.caption));
        columns.links.push(known.link.or(item.link));
        columns.names.push(item.name);
        // What the metadata says goes before what the features bring.
        let mut fields = item.fields;
        fields.extend(known.fields);
        for (name, text) in fields {
            let column = columns.fields.entry(name).or_default();
            column.resize(row, None);
            column.push(Some(text));
        }
    }
    for column in columns.fields.values_mut() {
        column.resize(columns.names.len(), None);
    }
    for column in [&mut columns.captions, &mut columns.links] {
        if column.iter().all(Option::is_none) {
            column.clear();
        }
    }
    serde_json::to_vec(&columns).map_err(|e| Error::format("items", e.to_string()))
}
