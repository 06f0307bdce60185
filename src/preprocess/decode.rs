//! Image files to 8-bit RGB, as Pillow's `Image.open(file).convert("RGB")` gives it.
//!
//! The `image` crate decodes; what this module adds is Pillow's conversion, where the crate's own
//! differs:
//!
//! - The EXIF orientation is ignored, because `convert` ignores it: the training features were
//!   computed on the pixels as stored. TIFF is the exception, since Pillow turns a TIFF on loading.
//! - Alpha is dropped, not blended: a transparent pixel keeps the colour that the file has for it.
//!   Where a TIFF states that colours are multiplied by alpha, they are divided by it first.
//! - 16-bit grey is clipped to 0..=255, not scaled (a Pillow peculiarity: all but nearly black is
//!   white); 16-bit colour keeps its high byte, and in PNM it is scaled and rounded.
//! - PNM samples whose maximum is not 255 and BMP with 16 bits per pixel are scaled with Pillow's rounding.
//! - A file that is cut off is an error. For JPEG this module looks for the end marker, since the
//!   decoder would fill the missing part with grey.
//! - Of an animation the first frame is taken. What a GIF's first frame does not cover gets the
//!   transparent colour, or else palette entry 0.
//!
//! Lossless formats equal Pillow bit for bit. JPEG decoders round differently; the tests state by
//! how much. Known differences: TIFF with a palette, with grey and 8-bit alpha, or with samples of
//! other than 1, 8 or 16 bits is refused; TIFF with 16-bit CMYK, or with 16-bit grey where 0 is
//! white, gives other values; a GIF frame that reaches beyond the screen is cut.

use std::io::Cursor;

use image::error::ImageError;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Pixels, headers};
use crate::error::{Error, Result};

/// The usual limit for [`decode`], in megapixels.
pub const DEFAULT_LIMIT_MEGAPIXELS: u32 = 100;

/// Memory that a decoder may use, per pixel: 16-bit RGBA twice over.
const WORKING_BYTES_PER_PIXEL: u64 = 16;
/// The same for what does not depend on the pixels, such as a colour profile.
const WORKING_BYTES: u64 = 32 << 20;

/// Decodes an image file (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM; recognised by content) to RGB.
///
/// The size is read first; above `limit_megapixels` (a megapixel is 1 000 000 pixels) nothing is decoded.
///
/// # Errors
/// [`Error::NotAnImage`] for other content, [`Error::DamagedImage`] where the file ends early or
/// contradicts itself, [`Error::ImageTooLarge`] above the limit.
pub fn decode(bytes: &[u8], limit_megapixels: u32) -> Result<Pixels> {
    let too_large = |(width, height)| Error::ImageTooLarge {
        width,
        height,
        limit_megapixels,
    };
    let area_of = |(width, height)| {
        let area = u64::from(width) * u64::from(height);
        match area > u64::from(limit_megapixels) * 1_000_000 {
            true => Err(too_large((width, height))),
            false => Ok(area),
        }
    };
    // Where memory is 32 bits wide, the PNG decoder fails on sizes beyond it before it tells them.
    if let Some(size) = headers::png_size(bytes) {
        area_of(size)?;
    }
    let (_, decoder) = open(bytes, 0)?;
    let (width, height) = checked_dimensions(&decoder)?;
    let area = area_of((width, height))?;

    // Opened again, now that the memory that the decoder may need is known.
    let (format, mut decoder) = open(bytes, area)?;
    let whole = match format {
        ImageFormat::Jpeg => headers::jpeg_has_end(bytes),
        ImageFormat::WebP => headers::webp_is_whole(bytes),
        _ => true,
    };
    if !whole {
        return Err(damaged("the file is cut off"));
    }
    let turn = turn(format, &mut decoder)?;
    let color = decoder.color_type();
    let mut samples = Vec::new();
    let length = usize::try_from(decoder.total_bytes()).map_err(|_| too_large((width, height)))?;
    samples
        .try_reserve_exact(length)
        .map_err(|_| too_large((width, height)))?;
    samples.resize(length, 0);
    decoder.read_image(&mut samples).map_err(translate)?;

    if format == ImageFormat::Gif {
        fill_around_first_frame(bytes, &mut samples);
    }
    let mut samples = to_bytes(samples, color, Narrowing::of(bytes, format, color));
    if format == ImageFormat::Tiff && headers::tiff_is_premultiplied(bytes) {
        divide_by_alpha(&mut samples, color);
    }
    let mut rgb = to_rgb(samples, color)?;
    if format == ImageFormat::Bmp {
        rescale_bmp16(bytes, &mut rgb);
    }
    if turn == Orientation::NoTransforms {
        return Pixels::from_rgb(width, height, rgb);
    }
    let rgb = image::RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| damaged("the pixels do not fit the size"))?;
    let mut upright = image::DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(turn);
    Pixels::from_rgb(upright.width(), upright.height(), upright.into_bytes())
}

/// Width and height of what [`decode`] gives, read from the header; no limit applies.
///
/// # Errors
/// [`Error::NotAnImage`] and [`Error::DamagedImage`], as [`decode`].
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32)> {
    let (format, mut decoder) = open(bytes, 0)?;
    let (width, height) = checked_dimensions(&decoder)?;
    // From Rotate90 on, the EXIF numbers 5 to 8 exchange the sides.
    match turn(format, &mut decoder)?.to_exif() {
        5.. => Ok((height, width)),
        _ => Ok((width, height)),
    }
}

/// Reads the header of `bytes`, with working memory for `area` pixels.
fn open(bytes: &[u8], area: u64) -> Result<(ImageFormat, impl ImageDecoder)> {
    if bytes.is_empty() {
        return Err(Error::NotAnImage {
            reason: "the file is empty".into(),
        });
    }
    let format = image::guess_format(bytes).map_err(|_| Error::NotAnImage {
        reason: "the content is none of PNG, JPEG, WebP, BMP, GIF, TIFF, PNM".into(),
    })?;
    if format == ImageFormat::Tiff && !headers::tiff_counts_fit(bytes) {
        return Err(damaged(
            "a TIFF tag states more values than the file can hold",
        ));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(area * WORKING_BYTES_PER_PIXEL + WORKING_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    Ok((format, reader.into_decoder().map_err(translate)?))
}

/// How Pillow turns the pixels on loading: not at all, except in TIFF.
fn turn(format: ImageFormat, decoder: &mut impl ImageDecoder) -> Result<Orientation> {
    match format {
        ImageFormat::Tiff => decoder.orientation().map_err(translate),
        _ => Ok(Orientation::NoTransforms),
    }
}

fn checked_dimensions(decoder: &impl ImageDecoder) -> Result<(u32, u32)> {
    match decoder.dimensions() {
        (0, _) | (_, 0) => Err(damaged("the header states a side of 0 pixels")),
        size => Ok(size),
    }
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::DamagedImage {
        reason: reason.into(),
    }
}

fn translate(error: ImageError) -> Error {
    match error {
        ImageError::Unsupported(reason) => Error::NotAnImage {
            reason: reason.to_string(),
        },
        error => damaged(error.to_string()),
    }
}

/// How samples become 8 bits.
#[derive(Clone, Copy)]
enum Narrowing {
    Clip,
    HighByte,
    /// PNM, whose samples run to this maximum; the decoder has stretched them to 8 or 16 bits.
    Stretched(u16),
}

impl Narrowing {
    fn of(bytes: &[u8], format: ImageFormat, color: ColorType) -> Self {
        // The colour type in a PNG's first chunk. Grey with one transparent level arrives here
        // with an alpha channel, but Pillow opens it as it opens other grey.
        let png_grey = format == ImageFormat::Png && bytes.get(25) == Some(&0);
        match (format, color) {
            (ImageFormat::Pnm, _) => match headers::pnm_maximum(bytes) {
                Some(maximum @ 1..) => Self::Stretched(maximum),
                _ => Self::Clip,
            },
            (_, ColorType::L16) => Self::Clip,
            (_, ColorType::La16) if png_grey => Self::Clip,
            _ => Self::HighByte,
        }
    }
}

/// Rounds PNM samples as Pillow does: `round(value / maximum * target)` in double precision, halves to even.
///
/// `full` is the range to which the decoder has stretched the samples. That is at least the maximum,
/// so the value as stored can be had back. Wide grey goes to 0..=65535 and is then clipped.
fn rescale(sample: u16, full: f64, maximum: u16, target: f64) -> u8 {
    let maximum = f64::from(maximum);
    let value = (f64::from(sample) * maximum / full).round();
    // The cast saturates: it is the clip.
    (value / maximum * target).round_ties_even() as u8
}

/// Samples in the decoder's layout (16-bit ones in native byte order) to one byte each.
fn to_bytes(mut samples: Vec<u8>, color: ColorType, narrowing: Narrowing) -> Vec<u8> {
    let wide_grey = color.channel_count() < 3;
    match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => samples
            .chunks_exact(2)
            .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
            .map(|sample| match narrowing {
                Narrowing::Clip => sample.min(255) as u8,
                Narrowing::HighByte => (sample >> 8) as u8,
                Narrowing::Stretched(maximum) => {
                    let target = if wide_grey { 65535.0 } else { 255.0 };
                    rescale(sample, 65535.0, maximum, target)
                }
            })
            .collect(),
        _ => {
            if let Narrowing::Stretched(maximum @ ..=254) = narrowing {
                for sample in &mut samples {
                    *sample = rescale(u16::from(*sample), 255.0, maximum, 255.0);
                }
            }
            samples
        }
    }
}

/// Bytes in the layout of `color` to RGB.
fn to_rgb(bytes: Vec<u8>, color: ColorType) -> Result<Vec<u8>> {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    if !matches!(color, L8 | L16 | La8 | La16 | Rgb8 | Rgb16 | Rgba8 | Rgba16) {
        return Err(Error::NotAnImage {
            reason: format!("samples of type {color:?} are not supported"),
        });
    }
    let channels = usize::from(color.channel_count());
    if channels == 3 {
        return Ok(bytes);
    }
    let mut rgb = Vec::with_capacity(bytes.len() / channels * 3);
    for pixel in bytes.chunks_exact(channels) {
        match *pixel {
            [grey] | [grey, _] => rgb.extend_from_slice(&[grey; 3]),
            [r, g, b, ..] => rgb.extend_from_slice(&[r, g, b]),
            [] => {}
        }
    }
    Ok(rgb)
}

/// Undoes the multiplication of RGBA colours by alpha: `colour * 255 / alpha`, rounded down and clipped.
fn divide_by_alpha(bytes: &mut [u8], color: ColorType) {
    if color.channel_count() != 4 {
        return;
    }
    for pixel in bytes.chunks_exact_mut(4) {
        let alpha = u16::from(pixel[3]);
        for value in &mut pixel[..3] {
            let divided = (u16::from(*value) * 255).checked_div(alpha);
            *value = divided.unwrap_or(0).min(255) as u8;
        }
    }
}

/// 5 and 6 bits of a 16-bit BMP to 8 bits, rounded down as Pillow does; the decoder rounds to nearest.
fn rescale_bmp16(bytes: &[u8], rgb: &mut [u8]) {
    let Some(depths) = headers::bmp16_depths(bytes) else {
        return;
    };
    for pixel in rgb.chunks_exact_mut(3) {
        for (value, depth) in pixel.iter_mut().zip(depths) {
            let maximum = (1_u16 << depth) - 1;
            let stored = (u16::from(*value) * maximum + 127) / 255;
            *value = (stored * 255 / maximum) as u8;
        }
    }
}

/// Gives the pixels that a GIF's first frame does not cover the colour that Pillow gives them.
///
/// The decoder leaves them at [0, 0, 0, 0]. A pixel inside the frame has that value only if it is
/// of the transparent entry and that entry is black, and then the fill is black as well.
fn fill_around_first_frame(bytes: &[u8], rgba: &mut [u8]) {
    let Some(fill) = headers::gif_fill(bytes).filter(|fill| *fill != [0; 3]) else {
        return;
    };
    for pixel in rgba.chunks_exact_mut(4) {
        if *pixel == [0; 4] {
            pixel[..3].copy_from_slice(&fill);
        }
    }
}
