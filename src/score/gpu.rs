//! The GPU scorer: the same result as [`super::cpu`], on the device that the backbone runs on.
//!
//! Rows are uploaded as they come, scored, and offered to the selection of the best k ([`super::select_gpu`]),
//! which stays on the device, as do all scores for the calibrator; only k pairs and one sum are read back. A
//! failed submission leaves the buffers that it should have written as they were, so every readback is
//! checked against what it must contain, and is an error instead of zeros when it does not.

use std::ops::Range;
use std::rc::Rc;

use super::kernels::{Form, Kernel, Kernels, NORMALISER_SUMS, QUERY_BYTES, groups};
use super::planes::{Block, codes_block, rows_block};
use super::select_gpu::Selection;
use super::top_k::Hit;
use super::{Query, check_codes, check_shard};
use crate::device::GpuDevice;
use crate::error::{Error, Result};
use crate::format::Calibrator;
use crate::format::clustered::{CodeRows, Head};
use crate::format::shard::FineShard;

/// Most scores in one buffer: 16 MB.
const SCORES_MAX: usize = 4 << 20;

/// Scores and best rows of one query on the GPU.
pub struct GpuScorer {
    gpu: Rc<GpuDevice>,
    kernels: Rc<Kernels>,
    kernel: Rc<Kernel>,
    query: Query,
    count: u64,
    /// Rows that came.
    rows: usize,
    selection: Selection,
    query_buffer: wgpu::Buffer,
    params: wgpu::Buffer,
    scores: Vec<Scores>,
    pub(super) upload: Option<Upload>,
}

/// A buffer of scores, in the order in which the rows came.
struct Scores {
    buffer: wgpu::Buffer,
    filled: usize,
    capacity: usize,
}

/// Rows on the device; the buffers are used again while blocks are no larger.
pub(super) struct Upload {
    planes: wgpu::Buffer,
    values: wgpu::Buffer,
    bases: wgpu::Buffer,
    pub rows: usize,
    pub first_id: u32,
    params: [u32; 2],
}

impl Drop for Upload {
    fn drop(&mut self) {
        for buffer in [&self.planes, &self.values, &self.bases] {
            buffer.destroy();
        }
    }
}

/// Browsers would free the buffers only when they collect garbage.
impl Drop for GpuScorer {
    fn drop(&mut self) {
        self.query_buffer.destroy();
        self.params.destroy();
        self.scores.iter().for_each(|s| s.buffer.destroy());
    }
}

impl GpuScorer {
    /// A ranking of an index of `count` rows that keeps the best `k`.
    ///
    /// # Errors
    /// [`Error::Device`] when k rows do not fit into one buffer of the device.
    pub fn new(gpu: Rc<GpuDevice>, query: impl Into<Query>, count: u64, k: usize) -> Result<Self> {
        let query = query.into();
        let kernels = gpu.kernels();
        let way = gpu.way();
        let selecting = kernels.selection(gpu.device(), way.memory);
        let selection = Selection::new(&gpu, selecting, count as usize, k)?;
        let query_buffer = gpu.uniform("query", QUERY_BYTES);
        let (codes, form) = match &query {
            Query::Rows(query) => {
                let words = query.codes.len() / 4;
                (query.codes.as_slice(), Form::Rows { words })
            }
            // The fields of equal shift of a word are four dimensions that follow each other.
            Query::Codes(query) => (query.codes(), Form::of_codes(query.widths())),
        };
        let packed = way.products.query(codes);
        gpu.queue()
            .write_buffer(&query_buffer, 0, bytemuck::cast_slice(&packed));
        Ok(Self {
            params: gpu.uniform("parameters", 32),
            kernel: kernels.scan(gpu.device(), form, way.products, way.places),
            selection,
            query_buffer,
            scores: Vec::new(),
            upload: None,
            gpu,
            kernels,
            query,
            count,
            rows: 0,
        })
    }

    /// See [`super::Scorer::add`].
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        let query = self.query.rows()?;
        check_shard(file, shard, query.dimension, self.count)?;
        let rows = shard.rows();
        let most = self.rows_max(shard.stride);
        for first in (0..rows).step_by(most) {
            let query = self.query.rows()?;
            let block = rows_block(query, shard, first, most.min(rows - first));
            self.upload(block);
            self.scan();
        }
        Ok(())
    }

    /// See [`super::Scorer::add_codes`].
    pub fn add_codes(&mut self, file: &str, head: &Head, codes: &CodeRows) -> Result<()> {
        let query = self.query.codes()?;
        check_codes(file, head, codes, query, self.count)?;
        let rows = codes.rows();
        let most = self.rows_max(4 * codes.words_per_row);
        for first in (0..rows).step_by(most) {
            let query = self.query.codes()?;
            let block = codes_block(query, head, codes, first, most.min(rows - first));
            self.upload(block);
            self.scan();
        }
        Ok(())
    }

    /// Rows of `bytes` bytes that fit into one buffer.
    fn rows_max(&self, bytes: usize) -> usize {
        let limit = self.gpu.device().limits().max_storage_buffer_binding_size;
        (limit as usize / bytes.max(4) / 4 * 4).max(4)
    }

    pub(super) fn upload(&mut self, block: Block) {
        let fits = |buffer: &wgpu::Buffer, bytes: usize| buffer.size() >= bytes as u64;
        let bytes = [
            16 * block.planes.len(),
            4 * block.values.len(),
            8 * block.bases.len(),
        ];
        let old = self.upload.take().filter(|old| {
            fits(&old.planes, bytes[0]) && fits(&old.values, bytes[1]) && fits(&old.bases, bytes[2])
        });
        let mut upload = old.unwrap_or_else(|| Upload {
            planes: self.gpu.storage("planes", bytes[0]),
            values: self.gpu.storage("scales or terms", bytes[1]),
            bases: self.gpu.storage("bases", bytes[2]),
            rows: 0,
            first_id: 0,
            params: [0; 2],
        });
        let queue = self.gpu.queue();
        queue.write_buffer(&upload.planes, 0, bytemuck::cast_slice(&block.planes));
        queue.write_buffer(&upload.values, 0, bytemuck::cast_slice(&block.values));
        queue.write_buffer(&upload.bases, 0, bytemuck::cast_slice(&block.bases));
        upload.rows = block.rows;
        upload.first_id = block.first_id;
        upload.params = block.params;
        self.upload = Some(upload);
    }

    /// Scores the uploaded rows, in as many dispatches as the selection and the buffers of scores want.
    pub(super) fn scan(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        let mut start = 0;
        while start < upload.rows {
            let full = self.scores.last().is_none_or(|s| s.filled == s.capacity);
            if full {
                let left = (self.count as usize).saturating_sub(self.rows);
                let capacity = left.clamp(upload.rows - start, SCORES_MAX.max(upload.rows));
                self.scores.push(Scores {
                    buffer: self.gpu.storage("scores", capacity * 4),
                    filled: 0,
                    capacity,
                });
            }
            let Some(scores) = self.scores.last_mut() else {
                return;
            };
            let rows = (upload.rows - start).min(scores.capacity - scores.filled);
            let rows = self.selection.accepts(rows);
            let (place, buffer) = (scores.filled, scores.buffer.clone());
            let group = self.bound(&upload, start..start + rows, &buffer, place);
            let mut encoder = self.gpu.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                // Four rows an invocation; the first and the last four may lie in part outside.
                self.kernel
                    .dispatch(&mut pass, &group, groups(rows.div_ceil(4) + 1));
            }
            self.selection.offered(&mut encoder, rows);
            self.gpu.queue().submit([encoder.finish()]);
            if let Some(scores) = self.scores.last_mut() {
                scores.filled += rows;
            }
            self.rows += rows;
            start += rows;
        }
        self.upload = Some(upload);
    }

    /// Binds the scan's kernel to `rows` of the upload, whose scores lie in `scores` from `place` on.
    fn bound(
        &self,
        upload: &Upload,
        rows: Range<usize>,
        scores: &wgpu::Buffer,
        place: usize,
    ) -> wgpu::BindGroup {
        let params = [
            rows.start as u32,
            rows.end as u32,
            upload.rows.div_ceil(4) as u32,
            upload.first_id,
            place as u32,
            upload.params[0],
            upload.params[1],
        ];
        let queue = self.gpu.queue();
        queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&params));
        // The kernel for rows has no bases.
        let buffers = [
            &self.params,
            scores,
            &self.selection.pairs,
            &self.selection.state,
            &upload.planes,
            &self.query_buffer,
            &upload.values,
            &upload.bases,
        ];
        self.kernel
            .bind(&self.gpu, &buffers.map(|b| b.as_entire_binding()))
    }

    /// The scan of all uploaded rows by itself, after [`Self::scan`]; for `bandwidth`.
    #[cfg(feature = "cli")]
    pub(super) fn whole_scan(&self) -> Option<crate::device::peaks::Bound> {
        let upload = self.upload.as_ref()?;
        let buffer = &self.scores.first()?.buffer;
        let group = self.bound(upload, 0..upload.rows, buffer, 0);
        Some(crate::device::peaks::Bound {
            pipeline: self.kernel.pipeline().clone(),
            group,
            groups: [groups(upload.rows.div_ceil(4) + 1), 1, 1],
        })
    }

    /// The best rows so far, best first.
    pub async fn hits(&mut self) -> Result<Vec<Hit>> {
        self.selection.hits(&self.gpu, self.count).await
    }

    /// See [`super::Scorer::normaliser`].
    pub async fn normaliser(&mut self, calibrator: &Calibrator, best: f32) -> Result<f64> {
        let sums = self.gpu.storage("sums", NORMALISER_SUMS * 4);
        let counts = self.gpu.storage("counts", NORMALISER_SUMS * 4);
        for scores in &self.scores {
            let params = [
                scores.filled as u32,
                calibrator.inv_tau.to_bits(),
                calibrator.effective_bias().to_bits(),
                best.to_bits(),
            ];
            let queue = self.gpu.queue();
            queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&params));
            let resources =
                [&self.params, &scores.buffer, &sums, &counts].map(|b| b.as_entire_binding());
            let group = self.kernels.partial.bind(&self.gpu, &resources);
            self.run(&self.kernels.partial, &group, NORMALISER_SUMS as u32 / 64);
        }
        let resources = [&sums, &counts].map(|b| b.as_entire_binding());
        let group = self.kernels.combine.bind(&self.gpu, &resources);
        self.run(&self.kernels.combine, &group, 1);
        let bytes = self.gpu.read(&[(&sums, 4), (&counts, 4)]).await?;
        sums.destroy();
        counts.destroy();
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (sum, rows) = (f32::from_bits(words[0]), words[1]);
        match sum.is_finite() && rows == self.rows as u32 {
            true => Ok(f64::from(sum)),
            false => Err(Error::device(format!(
                "the sum of influences that was read back is {sum}, of {rows} rows instead of {}",
                self.rows
            ))),
        }
    }

    fn run(&self, kernel: &Kernel, group: &wgpu::BindGroup, groups: u32) {
        let mut encoder = self.gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            kernel.dispatch(&mut pass, group, groups);
        }
        self.gpu.queue().submit([encoder.finish()]);
    }
}
