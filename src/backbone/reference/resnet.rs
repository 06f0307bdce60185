//! A ResNet of bottleneck blocks in Burn, with its BatchNorms folded: SSCD.
//!
//! Channels of a pixel lie side by side, [batch, y, x, channels], so that a convolution is one linear
//! layer over its window, laid out by shifted slices; quantized matrices serve it as they
//! are. The feature is the generalised mean of the last pixels, projected, with unit length.

use burn::prelude::s;
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::linear::Linear;
use crate::backbone::assembly::{Conv, ResnetBlock, ResnetLayers};
use crate::backbone::patches::cut_windows;
use crate::backbone::{Pace, Tap};
use crate::error::Result;
use crate::format::ResnetConfig;

/// The whole backbone on one device.
#[derive(Clone, Debug)]
pub struct Resnet {
    pub config: ResnetConfig,
    pub device: Device,
    pub layers: ResnetLayers<Linear>,
}

impl Conv<Linear> {
    /// `x` [batch, h, w, in] -> [batch, h / stride, w / stride, out]; `tap` sees the windows.
    fn forward(&self, x: Tensor<4>, tap: &mut Tap<'_>) -> Tensor<4> {
        let (stride, kernel) = (self.shape.stride, self.shape.kernel);
        let windows = match kernel {
            1 => every(x, stride),
            _ => Tensor::cat(shifted(x, kernel, stride), 3),
        };
        let [batch, height, width, channels] = windows.dims();
        let windows = windows.reshape([batch, height * width, channels]);
        let name = self.shape.name.rsplit('.').next().unwrap_or_default();
        tap(name, &windows);
        let y = self.linear.forward(windows);
        y.reshape([batch, height, width, self.shape.outputs])
    }
}

impl ResnetBlock<Linear> {
    pub fn forward(&self, x: Tensor<4>, tap: &mut Tap<'_>) -> Tensor<4> {
        let [first, second, third] = &self.convolutions;
        let y = activation::relu(first.forward(x.clone(), tap));
        let y = activation::relu(second.forward(y, tap));
        let y = third.forward(y, tap);
        let x = match &self.downsample {
            Some(downsample) => downsample.forward(x, tap),
            None => x,
        };
        activation::relu(x + y)
    }
}

impl Resnet {
    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, 1, D].
    ///
    /// # Errors
    /// Those of `pace`, which counts the blocks and one step before them.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Tensor<3>> {
        let steps = self.layers.blocks.len() + 1;
        pace.step(0, steps).await?;
        let windows = stem_windows(images, &self.config, &self.device);
        let mut x = after_stem(self.layers.stem.linear.forward(windows), &self.config);
        for (i, block) in self.layers.blocks.iter().enumerate() {
            pace.step(i + 1, steps).await?;
            x = block.forward(x, &mut |_, _| {});
        }
        let y = self.layers.head.forward(pool(x, &self.config));
        let length = y.clone().powf_scalar(2.0).sum_dim(2).sqrt();
        Ok(y / length.clamp_min(1e-12))
    }
}

/// The windows of the first convolution, [batch, (side / 2)^2, 7 * 7 * 3], from [batch, 3, side, side].
pub fn stem_windows(images: &[f32], config: &ResnetConfig, device: &Device) -> Tensor<3> {
    let (side, window) = (config.image, config.stem().kernel.pow(2) * 3);
    let batch = images.len() / (3 * side * side);
    let windows = cut_windows(images, config);
    let data = TensorData::new(windows, [batch, (side / 2).pow(2), window]);
    Tensor::from_data(data, device)
}

/// What follows the first convolution's matrix: ReLU, and the maximum of 3x3 with stride 2.
pub fn after_stem(y: Tensor<3>, config: &ResnetConfig) -> Tensor<4> {
    let [batch, pixels, channels] = y.dims();
    let side = config.image / 2;
    debug_assert_eq!(pixels, side * side);
    let y = activation::relu(y).reshape([batch, side, side, channels]);
    // Nothing is below zero here, so zeros around the image change no maximum.
    let zeros = Tensor::zeros([batch, side / 2, side / 2, channels], &y.device());
    let shifted = shifted(y, 3, 2).into_iter();
    shifted.fold(zeros, |most, values| most.max_pair(values))
}

/// Generalised-mean pooling `(mean max(x, min)^p)^(1/p)` over the pixels, [batch, 1, channels].
pub fn pool(x: Tensor<4>, config: &ResnetConfig) -> Tensor<3> {
    let [batch, height, width, channels] = x.dims();
    let x = x.clamp_min(config.gem_min);
    let raised = x.powf_scalar(config.gem_power);
    let mean = raised
        .reshape([batch, height * width, channels])
        .mean_dim(1);
    mean.powf_scalar(1.0 / config.gem_power)
}

/// The slices of `x` [batch, h, w, c], with zeros around, that an odd kernel's taps see, in the order
/// (y, x); each [batch, h / stride, w / stride, c].
fn shifted(x: Tensor<4>, kernel: usize, stride: usize) -> Vec<Tensor<4>> {
    let [batch, height, width, channels] = x.dims();
    let pad = kernel / 2;
    let device = x.device();
    let rows = Tensor::<4>::zeros([batch, pad, width, channels], &device);
    let x = Tensor::cat(vec![rows.clone(), x, rows], 1);
    let columns = Tensor::<4>::zeros([batch, height + 2 * pad, pad, channels], &device);
    let x = Tensor::cat(vec![columns.clone(), x, columns], 2);
    let taps = (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x)));
    taps.map(|(top, left)| {
        let cut = x
            .clone()
            .slice(s![.., top..top + height, left..left + width, ..]);
        every(cut, stride)
    })
    .collect()
}

/// Every `stride`-th pixel of every `stride`-th row.
fn every(x: Tensor<4>, stride: usize) -> Tensor<4> {
    match stride {
        1 => x,
        _ => x.slice(s![.., ..;stride as isize, ..;stride as isize, ..]),
    }
}
