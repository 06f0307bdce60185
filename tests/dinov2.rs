//! DINOv2 ViT-S/14 against ONNX Runtime on the graph that the demo weights come from, and int8 against
//! f32. Needs the demo weights (`scripts/demo --no-serve` fetches them); says so and skips without.
#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};

use data_attribution::backbone::{
    Backbone, Unpaced,
    import::{HEAD_FILE, import},
    pack::Precision,
    registry,
};
use data_attribution::device::Compute;
use data_attribution::format::ModelHead;
use data_attribution::source::folder::Folder;

const SIDE: usize = 224;
/// Shares of ramp, check, noise and disc in eighths; see scripts/golden_dinov2.py.
const MIX: [[u32; 4]; 10] = [
    [5, 1, 1, 1],
    [1, 5, 1, 1],
    [1, 1, 1, 5],
    [2, 2, 2, 2],
    [4, 4, 0, 0],
    [0, 0, 8, 0],
    [3, 0, 1, 4],
    [8, 0, 0, 0],
    [0, 4, 0, 4],
    [2, 3, 3, 0],
];

fn hash(mut n: u32) -> u32 {
    n ^= n >> 16;
    n = n.wrapping_mul(0x7feb_352d);
    n ^= n >> 15;
    n = n.wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

/// Image `i` of the golden script: bytes [3, SIDE, SIDE].
fn image(i: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3 * SIDE * SIDE);
    let [a, b, d, e] = MIX[i as usize];
    for c in 0..3u32 {
        for y in 0..SIDE as u32 {
            for x in 0..SIDE as u32 {
                let ramp = (x * (i + 1) + y * (2 * c + 1) + 40 * i) % 256;
                let cell = 8 + 5 * i;
                let check = (x / cell + y / cell + c * (i % 3)) % 2 * 255;
                let noise = hash(((i * 3 + c) * 224 + y) * 224 + x) >> 24;
                let (dx, dy, r) = (x as i32 - 112, y as i32 - 112, 20 + 9 * i as i32);
                let disc = if dx * dx + dy * dy < r * r { 255 } else { 0 };
                bytes.push(((a * ramp + b * check + d * noise + e * disc) / 8) as u8);
            }
        }
    }
    bytes
}

fn normalised(bytes: &[u8]) -> Vec<f32> {
    let preprocess = registry::find("dinov2-s14").unwrap().preprocess;
    bytes
        .chunks_exact(SIDE * SIDE)
        .zip(preprocess.mean.iter().zip(preprocess.std))
        .flat_map(|(plane, (mean, std))| {
            plane
                .iter()
                .map(move |p| (f32::from(*p) / 255.0 - mean) / std)
        })
        .collect()
}

fn load(precision: Precision) -> Option<Backbone> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let weights = root.join("build/dinov2-s14.safetensors");
    if !weights.exists() {
        println!("SKIPPED: no demo weights; `scripts/demo --no-serve` fetches them");
        return None;
    }
    let out: PathBuf = std::env::temp_dir().join(format!(
        "data-attribution-dinov2-{}-{precision:?}",
        std::process::id()
    ));
    let spec = registry::find("dinov2-s14").unwrap();
    let imported = import(spec, &weights, precision, None, &out, |_, _| {}).unwrap();
    assert!(
        imported.surplus.is_empty() || imported.surplus == ["mask_token"],
        "{:?}",
        imported.surplus
    );
    let head = std::fs::read(out.join(HEAD_FILE)).unwrap();
    let head = ModelHead::parse(HEAD_FILE, &head).unwrap();
    let backbone = pollster::block_on(Backbone::load(
        &Folder::new(&out),
        HEAD_FILE,
        head,
        &Compute::Cpu,
        &|_, _| {},
    ))
    .unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    Some(backbone)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("golden/dinov2.json")).unwrap()
}

fn floats(value: &serde_json::Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn the_generated_images_are_those_of_the_golden_script() {
    for (i, sums) in golden()["pixel_sums"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let bytes = image(i as u32);
        let found: Vec<u64> = bytes
            .chunks_exact(SIDE * SIDE)
            .map(|plane| plane.iter().map(|p| u64::from(*p)).sum())
            .collect();
        let wanted: Vec<u64> = sums
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap())
            .collect();
        assert_eq!(found, wanted, "image {i}");
    }
}

#[test]
fn f32_features_equal_onnx_runtime_and_int8_stays_close() {
    let (Some(exact), Some(int8)) = (load(Precision::F32), load(Precision::Int8)) else {
        return;
    };
    let golden = golden();
    let (mut worst_difference, mut worst_cosine) = (0.0f64, 1.0f64);
    for i in 0..10 {
        let input = normalised(&image(i));
        let embed = |backbone: &Backbone| {
            pollster::block_on(backbone.embed_preprocessed(&input, &Unpaced)).unwrap()
        };
        let (ours, quantized) = (embed(&exact), embed(&int8));
        let wanted = floats(&golden["bicubic"][i as usize]);
        let norm = wanted
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        let largest = ours
            .iter()
            .zip(&wanted)
            .map(|(a, b)| f64::from((a - b).abs()))
            .fold(0.0, f64::max);
        worst_difference = worst_difference.max(largest / norm);
        worst_cosine = worst_cosine.min(cosine(&quantized, &ours));
    }
    println!("largest difference to ONNX Runtime relative to the norm: {worst_difference:.2e}");
    println!("smallest cosine of int8 to f32: {worst_cosine:.6}");
    assert!(worst_difference <= 1e-4, "{worst_difference}");
    assert!(worst_cosine >= 0.995, "{worst_cosine}");
}
