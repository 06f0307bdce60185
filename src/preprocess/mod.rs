//! From an image file to the numbers that a backbone reads, bit for bit as the Python pipeline does.
//!
//! The features of the training images were computed in Python: Pillow decodes
//! (`Image.open(path).convert("RGB")`), torchvision resizes, crops and normalises. A query that is
//! prepared in any other way lands elsewhere in feature space (leaving out the antialiasing alone
//! costs a cosine of about 0.94), so this module repeats those steps exactly:
//!
//! - [`decode`]: file bytes to 8-bit RGB, with Pillow's rules for alpha, palettes and 16-bit samples.
//! - [`resize`]: Pillow's antialiased two-pass resampling, which rounds to 8 bits between the passes.
//! - [`Preprocess`]: torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize`.
//!
//! Invariants: no pixel is decoded before the size in the header is known to be within the limit;
//! no input makes anything here panic; work and memory follow from the crop and from the decoded
//! image, never from the resized size, which is vast for a very elongated image.

mod decode;
mod headers;
mod resize;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use decode::{DEFAULT_LIMIT_MEGAPIXELS, decode, dimensions};
use resize::Window;
pub use resize::{Filter, resize, resize_short_side};

/// The largest side, in pixels, that [`Preprocess`] accepts for its resize and its crop.
const MAX_SIDE: u32 = 4096;

/// An image in memory: 8-bit RGB, rows from top to bottom, `pixels.len() == width * height * 3`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
    /// Interleaved RGB, row after row, without padding.
    pub pixels: Vec<u8>,
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({}x{})", self.width, self.height)
    }
}

impl Pixels {
    /// Wraps RGB bytes of shape `[height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a side is 0 or the length does not fit the sides.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        let image = Self {
            width,
            height,
            pixels: rgb,
        };
        image.check()?;
        Ok(image)
    }

    /// Takes RGBA bytes of shape `[height, width, 4]`, as a canvas gives them, and drops the alpha.
    ///
    /// The colour under a transparent pixel stays as it is, as in Pillow's `convert("RGB")`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a side is 0 or the length does not fit the sides.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self> {
        check_length(width, height, 4, rgba.len())?;
        let mut pixels = Vec::with_capacity(rgba.len() / 4 * 3);
        for pixel in rgba.chunks_exact(4) {
            pixels.extend_from_slice(&pixel[..3]);
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// The fields are public, so their agreement is checked wherever an image comes in.
    fn check(&self) -> Result<()> {
        check_length(self.width, self.height, 3, self.pixels.len())
    }
}

fn check_length(width: u32, height: u32, channels: u64, found: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::invalid(format!(
            "an image of {width}x{height} pixels has no pixel"
        )));
    }
    // Two u32 give at most 64 bits; the factor for the channels may need more.
    let expected = u128::from(width) * u128::from(height) * u128::from(channels);
    if expected != found as u128 {
        return Err(Error::invalid(format!(
            "{width}x{height} pixels of {channels} bytes need {expected} bytes, found {found}"
        )));
    }
    Ok(())
}

/// How a backbone wants its images; a part of the model's JSON header.
///
/// Equals torchvision's `Compose([Resize(resize, filter), CenterCrop(crop), ToTensor(),
/// Normalize(mean, std)])` on a Pillow image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Length of the short side after the resize, in pixels.
    pub resize: u32,
    /// Resampling filter of the resize.
    pub filter: Filter,
    /// Side of the centred square that is kept, in pixels; at most `resize`.
    pub crop: u32,
    /// Per channel (R, G, B), subtracted from values in 0..=1.
    pub mean: [f32; 3],
    /// Per channel (R, G, B), the divisor after the mean is subtracted.
    pub std: [f32; 3],
}

impl Preprocess {
    /// The backbone's input: f32 of shape `[3, crop, crop]`, channel first, `(pixel / 255 - mean) / std`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the settings are out of range (see [`Preprocess::check`])
    /// or the image's fields do not fit each other.
    pub fn apply(&self, image: &Pixels) -> Result<Vec<f32>> {
        let square = self.crop_pixels(image)?;
        let plane = square.pixels.len() / 3;
        let mut values = Vec::with_capacity(square.pixels.len());
        for channel in 0..3 {
            // 256 possible results per channel. Each is torchvision's sequence of single precision
            // operations, of which every one rounds: the order matters.
            let table: [f32; 256] = std::array::from_fn(|level| {
                (level as f32 / 255.0 - self.mean[channel]) / self.std[channel]
            });
            values.extend(
                square
                    .pixels
                    .chunks_exact(3)
                    .map(|pixel| table[usize::from(pixel[channel])]),
            );
        }
        debug_assert_eq!(values.len(), plane * 3);
        Ok(values)
    }

    /// The part of the image that the backbone sees, resized and cropped: `crop` x `crop` pixels.
    ///
    /// # Errors
    /// As [`Preprocess::apply`].
    pub fn crop_pixels(&self, image: &Pixels) -> Result<Pixels> {
        self.check()?;
        image.check()?;
        let (width, height) = resize::short_side_size(image.width, image.height, self.resize);
        let window = Window {
            x: crop_offset(width, self.crop),
            y: crop_offset(height, self.crop),
            width: self.crop,
            height: self.crop,
        };
        resize::resize_window(image, width, height, window, self.filter)
    }

    /// Checks settings that came from a file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a side is 0 or above 4096, where the crop is larger than
    /// the resized short side (torchvision would pad with black, which no backbone here was
    /// trained with), or where a mean or a divisor is not finite or a divisor is not above 0.
    pub fn check(&self) -> Result<()> {
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&self.resize) || !sides.contains(&self.crop) {
            return Err(Error::invalid(format!(
                "preprocessing: resize {} and crop {} must be in 1..={MAX_SIDE}",
                self.resize, self.crop
            )));
        }
        if self.crop > self.resize {
            return Err(Error::invalid(format!(
                "preprocessing: the crop {} is larger than the resized short side {}",
                self.crop, self.resize
            )));
        }
        let usable = self.mean.iter().all(|mean| mean.is_finite())
            && self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        if !usable {
            return Err(Error::invalid(format!(
                "preprocessing: mean {:?} and std {:?} must be finite, std above 0",
                self.mean, self.std
            )));
        }
        Ok(())
    }
}

/// Where a centred crop starts: torchvision's `int(round((size - crop) / 2.0))`.
///
/// Python rounds halves to the even neighbour. Requires `size >= crop`.
fn crop_offset(size: u64, crop: u32) -> u64 {
    let rest = size - u64::from(crop);
    let half = rest / 2;
    if rest % 2 == 1 { half + half % 2 } else { half }
}

/// The size of a thumbnail whose short side is at most `short_side` pixels; never larger than the image.
///
/// The long side is rounded down, as in [`resize_short_side`], and is at least 1.
pub fn thumbnail_size(width: u32, height: u32, short_side: u32) -> (u32, u32) {
    if width.min(height) <= short_side {
        return (width, height);
    }
    let (width, height) = resize::short_side_size(width, height, short_side.max(1));
    // Smaller than the image, so both fit.
    (width as u32, height as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Preprocess {
        Preprocess {
            resize: 256,
            filter: Filter::Bicubic,
            crop: 224,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    #[test]
    fn crop_offset_rounds_halves_to_even_as_python_does() {
        // round(0.5), round(1.5), round(2.5), round(3.5) in Python
        let offsets: Vec<u64> = [225, 227, 229, 231]
            .map(|size| crop_offset(size, 224))
            .to_vec();
        assert_eq!(offsets, [0, 2, 2, 4]);
        assert_eq!(crop_offset(224, 224), 0);
        assert_eq!(crop_offset(341, 224), 58);
    }

    #[test]
    fn settings_survive_json_and_name_the_filter_in_lower_case() {
        let json = serde_json::to_string(&settings()).unwrap();
        assert!(json.contains(r#""filter":"bicubic""#), "{json}");
        assert_eq!(
            serde_json::from_str::<Preprocess>(&json).unwrap(),
            settings()
        );
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        type Damage = fn(&mut Preprocess);
        let damages: [Damage; 7] = [
            |p| p.crop = 257,
            |p| p.crop = 0,
            |p| p.resize = u32::MAX,
            |p| p.std[1] = 0.0,
            |p| p.std[2] = f32::NAN,
            |p| p.std[0] = -1.0,
            |p| p.mean[0] = f32::INFINITY,
        ];
        assert!(settings().check().is_ok());
        let image = Pixels::from_rgb(2, 2, vec![0; 12]).unwrap();
        for damage in damages {
            let mut broken = settings();
            damage(&mut broken);
            let error = broken.apply(&image).unwrap_err();
            assert_eq!(error.code(), "invalid-argument", "{broken:?}");
        }
    }

    #[test]
    fn rgba_drops_alpha_and_checks_its_length() {
        let image = Pixels::from_rgba(2, 1, &[1, 2, 3, 0, 5, 6, 7, 255]).unwrap();
        assert_eq!(image.pixels, [1, 2, 3, 5, 6, 7]);
        assert!(Pixels::from_rgba(2, 1, &[0; 7]).is_err());
        assert!(Pixels::from_rgba(0, 1, &[]).is_err());
        assert!(Pixels::from_rgba(u32::MAX, u32::MAX, &[0; 4]).is_err());
    }

    #[test]
    fn an_image_whose_fields_disagree_is_refused() {
        let image = Pixels {
            width: 3,
            height: 3,
            pixels: vec![0; 26],
        };
        assert!(settings().apply(&image).is_err());
        assert!(resize(&image, 2, 2, Filter::Bilinear).is_err());
    }

    #[test]
    fn thumbnails_keep_the_aspect_and_never_grow() {
        assert_eq!(thumbnail_size(640, 427, 128), (191, 128));
        assert_eq!(thumbnail_size(427, 640, 128), (128, 191));
        assert_eq!(thumbnail_size(100, 2000, 128), (100, 2000));
        assert_eq!(thumbnail_size(1, 1, 128), (1, 1));
        assert_eq!(
            thumbnail_size(u32::MAX, u32::MAX - 1, u32::MAX - 2).1,
            u32::MAX - 2
        );
        assert_eq!(thumbnail_size(50, 40, 0), (1, 1));
    }
}
