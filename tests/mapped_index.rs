//! An index whose rows and queries go through mappers: packed, opened and asked natively, against
//! plain arithmetic in f64, and with mappers that do not belong.
#![cfg(feature = "cli")]

use std::fs;
use std::path::PathBuf;

use data_attribution::attribution::{Attribution, Attributor, Event, Host, Silent};
use data_attribution::backbone::{
    Backbone, Unpaced, import::HEAD_FILE, pack::Precision, parity::toy_pack,
};
use data_attribution::device::{Compute, DeviceChoice};
use data_attribution::error::{Error, Result};
use data_attribution::files::{write_atomically, write_json};
use data_attribution::format::{FileRef, Manifest, MapperHead, MapperKind, MapperLayer, shard};
use data_attribution::mapper::calibrator::FittedFor;
use data_attribution::mapper::folder::{MapperWeights, write_mapper};
use data_attribution::pack::{MANIFEST, PackOptions, pack_images};
use data_attribution::preprocess::Pixels;
use data_attribution::source::folder::Folder;

/// Widths of the mapper; the toy backbone gives the first.
const WIDTHS: [usize; 3] = [32, 24, 16];
const IMAGES: u32 = 12;

struct Workplace(PathBuf);

impl Workplace {
    /// A toy backbone and some images.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "data-attribution-mapped-{name}-{}",
            std::process::id()
        ));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("images")).unwrap();
        let place = Self(path);
        let (memory, head) = toy_pack(Precision::Int8).unwrap();
        for (file, bytes) in &memory.files {
            write_atomically(&place.at("model").join(file), bytes).unwrap();
        }
        write_json(&place.at("model").join(HEAD_FILE), &head).unwrap();
        for i in 0..IMAGES {
            let path = place.at("images").join(format!("{i:02}.png"));
            painted(i).save(path).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn pack(&self, mapper: Option<&str>) -> Result<Manifest> {
        let options = PackOptions {
            thumbnail: 0,
            mapper: mapper.map(|name| self.at(name)),
            ..PackOptions::new(self.at("model"), self.at("index"))
        };
        Ok(pack_images(&self.at("images"), &options, &|_, _| {})?.manifest)
    }

    fn open(&self, host: &impl Host) -> Result<Attributor<Folder>> {
        let source = Folder::new(self.at("index"));
        pollster::block_on(Attributor::open(source, MANIFEST, DeviceChoice::Cpu, host))
    }

    fn query(&self, image: u32) -> Result<Attribution> {
        let (attributor, pixels) = (self.open(&Silent)?, pixels(image));
        pollster::block_on(attributor.attribute(&pixels, IMAGES as usize, &Silent))
    }

    /// Files of the mapper in the index.
    fn mapper_files(&self) -> usize {
        let entries = walkdir::WalkDir::new(self.at("index/mapper")).into_iter();
        let files = entries
            .flatten()
            .filter(|entry| entry.file_type().is_file());
        files.count()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn painted(i: u32) -> image::RgbImage {
    image::RgbImage::from_fn(60 + i, 70, |x, y| {
        image::Rgb([(x * i) as u8, (y * 3 + i * 40) as u8, (x * y + i) as u8])
    })
}

fn pixels(i: u32) -> Pixels {
    let picture = painted(i);
    let (width, height) = picture.dimensions();
    Pixels::from_rgb(width, height, picture.into_raw()).unwrap()
}

/// A mapper whose two sides differ; `seed` tells pairs apart.
fn weights(seed: u32) -> MapperWeights {
    let [a, b, c] = WIDTHS;
    let linear = |inputs, outputs, relu| MapperLayer::Linear {
        inputs,
        outputs,
        bias: true,
        relu,
    };
    let side = |seed: u32| {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.3
        };
        let count = b * (a + 1) + c * (b + 1);
        std::iter::repeat_with(next).take(count).collect()
    };
    MapperWeights {
        kind: MapperKind::Mlp,
        layers: vec![linear(a, b, true), linear(b, c, false)],
        real: side(2 * seed),
        synth: side(2 * seed + 1),
    }
}

/// The mapped feature at unit length, as the definition of the layers says.
fn plainly(values: &[f32], feature: &[f32]) -> Vec<f64> {
    let mut row: Vec<f64> = feature.iter().map(|v| f64::from(*v)).collect();
    let mut values = values.iter().map(|v| f64::from(*v));
    for (layer, sizes) in WIDTHS.windows(2).enumerate() {
        let weight: Vec<f64> = values.by_ref().take(sizes[0] * sizes[1]).collect();
        let bias = values.by_ref().take(sizes[1]);
        let sums = weight.chunks(sizes[0]).zip(bias).map(|(weight, bias)| {
            let sum = bias + weight.iter().zip(&row).map(|(w, x)| w * x).sum::<f64>();
            if layer == 0 { sum.max(0.0) } else { sum }
        });
        row = sums.collect();
    }
    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| v / length).collect()
}

/// Features of all images, unmapped.
fn backbone_features() -> Vec<Vec<f32>> {
    let (memory, head) = toy_pack(Precision::Int8).unwrap();
    let load = Backbone::load(&memory, "backbone.json", head, &Compute::Cpu, &|_, _| {});
    let backbone = pollster::block_on(load).unwrap();
    let embed = |i| pollster::block_on(backbone.embed(&pixels(i), &Unpaced)).unwrap();
    (0..IMAGES).map(embed).collect()
}

/// The code of the error, which must contain `reason`.
#[track_caller]
fn code<T>(result: Result<T>, reason: &str) -> &'static str {
    let error: Error = result.err().expect(reason);
    assert!(error.to_string().contains(reason), "{reason:?}: {error}");
    error.code()
}

#[test]
fn rows_go_through_the_real_side_and_queries_through_the_synth_side() {
    let place = Workplace::new("ranking");
    let weights = weights(1);
    write_mapper(&weights, "toy-tuned", Some("toy-p14"), &place.at("m")).unwrap();
    let manifest = place.pack(Some("m")).unwrap();
    assert_eq!(manifest.dimension, WIDTHS[2]);
    let features = backbone_features();
    let rows = features.iter().map(|f| plainly(&weights.real, f));
    let rows: Vec<Vec<f64>> = rows.collect();
    let query = plainly(&weights.synth, &features[5]);
    let attributor = place.open(&Silent).unwrap();
    assert_eq!(attributor.info().mapper.as_deref(), Some("toy-tuned"));
    let embedded = pollster::block_on(attributor.embed(&pixels(5), &Silent)).unwrap();
    assert_eq!(embedded.len(), WIDTHS[2]);
    for (got, want) in embedded.iter().zip(&query) {
        assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want}");
    }
    let mut compared = 0;
    for entry in &manifest.layers[0].shards {
        let bytes = fs::read(place.at("index").join(&entry.file.file)).unwrap();
        let shard = shard::decode("s", &bytes).unwrap();
        let stored = shard.codes.chunks(shard.stride).zip(&shard.scales);
        for ((codes, scale), row) in stored.zip(&rows[entry.first_row as usize..]) {
            for (code, value) in codes.iter().zip(row) {
                let stored = f64::from(*code) * f64::from(*scale);
                assert!((stored - value).abs() < 0.51 * f64::from(*scale) + 1e-5);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, IMAGES as usize * WIDTHS[2]);
    let answer = place.query(5).unwrap();
    assert_eq!(answer.hits.len(), IMAGES as usize);
    for hit in &answer.hits {
        let row = &rows[hit.id as usize];
        let exact: f64 = row.iter().zip(&query).map(|(x, q)| x * q).sum();
        assert!(
            (f64::from(hit.score) - exact).abs() < 0.02,
            "{} {exact}",
            hit.score
        );
    }
    // The two sides differ, so an image is not as near to itself as it is without a mapper.
    assert!(answer.hits.iter().all(|hit| hit.score < 0.99));
    place.pack(None).unwrap();
    assert!(place.query(5).unwrap().hits[0].score > 0.99);
    assert_eq!(
        place.mapper_files(),
        0,
        "the earlier pack's mapper is still there"
    );
}

/// Keeps the last that is said of the model's bytes: loaded, total.
#[derive(Default)]
struct LastBytes(std::cell::Cell<(u64, u64)>);

impl Host for LastBytes {
    fn event(&self, event: Event) {
        if let Event::Model {
            loaded_bytes,
            total_bytes,
            ..
        } = event
        {
            self.0.set((loaded_bytes, total_bytes));
        }
    }

    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn breathe(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn the_mapper_counts_among_the_models_bytes_and_files() {
    let place = Workplace::new("bytes");
    let plain = place.pack(None).unwrap().totals.model_bytes;
    let synth = write_mapper(&weights(1), "m", None, &place.at("m"))
        .unwrap()
        .synth;
    let manifest = place.pack(Some("m")).unwrap();
    let head = manifest.mapper_head().unwrap();
    let added = head.bytes + synth.file.bytes;
    assert_eq!(manifest.totals.model_bytes, plain + added);
    let model = toy_pack(Precision::Int8).unwrap().1;
    let files = manifest.files(&model, Some(&synth));
    assert!(files.contains(&head.file) && files.contains(&synth.file.beside(&head.file).file));
    for file in &files {
        assert!(place.at("index").join(file).is_file(), "{file}");
    }
    assert_eq!(
        place.mapper_files(),
        2,
        "the real side is not for the browser"
    );
    let heard = LastBytes::default();
    place.open(&heard).unwrap();
    let total = model.bytes() + synth.file.bytes;
    assert_eq!(heard.0.get(), (total, total));
}

#[test]
fn a_mapper_for_other_features_is_not_packed_with() {
    let place = Workplace::new("packing");
    let write = |weights: &MapperWeights, name: &str, backbone| {
        write_mapper(weights, name, backbone, &place.at(name)).unwrap()
    };
    write(&weights(3), "clip-tuned", Some("clip"));
    let packed = place.pack(Some("clip-tuned"));
    assert_eq!(
        code(packed, "clip-tuned for clip (D 32)"),
        "identity-mismatch"
    );
    let narrow = MapperWeights {
        kind: MapperKind::Channel,
        layers: vec![MapperLayer::Scale { channels: 31 }],
        real: vec![1.0; 31],
        synth: vec![2.0; 31],
    };
    write(&narrow, "narrow", None);
    let packed = place.pack(Some("narrow"));
    assert_eq!(
        code(packed, "narrow for any backbone (D 31)"),
        "identity-mismatch"
    );
    assert_eq!(code(place.pack(Some("none")), "real.json"), "io");
    assert!(!place.at("index").join(MANIFEST).exists());
}

#[test]
fn queries_through_another_mapper_or_a_damaged_one_are_refused_by_name() {
    let place = Workplace::new("refused");
    let write = |seed, name: &str, backbone| {
        write_mapper(&weights(seed), name, backbone, &place.at(name)).unwrap()
    };
    let tuned = write(1, "tuned", None);
    let other = write(2, "style", None);
    let foreign = write(3, "foreign", Some("clip"));
    let manifest = place.pack(Some("tuned")).unwrap();
    assert!(place.query(1).is_ok());
    let good = serde_json::to_value(&manifest).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut manifest = good.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        manifest
    };
    let put = |head: &MapperHead| {
        let bytes = serde_json::to_vec(head).unwrap();
        let file = FileRef::of("mapper", "json", &bytes);
        fs::write(place.at("index").join(&file.file), bytes).unwrap();
        serde_json::to_value(file).unwrap()
    };
    // A manifest that names a mapper for another backbone in every field.
    let mut wholly_foreign = with("/synth_mapper/head", put(&foreign.synth));
    wholly_foreign["synth_mapper"]["identity"] = foreign.synth.identity.clone().into();
    for side in ["real_mapper", "synth_mapper"] {
        wholly_foreign[side]["pair"] = foreign.synth.pair.clone().into();
    }
    let (null, zeros) = (serde_json::Value::Null, "0".repeat(64));
    let mismatch = "identity-mismatch";
    let path = place.at("index").join(MANIFEST);
    for (manifest, wanted, reason) in [
        (
            with("/synth_mapper/pair", zeros.clone().into()),
            mismatch,
            "real mapper tuned",
        ),
        (
            with("/real_mapper", null.clone()),
            mismatch,
            "no real mapper",
        ),
        (
            with("/synth_mapper", null.clone()),
            mismatch,
            "no synth mapper",
        ),
        (with("/synth_mapper/head", null), "format", "`head`"),
        (
            with("/synth_mapper/head", put(&other.synth)),
            mismatch,
            "mapper style ",
        ),
        (
            with("/synth_mapper/head", put(&tuned.real)),
            "format",
            "not the synth side",
        ),
        (
            with("/synth_mapper/identity", "x".into()),
            mismatch,
            "mapper tuned x ",
        ),
        (
            with("/synth_mapper/head/sha256", zeros.into()),
            "integrity",
            "SHA-256",
        ),
        (wholly_foreign, mismatch, "foreign for clip"),
    ] {
        fs::write(&path, manifest.to_string()).unwrap();
        assert_eq!(code(place.query(1), reason), wanted, "{reason}");
    }
    fs::write(&path, good.to_string()).unwrap();
    assert!(place.query(1).is_ok());
    let head = &manifest.mapper_head().unwrap().file;
    let weights = place.at("index").join(tuned.synth.file.beside(head).file);
    let mut bytes = fs::read(&weights).unwrap();
    bytes[7] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    assert_eq!(code(place.query(1), "mapper/weights/"), "integrity");
    fs::remove_file(&weights).unwrap();
    assert_eq!(code(place.query(1), "mapper/weights/"), "io");
}

#[test]
fn a_calibrator_is_packed_only_with_the_scores_that_it_was_fitted_to() {
    let place = Workplace::new("calibrator");
    let folder = write_mapper(&weights(1), "toy-tuned", Some("toy-p14"), &place.at("m")).unwrap();
    let pack = |backbone: Option<&str>, pair: Option<&str>, mapped: bool| {
        let options = PackOptions {
            thumbnail: 0,
            mapper: mapped.then(|| place.at("m")),
            calibrator_for: FittedFor {
                backbone: backbone.map(str::to_owned),
                mapper: pair.map(str::to_owned),
            },
            ..PackOptions::new(place.at("model"), place.at("index"))
        };
        pack_images(&place.at("images"), &options, &|_, _| {})
    };
    let pair = folder.real.pair.as_str();
    for (backbone, fitted_to, mapped) in [
        (Some("toy-p14"), Some("none"), true),
        (Some("toy-p14"), Some(pair), false),
        (Some("dino"), Some(pair), true),
        (Some("dino"), None, false),
    ] {
        let refused = pack(backbone, fitted_to, mapped);
        assert_eq!(code(refused, "a calibrator for"), "identity-mismatch");
        assert!(!place.at("index").exists(), "nothing is left");
    }
    pack(Some("toy-p14"), Some(pair), true).unwrap();
    pack(None, Some("none"), false).unwrap();
    pack(None, None, true).unwrap();
}
