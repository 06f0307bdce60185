//! Weights and images out of nothing, the same to the bit in every language.
//!
//! A counter-based generator: value `i` of a tensor depends on the tensor's name and on `i` alone, by
//! integer arithmetic and f64. So a full-size backbone can be compared between implementations, and
//! between devices, without a file of weights. The scales are such that features differ between images,
//! as those of trained weights do.

use super::import::Naming;
use crate::error::{Error, Result};
use crate::format::Architecture;
use crate::preprocess::Pixels;

/// Width and height of the generated images.
const IMAGE_SIZES: [(u32, u32); 3] = [(300, 431), (517, 288), (384, 384)];

/// 64 random bits: the finaliser of splitmix64 at step `i` from the FNV-1a hash of `name`.
pub fn word(name: &str, i: u64) -> u64 {
    step(hash(name), i)
}

/// A number of about the standard normal distribution, below 3.5 in size: the sum of the four 16-bit
/// parts of a word, scaled.
pub fn normal(name: &str, i: u64) -> f64 {
    spread_of(word(name, i))
}

/// `base + spread * normal(name, i)`, rounded to f32 once.
pub fn value(name: &str, i: u64, base: f64, spread: f64) -> f32 {
    (base + spread * normal(name, i)) as f32
}

/// The tensor that the checkpoint of a generated backbone holds as `original_name`, without prefix;
/// row-major. Mean and deviation follow from the name and the shape.
pub fn generated_tensor(original_name: &str, shape: &[usize]) -> Vec<f32> {
    let (base, spread) = scale_of(original_name, shape);
    let start = hash(original_name);
    (0..shape.iter().product::<usize>() as u64)
        .map(|i| (base + spread * spread_of(step(start, i))) as f32)
        .collect()
}

/// The canonical tensor of the generated `backbone`: made of generated tensors under the names of its
/// first publisher (OpenAI's for `clip`, torchvision's for `sscd`, else timm's) as an import makes it.
///
/// # Errors
/// [`Error::InvalidArgument`] for a tensor that the architecture does not have under those names.
pub fn canonical_tensor(
    architecture: &Architecture,
    backbone: &str,
    canonical: &str,
    shape: &[usize],
) -> Result<Vec<f32>> {
    let naming = match backbone {
        "clip" => Naming::OpenAi,
        "sscd" => Naming::Torchvision,
        _ => Naming::Timm,
    };
    let recipe = naming.recipe(architecture, canonical, shape);
    let recipe =
        recipe.ok_or_else(|| Error::invalid(format!("{backbone} has no tensor {canonical}")))?;
    recipe.apply(backbone, shape, |name, shape| {
        Ok(generated_tensor(name, shape))
    })
}

/// Generated image `k` of 3: gratings with noise, of different sizes.
///
/// # Errors
/// [`Error::InvalidArgument`] for another `k`.
pub fn generated_image(k: usize) -> Result<Pixels> {
    let &(width, height) = IMAGE_SIZES
        .get(k)
        .ok_or_else(|| Error::invalid(format!("generated image {k} of {}", IMAGE_SIZES.len())))?;
    let triangle = |t: i64| (t.rem_euclid(256) - 128).abs() * 2 - 128;
    let start = hash("image");
    let shift = k as i64;
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..i64::from(height) {
        for x in 0..i64::from(width) {
            for c in 0..3 {
                let gratings = 60 * triangle(x * (3 + shift) + 40 * c)
                    + 50 * triangle(y * (5 - shift) + 70 * c + x)
                    + 30 * triangle((x * y) / 97 * (1 + c));
                let counter = ((shift * 1024 + y) * 1024 + x) * 4 + c;
                let noise = (step(start, counter as u64) % 31) as i64 - 15;
                let level = 128 + gratings.div_euclid(128) + noise;
                pixels.push(level.clamp(0, 255) as u8);
            }
        }
    }
    Pixels::from_rgb(width, height, pixels)
}

/// FNV-1a, 64 bits.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn step(start: u64, i: u64) -> u64 {
    let counter = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = start.wrapping_add(counter);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn spread_of(word: u64) -> f64 {
    let sum: u64 = (0..4).map(|part| word >> (16 * part) & 0xffff).sum();
    (sum as f64 / 65536.0 - 2.0 + 2.0 / 65536.0) * 3f64.sqrt()
}

/// Mean and deviation of a tensor, by its name in the original checkpoint.
fn scale_of(name: &str, shape: &[usize]) -> (f64, f64) {
    let norm = ["norm", "ln_", "bn", "downsample.1"];
    if name.ends_with("num_batches_tracked") {
        (0.0, 0.0)
    } else if name.ends_with("running_var") {
        (1.0, 0.1)
    } else if name.ends_with("running_mean") {
        (0.0, 0.1)
    } else if name.ends_with(".bn3.weight") {
        // Smaller, so that the residual branches of a ResNet do not grow from block to block.
        (0.5, 0.05)
    } else if name.ends_with(".weight") && norm.iter().any(|part| name.contains(part)) {
        (1.0, 0.1)
    } else if matches!(
        name,
        "cls_token" | "class_embedding" | "pos_embed" | "positional_embedding"
    ) {
        (0.0, 0.3)
    } else if name.ends_with(".gamma") {
        (0.5, 0.1)
    } else if shape.len() >= 2 {
        let inputs: usize = match name {
            "proj" => shape[0],
            _ => shape[1..].iter().product(),
        };
        (0.0, (gain(name, shape) / inputs.max(1) as f64).sqrt())
    } else {
        (0.0, 0.1)
    }
}

/// 2 for a ResNet's convolutions, which a rectifier halves; else 1. CLIP too has a `conv1`, of patches.
fn gain(name: &str, shape: &[usize]) -> f64 {
    let first = name == "conv1.weight" && shape.get(2) == Some(&7);
    let later = name.starts_with("layer") && shape.len() == 4;
    if first || later { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::registry;
    use crate::format::sha256_hex;

    /// Values of Python's integers and floats, by the formulas above.
    #[test]
    fn words_normals_and_images_equal_pythons() {
        assert_eq!(word("image", 0), 0xb117_8fc3_f9b0_0095);
        assert_eq!(
            word("blocks.0.attn.qkv.weight", 12345),
            0x2d3a_49b9_e9b2_bd27
        );
        assert_eq!(word("", 0), 0xc381_7c01_6ba4_ff30);
        assert_eq!(normal("norm.weight", 3), 0.7375276159060224);
        assert_eq!(normal("cls_token", 1000), -0.8346277542575857);
        let digests = [
            "d229b838a9801922ddf394ce21b77fcbbcf4214199a8916d6bdf18bb34994dff",
            "cf006a96107c34783ab5708fabb9d5f5d729bc918d78f40758352a8b629baa9d",
            "165cc1738b52056ea804952d109776697a1636601e0910c4343bcf67374d462f",
        ];
        for (k, digest) in digests.iter().enumerate() {
            assert_eq!(sha256_hex(&generated_image(k).unwrap().pixels), *digest);
        }
        assert!(generated_image(3).is_err());
    }

    #[test]
    fn canonical_tensors_are_made_of_the_publishers_names() {
        let of = |backbone: &str, canonical: &str, shape: &[usize]| {
            let architecture = registry::find(backbone).unwrap().architecture;
            canonical_tensor(&architecture, backbone, canonical, shape)
        };
        let head = of("clip", "head.weight", &[512, 768]).unwrap();
        let deviation = (1.0f64 / 768.0).sqrt();
        assert_eq!(
            head[7 * 768 + 5],
            value("proj", 5 * 512 + 7, 0.0, deviation)
        );
        let bias = of("sscd", "layer2.1.conv3.bias", &[512]).unwrap();
        let part = |last: &str, base, spread| {
            f64::from(value(&format!("layer2.1.bn3.{last}"), 9, base, spread))
        };
        let scale = part("weight", 0.5, 0.05) / (part("running_var", 1.0, 0.1) + 1e-5).sqrt();
        let wanted = part("bias", 0.0, 0.1) - part("running_mean", 0.0, 0.1) * scale;
        assert_eq!(bias[9], wanted as f32);
        let gamma = of("dinov2-s14", "blocks.3.ls1.gamma", &[384]).unwrap();
        assert_eq!(gamma[383], value("blocks.3.ls1.gamma", 383, 0.5, 0.1));
        assert!(of("dino", "blocks.3.attn.k_norm.weight", &[64]).is_err());
    }
}
