//! The steps of packing as runs that can be killed and started again.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::journal::{InputFile, Noted, NotedFile, input_files, read_entry, stamp};
use super::merge::{LayerSizes, merge};
use super::part::{PackedPart, pack_part, part_folder};
use super::plan::make_plan;
use super::plan_folder::{OpenPlan, Parts, PlanHead};
use super::sampled::SampledRows;
use super::spill::{Distribution, PARTS_MAX, SPILL, SpilledPart, empty, spill};
use super::{ClusteredOptions, Inputs, Monitor};
use crate::error::{Error, Result};
use crate::features::{Columns, Duplicates, RowSource};
use crate::format::clustered::Plan;
use crate::pack::features::check_features;
use crate::pack::index_folder::unit_rows;
use crate::pack::{Item, PackMapper, PackOptions, PackReport, read_head};

/// Folder of intermediate files in that of the index.
pub(super) const WORK: &str = ".work";
const PLAN: &str = "plan";
const SPILLS: &str = "spill";
const LOCK: &str = "lock";
/// Bytes of values that a part has, about.
const PART_BYTES: usize = 400 << 20;

/// What identifies inputs: all files with their sizes and times, and the columns that are read.
#[derive(serde::Serialize)]
struct Identity(Vec<InputFile>, Columns);

impl Identity {
    fn of(paths: &[&Path], columns: &Columns) -> Result<Self> {
        let files = input_files(paths.iter().copied())?;
        Ok(Self(files, columns.clone()))
    }
}

/// Plans an index of `inputs` into `folder`, unless that has been done. With `sample_of`, the inputs are only
/// those of that many rows that [`sampled_rows`](super::sampled_rows) lists.
///
/// # Errors
/// Those of [`check_features`] and [`make_plan`]; [`Error::Io`].
pub fn plan_features(
    inputs: &Inputs,
    sample_of: Option<usize>,
    options: &PackOptions,
    clustered: &ClusteredOptions,
    folder: &Path,
    monitor: &dyn Monitor,
) -> Result<PlanHead> {
    let head = read_head(&options.model)?;
    check_features(inputs.features, &head, inputs.duplicates)?;
    let mapper = options.mapper.as_ref();
    let mapper = mapper
        .map(|folder| PackMapper::open(folder, &head))
        .transpose()?;
    let identity = Identity::of(inputs.paths, inputs.columns)?;
    let pair = mapper.as_ref().map(|mapper| mapper.synth().pair.clone());
    let chosen = format!("{:?}", clustered.plan);
    let stamp = stamp(&(PLAN, &identity, sample_of, &head.identity, &pair, chosen))?;
    let dimension = mapper.as_ref().map_or(head.dimension, PackMapper::output);
    let sampled = sample_of
        .map(|rows| SampledRows::new(inputs.features, rows, dimension, &clustered.plan))
        .transpose()?;
    let features: &dyn RowSource = match &sampled {
        Some(sampled) => sampled,
        None => inputs.features,
    };
    let [rows, _] = features.shape();
    let encoded = match PlanHead::read_made(folder, &stamp) {
        Ok(encoded) => {
            monitor.say("going on with the plan of an earlier run");
            encoded
        }
        Err(changed) => {
            if changed {
                monitor.say("the features or an option have changed: planning anew");
            }
            let map = |features: &[f32]| Ok(unit_rows(mapper.as_ref(), dimension, features)?.0);
            let options = &clustered.plan;
            let say = |line: &str| monitor.say(line);
            make_plan(features, &map, dimension, options, &say)?.encode()?
        }
    };
    let centroids = Plan::parse(PLAN, &encoded)?.centroid_count();
    let by_size = rows.saturating_mul(4 * dimension).div_ceil(PART_BYTES);
    let usual = by_size.clamp(1, PARTS_MAX.min(centroids));
    let parts = Parts::new(centroids, clustered.parts.unwrap_or(usual))?.count;
    PlanHead::write(folder, &encoded, &stamp, rows as u64, parts, options)
}

/// Packs the parts `wanted` of `inputs`, all rows of the plan, into `work`; those that are whole already are
/// left as they are.
///
/// # Errors
/// Those of the features; [`Error::InvalidArgument`] for features of another number of rows than the plan's;
/// [`Error::Io`].
pub fn pack_parts(
    inputs: &Inputs,
    plan: &OpenPlan,
    parts: &Parts,
    wanted: &[usize],
    work: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    pack_parts_with(inputs, None, plan, (parts, wanted), work, monitor)
}

/// [`pack_parts`] with items, one a row, that are known better than from the features.
fn pack_parts_with(
    inputs: &Inputs,
    items: Option<&[Item]>,
    plan: &OpenPlan,
    (parts, wanted): (&Parts, &[usize]),
    work: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let identity = Identity::of(inputs.paths, inputs.columns)?;
    let digest = &plan.head.plan.sha256;
    let stamp_of = |part: usize| stamp(&("part", digest, &identity, parts.count, part));
    let mut missing = Vec::new();
    for part in wanted {
        let folder = part_folder(work, *part, parts.count);
        if is_to_be_packed(&folder, &stamp_of(*part)?, monitor) {
            missing.push(*part);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    check_features(inputs.features, &plan.backbone, inputs.duplicates)?;
    let [rows, _] = inputs.features.shape();
    if rows as u64 != plan.head.rows {
        return Err(Error::invalid(format!(
            "{}: {rows} rows, the plan was made for {}; rows that are some of them need their numbers",
            inputs.features.label(),
            plan.head.rows
        )));
    }
    let folder = work.join(SPILLS);
    let stamp = stamp(&(SPILLS, digest, &identity, parts.count))?;
    let spilled = {
        // Who comes second waits and finds the rows distributed.
        let lock = lock_file(&folder)?;
        lock.lock().ok();
        find_spill(&folder, &stamp, &missing, monitor).map_or_else(
            || {
                let all = Distribution {
                    parts: *parts,
                    only: None,
                    numbers: None,
                    items,
                };
                let progress = |done, total| monitor.progress("distributing rows", done, total);
                spill(inputs.features, plan, &all, &folder, &stamp, &progress)
            },
            Ok,
        )?
    };
    let of = |part: usize| spilled.get(part).map_or(0, |spilled| spilled.rows as usize);
    let total: usize = missing.iter().map(|part| of(*part)).sum();
    let mut before = 0;
    for part in missing {
        let Some(rows) = spilled.get(part) else {
            return Err(Error::invalid(format!("there is no part {}", part + 1)));
        };
        let into = part_folder(work, part, parts.count);
        let progress = |done| monitor.progress("packing rows", before + done, total);
        let (from, into) = ((&*folder, rows), (&*into, &*stamp_of(part)?));
        pack_part(plan, (part, parts), from, into, &progress)?;
        before += of(part);
    }
    Ok(())
}

/// Packs part `part` into `work` from `inputs`, which are the rows of this part alone, with their `numbers` in
/// the whole of the features; from nothing when the part has no row.
///
/// # Errors
/// As [`pack_parts`]; [`Error::InvalidArgument`] also for a row of another part.
pub fn pack_shuffled_part(
    inputs: Option<(&Inputs, &[u64])>,
    plan: &OpenPlan,
    parts: &Parts,
    part: usize,
    work: &Path,
    monitor: &dyn Monitor,
) -> Result<()> {
    let identity = match inputs {
        Some((inputs, _)) => Identity::of(inputs.paths, inputs.columns)?,
        None => Identity(Vec::new(), Columns::default()),
    };
    let digest = &plan.head.plan.sha256;
    let stamp = stamp(&("shuffled part", digest, &identity, parts.count, part))?;
    let folder = part_folder(work, part, parts.count);
    if !is_to_be_packed(&folder, &stamp, monitor) {
        return Ok(());
    }
    // Another attempt at the same part may be under way.
    let place = folder.join(format!("{SPILLS}-{}", std::process::id()));
    let spilled = match inputs {
        Some((inputs, numbers)) => {
            check_features(inputs.features, &plan.backbone, inputs.duplicates)?;
            let [rows, _] = inputs.features.shape();
            if numbers.len() != rows {
                let (label, numbers) = (inputs.features.label(), numbers.len());
                let what = format!("{label}: {rows} rows but {numbers} row numbers");
                return Err(Error::invalid(what));
            }
            let only = Distribution {
                parts: *parts,
                only: Some(part),
                numbers: Some(numbers),
                items: None,
            };
            let progress = |done, total| monitor.progress("reading rows", done, total);
            spill(inputs.features, plan, &only, &place, &stamp, &progress)?
        }
        None => vec![empty(&place)?],
    };
    let packed = spilled.first().map(|rows| {
        let progress = |done| monitor.progress("packing rows", done, rows.rows as usize);
        let (from, into) = ((&*place, rows), (&*folder, &*stamp));
        pack_part(plan, (part, parts), from, into, &progress)
    });
    let removed = fs::remove_dir_all(&place).map_err(|e| Error::io(&place, e));
    packed.transpose()?;
    removed
}

/// Packs `inputs` as a clustered index: plan, all parts, merge.
///
/// # Errors
/// Those of the steps; [`Error::InvalidArgument`] while another run is at work in the same folder.
pub fn pack_clustered(
    inputs: &Inputs,
    options: &PackOptions,
    clustered: &ClusteredOptions,
    monitor: &dyn Monitor,
) -> Result<(PackReport, LayerSizes)> {
    pack_with_items(inputs, None, options, clustered, monitor)
}

/// [`pack_clustered`] with items, one a row, that are known better than from the features; their thumbnails are in
/// the index folder.
///
/// # Errors
/// Those of [`pack_clustered`].
pub(super) fn pack_with_items(
    inputs: &Inputs,
    items: Option<&[Item]>,
    options: &PackOptions,
    clustered: &ClusteredOptions,
    monitor: &dyn Monitor,
) -> Result<(PackReport, LayerSizes)> {
    let head = read_head(&options.model)?;
    check_features(inputs.features, &head, inputs.duplicates)?;
    // The steps need not look at the names again.
    let inputs = &Inputs {
        duplicates: Some(Duplicates::Keep),
        ..*inputs
    };
    let work = clustered.work.clone();
    let work = work.unwrap_or_else(|| options.out.join(WORK));
    let lock = lock_file(&work)?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        let what = format!("{}: another run is at work there", work.display());
        return Err(Error::invalid(what));
    }
    let folder = work.join(PLAN);
    let head = plan_features(inputs, None, options, clustered, &folder, monitor)?;
    let plan = OpenPlan::open(&folder)?;
    let parts = Parts::new(plan.plan.centroid_count(), head.parts)?;
    let all: Vec<usize> = (0..parts.count).collect();
    for other in other_parts(&work, parts.count)? {
        fs::remove_dir_all(&other).map_err(|e| Error::io(&other, e))?;
    }
    pack_parts_with(inputs, items, &plan, (&parts, &all), &work, monitor)?;
    let options = PackOptions {
        thumbnail: options.thumbnail,
        ..head.pack_options(&folder, Some(&options.model), &options.out)
    };
    let progress = |done, total| monitor.progress("writing the index", done, total);
    let merged = merge(&plan, &work, &options, &progress)?;
    let parts = all
        .iter()
        .map(|part| part_folder(&work, *part, parts.count));
    for folder in parts.chain([work.join(SPILLS), folder]) {
        // The index stands; what is left of the work is a matter of room only.
        let _ = fs::remove_dir_all(folder);
    }
    let _ = fs::remove_file(work.join(LOCK));
    let _ = fs::remove_dir(&work);
    Ok(merged)
}

/// Whether the part in `folder` has to be packed; says why where it was packed before.
fn is_to_be_packed(folder: &Path, stamp: &str, monitor: &dyn Monitor) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    match PackedPart::find(folder, stamp) {
        Ok(part) => {
            let rows = part.rows;
            monitor.say(&format!("{name} of an earlier run is whole: {rows} rows"));
            false
        }
        Err(reason) => {
            if let Some(reason) = reason {
                monitor.say(&format!("{name} is packed again: {reason}"));
            }
            true
        }
    }
}

/// The rows that an earlier run distributed, if those of the parts `needed` are whole.
fn find_spill(
    folder: &Path,
    stamp: &str,
    needed: &[usize],
    monitor: &dyn Monitor,
) -> Option<Vec<SpilledPart>> {
    let spilled = match read_entry::<Vec<SpilledPart>>(&folder.join(SPILL), stamp) {
        Noted::Same(spilled) => spilled,
        Noted::Other => {
            monitor.say("the plan, the features or an option has changed: distributing rows anew");
            return None;
        }
        Noted::Nothing => return None,
    };
    let is_whole = |part: &usize| {
        spilled.get(*part).is_some_and(|part| {
            [&part.keys, &part.values, &part.items]
                .into_iter()
                .all(|file| NotedFile::is_whole(folder, file))
        })
    };
    if needed.iter().all(is_whole) {
        return Some(spilled);
    }
    monitor.say("rows that an earlier run distributed are not whole: distributing them again");
    None
}

/// Folders of parts of another number of parts.
fn other_parts(work: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(work).map_err(|e| Error::io(work, e))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let other =
        names.filter(|name| super::merge::count_of(name).is_some_and(|found| found != count));
    Ok(other.map(|name| work.join(name)).collect())
}

/// The file in `folder` by whose lock runs keep out of each other's way; it ends with the process.
pub(super) fn lock_file(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = fs::create_dir_all(folder).and_then(|()| File::create(&path));
    file.map_err(|e| Error::io(path, e))
}
