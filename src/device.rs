//! Where computation happens: the CPU, or the one GPU device that a page shares.
//!
//! Burn and the crate's own kernels use the same wgpu device and queue. A process has at most one
//! such device, opened on first use. Invariant: a [`Compute::Gpu`] that `backbone::parity` hands out has
//! passed its check.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::score::kernels::Kernels;

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

    /// Bytes that Burn's tensors hold on the GPU; `None` on the CPU.
    pub fn tensor_bytes(&self) -> Option<u64> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => gpu.burn.memory_pool_usage().map(|usage| usage.bytes_in_use),
        }
    }
}

/// An opened GPU, shared by Burn and the crate's kernels.
pub struct GpuDevice {
    burn: Device,
    setup: WgpuSetup,
    kernels: RefCell<Option<Rc<Kernels>>>,
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
        let opening = OPENING.with(|opening| {
            opening
                .borrow_mut()
                .get_or_insert_with(|| Self::acquire().boxed_local().shared())
                .clone()
        });
        let opened = opening.await;
        if opened.is_err() {
            // A later call may find a GPU.
            OPENING.with(|opening| *opening.borrow_mut() = None);
        }
        opened.map_err(Error::device)
    }

    async fn acquire() -> Result<Rc<Self>, String> {
        let (burn, setup) = Device::wgpu_options()
            .init_with_setup_async()
            .await
            .map_err(|e| format!("no usable adapter: {e}"))?;
        Ok(Rc::new(Self {
            burn,
            setup,
            kernels: RefCell::new(None),
        }))
    }

    /// The adapter's own description.
    pub fn description(&self) -> String {
        let info = self.setup.adapter.get_info();
        [info.name, info.driver, info.driver_info]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "unnamed adapter".into())
    }

    /// Whether the adapter says that it emulates a GPU on the CPU.
    pub fn is_software(&self) -> bool {
        self.setup.adapter.get_info().device_type == wgpu::DeviceType::Cpu
    }

    /// Burn's handle of this device.
    pub fn burn(&self) -> &Device {
        &self.burn
    }

    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.setup.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.setup.queue
    }

    /// The scoring kernels, compiled on the first call.
    pub(crate) fn kernels(&self) -> Rc<Kernels> {
        self.kernels
            .borrow_mut()
            .get_or_insert_with(|| Rc::new(Kernels::new(self.device())))
            .clone()
    }

    pub(crate) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&Default::default())
    }

    /// A zeroed storage buffer of at least `bytes` bytes.
    pub(crate) fn storage(&self, label: &str, bytes: usize) -> wgpu::Buffer {
        self.buffer(
            label,
            bytes,
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        )
    }

    pub(crate) fn uniform(&self, label: &str, bytes: usize) -> wgpu::Buffer {
        self.buffer(label, bytes, wgpu::BufferUsages::UNIFORM)
    }

    fn buffer(&self, label: &str, bytes: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16) as u64,
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Reads the first bytes of each buffer, one after another.
    ///
    /// # Errors
    /// [`Error::Device`] when the device is lost or the buffers cannot be mapped.
    pub(crate) async fn read(&self, parts: &[(&wgpu::Buffer, usize)]) -> Result<Vec<u8>> {
        let total = parts.iter().map(|(_, bytes)| bytes).sum::<usize>() as u64;
        let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: total,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        let mut offset = 0;
        for (buffer, bytes) in parts {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, offset, *bytes as u64);
            offset += *bytes as u64;
        }
        self.queue().submit([encoder.finish()]);
        let (sender, receiver) = futures_channel::oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only when the query was cancelled.
            let _ = sender.send(result);
        });
        #[cfg(not(target_arch = "wasm32"))]
        self.device()
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::device(format!("waiting for the device: {e}")))?;
        receiver
            .await
            .map_err(|_| Error::device("the device was lost"))?
            .map_err(|e| Error::device(format!("reading a buffer back: {e}")))?;
        let view = staging
            .get_mapped_range(..)
            .map_err(|e| Error::device(format!("reading a buffer back: {e}")))?;
        let bytes = view.to_vec();
        drop(view);
        // Browsers free buffers late by themselves.
        staging.destroy();
        Ok(bytes)
    }
}
