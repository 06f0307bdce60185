//! From a checkpoint of upstream's to a model pack on disk.
//!
//! Every tensor of the architecture must be there with its shape; what is left over is reported, not
//! ignored. The pack becomes readable only when it is whole: the head is written last.

use std::path::Path;

use super::pack::{Precision, pack};
use super::registry::BackboneSpec;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_json};
use crate::format::ModelHead;

/// The model head's file name.
pub const HEAD_FILE: &str = "backbone.json";

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    pub head: ModelHead,
    /// Tensors of the checkpoint that the backbone does not use.
    pub surplus: Vec<String>,
}

/// Imports the checkpoint `weights` as the backbone `spec` into the folder `out`.
///
/// # Errors
/// [`Error::Checkpoint`] naming every missing tensor and the first misshapen one or one with NaN;
/// [`Error::Refused`] for a checkpoint that asks to run code; [`Error::Io`].
pub fn import(
    spec: BackboneSpec,
    weights: &Path,
    precision: Precision,
    out: &Path,
    mut progress: impl FnMut(usize, usize),
) -> Result<Imported> {
    let checkpoint = Checkpoint::open(weights)?;
    let file = weights.display().to_string();
    let expected = spec.architecture.tensors();
    let prefix = prefix_of(&checkpoint);
    let full = |name: &str| format!("{prefix}{name}");
    let missing: Vec<&str> = expected
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| checkpoint.info(&full(name)).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(Error::checkpoint(
            file,
            format!(
                "no {}: {} of {} tensors are missing: {}",
                spec.name,
                missing.len(),
                expected.len(),
                list(&missing)
            ),
        ));
    }
    let surplus: Vec<String> = checkpoint
        .tensors()
        .iter()
        .filter(|t| !expected.iter().any(|(name, _)| full(name) == t.name))
        .map(|t| t.name.clone())
        .collect();
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let (total, mut done) = (expected.len(), 0);
    let architecture = spec.architecture.clone();
    let head = pack(
        spec.name,
        spec.architecture,
        spec.preprocess,
        precision,
        |name, shape| {
            done += 1;
            progress(done, total);
            let name_in_file = full(name);
            let found = checkpoint
                .info(&name_in_file)
                .map(|info| info.shape.clone())
                .unwrap_or_default();
            let values = || checkpoint.read_f32(&name_in_file);
            if found == shape {
                return values();
            }
            if name == "pos_embed"
                && found.len() == 3
                && found[0] == 1
                && found[2] == architecture.width
            {
                return resize_positions(
                    &values()?,
                    architecture.width,
                    architecture.image / architecture.patch,
                )
                .ok_or_else(|| {
                    Error::checkpoint(
                        &file,
                        format!(
                            "tensor {name_in_file} has {} positions, no square grid",
                            found[1]
                        ),
                    )
                });
            }
            Err(Error::checkpoint(
                &file,
                format!(
                    "tensor {name_in_file} has shape {found:?}, {} needs {shape:?}",
                    spec.name
                ),
            ))
        },
        |file, bytes| write_atomically(&out.join(&file.file), bytes),
    )?;
    write_json(&out.join(HEAD_FILE), &head)?;
    Ok(Imported { head, surplus })
}

/// What stands before the names in checkpoints that nest their weights.
fn prefix_of(checkpoint: &Checkpoint) -> String {
    let anchor = "patch_embed.proj.weight";
    checkpoint
        .tensors()
        .iter()
        .filter_map(|t| t.name.strip_suffix(anchor))
        .min_by_key(|prefix| prefix.len())
        .unwrap_or_default()
        .to_owned()
}

fn list(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=5 => shown,
        n => format!("{shown} and {} more", n - 5),
    }
}

/// Resizes position embeddings [1 + n*n, width] to a grid of `side`, as DINOv2 does at run time:
/// bicubic with a = -0.75, no antialias, and a scale of (side + 0.1) / n, whose 0.1 shifts every
/// sample slightly. `None` when the input is no class token and square grid.
pub fn resize_positions(values: &[f32], width: usize, side: usize) -> Option<Vec<f32>> {
    let cells = (values.len() / width).checked_sub(1)?;
    let n = cells.isqrt();
    if n * n != cells || n == 0 || !values.len().is_multiple_of(width) {
        return None;
    }
    let (class, grid) = values.split_at(width);
    let taps: Vec<[(usize, f32); 4]> = (0..side).map(|i| cubic_taps(i, side, n)).collect();
    let mut out = class.to_vec();
    out.reserve(side * side * width);
    for y in &taps {
        for x in &taps {
            let start = out.len();
            out.resize(start + width, 0.0);
            for (row, wy) in y {
                for (column, wx) in x {
                    let cell = &grid[(row * n + column) * width..][..width];
                    for (sum, value) in out[start..].iter_mut().zip(cell) {
                        *sum += wy * wx * value;
                    }
                }
            }
        }
    }
    Some(out)
}

fn cubic_taps(i: usize, side: usize, n: usize) -> [(usize, f32); 4] {
    const A: f32 = -0.75;
    let scale = ((side as f64 + 0.1) / n as f64) as f32;
    let source = (i as f32 + 0.5) / scale - 0.5;
    let floor = source.floor();
    let t = source - floor;
    let near = |d: f32| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f32| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    std::array::from_fn(|k| {
        let at = (floor as i64 - 1 + k as i64).clamp(0, n as i64 - 1);
        (at as usize, weights[k])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubic_weights_sum_to_one_and_stay_inside() {
        for i in 0..16 {
            let taps = cubic_taps(i, 16, 37);
            assert!((taps.iter().map(|t| t.1).sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(taps.iter().all(|t| t.0 < 37));
        }
    }

    #[test]
    fn a_constant_grid_stays_constant_and_other_counts_are_refused() {
        let out = resize_positions(&[2.0; 3 * (1 + 25)], 3, 4).unwrap();
        assert_eq!(out.len(), 3 * 17);
        assert!(out.iter().all(|v| (v - 2.0).abs() < 1e-5));
        assert!(resize_positions(&[0.0; 3 * 7], 3, 4).is_none());
        assert!(resize_positions(&[], 3, 4).is_none());
    }
}
