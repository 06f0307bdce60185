//! What the tiles of linear layers multiply with on an adapter, by measuring it: f32, f16, or bytes four at once.
//!
//! Every browser takes packed products, but many a GPU has no instruction for them; f16 may be as fast as f32. Either is
//! taken only if it comes to the same sums: f16 in plainly less time, as it is less exact; bytes if they take no more, as tiles
//! of them load a quarter. Runs grow until they last long enough for the clock, what a submit takes not counted. The choice is
//! meant to take about a tenth of a second, which no real GPU has shown yet.

use super::choose::{RESULTS, Run};
use super::kernel::Arithmetic;
use super::linear::Multiply;
use super::template::Values;
use crate::device::GpuDevice;
use crate::error::Result;
use crate::shader::shader;

/// All ways, the one that every adapter has first.
pub(super) const ALL: [Multiply; 3] = [Multiply::Singles, Multiply::Halves, Multiply::Bytes];
/// Workgroups of the runs, of 2 million products each; before the first a run of one says what a submit takes.
pub const GROUPS: [u32; 5] = [64, 256, 1024, 4096, 16384];
/// From so many milliseconds on, a run in f32 is long enough.
const ENOUGH_MS: f64 = 4.0;
/// What f16 and bytes may take of the time of what they take the place of.
const HALVES: f64 = 0.7;
const BYTES: f64 = 1.0;

/// Milliseconds in f32, f16 and bytes; `None` for what there is not.
pub type Rates = [Option<f64>; 3];

/// What suits `gpu`, an adapter for tiles.
///
/// # Errors
/// [`crate::Error::Device`] when the device is lost.
pub async fn choose_arithmetic(gpu: &GpuDevice) -> Result<Arithmetic> {
    Ok(suited(rates(gpu, &GROUPS).await?))
}

fn suited([singles, halves, bytes]: Rates) -> Arithmetic {
    let singles = singles.unwrap_or(f64::INFINITY);
    let halves = halves.filter(|ms| *ms <= HALVES * singles);
    let best = halves.unwrap_or(singles);
    Arithmetic {
        halves: halves.is_some(),
        bytes: bytes.is_some_and(|ms| ms <= BYTES * best),
    }
}

/// What as many products take by so many workgroups at most. There is none of what the adapter lacks or refuses, nor of what comes to
/// other sums than f32.
///
/// # Errors
/// As [`choose_arithmetic`].
pub async fn rates(gpu: &GpuDevice, groups: &[u32]) -> Result<Rates> {
    let mut runs = Vec::new();
    for multiply in ALL {
        let present = match multiply {
            Multiply::Singles => true,
            Multiply::Halves => gpu.has_halves(),
            Multiply::Bytes => gpu.has_packed(),
        };
        if present {
            let refused = gpu.scope();
            let run = Run::new(gpu, &text(multiply), "main", RESULTS);
            if refused.close().await.is_ok() {
                // The first one compiles, the second has next to nothing to do.
                run.time(gpu, 1).await?;
                let submit = run.time(gpu, 1).await?;
                runs.push((multiply, run, submit));
            }
        }
    }
    if runs
        .first()
        .is_none_or(|(first, ..)| *first != Multiply::Singles)
    {
        return Ok([None; 3]);
    }
    let mut ms = vec![f64::INFINITY; runs.len()];
    let mut tries = groups.iter().peekable();
    while let Some(groups) = tries.next() {
        let mut rounds = 0;
        // Once it is long enough, each has another turn, of which the faster counts.
        while rounds == 0 || rounds == 1 && (ms[0] >= ENOUGH_MS || tries.peek().is_none()) {
            for ((_, run, submit), ms) in runs.iter().zip(&mut ms) {
                let taken = (run.time(gpu, *groups).await? - submit).max(0.0);
                *ms = if rounds == 0 { taken } else { ms.min(taken) };
            }
            rounds += 1;
        }
        if ms[0] >= ENOUGH_MS {
            break;
        }
    }
    let mut found = [None; 3];
    let mut wanted = None;
    for ((multiply, run, _), ms) in runs.iter().zip(ms) {
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
        .with("eight", 8)
        .with("tiles", 0)
        .with("results", RESULTS);
    let kernel = values.fill(shader!("rates.wgsl"));
    [multiply.enables(), &values.fill(multiply.part()), &kernel].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_to_be_plainly_faster_and_bytes_no_slower_than_what_is_best_else() {
        let chosen = |rates| {
            let Arithmetic { halves, bytes } = suited(rates);
            (halves, bytes)
        };
        let ms = Some;
        assert_eq!(chosen([ms(10.0), None, None]), (false, false));
        assert_eq!(chosen([ms(10.0), ms(7.1), ms(10.1)]), (false, false));
        assert_eq!(chosen([ms(10.0), ms(6.9), ms(7.5)]), (true, false));
        assert_eq!(chosen([ms(10.0), ms(5.0), ms(2.5)]), (true, true));
        assert_eq!(chosen([ms(10.0), ms(9.0), ms(9.5)]), (false, true));
        assert_eq!(chosen([ms(10.0), None, ms(40.0)]), (false, false));
        assert_eq!(chosen([None, None, None]), (false, false));
    }
}
