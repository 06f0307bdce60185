//! Where computation happens: the CPU, or the one GPU device that a page shares.
//!
//! All kernels of the crate use one wgpu device and queue. A process has at most one such device, opened on first
//! use and again once it was lost. Invariant: a [`Compute::Gpu`] that `backbone::parity` hands out has
//! passed its check.

mod handle;
#[cfg(feature = "cli")]
pub mod peaks;

use std::cell::{Cell, RefCell, RefMut};
use std::ops::Deref;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use serde::{Deserialize, Serialize};

use crate::backbone::recorded::arithmetic::choose_arithmetic;
use crate::backbone::recorded::choose::choose_family;
use crate::backbone::recorded::kernel::{Arithmetic, Family, Pipelines};
use crate::error::{Error, Result};
use crate::score::kernels::{Kernels, MEMORY_LEAST, Places, Products, Way, memories};

pub use handle::{GpuBuffer, GpuHandle};

/// Which device the caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The faster one, by a short measurement.
    #[default]
    Auto,
    Cpu,
    WebGpu,
}

/// The device in use.
#[derive(Clone)]
pub enum Compute {
    Cpu,
    Gpu(Rc<GpuDevice>),
}

impl Compute {
    /// `cpu` or `webgpu`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu(_) => "webgpu",
        }
    }

    /// Bytes of weights and results that lie on the GPU; `None` on the CPU.
    pub fn tensor_bytes(&self) -> Option<u64> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => Some(gpu.bytes()),
        }
    }
}

/// An opened GPU.
pub struct GpuDevice {
    adapter: wgpu::Adapter,
    handle: GpuHandle,
    kernels: RefCell<Option<Rc<Kernels>>>,
    /// Those of backbones.
    pipelines: RefCell<Pipelines>,
    /// Which kernels suit the adapter, once measured: those of backbones, and how queries are scanned.
    family: Cell<Option<Family>>,
    /// What tiles multiply with.
    arithmetic: Cell<Arithmetic>,
    /// Whether shaders may use subgroups.
    has_subgroups: bool,
    /// Whether shaders may use f16.
    has_halves: bool,
    /// Whether shaders may name packed dot products.
    has_packed: bool,
    /// How queries are scanned, where that was said.
    way: Cell<Option<Way>>,
}

impl Deref for GpuDevice {
    type Target = GpuHandle;

    fn deref(&self) -> &GpuHandle {
        &self.handle
    }
}

type Opening = Shared<LocalBoxFuture<'static, Result<Rc<GpuDevice>, String>>>;

thread_local! {
    static OPENING: RefCell<Option<Opening>> = const { RefCell::new(None) };
}

impl GpuDevice {
    /// The GPU of this process; the first call opens it, calls at the same time wait for that one.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no usable adapter.
    pub async fn open() -> Result<Rc<Self>> {
        loop {
            let opening = OPENING.with(|opening| {
                opening
                    .borrow_mut()
                    .get_or_insert_with(|| Self::acquire().boxed_local().shared())
                    .clone()
            });
            let opened = opening.clone().await;
            match opened {
                Ok(gpu) if !gpu.is_lost() => return Ok(gpu),
                // A later call may find a GPU, or another than the one that was lost.
                found => {
                    OPENING.with(|current| {
                        let mut current = current.borrow_mut();
                        if current.as_ref().is_some_and(|now| now.ptr_eq(&opening)) {
                            *current = None;
                        }
                    });
                    found.map_err(Error::device)?;
                }
            }
        }
    }

    async fn acquire() -> Result<Rc<Self>, String> {
        let instance = wgpu::Instance::default();
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|e| format!("no usable adapter: {e}"))?;
        // In browsers wgpu does not know them; www/subgroups.js asks for them.
        let subgroups = adapter.features() & wgpu::Features::SUBGROUP;
        let halves = adapter.features() & wgpu::Features::SHADER_F16;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                // What the adapter has, for large weights and selections in more memory; no kernel needs more than all have.
                required_limits: adapter.limits(),
                required_features: subgroups | halves,
                ..Default::default()
            })
            .await
            .map_err(|e| format!("no usable device: {e}"))?;
        Ok(Rc::new(Self {
            adapter,
            handle: GpuHandle::new(device, queue),
            kernels: RefCell::new(None),
            pipelines: RefCell::default(),
            family: Cell::new(None),
            arithmetic: Cell::default(),
            has_halves: !halves.is_empty(),
            has_subgroups: !subgroups.is_empty() || granted_by_the_page(),
            has_packed: instance
                .wgsl_language_features()
                .contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct),
            way: Cell::new(None),
        }))
    }

    /// The adapter's own description.
    pub fn description(&self) -> String {
        let info = self.adapter.get_info();
        [info.name, info.driver, info.driver_info]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "unnamed adapter".into())
    }

    /// Whether the adapter says that it emulates a GPU on the CPU.
    pub fn is_software(&self) -> bool {
        self.adapter.get_info().device_type == wgpu::DeviceType::Cpu
    }

    /// Whether shaders may use the instructions of subgroups.
    pub fn has_subgroups(&self) -> bool {
        self.has_subgroups
    }

    /// Whether shaders may use f16.
    pub fn has_halves(&self) -> bool {
        self.has_halves
    }

    /// Whether shaders may name packed dot products, which needs no instruction for them.
    pub fn has_packed(&self) -> bool {
        self.has_packed
    }

    /// Which backbone kernels suit the adapter: measured on the first call, and remembered.
    ///
    /// # Errors
    /// Those of [`choose_family`] and [`choose_arithmetic`].
    pub async fn family(self: &Rc<Self>) -> Result<Family> {
        if let Some(family) = self.family.get() {
            return Ok(family);
        }
        let family = choose_family(self).await?;
        if family.has_tiles() {
            self.arithmetic.set(choose_arithmetic(self).await?);
        }
        self.family.set(Some(family));
        Ok(family)
    }

    /// What the linear layers of backbones that are loaded from now on multiply with in tiles, once [`Self::family`] has measured it.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic.get()
    }

    /// Makes it `arithmetic`, and the kernels those of `family`, from now on.
    pub fn take(&self, family: Family, arithmetic: Arithmetic) {
        self.family.set(Some(family));
        self.arithmetic.set(arithmetic);
    }

    /// The kernels of backbones that it has compiled.
    pub(crate) fn pipelines(&self) -> RefMut<'_, Pipelines> {
        self.pipelines.borrow_mut()
    }

    /// Takes the family that does the same without subgroups, if one with them was chosen; says whether it was.
    pub(crate) fn give_up_subgroups(&self) -> bool {
        let without = match self.family.get() {
            Some(Family::Subgroups) => Family::Tiles,
            Some(Family::Quads) => Family::Registers,
            _ => return false,
        };
        self.family.set(Some(without));
        true
    }

    /// How queries that begin from now on are scanned: as [`Self::scan_by`] says, or else as suits what is known of the adapter.
    pub fn way(&self) -> Way {
        let family = self.family.get();
        let is_real = family.is_some_and(Family::has_tiles);
        let suited = || Way {
            products: match is_real && self.has_packed {
                true => Products::Packed,
                false => Products::Single,
            },
            places: match family {
                Some(Family::Subgroups) => Places::Subgroups,
                _ => Places::Atomics,
            },
            memory: match is_real {
                true => memories(self.device()).last().unwrap_or(MEMORY_LEAST),
                false => MEMORY_LEAST,
            },
        };
        self.way.get().unwrap_or_else(suited)
    }

    /// Scans so from now on; for tests and benchmarks.
    pub fn scan_by(&self, way: Way) {
        self.way.set(Some(way));
    }

    /// The scoring kernels, compiled on the first call.
    pub(crate) fn kernels(&self) -> Rc<Kernels> {
        self.kernels
            .borrow_mut()
            .get_or_insert_with(|| Rc::new(Kernels::new(self.device())))
            .clone()
    }
}

/// Whether the last device came with subgroups that wgpu does not know of.
fn granted_by_the_page() -> bool {
    #[cfg(target_arch = "wasm32")]
    return js_sys::Reflect::get(&js_sys::global(), &"gpuHasSubgroups".into())
        .is_ok_and(|granted| granted.is_truthy());
    #[cfg(not(target_arch = "wasm32"))]
    false
}
