//! Images as rows: the patches of a transformer, the windows of a ResNet's first convolution.

use crate::format::{ResnetConfig, VitConfig};

/// Cuts [batch, 3, H, W] into patches [batch, rows * columns, 3 * patch * patch], each in the order
/// (channel, y, x) of a convolution kernel [out, 3, patch, patch].
pub fn cut(images: &[f32], config: &VitConfig) -> Vec<f32> {
    let (side, patch) = (config.image, config.patch);
    let grid = side / patch;
    let mut patches = Vec::with_capacity(images.len());
    for image in images.chunks_exact(3 * side * side) {
        for cell in 0..grid * grid {
            let (top, left) = (cell / grid * patch, cell % grid * patch);
            for channel in image.chunks_exact(side * side) {
                for y in top..top + patch {
                    let start = y * side + left;
                    patches.extend_from_slice(&channel[start..start + patch]);
                }
            }
        }
    }
    patches
}

/// The windows of a ResNet's first convolution with zeros around, [batch, (side / 2)^2, 7 * 7 * 3], from
/// [batch, 3, side, side].
pub fn cut_windows(images: &[f32], config: &ResnetConfig) -> Vec<f32> {
    let stem = config.stem();
    let (side, out, kernel) = (config.image, config.image / 2, stem.kernel);
    let pad = kernel / 2;
    let window = kernel * kernel * 3;
    let batch = images.len() / (3 * side * side);
    let mut windows = vec![0.0; batch * out * out * window];
    for (image, windows) in images
        .chunks_exact(3 * side * side)
        .zip(windows.chunks_exact_mut(out * out * window))
    {
        for (at, window) in windows.chunks_exact_mut(window).enumerate() {
            let (top, left) = (at / out * stem.stride, at % out * stem.stride);
            for (tap, pixel) in window.chunks_exact_mut(3).enumerate() {
                // Outside of the image stay zeros.
                let y = (top + tap / kernel).wrapping_sub(pad);
                let x = (left + tap % kernel).wrapping_sub(pad);
                if y < side && x < side {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = image[(channel * side + y) * side + x];
                    }
                }
            }
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Activation;

    #[test]
    fn patches_keep_the_order_of_a_convolution_kernel() {
        let config = VitConfig {
            image: 4,
            patch: 2,
            width: 4,
            heads: 1,
            depth: 1,
            mlp: 4,
            layer_scale: false,
            pre_norm: false,
            projection: None,
            epsilon: 1e-6,
            activation: Activation::Gelu,
        };
        let image: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let patches = cut(&image, &config);
        assert_eq!(patches.len(), 48);
        assert_eq!(
            &patches[..12],
            &[0., 1., 4., 5., 16., 17., 20., 21., 32., 33., 36., 37.]
        );
        assert_eq!(&patches[36..40], &[10., 11., 14., 15.]);
    }
}
