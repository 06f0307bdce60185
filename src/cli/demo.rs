//! `data-attribution demo`: training set, index and example queries, ready for the page.
//!
//! The artists are the ground truth: every example query was painted by one of them and is not in the
//! set, so recall is known by construction and reported.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;

use super::{Progress, pack::summarise};
use crate::attribution::{Attributor, Silent};
use crate::demo::{HELD_OUT_PLOT, Learned, learn, write, write_ground_truth};
use crate::device::DeviceChoice;
use crate::files::write_atomically;
use crate::pack::{DEFAULT_CALIBRATOR, MANIFEST, PackOptions, pack_images, read_head};
use crate::preprocess::{DEFAULT_LIMIT_MEGAPIXELS, decode};
use crate::source::folder::Folder;

/// Folder of what is learned, in that of the works.
const LEARNED: &str = "learned";

#[derive(Args)]
pub struct Demo {
    /// Folder of the imported backbone.
    #[arg(long)]
    model: PathBuf,
    /// Folder for the index and the example queries.
    #[arg(short, long, default_value = "www/demo")]
    out: PathBuf,
    /// Folder for the generated works, and for features kept between runs.
    #[arg(long, default_value = "build/demo")]
    work: PathBuf,
}

#[derive(Deserialize)]
struct Query {
    file: String,
    slug: String,
}

impl Demo {
    pub fn run(self) -> Result<()> {
        let progress = Progress::new("painting");
        write(&self.work, &mut |done, total| progress.update(done, total))?;
        progress.finish();
        let learned = self.learn()?;
        print!("{}", on_held_out(&learned));
        let options = PackOptions {
            mapper: Some(learned.mapper.clone()),
            calibrator: learned.calibration.after.calibrator,
            title: "Works of 24 procedural artists".into(),
            description: "Six hundred generated pictures; each artist is a program.".into(),
            thumbnail: 256,
            metadata: Some(self.work.join("works.csv")),
            cache: Some(self.work.join("features")),
            ..PackOptions::new(&self.model, &self.out)
        };
        // The same works as they are, for a visitor to compare.
        let untuned = PackOptions {
            mapper: None,
            calibrator: DEFAULT_CALIBRATOR,
            out: self.out.join("untuned"),
            ..options.clone()
        };
        for options in [&options, &untuned] {
            let progress = Progress::new("packing");
            let report = pack_images(&self.work.join("works"), options, &|done, total| {
                progress.update(done, total);
            })?;
            progress.finish();
            summarise(&options.out, &report);
        }
        let plot = std::fs::read(self.work.join(LEARNED).join(HELD_OUT_PLOT))?;
        write_atomically(&self.out.join("reliability.svg"), &plot)?;
        let queries = self.copy_queries()?;
        report_recall(&self.out, &queries)
    }

    /// Tunes the mapper and fits the calibrator that the index is packed with.
    fn learn(&self) -> Result<Learned> {
        let progress = Progress::new("embedding");
        let cache = self.work.join("features");
        let files = write_ground_truth(&self.work, &self.model, &cache, &|done, total| {
            progress.update(done, total);
        })?;
        progress.finish();
        let backbone = read_head(&self.model)?.name;
        Ok(learn(&files, &backbone, &self.work.join(LEARNED))?)
    }

    fn copy_queries(&self) -> Result<Vec<Query>> {
        let list = self.work.join("queries.json");
        let bytes = std::fs::read(&list).with_context(|| list.display().to_string())?;
        let queries: Vec<Query> = serde_json::from_slice(&bytes)?;
        for query in &queries {
            let from = self.work.join("queries").join(&query.file);
            let image = std::fs::read(&from).with_context(|| from.display().to_string())?;
            write_atomically(&self.out.join("queries").join(&query.file), &image)?;
        }
        write_atomically(&self.out.join("queries.json"), &bytes)?;
        Ok(queries)
    }
}

/// What the mapper and the calibrator are worth on the queries that they were not made with.
fn on_held_out(learned: &Learned) -> String {
    let mut text = format!(
        "mapper of epoch {}, calibrator of inv_tau {:.2} and bias {:.2}; on held-out disturbed works by {} artists:\n",
        learned.tuning.kept,
        learned.after.calibrator.inv_tau,
        learned.after.calibrator.bias,
        learned.after.measured.entries
    );
    for (when, stage) in [("before", &learned.before), ("after", &learned.after)] {
        let [_, ten, _] = stage.found.recall;
        let reliability = &stage.measured.reliability;
        text += &format!(
            "  {when}: recall@10 {ten:.4}, mAP {:.4}, calibration error {:.1} %, {:.1} % of the influence on the artist's works\n",
            stage.found.mean_average_precision,
            100.0 * reliability.error,
            100.0 * reliability.on_exemplars
        );
    }
    text
}

/// Recall@10 of the true artist: the share of the ten best that are of the artist, over all queries.
fn report_recall(index: &Path, queries: &[Query]) -> Result<()> {
    let open = Attributor::open(Folder::new(index), MANIFEST, DeviceChoice::Cpu, &Silent);
    let attributor = pollster::block_on(open)?;
    let progress = Progress::new("checking");
    let (mut first, mut in_ten, mut mass) = (0, 0, 0.0);
    let mut mistaken: HashMap<&str, usize> = HashMap::new();
    for (i, query) in queries.iter().enumerate() {
        let image = std::fs::read(index.join("queries").join(&query.file))?;
        let pixels = decode(&image, DEFAULT_LIMIT_MEGAPIXELS)?;
        let answer = pollster::block_on(attributor.attribute(&pixels, 600, &Silent))?;
        let prefix = format!("{}/", query.slug);
        let own = |name: &str| name.starts_with(&prefix);
        let right = answer
            .hits
            .iter()
            .take(10)
            .filter(|hit| own(&hit.name))
            .count();
        first += usize::from(answer.hits.first().is_some_and(|hit| own(&hit.name)));
        in_ten += right;
        mass += answer
            .hits
            .iter()
            .filter(|hit| own(&hit.name))
            .filter_map(|hit| hit.influence)
            .sum::<f64>();
        if right < 10 {
            mistaken.insert(&query.slug, 10 - right);
        }
        progress.update(i + 1, queries.len());
    }
    progress.finish();
    let n = queries.len().max(1);
    println!(
        "{n} held-out queries: true artist first in {first}, {:.1} % of the ten best are of that artist, \
         with {:.1} % of the influence on all of the artist's works",
        in_ten as f64 * 10.0 / n as f64,
        100.0 * mass / n as f64
    );
    let mut mistaken: Vec<_> = mistaken.into_iter().collect();
    mistaken.sort();
    for (slug, wrong) in mistaken {
        println!("  {slug}: {wrong} of 10 by others");
    }
    Ok(())
}
