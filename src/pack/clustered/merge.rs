//! Merging packed parts into an index: numbering the rows through the parts and cutting the files.
//!
//! Each kind of file is one stream through all parts, checked against the digests that the parts noted, so
//! little is held. The manifest is written last.

use std::path::{Path, PathBuf};

use super::control::Sample;
use super::cut::Parts;
use super::part::{PackedCluster, PackedPart, part_folder};
use super::plan_folder::OpenPlan;
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::format::FileRef;
use crate::format::clustered::fine::row_salt;
use crate::format::clustered::{Cluster, Clusters, FileName, Head, ItemsName};
use crate::format::manifest::COUNT_MAX;
use crate::pack::features::NAMED;
use crate::pack::index_folder::{CONTROL, Contents, HEAD, IndexFolder};
use crate::pack::{PackOptions, PackReport, metadata};

/// Bytes and files of an index by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerSizes {
    pub head: u64,
    pub control: u64,
    pub coarse: (u64, usize),
    pub fine: (u64, usize),
    pub items: (u64, usize),
}

/// Merges the parts in `work` into the index that `options` describe.
///
/// # Errors
/// [`Error::InvalidArgument`] for parts that are missing, of another plan, or that together are not the rows
/// which the plan was made for; [`Error::Integrity`] for a damaged part; [`Error::Io`].
pub fn merge(
    plan: &OpenPlan,
    work: &Path,
    options: &PackOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(PackReport, LayerSizes)> {
    let parts = find_parts(plan, work)?;
    let rows: u64 = parts.iter().map(|(_, part)| part.rows).sum();
    if rows == 0 || rows > COUNT_MAX {
        return Err(Error::invalid(match rows {
            0 => format!("{}: no usable row", work.display()),
            _ => format!("{rows} rows, the limit is {COUNT_MAX}"),
        }));
    }
    let metadata = metadata::read_if_any(options.metadata.as_deref())?;
    let clusters: Vec<PackedCluster> = parts
        .iter()
        .flat_map(|(_, part)| part.clusters.iter().copied())
        .collect();
    let mut index = IndexFolder::open(options, plan.backbone.clone())?;
    let cut = Parts {
        plan,
        parts: &parts,
        rows: rows as usize,
    };
    let coarse = cut.write_coarse(&mut index, &clusters)?;
    let mut control = Sample::new(cut.rows, &plan.plan);
    control.read_codes(Stream::new(&parts, |part| &part.codes))?;
    let leaves = clusters.iter().map(|cluster| cluster.leaves as usize);
    control.read_leaves(Stream::new(&parts, |part| &part.leaves), leaves.sum())?;
    let digests = clusters
        .iter()
        .map(|packed| (packed.cluster(), packed.digest));
    let row_salt = row_salt(&plan.salt, digests);
    let fine = cut.write_fine(&mut index, &row_salt, &mut control, progress)?;
    let (items, thumbnails) = cut.write_items(&mut index, &metadata)?;
    let mut write = |folder: &str, bytes: Vec<u8>| {
        let file = FileRef::of(folder, "bin", &bytes);
        index.write_named(&file, &bytes).map(|()| file)
    };
    let control = write(CONTROL, control.finish().encode(&plan.plan, &plan.salt)?)?;
    let clusters: Vec<Cluster> = clusters.into_iter().map(PackedCluster::cluster).collect();
    let names: Vec<FileName> = fine.iter().map(file_name).collect::<Result<_>>()?;
    let entries = items.iter().map(|file| {
        let bytes = u32::try_from(file.bytes);
        let bytes = bytes.map_err(|_| Error::invalid("an items file of more than 4 GB"))?;
        let name = file_name(file)?;
        Ok(ItemsName { name, bytes })
    });
    let entries: Vec<ItemsName> = entries.collect::<Result<_>>()?;
    let head = write(
        HEAD,
        Head::encode(&plan.encoded, &row_salt, &clusters, &names, &entries)?,
    )?;

    let size = |files: &[FileRef]| (files.iter().map(|f| f.bytes).sum(), files.len());
    let coarse_bytes = coarse.iter().map(|shard| shard.file.bytes).sum();
    let sizes = LayerSizes {
        head: head.bytes,
        control: control.bytes,
        coarse: (coarse_bytes, coarse.len()),
        fine: size(&fine),
        items: size(&items),
    };
    let left_out = parts.iter().flat_map(|(_, part)| &part.left_out.first);
    let mut left_out: Vec<_> = left_out.cloned().collect();
    left_out.sort();
    left_out.truncate(NAMED);
    let manifest = index.finish(Contents {
        count: rows,
        clusters: Some(Clusters {
            head,
            control,
            coarse,
        }),
        in_head: fine.into_iter().chain(items).map(|f| f.file).collect(),
        thumbnails,
        first_bytes: sizes.head + sizes.control + coarse_bytes,
        ..Contents::default()
    })?;
    let report = PackReport {
        manifest,
        left_out: left_out.into_iter().map(|(_, n, why)| (n, why)).collect(),
        left_out_count: left_out_count(&parts) as usize,
        reused: 0,
    };
    Ok((report, sizes))
}

/// All parts in `work` with their folders, in order.
fn find_parts(plan: &OpenPlan, work: &Path) -> Result<Vec<(PathBuf, PackedPart)>> {
    let bad = |what: String| Err(Error::invalid(format!("{}: {what}", work.display())));
    let entries = std::fs::read_dir(work).map_err(|e| Error::io(work, e))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut counts: Vec<usize> = names.filter_map(|name| count_of(&name)).collect();
    counts.sort_unstable();
    counts.dedup();
    let &[count] = &counts[..] else {
        return bad(match counts.len() {
            0 => "no packed part in it".into(),
            _ => format!("parts of {counts:?} stand beside each other"),
        });
    };
    let mut parts = Vec::new();
    for part in 0..count {
        let folder = part_folder(work, part, count);
        let packed = PackedPart::read(&folder)?;
        if packed.plan != plan.head.plan.sha256 || (packed.part, packed.parts) != (part, count) {
            return bad(format!("part {} was packed after another plan", part + 1));
        }
        parts.push((folder, packed));
    }
    let rows: u64 = parts.iter().map(|(_, part)| part.rows).sum();
    let (left_out, expected) = (left_out_count(&parts), plan.head.rows);
    if rows + left_out != expected {
        return bad(format!(
            "{rows} rows are in the parts and {left_out} were left out, where the plan was made for {expected}"
        ));
    }
    Ok(parts)
}

/// The number of parts that the name of a part's folder states.
pub(super) fn count_of(name: &str) -> Option<usize> {
    let (part, parts) = name.strip_prefix("part-")?.split_once("-of-")?;
    let part: usize = part.parse().ok()?;
    parts
        .parse()
        .ok()
        .filter(|parts| (1..=*parts).contains(&part))
}

fn left_out_count(parts: &[(PathBuf, PackedPart)]) -> u64 {
    parts.iter().map(|(_, part)| part.left_out.count).sum()
}

fn file_name(file: &FileRef) -> Result<FileName> {
    let name = file.sha256.get(..32);
    match name.map(|hex| u128::from_str_radix(hex, 16)) {
        Some(Ok(name)) => Ok(name.to_be_bytes()),
        _ => Err(Error::format(&file.file, "malformed sha256")),
    }
}
