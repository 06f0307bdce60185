//! Disturbances of a picture, after which its artist is harder to tell: what a generated image keeps of
//! its training images is a manner, not their pixels.

use image::RgbImage;
use image::imageops::{FilterType, crop_imm, resize};

use super::training_set::encode;
use crate::error::Result;
use crate::random::Sequence;

/// `picture`, disturbed as `chance` has it, as JPEG: some of `other` shines through, a part of it is cut
/// out and made smaller, colours are shifted, noise is added, and little quality is left.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) when the result cannot be encoded.
pub(super) fn disturb(
    picture: &RgbImage,
    other: &RgbImage,
    chance: &mut Sequence,
) -> Result<Vec<u8>> {
    let mut range = |low: f32, high: f32| low + (high - low) * chance.unit();
    let (width, height) = picture.dimensions();
    let other = resize(other, width, height, FilterType::Triangle);
    let share = range(0.1, 0.45);
    let mut blended = picture.clone();
    for (value, over) in blended.iter_mut().zip(other.iter()) {
        *value = byte(f32::from(*value) * (1.0 - share) + f32::from(*over) * share);
    }
    let side = |length: u32, share: f32| ((length as f32 * share) as u32).clamp(1, length);
    let (wide, tall) = (side(width, range(0.5, 0.9)), side(height, range(0.5, 0.9)));
    let left = ((width - wide) as f32 * range(0.0, 1.0)) as u32;
    let top = ((height - tall) as f32 * range(0.0, 1.0)) as u32;
    let cut = crop_imm(&blended, left, top, wide, tall).to_image();
    let small = range(0.3, 0.8);
    let mut image = resize(
        &cut,
        side(wide, small),
        side(tall, small),
        FilterType::Triangle,
    );
    let grey = range(0.0, 0.7);
    let gains = [(); 3].map(|()| range(0.7, 1.3));
    let offset = range(-25.0, 25.0);
    let grain = range(2.0, 20.0);
    for pixel in image.pixels_mut() {
        let mean = pixel.0.iter().map(|&value| f32::from(value)).sum::<f32>() / 3.0;
        for (value, gain) in pixel.0.iter_mut().zip(gains) {
            let faded = f32::from(*value) * (1.0 - grey) + mean * grey;
            *value = byte(faded * gain + offset + range(-grain, grain));
        }
    }
    let quality = range(25.0, 60.0) as u8;
    encode(&image, quality)
}

fn byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbance_is_a_function_of_its_chance() {
        let ramp = RgbImage::from_fn(80, 60, |x, y| image::Rgb([x as u8 * 3, y as u8 * 4, 90]));
        let plain = RgbImage::from_pixel(50, 90, image::Rgb([200, 30, 60]));
        let by = |seed| disturb(&ramp, &plain, &mut Sequence::new(seed, 0)).unwrap();
        assert_eq!(by(1), by(1));
        assert_ne!(by(1), by(2));
        let image = image::load_from_memory(&by(1)).unwrap().to_rgb8();
        assert!((12..=57).contains(&image.width()) && (9..=43).contains(&image.height()));
    }
}
