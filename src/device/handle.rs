//! The device and its queue as kernels use them, shareable between threads: buffers, submits, readbacks.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_channel::oneshot;

use crate::error::{Error, Result};

/// A wgpu device with its queue.
#[derive(Clone, Debug)]
pub struct GpuHandle {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Bytes of all [`GpuBuffer`]s.
    bytes: Arc<AtomicU64>,
    lost: Arc<AtomicBool>,
}

/// A buffer that is freed when it is dropped: a browser would wait for its garbage collector.
#[derive(Debug)]
pub struct GpuBuffer {
    buffer: wgpu::Buffer,
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl GpuBuffer {
    /// Bytes that were asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Deref for GpuBuffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
        self.buffer.destroy();
    }
}

/// What the device refuses between [`GpuHandle::scope`] and [`Scope::close`].
#[must_use]
pub(crate) struct Scope([wgpu::ErrorScopeGuard; 2]);

impl Scope {
    /// # Errors
    /// [`Error::Device`] for the first thing that was refused.
    pub fn close(self) -> impl Future<Output = Result<()>> + 'static {
        // Both are closed before anything is awaited, so that no other task's errors fall into them.
        let closed = self.0.map(wgpu::ErrorScopeGuard::pop);
        async {
            let mut refused = None;
            for scope in closed {
                refused = refused.or(scope.await);
            }
            match refused {
                Some(error) => Err(Error::device(error.to_string())),
                None => Ok(()),
            }
        }
    }
}

impl GpuHandle {
    /// Takes note when `device` is lost.
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let told = lost.clone();
        device.set_device_lost_callback(move |_, _| told.store(true, Ordering::Relaxed));
        Self {
            device,
            queue,
            bytes: Arc::default(),
            lost,
        }
    }

    /// Bytes of weights and results that lie on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes the device for lost, as it failed: nobody is handed it again.
    pub fn give_up(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether the device is gone, and everything on it.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The device itself.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Notes what the device refuses from here on.
    pub(crate) fn scope(&self) -> Scope {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        // In the order in which they have to be closed, which is that of dropping too.
        Scope([validation, memory])
    }

    /// Waits until everything that was submitted is done.
    ///
    /// # Errors
    /// [`Error::Device`] when the device is lost.
    pub(crate) async fn finished(&self) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            // The receiver is gone only when the query was cancelled.
            let _ = sender.send(());
        });
        self.wait()?;
        let done = receiver.await.is_ok() && !self.is_lost();
        match done {
            true => Ok(()),
            false => Err(Error::device("the device was lost")),
        }
    }

    /// Natively, callbacks come only to those who wait.
    pub(crate) fn wait(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::device(format!("waiting for the device: {e}")))?;
        Ok(())
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

    /// A zeroed storage buffer of `bytes` bytes that is freed when it is dropped.
    pub(crate) fn owned(&self, label: &str, bytes: usize) -> GpuBuffer {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        GpuBuffer {
            buffer: self.storage(label, bytes),
            bytes: bytes as u64,
            total: self.bytes.clone(),
        }
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
        let (sender, receiver) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only when the query was cancelled.
            let _ = sender.send(result);
        });
        self.wait()?;
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
