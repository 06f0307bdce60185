//! A clustered index of a folder of images: the ranking of the flat one, with thumbnails of just its rows.
#![cfg(feature = "cli")]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use data_attribution::Error;
use data_attribution::attribution::event::{Event, Host};
use data_attribution::attribution::{Ask, Attribution, Attributor, Quality, Silent};
use data_attribution::backbone::{import::HEAD_FILE, pack::Precision, parity::toy_pack};
use data_attribution::device::DeviceChoice;
use data_attribution::files::{write_atomically, write_json};
use data_attribution::format::FileRef;
use data_attribution::pack::clustered::{ClusteredOptions, Monitor, pack_images_clustered};
use data_attribution::pack::{MANIFEST, PackOptions, PackReport, pack_images};
use data_attribution::preprocess::Pixels;
use data_attribution::source::folder::Folder;
use data_attribution::source::{Fetched, Source};

const IMAGES: u32 = 60;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("data-attribution-{name}-{}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        drop(fs::remove_dir_all(&place.0));
        let (memory, head) = toy_pack(Precision::Int8).unwrap();
        for (file, bytes) in &memory.files {
            write_atomically(&place.at("model").join(file), bytes).unwrap();
        }
        write_json(&place.at("model").join(HEAD_FILE), &head).unwrap();
        // A name with a line break is a name like any other.
        fs::create_dir_all(place.at("images/two\nlines")).unwrap();
        for i in 0..IMAGES {
            let picture = image::RgbImage::from_fn(50 + i, 40, |x, y| {
                image::Rgb([(x * i) as u8, (y * 3 + i * 40) as u8, (x * y + i) as u8])
            });
            let folder = if i % 7 == 0 {
                "images/two\nlines"
            } else {
                "images"
            };
            let path = place.at(folder).join(format!("{i:02}.png"));
            picture.save(path).unwrap();
        }
        fs::write(place.at("images/broken.png"), b"\x89PNG").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn options(&self, out: &str) -> PackOptions {
        PackOptions {
            thumbnail: 16,
            cache: Some(self.at("cache")),
            ..PackOptions::new(self.at("model"), self.at(out))
        }
    }

    fn pack(&self, out: &str) -> PackReport {
        let (images, options) = (self.at("images"), self.options(out));
        let clustered = ClusteredOptions::default();
        let packed = pack_images_clustered(&images, &options, &clustered, &Quiet);
        packed.unwrap().0
    }

    fn ask(&self, out: &str, quality: Quality) -> Attribution {
        self.ask_noting(out, quality, 0.0).0
    }

    /// The answer, and the files that the query asked for, with [`EMBEDDING`] among them; time goes on by `step_ms` whenever it is read.
    fn ask_noting(&self, out: &str, quality: Quality, step_ms: f64) -> (Attribution, Vec<String>) {
        let noted = Noted(Folder::new(self.at(out)), Log::default());
        let log = noted.1.clone();
        let opened = Attributor::open(noted, MANIFEST, DeviceChoice::Cpu, &Silent);
        let attributor = pollster::block_on(opened).unwrap();
        log.borrow_mut().clear();
        let pixels = (0..64 * 64 * 3).map(|i| (i * 7) as u8).collect();
        let pixels = Pixels::from_rgb(64, 64, pixels).unwrap();
        let top_k = IMAGES as usize;
        let ask = Ask { top_k, quality };
        let answer = pollster::block_on(attributor.attribute(
            &pixels,
            ask,
            &Watch(log.clone(), Cell::default(), step_ms),
        ));
        (answer.unwrap(), log.take())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

type Log = Rc<RefCell<Vec<String>>>;

const EMBEDDING: &str = "embedding";

/// A folder that notes what it is asked for.
struct Noted(Folder, Log);

impl Source for Noted {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched, Error> {
        self.1.borrow_mut().push(file.file.clone());
        self.0.read(file, on_bytes).await
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.0.read_manifest(name).await
    }
}

/// Notes the first step of embedding.
struct Watch(Log, Cell<f64>, f64);

impl Host for Watch {
    fn event(&self, event: Event) {
        let mut log = self.0.borrow_mut();
        if matches!(event, Event::Embed { .. }) && !log.contains(&EMBEDDING.into()) {
            log.push(EMBEDDING.into());
        }
    }

    fn now_ms(&self) -> f64 {
        self.1.set(self.1.get() + self.2);
        self.1.get()
    }

    async fn breathe(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Quiet;

impl Monitor for Quiet {
    fn say(&self, _: &str) {}
    fn progress(&self, _: &'static str, _: usize, _: usize) {}
}

/// Every file below `folder` with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let walk = walkdir::WalkDir::new(folder).sort_by_file_name();
    let found = walk.into_iter().map(Result::unwrap);
    let found = found.filter(|entry| entry.file_type().is_file());
    found
        .map(|entry| (entry.path().into(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn images_make_a_clustered_index_with_thumbnails() {
    let place = Place::new("clustered-images");
    let report = place.pack("clustered");
    let manifest = &report.manifest;
    assert!(manifest.clusters.is_some());
    assert_eq!(
        (manifest.count, report.left_out_count),
        (u64::from(IMAGES), 1)
    );
    assert_eq!(report.left_out[0].0, "broken.png");
    assert_eq!(manifest.thumbnails.as_ref().unwrap().short_side, 16);
    assert!(!place.at("clustered/.work").exists());

    pack_images(&place.at("images"), &place.options("flat"), &|_, _| {}).unwrap();
    let flat = place.ask("flat", Quality::Balanced);
    let clustered = place.ask("clustered", Quality::Exact);
    let described = |answer: &Attribution| -> Vec<_> {
        let hits = answer.hits.iter();
        let mut hits: Vec<_> = hits
            .map(|hit| {
                (
                    hit.name.clone(),
                    hit.width,
                    hit.height,
                    hit.thumbnail.clone(),
                )
            })
            .collect();
        hits.sort();
        hits
    };
    assert_eq!(described(&clustered), described(&flat));
    for (a, b) in clustered.hits.iter().zip(&flat.hits) {
        assert!(
            (a.score - b.score).abs() < 1e-2,
            "{} for {}",
            a.score,
            b.score
        );
    }
    let shown: HashSet<PathBuf> = clustered
        .hits
        .iter()
        .map(|hit| place.at("clustered").join(hit.thumbnail.as_ref().unwrap()))
        .collect();
    let written = files(&place.at("clustered/thumbnails"));
    assert_eq!(
        written
            .iter()
            .map(|file| file.0.clone())
            .collect::<HashSet<_>>(),
        shown
    );

    // Again: nothing is embedded, and every byte is the same.
    let before = files(&place.at("clustered"));
    assert_eq!(place.pack("clustered").reused, IMAGES as usize);
    assert!(files(&place.at("clustered")) == before);

    // What goes takes its thumbnail along.
    fs::remove_file(place.at("images/01.png")).unwrap();
    let report = place.pack("clustered");
    assert_eq!(report.manifest.count, u64::from(IMAGES) - 1);
    assert_eq!(
        files(&place.at("clustered/thumbnails")).len(),
        written.len() - 1
    );
}

#[test]
fn what_is_read_in_any_case_comes_while_the_image_is_embedded() {
    let place = Place::new("embedded-beside");
    place.pack("clustered");
    pack_images(&place.at("images"), &place.options("flat"), &|_, _| {}).unwrap();
    let parts_at = |out, quality, step_ms| {
        let (_, log) = place.ask_noting(out, quality, step_ms);
        let at = log.iter().position(|file| file == EMBEDDING).unwrap();
        let kinds = |files: &[String]| -> Vec<String> {
            let kind = |file: &String| file.split('/').next().unwrap().to_owned();
            files.iter().map(kind).collect()
        };
        (kinds(&log[..at]), kinds(&log[at + 1..]))
    };
    let parts = |out, quality| parts_at(out, quality, 100.0);
    let (before, after) = parts("flat", Quality::Balanced);
    assert_eq!(before, ["fine", "fine"]);
    assert!(!after.contains(&before[0]), "{after:?}");
    let (before, after) = parts("clustered", Quality::Balanced);
    assert_eq!(before, ["coarse", "control"]);
    assert!(!after.iter().any(|kind| before.contains(kind)), "{after:?}");
    // Where embedding is quick, the best files are asked for first.
    let (before, after) = parts_at("clustered", Quality::Balanced, 0.0);
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(after[..2], ["coarse", "control"]);
    let (before, after) = parts("clustered", Quality::Fast);
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(after[..2], ["coarse", "control"]);
    let (before, _) = parts("clustered", Quality::Exact);
    assert!(before.is_empty(), "{before:?}");
}
