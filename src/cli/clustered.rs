//! The steps of packing a clustered index as commands: `plan`, `sample`, `assign`, `pack-part`,
//! `merge`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Args;

use super::Progress;
use super::feature_arguments::ColumnArguments;
use super::pack::summarise;
use crate::checkpoint::NpyFile;
use crate::mapper::calibrator::read_calibrator;
use crate::pack::PackOptions;
use crate::pack::clustered::{
    ClusteredOptions, Inputs, LayerSizes, Monitor, OpenPlan, PartOf, Parts, PlanHead, merge,
    pack_parts, pack_shuffled_part, plan_features, sampled_rows,
};

/// Rows that are assigned together.
const BATCH: usize = 4096;

/// How a clustered index is packed.
#[derive(Args, Clone)]
pub struct ClusteredArguments {
    /// Parts that a clustered index is packed in, one after the other [default: by size].
    #[arg(long)]
    parts: Option<usize>,
    /// Folder for the intermediate files of a clustered index [default: .work in the index's folder].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

impl ClusteredArguments {
    /// As options.
    pub fn options(&self) -> ClusteredOptions {
        ClusteredOptions {
            parts: self.parts,
            work: self.work.clone(),
            ..ClusteredOptions::default()
        }
    }
}

#[derive(Args)]
pub struct PlanCommand {
    /// Features, as for `pack`.
    #[arg(long)]
    features: PathBuf,
    #[command(flatten)]
    columns: ColumnArguments,
    /// The features are only those of this many rows that `sample` lists, in order.
    #[arg(long, value_name = "ROWS")]
    sample_of: Option<usize>,
    /// Folder of the imported backbone.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the imported mapper.
    #[arg(long, value_name = "DIR")]
    mapper: Option<PathBuf>,
    /// Title that the page shows.
    #[arg(long, default_value = "Training images")]
    title: String,
    /// A sentence on where the images come from.
    #[arg(long, default_value = "")]
    description: String,
    /// CSV with the columns path, caption, link.
    #[arg(long)]
    metadata: Option<PathBuf>,
    /// File of the calibrator.
    #[arg(long, value_name = "FILE")]
    calibrator: Option<PathBuf>,
    /// Parts to pack [default: by size].
    #[arg(long)]
    parts: Option<usize>,
    /// Folder for the plan.
    #[arg(short, long, value_name = "PLANDIR")]
    out: PathBuf,
}

impl PlanCommand {
    pub fn run(self) -> Result<()> {
        let features = self.columns.open(&self.features)?;
        let mut options = PackOptions {
            title: self.title,
            description: self.description,
            metadata: self.metadata,
            mapper: self.mapper,
            ..PackOptions::new(&self.model, &self.out)
        };
        if let Some(file) = &self.calibrator {
            options.calibrate(read_calibrator(file)?);
        }
        let clustered = ClusteredOptions {
            parts: self.parts,
            ..ClusteredOptions::default()
        };
        let inputs = Inputs {
            features: &features,
            paths: &self.columns.paths(&self.features),
            columns: &self.columns.columns(),
            duplicates: self.columns.duplicates(),
        };
        let steps = Steps::default();

        let of = self.sample_of;
        let plan = plan_features(&inputs, of, &options, &clustered, &self.out, &steps)?;
        steps.finish();
        let (out, bytes) = (self.out.display(), plan.plan.bytes);
        println!(
            "{out}: {} rows, {} parts, plan {bytes} bytes",
            plan.rows, plan.parts
        );
        Ok(())
    }
}

#[derive(Args)]
pub struct Sample {
    /// Rows of the features.
    #[arg(long)]
    rows: usize,
    /// Values of a row of the index: those of the mapper, or without one of the backbone.
    #[arg(long)]
    dimension: usize,
}

impl Sample {
    pub fn run(self) -> Result<()> {
        let options = ClusteredOptions::default();
        let ranges = sampled_rows(self.rows, self.dimension, &options.plan);
        let mut out = std::io::stdout().lock();
        for range in ranges {
            writeln!(out, "{} {}", range.start, range.len())?;
        }
        Ok(())
    }
}

#[derive(Args)]
pub struct Assign {
    /// Folder of the plan.
    #[arg(long, value_name = "PLANDIR")]
    plan: PathBuf,
    /// Features, unmapped: a .npy matrix.
    #[arg(long)]
    features: PathBuf,
    /// Number of parts [default: the plan's].
    #[arg(long)]
    parts: Option<usize>,
}

impl Assign {
    pub fn run(self) -> Result<()> {
        let plan = OpenPlan::open(&self.plan)?;
        let count = self.parts.unwrap_or(plan.head.parts);
        let parts = Parts::new(plan.plan.centroid_count(), count)?;
        let features = NpyFile::open(&self.features)?;
        let [rows, columns] = features.shape();
        anyhow::ensure!(
            columns == plan.backbone.dimension,
            "{}: rows of {columns} values, {} makes {}",
            features.name(),
            plan.backbone.name,
            plan.backbone.dimension
        );
        let mut out = std::io::stdout().lock();
        for first in (0..rows).step_by(BATCH) {
            let values = features.read_rows_f32(first, BATCH.min(rows - first))?;
            let mut lines = String::new();
            for part in plan.parts_of(&values, &parts)? {
                lines += &format!("{}\n", part + 1);
            }
            out.write_all(lines.as_bytes())?;
        }
        Ok(())
    }
}

#[derive(Args)]
pub struct PackPart {
    /// Which part of how many, such as 2/8.
    #[arg(value_name = "I/N")]
    part: PartOf,
    /// Folder of the plan.
    #[arg(long, value_name = "PLANDIR")]
    plan: PathBuf,
    /// All features that the plan was made for; with `--row-numbers` those of this part's rows. None for a
    /// part without rows.
    #[arg(long)]
    features: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArguments,
    /// The number of each row in the whole of the features, from 0 on, one a line.
    #[arg(long, requires = "features", value_name = "FILE")]
    row_numbers: Option<PathBuf>,
    /// Folder of the parts, the same for all.
    #[arg(short, long, value_name = "WORK")]
    out: PathBuf,
}

impl PackPart {
    pub fn run(self) -> Result<()> {
        let plan = OpenPlan::open(&self.plan)?;
        let PartOf { part, count } = self.part;
        let parts = Parts::new(plan.plan.centroid_count(), count)?;
        let steps = Steps::default();

        let Some(path) = &self.features else {
            pack_shuffled_part(None, &plan, &parts, part, &self.out, &steps)?;
            return Ok(());
        };
        let features = self.columns.open(path)?;
        let mut paths = self.columns.paths(path);
        paths.extend(self.row_numbers.as_deref());
        let inputs = Inputs {
            features: &features,
            paths: &paths,
            columns: &self.columns.columns(),
            duplicates: self.columns.duplicates(),
        };
        match &self.row_numbers {
            Some(file) => {
                let numbers = read_numbers(file)?;
                let rows = Some((&inputs, &*numbers));
                pack_shuffled_part(rows, &plan, &parts, part, &self.out, &steps)?;
            }
            None => pack_parts(&inputs, &plan, &parts, &[part], &self.out, &steps)?,
        }
        steps.finish();
        println!("{}: part {} of {count}", self.out.display(), part + 1);
        Ok(())
    }
}

fn read_numbers(file: &Path) -> Result<Vec<u64>> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(name)?;
    let numbers = text.lines().enumerate().map(|(line, number)| {
        let number = number.trim().parse();
        number.with_context(|| format!("{}: line {}: no row number", name(), line + 1))
    });
    numbers.collect()
}

#[derive(Args)]
pub struct Merge {
    /// Folder of the plan.
    #[arg(long, value_name = "PLANDIR")]
    plan: PathBuf,
    /// Folder of the parts.
    #[arg(long, value_name = "WORK")]
    work: PathBuf,
    /// Folder of the imported backbone, where it is not where the plan was made.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder for the index.
    #[arg(short, long)]
    out: PathBuf,
}

impl Merge {
    pub fn run(self) -> Result<()> {
        let head = PlanHead::read(&self.plan)?;
        let options = head.pack_options(&self.plan, self.model.as_deref(), &self.out);
        let plan = OpenPlan::open(&self.plan)?;
        let progress = Progress::new("writing the index");
        let update = |done, total| progress.update(done, total);
        let (report, sizes) = merge(&plan, &self.work, &options, &update)?;
        progress.finish();
        summarise(&self.out, &report);
        println!("{}", described(&sizes));
        Ok(())
    }
}

/// The bytes of an index by what they are for, on one line.
pub fn described(sizes: &LayerSizes) -> String {
    let LayerSizes {
        head,
        control,
        coarse,
        fine,
        items,
    } = sizes;
    format!(
        "head {head} bytes, coarse {} in {} files, control {control}, fine {} in {} files, items {} in {} files",
        coarse.0, coarse.1, fine.0, fine.1, items.0, items.1
    )
}

/// Progress of one step after the other.
#[derive(Default)]
pub struct Steps {
    bar: Mutex<Option<Progress>>,
}

impl Monitor for Steps {
    fn say(&self, line: &str) {
        self.finish();
        eprintln!("{line}");
    }

    fn progress(&self, step: &'static str, done: usize, total: usize) {
        if let Ok(mut bar) = self.bar.lock() {
            if bar.as_ref().is_none_or(|bar| bar.label != step)
                && let Some(before) = bar.replace(Progress::new(step))
            {
                before.finish();
            }
            if let Some(bar) = &*bar {
                bar.update(done, total);
            }
        }
    }
}

impl Steps {
    /// Removes the bar.
    pub fn finish(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish();
        }
    }
}
