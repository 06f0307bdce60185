//! The whole way natively, on a toy backbone and generated images: against brute force, and with files
//! that are damaged in every way that a host can damage them.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};

use data_attribution::attribution::{Attributor, Silent};
use data_attribution::backbone::{
    Backbone, Unpaced, import::HEAD_FILE, pack::Precision, parity::toy_pack,
};
use data_attribution::device::{Compute, DeviceChoice};
use data_attribution::error::Error;
use data_attribution::files::{write_atomically, write_json};
use data_attribution::format::{Manifest, shard};
use data_attribution::pack::{MANIFEST, PackOptions, pack_images};
use data_attribution::preprocess::{Pixels, decode};
use data_attribution::source::folder::Folder;

struct Workplace(PathBuf);

impl Workplace {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("data-attribution-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("images/deep er")).unwrap();
        let place = Self(path);
        let (memory, head) = toy_pack(Precision::Int8).unwrap();
        for (file, bytes) in &memory.files {
            write_atomically(&place.at("model").join(file), bytes).unwrap();
        }
        write_json(&place.at("model").join(HEAD_FILE), &head).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `count` images of different sizes; the last one stands in a deeper folder.
    fn paint(&self, count: u32) {
        for i in 0..count {
            let picture = image::RgbImage::from_fn(60 + i, 70, |x, y| {
                image::Rgb([(x * i) as u8, (y * 3 + i * 40) as u8, (x * y + i) as u8])
            });
            let folder = if i + 1 == count {
                "images/deep er"
            } else {
                "images"
            };
            picture
                .save(self.at(folder).join(format!("{i:02}.png")))
                .unwrap();
        }
    }

    fn pack(&self) -> data_attribution::pack::PackReport {
        self.try_pack().unwrap()
    }

    fn try_pack(&self) -> Result<data_attribution::pack::PackReport, Error> {
        let options = PackOptions {
            thumbnail: 32,
            ..PackOptions::new(self.at("model"), self.at("index"))
        };
        pack_images(&self.at("images"), &options, &|_, _| {})
    }

    fn open(&self) -> Result<Attributor<Folder>, Error> {
        let source = Folder::new(self.at("index"));
        pollster::block_on(Attributor::open(
            source,
            MANIFEST,
            DeviceChoice::Cpu,
            &Silent,
        ))
    }

    fn query(&self) -> Result<Vec<String>, Error> {
        let pixels = Pixels::from_rgb(64, 64, (0..64 * 64 * 3).map(|i| (i * 7) as u8).collect())?;
        let answer = pollster::block_on(self.open()?.attribute(&pixels, 100, &Silent))?;
        Ok(answer.hits.into_iter().map(|hit| hit.name).collect())
    }

    fn first_file(&self, folder: &str) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(self.at("index").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files.remove(0)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "no error",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.code()
        }
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            (
                entry.path().strip_prefix(folder).unwrap().to_owned(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn ranking_equals_brute_force_over_the_stored_rows() {
    let place = Workplace::new("brute");
    place.paint(40);
    let report = place.pack();
    assert_eq!((report.manifest.count, report.left_out.len()), (40, 0));
    let attributor = place.open().unwrap();
    let bytes = fs::read(place.at("images/07.png")).unwrap();
    let pixels = decode(&bytes, 10).unwrap();
    let answer = pollster::block_on(attributor.attribute(&pixels, 15, &Silent)).unwrap();
    let q = pollster::block_on(attributor.embed(&pixels, &Silent)).unwrap();

    let manifest = fs::read(place.at("index").join(MANIFEST)).unwrap();
    let manifest = Manifest::parse("m", &manifest).unwrap();
    assert!(
        manifest.layers[0].shards.len() > 1,
        "the test wants several shards"
    );
    let mut scores: Vec<(usize, f64)> = Vec::new();
    for entry in &manifest.layers[0].shards {
        let bytes = fs::read(place.at("index").join(&entry.file.file)).unwrap();
        let shard = shard::decode("s", &bytes).unwrap();
        for (row, scale) in shard.codes.chunks(shard.stride).zip(&shard.scales) {
            let dot: f64 = row
                .iter()
                .zip(&q)
                .map(|(c, q)| f64::from(*c) * f64::from(*q))
                .sum();
            scores.push((scores.len(), dot * f64::from(*scale)));
        }
    }
    let best = scores.iter().map(|s| s.1).fold(f64::MIN, f64::max);
    let weight = |s: f64| (f64::from(manifest.calibrator.inv_tau) * (s - best)).exp();
    let total: f64 = scores.iter().map(|s| weight(s.1)).sum();
    for hit in &answer.hits {
        let exact = scores[hit.id as usize].1;
        assert!(
            (f64::from(hit.score) - exact).abs() < 2e-4,
            "{} {exact}",
            hit.score
        );
        assert!((hit.influence.unwrap() - weight(exact) / total).abs() < 1e-2);
    }
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(answer.hits[0].id as usize, scores[0].0);
    assert_eq!(answer.hits[0].name, "07.png");
    assert!(answer.hits[0].score > 0.999);
    let shown: f64 = answer.hits.iter().map(|hit| hit.influence.unwrap()).sum();
    assert!((shown + answer.remaining_influence - 1.0).abs() < 1e-9);
    // A calibrator that leaves most rows none: behind the last hit there is exactly none, whatever the sum's rounding.
    let path = place.at("index").join(MANIFEST);
    let mut truncated: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    truncated["calibrator"]["bias"] = (-500.0).into();
    fs::write(&path, truncated.to_string()).unwrap();
    let attributor = place.open().unwrap();
    let few = pollster::block_on(attributor.attribute(&pixels, 15, &Silent)).unwrap();
    let shown: f64 = few.hits.iter().map(|hit| hit.influence.unwrap()).sum();
    assert_eq!(few.hits[14].influence, Some(0.0));
    assert!(few.hits[0].influence.unwrap() > 0.0 && (shown - 1.0).abs() < 1e-9);
    assert_eq!(few.remaining_influence, 0.0);
    let thumbnail = answer.hits[0].thumbnail.as_ref().unwrap();
    let small = image::open(place.at("index").join(thumbnail)).unwrap();
    assert_eq!(small.width().min(small.height()), 32);
    assert_eq!(
        (answer.hits[0].width, answer.hits[0].height),
        (Some(67), Some(70))
    );
}

#[test]
fn packing_is_deterministic_and_leaves_out_what_it_cannot_read() {
    let place = Workplace::new("deterministic");
    place.paint(9);
    fs::write(
        place.at("images/broken.jpg"),
        b"\xff\xd8\xff\xe0 not much of a jpeg",
    )
    .unwrap();
    fs::write(place.at("images/empty.png"), b"").unwrap();
    fs::write(place.at("images/notes.txt"), b"no image at all").unwrap();
    let report = place.pack();
    let names: Vec<&str> = report
        .left_out
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["broken.jpg", "empty.png"]);
    assert_eq!(report.manifest.count, 9);
    let first = files(&place.at("index"));
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap()
        .install(|| place.pack());
    assert_eq!(
        files(&place.at("index")),
        first,
        "one thread gives another index"
    );
    fs::remove_file(place.at("images/00.png")).unwrap();
    assert_eq!(place.pack().manifest.count, 8);
    let named = files(&place.at("index")).len();
    assert!(
        named < first.len(),
        "files of the removed image are still there"
    );
    assert!(
        place
            .query()
            .unwrap()
            .contains(&"deep er/08.png".to_owned())
    );
}

#[test]
fn an_empty_folder_and_a_folder_without_a_readable_image_are_errors() {
    let place = Workplace::new("empty");
    assert_eq!(code(place.try_pack()), "invalid-argument");
    fs::write(place.at("images/a.png"), b"x").unwrap();
    assert_eq!(code(place.try_pack()), "invalid-argument");
    assert!(!place.at("index").join(MANIFEST).exists());
}

#[test]
fn damage_of_any_file_is_found_and_named() {
    let place = Workplace::new("damage");
    place.paint(40);
    place.pack();
    assert_eq!(place.query().unwrap().len(), 40);
    for folder in ["fine", "items", "model", "model/weights"] {
        let path = place.first_file(folder);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 0x10;
        for (what, bytes) in [
            ("flipped", flipped),
            ("cut", good[..good.len() - 1].to_vec()),
            ("empty", Vec::new()),
            ("longer", [&good[..], b"\0"].concat()),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = place.query().unwrap_err();
            assert_eq!(error.code(), "integrity", "{folder} {what}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(code(place.query()), "io", "{folder} missing");
        fs::write(&path, good).unwrap();
    }
    let mut shards: Vec<_> = fs::read_dir(place.at("index/fine"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    shards.sort();
    let (a, b) = (fs::read(&shards[0]).unwrap(), fs::read(&shards[1]).unwrap());
    fs::write(&shards[0], &b).unwrap();
    fs::write(&shards[1], &a).unwrap();
    assert_eq!(code(place.query()), "integrity");
}

#[test]
fn an_index_of_another_backbone_mapper_or_version_is_refused() {
    let place = Workplace::new("identity");
    place.paint(6);
    place.pack();
    let path = place.at("index").join(MANIFEST);
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (pointer, value, wanted) in [
        (
            "/backbone/identity",
            serde_json::json!("0".repeat(64)),
            "identity-mismatch",
        ),
        ("/dimension", serde_json::json!(64), "format"),
        (
            "/synth_mapper",
            serde_json::json!({"name": "tuned", "identity": "1", "kind": "mlp", "pair": "2"}),
            "identity-mismatch",
        ),
        ("/version", serde_json::json!(2), "newer-version"),
        ("/format", serde_json::json!("other"), "format"),
        ("/count", serde_json::json!(7), "format"),
        ("/calibrator/inv_tau", serde_json::json!(-1.0), "format"),
        (
            "/layers/0/shards/0/file",
            serde_json::json!("../../secret"),
            "format",
        ),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, serde_json::to_vec(&bad).unwrap()).unwrap();
        assert_eq!(code(place.query()), wanted, "{pointer}");
    }
    fs::write(&path, b"{").unwrap();
    assert_eq!(code(place.query()), "format");
}

#[test]
fn a_batch_gives_the_features_of_its_images_one_by_one() {
    let (memory, head) = toy_pack(Precision::Int8).unwrap();
    let load = Backbone::load(&memory, "backbone.json", head, &Compute::Cpu, &|_, _| {});
    let backbone = pollster::block_on(load).unwrap();
    let side = backbone.head().architecture.image();
    let pixels = 3 * side * side;
    let images: Vec<f32> = (0..3 * pixels)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
        .collect();
    let embed =
        |images: &[f32]| pollster::block_on(backbone.embed_preprocessed(images, &Unpaced)).unwrap();
    let together = embed(&images);
    let alone: Vec<f32> = images.chunks(pixels).flat_map(embed).collect();
    assert_eq!(together.len(), 3 * 32);
    for (a, b) in together.iter().zip(&alone) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    let ragged = backbone.embed_preprocessed(&images[1..], &Unpaced);
    assert_eq!(code(pollster::block_on(ragged)), "invalid-argument");
}

#[test]
fn indexes_of_one_image_and_more_hits_than_images_are_fine() {
    let place = Workplace::new("one");
    place.paint(1);
    place.pack();
    assert_eq!(place.query().unwrap(), ["deep er/00.png"]);
    let attributor = place.open().unwrap();
    for feature in [vec![0.0; 32], vec![f32::NAN; 32]] {
        let rank = attributor.rank(&feature, 5, &Silent);
        assert_eq!(code(pollster::block_on(rank)), "not-finite");
    }
    let short = attributor.rank(&[1.0; 31], 5, &Silent);
    assert_eq!(code(pollster::block_on(short)), "invalid-argument");
}
