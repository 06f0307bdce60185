//! A ResNet of bottleneck blocks on the CPU: see `backbone::reference::resnet`.
//!
//! Channels of a pixel lie side by side, [y, x, channels]; a convolution is one linear layer over its windows.

use super::super::Pace;
use super::super::assembly::{Conv, ResnetBlock, ResnetLayers};
use super::super::cpu_kernels::Epilogue;
use super::super::patches::cut_windows;
use super::CpuLinear;
use crate::error::Result;
use crate::format::ResnetConfig;
use crate::format::architecture::Convolution;

/// The whole backbone.
#[derive(Clone, Debug)]
pub struct CpuResnet {
    pub config: ResnetConfig,
    pub layers: ResnetLayers<CpuLinear>,
}

/// Pixels [side, side, channels] of a square image.
struct Plane {
    side: usize,
    values: Vec<f32>,
}

impl Conv<CpuLinear> {
    fn forward(&self, x: &Plane, epilogue: Epilogue<'_>) -> Plane {
        let Convolution { kernel, stride, .. } = self.shape;
        let values = match (kernel, stride) {
            (1, 1) => self.linear.forward(&x.values, epilogue),
            _ => self.linear.forward(&windows(x, &self.shape), epilogue),
        };
        Plane {
            side: x.side / stride,
            values,
        }
    }
}

impl ResnetBlock<CpuLinear> {
    fn forward(&self, x: &Plane) -> Plane {
        let [first, second, third] = &self.convolutions;
        let y = first.forward(x, Epilogue::Relu);
        let y = second.forward(&y, Epilogue::Relu);
        let shortcut = self
            .downsample
            .as_ref()
            .map(|conv| conv.forward(x, Epilogue::None));
        let residual = &shortcut.as_ref().unwrap_or(x).values;
        third.forward(&y, Epilogue::ResidualRelu { residual })
    }
}

impl CpuResnet {
    /// `images`: row-major [batch, 3, H, W], preprocessed -> features [batch, D] of unit length.
    ///
    /// # Errors
    /// Those of `pace`, which counts the blocks and one step before them, for each image.
    pub async fn forward(&self, images: &[f32], pace: &impl Pace) -> Result<Vec<f32>> {
        let side = self.config.image;
        let steps = self.layers.blocks.len() + 1;
        let mut features = Vec::new();
        for image in images.chunks_exact(3 * side * side) {
            pace.step(0, steps).await?;
            let windows = cut_windows(image, &self.config);
            let mut x = max_pool(&Plane {
                side: side / 2,
                values: self.layers.stem.linear.forward(&windows, Epilogue::Relu),
            });
            for (i, block) in self.layers.blocks.iter().enumerate() {
                pace.step(i + 1, steps).await?;
                x = block.forward(&x);
            }
            let y = self.layers.head.forward(&self.pool(&x), Epilogue::None);
            let length = y.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
            features.extend(y.iter().map(|v| v / length));
        }
        Ok(features)
    }

    /// Generalised-mean pooling `(mean max(x, min)^p)^(1/p)` over the pixels, [channels].
    fn pool(&self, x: &Plane) -> Vec<f32> {
        let pixels = x.side * x.side;
        let (least, power) = (self.config.gem_min, self.config.gem_power);
        let mut sums = vec![0.0; x.values.len() / pixels];
        for pixel in x.values.chunks_exact(sums.len()) {
            let values = pixel.iter().map(|value| value.max(least));
            // A power costs as much as a hundred products, and is SSCD's 3 as a rule.
            if power == 3.0 {
                sums.iter_mut()
                    .zip(values)
                    .for_each(|(sum, v)| *sum += v * v * v);
            } else {
                sums.iter_mut()
                    .zip(values)
                    .for_each(|(sum, v)| *sum += v.powf(power));
            }
        }
        let mean = |sum: &f32| (sum / pixels as f32).powf(1.0 / power);
        sums.iter().map(mean).collect()
    }
}

/// The windows of a convolution with zeros around, [(side / stride)^2, kernel * kernel * channels].
fn windows(x: &Plane, shape: &Convolution) -> Vec<f32> {
    let Convolution {
        kernel,
        stride,
        inputs,
        ..
    } = *shape;
    let (side, out, pad) = (x.side, x.side / stride, kernel / 2);
    let mut windows = vec![0.0; out * out * kernel * kernel * inputs];
    for (at, window) in windows
        .chunks_exact_mut(kernel * kernel * inputs)
        .enumerate()
    {
        let (top, left) = (at / out * stride, at % out * stride);
        for (tap, pixel) in window.chunks_exact_mut(inputs).enumerate() {
            // Outside of the image stay zeros.
            let y = (top + tap / kernel).wrapping_sub(pad);
            let x_at = (left + tap % kernel).wrapping_sub(pad);
            if y < side && x_at < side {
                pixel.copy_from_slice(&x.values[(y * side + x_at) * inputs..][..inputs]);
            }
        }
    }
    windows
}

/// The maximum of 3x3 with stride 2; nothing is below zero here, so zeros around change no maximum.
fn max_pool(x: &Plane) -> Plane {
    let (side, out) = (x.side, x.side / 2);
    let channels = x.values.len() / (side * side);
    let mut values = vec![0.0f32; out * out * channels];
    for (at, most) in values.chunks_exact_mut(channels).enumerate() {
        let (top, left) = (at / out * 2, at % out * 2);
        for tap in 0..9 {
            let y = (top + tap / 3).wrapping_sub(1);
            let x_at = (left + tap % 3).wrapping_sub(1);
            if y < side && x_at < side {
                let pixel = &x.values[(y * side + x_at) * channels..][..channels];
                most.iter_mut()
                    .zip(pixel)
                    .for_each(|(most, v)| *most = most.max(*v));
            }
        }
    }
    Plane { side: out, values }
}
