//! What the tiles of linear layers multiply with on an adapter, by measuring it: f32, f16, or bytes four at once.
//!
//! Every browser takes packed products, but many a GPU has no instruction for them; f16 may be as fast as f32. Either is
//! taken if it comes to the same sums in less time: f16 in plainly less, as it is less exact; bytes if they are no slower, as tiles
//! of them load a quarter. Runs grow until the clock can tell them apart, so that the choice takes some hundredths of a second.

use super::choose::{RESULTS, Run, in_turn};
use super::kernel::Arithmetic;
use super::linear::Multiply;
use super::template::Values;
use crate::device::GpuDevice;
use crate::error::Result;

/// Workgroups of the runs, of 4 million products each.
pub const GROUPS: [u32; 3] = [64, 1024, 16384];
/// From so many milliseconds on, runs are long enough.
const ENOUGH_MS: f64 = 3.0;
/// What f16 and bytes may take of the time of what they take the place of.
const HALVES: f64 = 0.7;
const BYTES: f64 = 1.0;

/// What suits `gpu`, an adapter for tiles.
///
/// # Errors
/// [`crate::Error::Device`] when the device is lost.
pub async fn choose_arithmetic(gpu: &GpuDevice) -> Result<Arithmetic> {
    let [singles, halves, bytes] = rates(gpu, &GROUPS).await?;
    let singles = singles.unwrap_or(f64::INFINITY);
    let halves = halves.filter(|ms| *ms <= HALVES * singles);
    let best = halves.unwrap_or(singles);
    Ok(Arithmetic {
        halves: halves.is_some(),
        bytes: bytes.is_some_and(|ms| ms <= BYTES * best),
    })
}

/// Milliseconds of as many products in f32, f16 and bytes, by so many workgroups at most; `None` for what the adapter
/// lacks or refuses, and for what comes to other sums than f32.
///
/// # Errors
/// As [`choose_arithmetic`].
pub async fn rates(gpu: &GpuDevice, groups: &[u32]) -> Result<[Option<f64>; 3]> {
    let mut runs = Vec::new();
    for (multiply, present) in [
        (Multiply::Singles, true),
        (Multiply::Halves, gpu.has_halves()),
        (Multiply::Bytes, gpu.has_packed()),
    ] {
        if present {
            let refused = gpu.scope();
            let run = Run::new(gpu, &text(multiply), "main", RESULTS);
            if refused.close().await.is_ok() {
                runs.push((multiply, run));
            }
        }
    }
    let mut ms = Vec::new();
    for groups in groups {
        let all: Vec<&Run> = runs.iter().map(|(_, run)| run).collect();
        ms = in_turn(gpu, &all, *groups).await?;
        if ms.first().is_none_or(|first| *first >= ENOUGH_MS) {
            break;
        }
    }
    let mut found = [None; 3];
    let mut wanted = None;
    for ((multiply, run), ms) in runs.iter().zip(ms) {
        let values = run.values(gpu).await?;
        if *wanted.get_or_insert_with(|| values.clone()) == values {
            found[*multiply as usize] = Some(ms);
        }
    }
    Ok(found)
}

/// The kernel that measures it.
pub(super) fn text(multiply: Multiply) -> String {
    let in_bytes = multiply == Multiply::Bytes;
    let (singles, bytes) = if in_bytes { (0, 4) } else { (4, 0) };
    let values = multiply
        .types(Values::default())
        .with("single", singles)
        .with("singles", singles)
        .with("byte", usize::from(in_bytes))
        .with("bytes", bytes)
        .with("rows", 4)
        .with("tiles", 0)
        .with("results", RESULTS);
    let kernel = values.fill(crate::shader::shader!("rates.wgsl"));
    [multiply.enables(), &values.fill(multiply.part()), &kernel].concat()
}
