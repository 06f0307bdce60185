//! Packing clustered indexes: what is read back compared with the rows they were made of, the same bytes
//! however the work is divided, and what killed runs leave.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use data_attribution::features::{Columns, FeatureSet};
use data_attribution::pack::clustered::{
    ClusteredOptions, CoarseChoice, Inputs, LayerSizes, LeafChoice, Monitor, PlanOptions,
    pack_clustered,
};
use data_attribution::pack::{PackOptions, PackReport};
use data_attribution::{Error, pack};

mod contents;
mod division;
mod evaluated;
#[path = "../features/model.rs"]
mod model;
mod resume;
mod spark;

/// Rows of the usual set.
const ROWS: usize = 5000;

fn workplace(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "data-attribution-clustered-{name}-{}",
        std::process::id()
    ));
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    model::write_model(&path);
    path
}

/// Chance by number, in [-1, 1).
fn noise(number: u64) -> f32 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Whether row `row` of the usual set has no direction.
fn is_left_out(row: usize) -> bool {
    row % 700 == 5 || row == 4100
}

/// Rows around a few dozen centres, of different lengths; some of them equal, some without a direction.
fn usual_rows(count: usize) -> Vec<Vec<f32>> {
    let row = |row: usize| -> Vec<f32> {
        let like = if row % 50 == 49 { row - 1 } else { row };
        let centre = (noise(like as u64).abs().powi(2) * 40.0) as u64;
        let value = |j: usize| match row {
            _ if row % 700 == 5 => 0.0,
            4100 if j == 3 => f32::NAN,
            _ => {
                let j = j as u64;
                let spread = 0.6 / (1.0 + j as f32 / 8.0);
                let own = noise((like as u64) << 20 | j) * spread;
                (noise(centre << 40 | j) + own) * (1 + row % 3) as f32
            }
        };
        (0..model::DIMENSION).map(value).collect()
    };
    (0..count).map(row).collect()
}

/// Writes `rows` as `place`/`name`.npy and their names as `place`/`name`.txt.
fn write_features(place: &Path, name: &str, rows: &[Vec<f32>], names: &[String]) -> Features {
    let shape = format!("({}, {})", rows.len(), model::DIMENSION);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    let values = rows.iter().flatten();
    values.for_each(|v| file.extend(v.to_le_bytes()));
    let npy = place.join(format!("{name}.npy"));
    let list = place.join(format!("{name}.txt"));
    fs::write(&npy, file).unwrap();
    fs::write(&list, names.join("\n") + "\n").unwrap();
    Features::open(npy, list)
}

/// The usual set: `count` rows that are named after their numbers.
fn write_usual(place: &Path, count: usize) -> Features {
    let names: Vec<String> = (0..count).map(|row| format!("row/{row}")).collect();
    write_features(place, "features", &usual_rows(count), &names)
}

/// Opened features and the files that they were opened from.
struct Features {
    set: FeatureSet,
    npy: PathBuf,
    list: PathBuf,
    columns: Columns,
}

impl Features {
    fn open(npy: PathBuf, list: PathBuf) -> Self {
        let columns = Columns::default();
        Self {
            set: FeatureSet::open(&npy, Some(&list), &columns).unwrap(),
            npy,
            list,
            columns,
        }
    }

    fn with<T>(&self, done: impl FnOnce(&Inputs) -> T) -> T {
        done(&Inputs {
            features: &self.set,
            paths: &[&self.npy, &self.list],
            columns: &self.columns,
            duplicates: None,
        })
    }
}

/// Small files, so that there are several of each kind.
fn clustered(parts: Option<usize>) -> ClusteredOptions {
    ClusteredOptions {
        plan: PlanOptions {
            fine_rows: 64,
            items_per_file: 300,
            sample_rows: 2000,
            seed: 7,
            coarse: CoarseChoice::Entropy,
            leaves: LeafChoice::Always,
        },
        parts,
        work: None,
    }
}

fn options(place: &Path, out: &str) -> PackOptions {
    PackOptions {
        title: "Rows".into(),
        ..PackOptions::new(place.join("model"), place.join(out))
    }
}

fn pack_as(
    place: &Path,
    out: &str,
    features: &Features,
    clustered: &ClusteredOptions,
) -> Result<(PackReport, LayerSizes), Error> {
    features
        .with(|inputs| pack_clustered(inputs, &options(place, out), clustered, &Quiet::default()))
}

/// Every file of a folder with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let walk = walkdir::WalkDir::new(folder).sort_by_file_name();
    let walk = walk.into_iter().map(Result::unwrap);
    walk.filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap().into();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Compares two folders without printing megabytes.
#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&one), names(&other));
    for ((name, bytes), (_, others)) in one.iter().zip(&other) {
        assert!(bytes == others, "{} differs", name.display());
    }
}

/// Keeps what a run says.
#[derive(Default)]
struct Quiet(Mutex<Vec<String>>);

impl Quiet {
    fn said(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Monitor for Quiet {
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }

    fn progress(&self, _: &'static str, done: usize, total: usize) {
        assert!(done <= total, "{done} of {total}");
    }
}

#[test]
fn indexes_are_clustered_from_20_000_rows_on() {
    use pack::clustered::Structure;
    assert_eq!(Structure::usual(19_999), Structure::Flat);
    assert_eq!(Structure::usual(20_000), Structure::Clustered);
}
