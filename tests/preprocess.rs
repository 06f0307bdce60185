//! The preprocessing against Pillow: golden values of `scripts/golden_preprocess.py`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use data_attribution::preprocess::{
    DEFAULT_LIMIT_MEGAPIXELS, Filter, Pixels, Preprocess, decode, dimensions, resize,
    resize_short_side,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Golden {
    pillow: String,
    exact: Vec<Source>,
    jpeg: Vec<Source>,
    huge: Vec<Huge>,
    resize: Vec<Resize>,
    crop: Vec<Crop>,
}

#[derive(Deserialize)]
struct Source {
    file: String,
    size: (u32, u32),
    sha256: String,
    refused_when_cut_to: Vec<usize>,
}

#[derive(Deserialize)]
struct Huge {
    file: String,
    size: (u32, u32),
}

#[derive(Deserialize)]
struct Resize {
    kind: String,
    size: (u32, u32),
    seed: u64,
    to: (u32, u32),
    filter: Filter,
    sha256: String,
    first: Vec<u8>,
}

#[derive(Deserialize)]
struct Crop {
    kind: String,
    size: (u32, u32),
    seed: u64,
    preprocess: Preprocess,
    resized: (u32, u32),
    pixels_sha256: String,
    values_sha256: String,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/preprocess")
        .join(name)
}

fn golden() -> Golden {
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(path("golden.json")).unwrap()).unwrap();
    assert_eq!(golden.pillow, "12.3.0");
    golden
}

fn source(name: &str) -> Vec<u8> {
    std::fs::read(path("sources").join(name)).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same picture as the script's `picture`.
fn picture(kind: &str, (width, height): (u32, u32), seed: u64) -> Pixels {
    let noise = (1..=u64::from(width) * u64::from(height) * 3).map(|position| {
        let z = position
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(seed);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 56) as u8
    });
    let slope = |index: usize| {
        let (x, y) = ((index / 3) as u32 % width, (index / 3) as u32 / width);
        let gradient = [x * 3, y * 5, x * 2 + y * 3][index % 3];
        (gradient % 240) as u8
    };
    let pixels = match kind {
        "noise" => noise.collect(),
        "slope" => noise
            .enumerate()
            .map(|(index, byte)| slope(index) + (byte >> 4))
            .collect(),
        other => panic!("unknown picture {other}"),
    };
    Pixels::from_rgb(width, height, pixels).unwrap()
}

fn full_range() -> Preprocess {
    Preprocess {
        resize: 224,
        filter: Filter::Bicubic,
        crop: 224,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}

/// Counts what this thread holds, so that tests can bound the memory of one call.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Threads that end may free after their counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result and the most bytes that were held at once on top of those held before.
fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

#[test]
fn files_decode_to_the_pixels_of_pillow() {
    let golden = golden();
    assert!(golden.exact.len() > 70, "{}", golden.exact.len());
    for entry in golden.exact {
        let bytes = source(&entry.file);
        let image = decode(&bytes, DEFAULT_LIMIT_MEGAPIXELS)
            .unwrap_or_else(|error| panic!("{}: {error}", entry.file));
        assert_eq!((image.width, image.height), entry.size, "{}", entry.file);
        assert_eq!(dimensions(&bytes).unwrap(), entry.size, "{}", entry.file);
        assert_eq!(sha256(&image.pixels), entry.sha256, "{}", entry.file);
    }
}

/// libjpeg-turbo and zune-jpeg round the inverse transform, the chroma and the colour differently.
/// Measured on smooth pictures with noise up to 1000x999: without chroma subsampling at most
/// 3 levels, 0.02 on average; with it at most 5 levels, 0.4 on average. These small files stay below that.
#[test]
fn jpeg_is_within_the_stated_bound_of_pillow() {
    for entry in golden().jpeg {
        let image = decode(&source(&entry.file), DEFAULT_LIMIT_MEGAPIXELS).unwrap();
        let expected = source(&format!("{}.rgb", entry.file));
        assert_eq!(sha256(&expected), entry.sha256);
        assert_eq!((image.width, image.height), entry.size, "{}", entry.file);
        assert_eq!(dimensions(&source(&entry.file)).unwrap(), entry.size);
        let differences = || {
            let pairs = image.pixels.iter().zip(&expected);
            pairs.map(|(found, expected)| found.abs_diff(*expected))
        };
        let largest = differences().max().unwrap();
        let mean = differences().map(f64::from).sum::<f64>() / expected.len() as f64;
        let subsampled =
            !["444.jpg", "grey.jpg", "orientation.jpg", "cmyk.jpg"].contains(&&*entry.file);
        let (level_bound, mean_bound) = if subsampled { (4, 0.4) } else { (3, 0.04) };
        println!("{}: at most {largest}, on average {mean:.4}", entry.file);
        assert!(largest <= level_bound, "{}: {largest} levels", entry.file);
        assert!(mean <= mean_bound, "{}: {mean} on average", entry.file);
    }
}

#[test]
fn what_pillow_refuses_for_its_length_is_refused() {
    let golden = golden();
    let mut cuts = 0;
    for entry in golden.exact.iter().chain(&golden.jpeg) {
        let bytes = source(&entry.file);
        for &length in &entry.refused_when_cut_to {
            let cut = &bytes[..length];
            let error = decode(cut, DEFAULT_LIMIT_MEGAPIXELS).expect_err(&format!(
                "{} cut to {length} of {}",
                entry.file,
                bytes.len()
            ));
            assert!(
                ["not-an-image", "damaged-image"].contains(&error.code()),
                "{}: {error}",
                entry.file
            );
            cuts += 1;
        }
    }
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn every_cut_of_a_jpeg_is_an_error_and_never_grey() {
    for name in [
        "420.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "orientation.jpg",
    ] {
        let bytes = source(name);
        for length in 0..bytes.len() {
            assert!(
                decode(&bytes[..length], 1).is_err(),
                "{name} cut to {length}"
            );
        }
    }
}

#[test]
fn damaged_bytes_never_panic_nor_allocate_much() {
    let golden = golden();
    let names: Vec<&String> = golden
        .exact
        .iter()
        .chain(&golden.jpeg)
        .map(|entry| &entry.file)
        .chain(golden.huge.iter().map(|entry| &entry.file))
        .collect();
    for name in names {
        let bytes = source(name);
        // Headers are where a wrong byte does most.
        for at in (0..bytes.len().min(96)).chain((96..bytes.len()).step_by(41)) {
            for value in [0x00, 0x01, 0x7F, 0xFF, bytes[at] ^ 0x10] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let (result, peak) = peak_bytes(|| decode(&damaged, 1));
                if let Ok(image) = result {
                    assert!(u64::from(image.width) * u64::from(image.height) <= 1_000_000);
                }
                // 1 megapixel of 16 bytes and the fixed working memory, twice.
                assert!(peak < 96 << 20, "{name}: byte {at} = {value}: {peak} bytes");
            }
        }
    }
}

#[test]
fn huge_headers_are_refused_before_pixels_are_decoded() {
    for entry in golden().huge {
        let bytes = source(&entry.file);
        let (error, peak) = peak_bytes(|| decode(&bytes, DEFAULT_LIMIT_MEGAPIXELS).unwrap_err());
        assert_eq!(error.code(), "image-too-large", "{}: {error}", entry.file);
        let size = format!("{}x{}", entry.size.0, entry.size.1);
        assert!(error.to_string().contains(&size), "{}: {error}", entry.file);
        assert!(peak < 4 << 20, "{}: {peak} bytes", entry.file);
        assert_eq!(dimensions(&bytes).unwrap(), entry.size, "{}", entry.file);
    }
}

#[test]
fn the_limit_is_a_setting() {
    let header = b"P6\n1000 1001\n255\n";
    let mut bytes = header.to_vec();
    bytes.resize(header.len() + 1000 * 1001 * 3, 7);
    assert_eq!(decode(&bytes, 1).unwrap_err().code(), "image-too-large");
    assert_eq!(decode(&bytes, 0).unwrap_err().code(), "image-too-large");
    assert_eq!(decode(&bytes, 2).unwrap().pixels, vec![7; 3_003_000]);
}

#[test]
fn what_is_no_image_says_so() {
    let text = "The quick brown fox jumps over the lazy dog".as_bytes();
    for bytes in [&[][..], &[0xFF], text, b"<svg xmlns='x'/>", &[0; 4096]] {
        for result in [decode(bytes, 100).err(), dimensions(bytes).err()] {
            let error = result.expect("refused");
            assert_eq!(error.code(), "not-an-image", "{error}");
        }
    }
    let signature = b"\x89PNG\r\n\x1a\n";
    assert_eq!(decode(signature, 100).unwrap_err().code(), "damaged-image");
}

#[test]
fn resizes_equal_pillow_bit_for_bit() {
    let golden = golden();
    assert_eq!(golden.resize.len(), 92);
    for entry in golden.resize {
        let image = picture(&entry.kind, entry.size, entry.seed);
        let resized = resize(&image, entry.to.0, entry.to.1, entry.filter).unwrap();
        let what = format!(
            "{} {:?} to {:?}, {:?}",
            entry.kind, entry.size, entry.to, entry.filter
        );
        assert_eq!((resized.width, resized.height), entry.to, "{what}");
        let first = &resized.pixels[..entry.first.len()];
        assert_eq!(first, entry.first, "{what}");
        assert_eq!(sha256(&resized.pixels), entry.sha256, "{what}");
    }
}

#[test]
fn preprocessing_equals_torchvision_bit_for_bit() {
    let golden = golden();
    assert_eq!(golden.crop.len(), 28);
    for entry in golden.crop {
        let image = picture(&entry.kind, entry.size, entry.seed);
        let what = format!("{:?} by {:?}", entry.size, entry.preprocess);
        let square = entry.preprocess.crop_pixels(&image).unwrap();
        assert_eq!(sha256(&square.pixels), entry.pixels_sha256, "{what}");
        let values = entry.preprocess.apply(&image).unwrap();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(sha256(&bytes), entry.values_sha256, "{what}");

        let Preprocess { resize, filter, .. } = entry.preprocess;
        let resized = resize_short_side(&image, resize, filter).unwrap();
        assert_eq!((resized.width, resized.height), entry.resized, "{what}");
    }
}

/// Resized and then cropped, these would take 15 GB.
#[test]
fn very_elongated_images_take_little_memory() {
    for (width, height) in [(1, 100_000), (100_000, 1)] {
        // Brightness rises along the image; the crop is the middle, 0.001 % of the length.
        let pixels = (0..100_000_u32)
            .flat_map(|at| [(at / 400) as u8; 3])
            .collect();
        let image = Pixels::from_rgb(width, height, pixels).unwrap();
        let (values, peak) = peak_bytes(|| full_range().apply(&image).unwrap());
        assert_eq!(values.len(), 3 * 224 * 224);
        // The image's middle is the border between two levels, with 400 pixels of each around it.
        let (low, high) = (124.0 / 255.0, 125.0 / 255.0);
        assert!(values.iter().all(|value| (low..=high).contains(value)));
        assert!(values.contains(&low) && values.contains(&high));
        assert!(peak < 4 << 20, "{width}x{height}: {peak} bytes");

        let error = resize_short_side(&image, 224, Filter::Bicubic).unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
    }
}

#[test]
fn impossible_sizes_are_errors() {
    let image = picture("noise", (3, 2), 1);
    for (width, height) in [(0, 1), (1, 0), (u32::MAX, u32::MAX)] {
        let error = resize(&image, width, height, Filter::Bilinear).unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
    }
    assert!(resize_short_side(&image, 0, Filter::Bilinear).is_err());
}
