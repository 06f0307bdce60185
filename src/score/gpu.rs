//! The GPU scorer: the same result as [`super::cpu`], on the device that the backbone runs on.
//!
//! Per shard one submission: upload, score every row, select the best k of (best so far + new rows).
//! All scores stay on the device for the calibrator; only k pairs and one sum are read back. A failed
//! submission leaves the buffers that it should have written as they were, so every readback is checked
//! against what it must contain, and is an error instead of zeros when it does not.

use std::rc::Rc;

use super::check_shard;
use super::query::QuantizedQuery;
use super::top_k::{self, Hit};
use crate::device::GpuDevice;
use crate::error::{Error, Result};
use crate::format::{Calibrator, shard::FineShard};
use crate::score::kernels::{Kernels, NORMALISER_SUMS, PAIR_BYTES, STATE_BYTES, groups};

/// Scores and best rows of one query on the GPU.
pub struct GpuScorer {
    gpu: Rc<GpuDevice>,
    kernels: Rc<Kernels>,
    query: QuantizedQuery,
    count: u64,
    k: usize,
    /// Rows in `best`.
    selected: usize,
    query_buffer: wgpu::Buffer,
    scores: wgpu::Buffer,
    best: wgpu::Buffer,
    state: wgpu::Buffer,
    params: wgpu::Buffer,
    upload: Option<Upload>,
}

/// Buffers for the rows of one shard, reused while shards are no larger.
struct Upload {
    codes: wgpu::Buffer,
    scales: wgpu::Buffer,
    pairs: wgpu::Buffer,
    rows_max: usize,
}

impl Drop for Upload {
    fn drop(&mut self) {
        for buffer in [&self.codes, &self.scales, &self.pairs] {
            buffer.destroy();
        }
    }
}

/// Browsers would free the buffers only when they collect garbage.
impl Drop for GpuScorer {
    fn drop(&mut self) {
        for buffer in [
            &self.query_buffer,
            &self.scores,
            &self.best,
            &self.state,
            &self.params,
        ] {
            buffer.destroy();
        }
    }
}

impl GpuScorer {
    /// A ranking of an index of `count` rows that keeps the best `k`.
    ///
    /// # Errors
    /// [`Error::Device`] when the scores do not fit into one buffer of the device.
    pub fn new(gpu: Rc<GpuDevice>, query: QuantizedQuery, count: u64, k: usize) -> Result<Self> {
        let limit = gpu.device().limits().max_storage_buffer_binding_size;
        if count * 4 > limit {
            return Err(Error::device(format!(
                "{count} scores do not fit into a buffer of {limit} bytes"
            )));
        }
        let k = (count as usize).min(k).max(1);
        let kernels = gpu.kernels();
        let query_buffer = gpu.storage("query", query.codes.len() * 4);
        gpu.queue()
            .write_buffer(&query_buffer, 0, bytemuck::cast_slice(&query.codes));
        Ok(Self {
            scores: gpu.storage("scores", count as usize * 4),
            best: gpu.storage("best", k * PAIR_BYTES),
            state: gpu.storage("top-k state", STATE_BYTES),
            params: gpu.uniform("parameters", 32),
            query_buffer,
            upload: None,
            gpu,
            kernels,
            query,
            count,
            k,
            selected: 0,
        })
    }

    /// See [`super::Scorer::add`].
    pub fn add(&mut self, file: &str, shard: &FineShard) -> Result<()> {
        check_shard(file, shard, self.query.dimension, self.count)?;
        let rows = shard.rows();
        if rows == 0 {
            return Ok(());
        }
        let upload = match self.upload.take() {
            Some(upload) if upload.rows_max >= rows => upload,
            _ => Upload {
                codes: self.gpu.storage("codes", rows * shard.stride),
                scales: self.gpu.storage("scales", rows * 4),
                pairs: self.gpu.storage("pairs", (self.k + rows) * PAIR_BYTES),
                rows_max: rows,
            },
        };
        let (old, total) = (self.selected, self.selected + rows);
        let wanted = self.k.min(total);
        let queue = self.gpu.queue();
        queue.write_buffer(&upload.codes, 0, bytemuck::cast_slice(&shard.codes));
        queue.write_buffer(&upload.scales, 0, bytemuck::cast_slice(&shard.scales));
        let params = [
            rows as u32,
            (shard.stride / 4) as u32,
            shard.first_row as u32,
            old as u32,
            self.query.scale.to_bits(),
        ];
        queue.write_buffer(&self.params, 0, bytemuck::cast_slice(&params));
        let mut state = vec![0u32; STATE_BYTES / 4];
        state[..2].copy_from_slice(&[total as u32, wanted as u32]);
        queue.write_buffer(&self.state, 0, bytemuck::cast_slice(&state));

        let kernels = &self.kernels;
        let score = kernels.score.bind(
            &self.gpu,
            &[
                &self.params,
                &upload.codes,
                &upload.scales,
                &self.query_buffer,
                &self.scores,
                &upload.pairs,
            ],
        );
        let select = |kernel: &super::kernels::Kernel| {
            kernel.bind(&self.gpu, &[&self.state, &upload.pairs, &self.best])
        };
        let (histogram, choose, gather) = (
            select(&kernels.histogram),
            select(&kernels.choose),
            select(&kernels.gather),
        );
        let mut encoder = self.gpu.encoder();
        encoder.copy_buffer_to_buffer(&self.best, 0, &upload.pairs, 0, (old * PAIR_BYTES) as u64);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            kernels.score.dispatch(&mut pass, &score, groups(rows));
            // With no more rows than wanted, a prefix of zero lets every row through.
            if total > wanted {
                for _ in 0..8 {
                    kernels
                        .histogram
                        .dispatch(&mut pass, &histogram, groups(total));
                    kernels.choose.dispatch(&mut pass, &choose, 1);
                }
            }
            kernels.gather.dispatch(&mut pass, &gather, groups(total));
        }
        queue.submit([encoder.finish()]);
        self.selected = wanted;
        self.upload = Some(upload);
        Ok(())
    }

    /// The best rows so far, best first.
    pub async fn hits(&mut self) -> Result<Vec<Hit>> {
        if self.selected == 0 {
            return Ok(Vec::new());
        }
        let bytes = self
            .gpu
            .read(&[(&self.state, 16), (&self.best, self.selected * PAIR_BYTES)])
            .await?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (state, pairs) = words.split_at(4);
        let mut hits: Vec<Hit> = pairs
            .chunks_exact(2)
            .map(|pair| Hit {
                id: pair[1],
                score: top_k::unordered(pair[0]),
            })
            .collect();
        top_k::sort(&mut hits);
        let sound = state[3] as usize == self.selected
            && hits
                .iter()
                .all(|h| u64::from(h.id) < self.count && h.score.is_finite())
            && hits.windows(2).all(|pair| pair[0].id != pair[1].id);
        if sound {
            Ok(hits)
        } else {
            Err(Error::device("the ranking that was read back is not one"))
        }
    }

    /// See [`super::Scorer::normaliser`]; valid once every row was added.
    pub async fn normaliser(&mut self, calibrator: &Calibrator, best: f32) -> Result<f64> {
        let bias = calibrator.effective_bias();
        let params = [
            self.count as u32,
            calibrator.inv_tau.to_bits(),
            bias.to_bits(),
            best.to_bits(),
        ];
        self.gpu
            .queue()
            .write_buffer(&self.params, 0, bytemuck::cast_slice(&params));
        let sums = self.gpu.storage("sums", NORMALISER_SUMS * 4);
        let buffers = [&self.params, &self.scores, &sums];
        let partial = self.kernels.partial.bind(&self.gpu, &buffers);
        let combine = self.kernels.combine.bind(&self.gpu, &[&sums]);
        let mut encoder = self.gpu.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let partial_groups = NORMALISER_SUMS as u32 / 64;
            self.kernels
                .partial
                .dispatch(&mut pass, &partial, partial_groups);
            self.kernels.combine.dispatch(&mut pass, &combine, 1);
        }
        self.gpu.queue().submit([encoder.finish()]);
        let bytes = self.gpu.read(&[(&sums, 4)]).await?;
        sums.destroy();
        let sum = bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)[0];
        // The best row alone contributes 1 + b.
        if sum.is_finite() && sum >= 0.999 * (1.0 + bias).max(0.0) {
            Ok(f64::from(sum))
        } else {
            Err(Error::device(format!(
                "the sum of influences that was read back is {sum}"
            )))
        }
    }
}
