//! Where a forward pass on the GPU spends its time, kernel by kernel; for `data-attribution bench-kernels`.
//!
//! Calls of one kernel and size are repeated by themselves, those of all blocks in turn, so that weights come from
//! where they come from in a pass. Bound buffers hold whatever the last pass has left.

use serde::Serialize;

use super::Recorded;
use super::pass::Called;
use crate::device::peaks::{Bound, timed};
use crate::error::Result;

/// Calls of one kernel and size.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub what: &'static str,
    /// The first sizes it is given: of a linear layer rows, fours of outputs and fours of inputs, in bytes sixteens.
    pub sides: [u32; 3],
    pub calls: usize,
    /// Of one call.
    pub seconds: f64,
    /// Multiply-adds of one call; 0 where others take the time.
    pub products: usize,
}

impl Recorded {
    /// The calls of a pass by kind, in the order in which they first come; and seconds of a whole pass. `times` runs are
    /// submitted at once.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when the device is lost.
    pub fn profile(&self, times: usize) -> Result<(Vec<Step>, f64)> {
        let calls: Vec<(Called, Bound)> = self
            .pass
            .dispatches
            .iter()
            .map(|call| {
                let bound = Bound {
                    pipeline: call.pipeline.clone(),
                    group: call.group.clone(),
                    groups: call.kernel.groups,
                };
                (call.kernel, bound)
            })
            .collect();
        let mut kinds: Vec<Called> = Vec::new();
        for (kernel, _) in &calls {
            if !kinds.contains(kernel) {
                kinds.push(*kernel);
            }
        }
        let mut steps = Vec::new();
        for kind in kinds {
            let same = || calls.iter().filter(move |(kernel, _)| *kernel == kind);
            let count = same().count();
            let seconds = timed(&self.pass.gpu, same().map(|(_, bound)| bound), times)?;
            steps.push(Step {
                what: kind.what,
                sides: [kind.dims[0], kind.dims[1], kind.dims[2]],
                calls: count,
                seconds: seconds / (count * times) as f64,
                products: kind.products,
            });
        }
        let whole = timed(&self.pass.gpu, calls.iter().map(|(_, bound)| bound), times)?;
        Ok((steps, whole / times as f64))
    }
}
