//! Writes the demo's training set, its queries and their ground truth to a folder.
//!
//! ```text
//! works/<slug>/<nn>.jpg   the training images, WORKS_PER_ARTIST of each artist
//! works.csv               path,caption: paths relative to works/
//! queries/<slug>.jpg      one work of each artist that is not in the set
//! queries.json            [{"file", "artist", "slug"}]
//! ground_truth.json       a test case: per query the works of its artist; paths relative to the folder
//! complete.json           the generator's version; written last
//! ```
//!
//! Invariants: a file appears under its name only when whole (it is written beside it and renamed),
//! and `complete.json` stands only in a folder that this version of the generator filled.

use super::{ARTISTS, Artist, paint, title};
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::mpsc;

/// Training images of each artist.
pub const WORKS_PER_ARTIST: u32 = 25;

/// The number of the work that serves as an artist's query; outside the training images' numbers.
pub const FIRST_QUERY: u32 = 1000;

/// Rises whenever a change to the generator changes any file that it writes.
pub const GENERATOR_VERSION: u32 = 1;

const QUALITY: u8 = 90;
const MARKER: &str = "complete.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Complete {
    generator: String,
    version: u32,
    works: usize,
    queries: usize,
}

impl Complete {
    fn current() -> Self {
        Self {
            generator: "data-attribution demo".to_owned(),
            version: GENERATOR_VERSION,
            works: ARTISTS.len() * WORKS_PER_ARTIST as usize,
            queries: ARTISTS.len(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Query {
    file: String,
    artist: &'static str,
    slug: &'static str,
}

/// One entry of a test case: queries, and the training images that they should retrieve.
#[derive(Debug, Serialize)]
struct Truth {
    exemplar: Vec<String>,
    synth: Synth,
    class_id: &'static str,
    category: &'static str,
}

#[derive(Debug, Serialize)]
struct Synth {
    held_out: Vec<String>,
}

/// An image to paint: where it goes, relative to the folder, and what it is.
struct Job {
    path: String,
    artist: usize,
    work: u32,
}

/// Fills `directory` (made if absent) with the demo's images and lists; see the module for the
/// layout. Calls `progress(done, total)` after each image, on the calling thread. Images of an
/// earlier complete run of the same version are kept, so a second run only looks.
///
/// # Errors
/// [`Error::Io`] when a file or folder cannot be written, [`Error::Format`] when an image cannot be
/// encoded.
pub fn write(directory: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
    let marker = directory.join(MARKER);
    let kept = fs::read(&marker)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Complete>(&bytes).ok())
        .is_some_and(|found| found == Complete::current());
    let mut jobs = jobs();
    let total = jobs.len();
    if kept {
        jobs.retain(|job| !directory.join(&job.path).is_file());
    } else if let Err(source) = fs::remove_file(&marker)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io(&marker, source));
    }
    make_folder(&directory.join("queries"))?;
    for artist in ARTISTS {
        make_folder(&directory.join("works").join(artist.slug))?;
    }
    paint_all(directory, &jobs, total, progress)?;
    write_lists(directory)?;
    write_json(&directory.join(MARKER), &Complete::current())
}

pub(super) fn work_path(slug: &str, work: u32) -> String {
    format!("works/{slug}/{work:02}.jpg")
}

/// `image` as JPEG.
pub(super) fn encode(image: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .map_err(|e| Error::format("a picture of the demo", e.to_string()))?;
    Ok(bytes)
}

fn query_path(slug: &str) -> String {
    format!("queries/{slug}.jpg")
}

fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (artist, Artist { slug, .. }) in ARTISTS.iter().enumerate() {
        jobs.extend((0..WORKS_PER_ARTIST).map(|work| Job {
            path: work_path(slug, work),
            artist,
            work,
        }));
        jobs.push(Job {
            path: query_path(slug),
            artist,
            work: FIRST_QUERY,
        });
    }
    jobs
}

fn paint_all(
    directory: &Path,
    jobs: &[Job],
    total: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let mut done = total - jobs.len();
    progress(done, total);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let painter = scope.spawn(move || {
            jobs.par_iter().try_for_each_with(sender, |sender, job| {
                let image = paint(job.artist, job.work);
                write_atomically(&directory.join(&job.path), &encode(&image, QUALITY)?)?;
                // The receiver outlives the painters, so sending cannot fail.
                let _ = sender.send(());
                Ok(())
            })
        });
        for () in receiver {
            done += 1;
            progress(done, total);
        }
        match painter.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn write_lists(directory: &Path) -> Result<()> {
    let mut table = String::from("path,caption\n");
    for (index, artist) in ARTISTS.iter().enumerate() {
        for work in 0..WORKS_PER_ARTIST {
            // Captions hold a comma, so they are quoted; they hold no quotation mark.
            table += &format!("{}/{work:02}.jpg,\"{}\"\n", artist.slug, title(index, work));
        }
    }
    write_atomically(&directory.join("works.csv"), table.as_bytes())?;
    let queries: Vec<Query> = ARTISTS
        .iter()
        .map(|artist| Query {
            file: format!("{}.jpg", artist.slug),
            artist: artist.name,
            slug: artist.slug,
        })
        .collect();
    write_json(&directory.join("queries.json"), &queries)?;
    let truth: Vec<Truth> = ARTISTS
        .iter()
        .map(|artist| Truth {
            exemplar: (0..WORKS_PER_ARTIST)
                .map(|work| work_path(artist.slug, work))
                .collect(),
            synth: Synth {
                held_out: vec![query_path(artist.slug)],
            },
            class_id: artist.slug,
            category: "style",
        })
        .collect();
    write_json(&directory.join("ground_truth.json"), &truth)
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A folder as a complete run leaves it, with placeholders for the images.
    fn complete_folder(name: &str) -> std::path::PathBuf {
        let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        for job in jobs() {
            let path = directory.join(&job.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"kept").unwrap();
        }
        write_json(&directory.join(MARKER), &Complete::current()).unwrap();
        directory
    }

    #[test]
    fn a_second_run_paints_only_what_is_missing() {
        let directory = complete_folder("demo-second-run");
        let missing = directory.join("works/de-stijl/03.jpg");
        fs::remove_file(&missing).unwrap();
        let mut calls = Vec::new();
        write(&directory, &mut |done, total| calls.push((done, total))).unwrap();
        assert_eq!(calls, [(623, 624), (624, 624)]);
        let decoded = image::open(&missing).unwrap().to_rgb8();
        let index = ARTISTS.iter().position(|a| a.slug == "de-stijl").unwrap();
        let painted = paint(index, 3);
        assert_eq!(decoded.dimensions(), painted.dimensions());
        let pairs = decoded.as_raw().iter().zip(painted.as_raw());
        let apart: f64 = pairs.map(|(&a, &b)| f64::from(a.abs_diff(b))).sum();
        assert!(
            apart / (painted.as_raw().len() as f64) < 6.0,
            "JPEG of another work"
        );
        let kept = fs::read(directory.join("queries/op-art.jpg")).unwrap();
        assert_eq!(kept, b"kept");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn lists_name_every_image_once() {
        let directory = complete_folder("demo-lists");
        write(&directory, &mut |_, _| ()).unwrap();
        let table = fs::read_to_string(directory.join("works.csv")).unwrap();
        let mut lines = table.lines();
        assert_eq!(lines.next(), Some("path,caption"));
        let first = "misty-mountains/00.jpg,\"Misty Mountains, no. 1\"";
        assert_eq!(lines.clone().next(), Some(first));
        let paths: HashSet<_> = lines.filter_map(|l| l.split(',').next()).collect();
        assert_eq!(paths.len(), 600);
        assert!(
            paths
                .iter()
                .all(|p| directory.join("works").join(p).is_file())
        );

        let truth = fs::read(directory.join("ground_truth.json")).unwrap();
        let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
        let cases = truth.as_array().unwrap();
        assert_eq!(cases.len(), 24);
        for case in cases {
            let slug = case["class_id"].as_str().unwrap();
            assert_eq!(case["exemplar"].as_array().unwrap().len(), 25);
            let exemplar = case["exemplar"][24].as_str().unwrap();
            assert_eq!(exemplar, format!("works/{slug}/24.jpg"));
            let query = case["synth"]["held_out"][0].as_str().unwrap();
            assert!(directory.join(query).is_file());
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn queries_are_outside_the_training_set() {
        assert!(
            jobs()
                .iter()
                .all(|job| { job.path.starts_with("works/") == (job.work < WORKS_PER_ARTIST) })
        );
        let paths: HashSet<_> = jobs().into_iter().map(|job| job.path).collect();
        assert_eq!(paths.len(), 624);
    }
}
