//! What of an attributor lives on a device, and how it comes to another one when that is lost.
//!
//! A browser may take a GPU away at any moment: a driver that starts anew, a laptop that sleeps. Everything on it is gone
//! then, but nothing else: weights and shards are in the source's cache. So a query that fails for its device is asked
//! again on the next one, first a GPU once more, then the CPU.

use std::cell::Cell;
use std::rc::Rc;

use super::event::{Event, Host};
use crate::backbone::{Backbone, parity};
use crate::device::{Compute, DeviceChoice};
use crate::error::{Error, Result};
use crate::format::ModelHead;
use crate::source::Source;

/// Devices that are lost before the CPU takes over.
const LOSSES_MAX: usize = 2;

/// A backbone on a device.
pub(super) struct Placed {
    pub compute: Compute,
    pub reason: String,
    pub backbone: Backbone,
}

/// The backbone's files.
pub(super) struct Files<'a, S> {
    pub source: &'a S,
    pub head_file: &'a str,
    pub head: &'a ModelHead,
}

impl Placed {
    /// Chooses a device and loads the backbone onto it; `chosen` hears of the device before it does. A GPU that is
    /// lost meanwhile is replaced.
    ///
    /// # Errors
    /// Those of [`parity::choose`] and [`Backbone::load`].
    pub async fn open<S: Source>(
        files: &Files<'_, S>,
        choice: DeviceChoice,
        host: &impl Host,
        chosen: &dyn Fn(&Compute, &str),
        on_bytes: &dyn Fn(u64, bool),
    ) -> Result<Self> {
        let mut losses = 0;
        let mut choice = choice;
        loop {
            host.event(Event::Choosing);
            let (compute, reason) = parity::choose(choice, &|| host.now_ms()).await?;
            host.event(Event::Device {
                device: compute.name().into(),
                reason: reason.clone(),
            });
            chosen(&compute, &reason);
            host.breathe().await?;
            let head = files.head.clone();
            let loading = Backbone::load(files.source, files.head_file, head, &compute, on_bytes);
            match loading.await {
                Ok(backbone) => {
                    return Ok(Self {
                        compute,
                        reason,
                        backbone,
                    });
                }
                Err(error) if is_loss(&compute, &error) => {
                    losses += 1;
                    choice = next(losses).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The same backbone on the device after this one, which failed for the `losses`-th time.
    ///
    /// # Errors
    /// Those of [`Backbone::load`].
    pub async fn again<S: Source>(
        files: &Files<'_, S>,
        losses: usize,
        host: &impl Host,
    ) -> Result<Self> {
        let (bytes, total_bytes) = (Cell::new((0, 0)), files.head.bytes());
        let on_bytes = |more: u64, hit: bool| {
            let (loaded, cached) = bytes.get();
            let cached = cached + if hit { more } else { 0 };
            bytes.set((loaded + more, cached));
            host.event(Event::Model {
                loaded_bytes: loaded + more,
                total_bytes,
                cached_bytes: cached,
            });
        };
        let choice = next(losses).await;
        Self::open(files, choice, host, &|_, _| {}, &on_bytes).await
    }
}

/// The choice after so many losses: a GPU that can still be opened, or the CPU.
async fn next(losses: usize) -> DeviceChoice {
    let clock = crate::clock::now_ms;
    if losses < LOSSES_MAX && parity::choose(DeviceChoice::WebGpu, &clock).await.is_ok() {
        return DeviceChoice::WebGpu;
    }
    DeviceChoice::Cpu
}

/// Whether `error` says that the GPU failed; it is not used again then.
pub(super) fn is_loss(compute: &Compute, error: &Error) -> bool {
    match (compute, error) {
        (Compute::Gpu(gpu), Error::Device { .. }) => {
            gpu.give_up();
            true
        }
        _ => false,
    }
}

/// What `work` gives on the device at hand, or on the next where that is lost.
///
/// # Errors
/// Those of `work` and of `again`.
pub(super) async fn recovering<T>(
    placed: impl Fn() -> Rc<Placed>,
    again: impl AsyncFn(usize) -> Result<()>,
    work: impl AsyncFn(&Placed) -> Result<T>,
) -> Result<T> {
    let mut losses = 0;
    loop {
        let at = placed();
        match work(&at).await {
            Err(error) if is_loss(&at.compute, &error) => {
                losses += 1;
                // Another query may have moved the backbone already.
                if Rc::ptr_eq(&at, &placed()) {
                    again(losses).await?;
                }
            }
            done => return done,
        }
    }
}
