//! The best k rows on the GPU: candidates, and when they are cut down to k.
//!
//! The scoring kernels append to `pairs` what is not below the threshold, the k-th best of the last selection.
//! How many those are only the device knows, so that room is kept for every row. Selections happen after
//! 4096 rows and then whenever there are eight times as many: of rows in random order, some 2 k pass each time, and
//! the selections, of one dispatch each, cost little beside the scan; of rows that get better and better
//! all pass, and each is looked at twice.

use std::rc::Rc;

use super::kernels::{Kernel, PAIR_BYTES, STATE_BYTES};
use super::top_k::{self, Hit};
use crate::device::GpuDevice;
use crate::error::{Error, Result};

/// Rows before the first selection.
const FIRST_ROWS: usize = 4096;
/// Rows after a selection, as a multiple of those after the one before.
const GROWTH: usize = 8;
/// Most rows between two selections: 8 MB of candidates.
const ROWS_MAX: usize = 1 << 20;

/// Candidates for the best k of up to `count` rows.
pub(super) struct Selection {
    k: usize,
    /// Rows that `pairs` has room for beside k.
    room: usize,
    /// Rows in all.
    rows: usize,
    /// Rows since the last selection.
    pending: usize,
    /// Rows that may come before the next one.
    due: usize,
    pub pairs: wgpu::Buffer,
    pub state: wgpu::Buffer,
    best: wgpu::Buffer,
    params: wgpu::Buffer,
    kernel: Rc<Kernel>,
    bound: wgpu::BindGroup,
}

/// Browsers would free the buffers only when they collect garbage.
impl Drop for Selection {
    fn drop(&mut self) {
        for buffer in [&self.pairs, &self.state, &self.best, &self.params] {
            buffer.destroy();
        }
    }
}

impl Selection {
    /// # Errors
    /// [`Error::Device`] when k pairs do not fit into one buffer of the device.
    pub fn new(gpu: &GpuDevice, kernel: Rc<Kernel>, count: usize, k: usize) -> Result<Self> {
        let limit = gpu.device().limits().max_storage_buffer_binding_size as usize;
        let k = k.min(count).max(1);
        let room = (limit / PAIR_BYTES).saturating_sub(k);
        let room = room.min(ROWS_MAX).min(count.max(1));
        if room < count.clamp(1, FIRST_ROWS) {
            return Err(Error::device(format!(
                "the best {k} rows do not fit into a buffer of {limit} bytes"
            )));
        }
        let pairs = gpu.storage("pairs", (k + room) * PAIR_BYTES);
        let state = gpu.storage("top-k state", STATE_BYTES);
        let best = gpu.storage("best", k * PAIR_BYTES);
        let params = gpu.uniform("k", 16);
        gpu.queue()
            .write_buffer(&params, 0, bytemuck::bytes_of(&(k as u32)));
        let bound = [&params, &state, &pairs, &best].map(|buffer| buffer.as_entire_binding());
        Ok(Self {
            bound: kernel.bind(gpu, &bound),
            k,
            room,
            rows: 0,
            pending: 0,
            due: room.min(FIRST_ROWS.max(4 * k)),
            pairs,
            state,
            best,
            params,
            kernel,
        })
    }

    /// How many of `rows` may be offered now: at least one of them.
    pub fn accepts(&self, rows: usize) -> usize {
        rows.min(self.due - self.pending)
    }

    /// To be called after the commands that offer `rows` rows, as many as it accepts; records a selection
    /// where one is due.
    pub fn offered(&mut self, encoder: &mut wgpu::CommandEncoder, rows: usize) {
        self.rows += rows;
        self.pending += rows;
        if self.pending >= self.due {
            self.select(encoder);
        }
    }

    fn select(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.kernel.dispatch(&mut pass, &self.bound, 1);
        drop(pass);
        let bytes = (self.selected() * PAIR_BYTES) as u64;
        encoder.copy_buffer_to_buffer(&self.best, 0, &self.pairs, 0, bytes);
        self.pending = 0;
        self.due = self
            .rows
            .saturating_mul(GROWTH - 1)
            .clamp(self.room.min(FIRST_ROWS), self.room);
    }

    fn selected(&self) -> usize {
        self.k.min(self.rows)
    }

    /// The best of the rows so far, best first, of an index of `count` rows.
    ///
    /// # Errors
    /// [`Error::Device`] when the device is lost or what it gives is no ranking.
    pub async fn hits(&mut self, gpu: &GpuDevice, count: u64) -> Result<Vec<Hit>> {
        if self.rows == 0 {
            return Ok(Vec::new());
        }
        if self.pending > 0 {
            let mut encoder = gpu.encoder();
            self.select(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
        }
        let selected = self.selected();
        let bytes = gpu
            .read(&[
                (&self.state, STATE_BYTES),
                (&self.best, selected * PAIR_BYTES),
            ])
            .await?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (state, pairs) = words.split_at(STATE_BYTES / 4);
        let mut hits: Vec<Hit> = pairs
            .chunks_exact(2)
            .map(|pair| Hit {
                id: pair[1],
                score: top_k::unordered(pair[0]),
            })
            .collect();
        top_k::sort(&mut hits);
        let sound = state[1] as usize == selected
            && hits
                .iter()
                .all(|h| u64::from(h.id) < count && h.score.is_finite())
            && hits.windows(2).all(|pair| pair[0].id != pair[1].id);
        match sound {
            true => Ok(hits),
            false => Err(Error::device("the ranking that was read back is not one")),
        }
    }
}
