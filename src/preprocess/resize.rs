//! Pillow's antialiased resampling of 8-bit images, bit for bit.
//!
//! The weights of a separable filter are computed in double precision, normalised to sum 1 and
//! rounded to fixed point with 22 fractional bits. The horizontal pass comes first and rounds to
//! 8 bits; the vertical pass reads those rounded values. A side whose length does not change is not
//! resampled. (Pillow, `src/libImaging/Resample.c`: `precompute_coeffs`, `normalize_coeffs_8bpc`,
//! `ImagingResampleHorizontal_8bpc`, `ImagingResampleVertical_8bpc`.)
//!
//! This is Pillow up to version 12, with which existing features were computed. Pillow 13.0 makes
//! the vertical pass first when it shrinks an image that is higher than about twice its width,
//! which moves some values of such an image by a level or two.
//!
//! Each output pixel depends only on its own weights, so [`resize_window`] computes any rectangle
//! of the resized image, equal to resizing and then cropping, without making the rest of it.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Pixels;
use crate::error::{Error, Result};

/// 32 bits, less 8 for the pixel and 2 for the overshoot of the filter and the sign.
const FRACTION_BITS: u32 = 32 - 8 - 2;
const ROUND: i32 = 1 << (FRACTION_BITS - 1);

/// The largest result of [`resize`], in pixels: 128 megapixels.
const MAX_OUTPUT_PIXELS: u64 = 128_000_000;

/// Resampling filter, named as in `PIL.Image.Resampling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle of radius 1.
    Bilinear,
    /// Cubic convolution of radius 2 with a = -0.5.
    Bicubic,
}

impl Filter {
    /// Radius in output pixels when shrinking, in input pixels when enlarging.
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The filter's value; the order of operations is Pillow's, since each rounds.
    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// The free parameter of cubic convolution.
const A: f64 = -0.5;

/// A rectangle of the resized image, in pixels of the resized image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub x: u64,
    pub y: u64,
    pub width: u32,
    pub height: u32,
}

/// Resizes to `width` x `height`, equal to `PIL.Image.resize((width, height), filter)` on an RGB image.
///
/// # Errors
/// [`Error::InvalidArgument`] where a side is 0, the result has more than 128 megapixels, or the
/// image's fields do not fit each other.
pub fn resize(image: &Pixels, width: u32, height: u32, filter: Filter) -> Result<Pixels> {
    image.check()?;
    let size = u64::from(width) * u64::from(height);
    if size == 0 || size > MAX_OUTPUT_PIXELS {
        return Err(Error::invalid(format!(
            "cannot resize to {width}x{height}: it must have 1 to {MAX_OUTPUT_PIXELS} pixels"
        )));
    }
    let whole = Window {
        x: 0,
        y: 0,
        width,
        height,
    };
    resize_window(image, u64::from(width), u64::from(height), whole, filter)
}

/// Resizes so that the short side has `short_side` pixels and the aspect stays; torchvision's `Resize(n)`.
///
/// # Errors
/// As [`resize`].
pub fn resize_short_side(image: &Pixels, short_side: u32, filter: Filter) -> Result<Pixels> {
    image.check()?;
    let (width, height) = short_side_size(image.width, image.height, short_side);
    // A side that does not fit 32 bits is above the limit as well.
    let narrow = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    resize(image, narrow(width), narrow(height), filter)
}

/// Width and height after torchvision's `Resize(n)`: short side `n`, long side `int(n * long / short)`.
///
/// Wider than u32 on purpose: 1 x 100 000 000 with n = 256 becomes 256 x 25 600 000 000.
/// Requires sides above 0.
pub(super) fn short_side_size(width: u32, height: u32, n: u32) -> (u64, u64) {
    let (short, long) = (width.min(height), width.max(height));
    // Python divides the exact product to a double and truncates. While the product is below 2^53,
    // no quotient rounds up to an integer, so that equals the integer division.
    let long = u64::from(n) * u64::from(long) / u64::from(short);
    if width <= height {
        (u64::from(n), long)
    } else {
        (long, u64::from(n))
    }
}

/// The part `window` of the image resized to `width` x `height`.
///
/// Requires an image whose fields agree and a window inside the resized image.
pub(super) fn resize_window(
    image: &Pixels,
    width: u64,
    height: u64,
    window: Window,
    filter: Filter,
) -> Result<Pixels> {
    let columns = (width != u64::from(image.width))
        .then(|| Taps::new(image.width, width, window.x, window.width, filter));
    let rows = (height != u64::from(image.height))
        .then(|| Taps::new(image.height, height, window.y, window.height, filter));

    // Only the input rows that the vertical pass will read go through the horizontal one.
    let needed = match &rows {
        Some(taps) => taps.inputs(),
        None => window.y as usize..window.y as usize + window.height as usize,
    };
    let stride = image.width as usize * 3;
    let input = image
        .pixels
        .get(needed.start * stride..needed.end * stride)
        .ok_or_else(|| Error::invalid("the crop is larger than the resized image"))?;
    let out_stride = window.width as usize * 3;
    let narrowed: Cow<[u8]> = match &columns {
        Some(taps) => {
            let mut out = zeros(needed.len(), out_stride)?;
            for (row, out) in input
                .chunks_exact(stride)
                .zip(out.chunks_exact_mut(out_stride))
            {
                horizontal(row, taps, out);
            }
            Cow::Owned(out)
        }
        None if out_stride == stride => Cow::Borrowed(input),
        None => {
            let skip = window.x as usize * 3;
            let mut out = zeros(needed.len(), out_stride)?;
            for (row, out) in input
                .chunks_exact(stride)
                .zip(out.chunks_exact_mut(out_stride))
            {
                out.copy_from_slice(&row[skip..skip + out_stride]);
            }
            Cow::Owned(out)
        }
    };
    let pixels = match &rows {
        Some(taps) => {
            let mut out = zeros(window.height as usize, out_stride)?;
            vertical(&narrowed, taps, out_stride, &mut out);
            out
        }
        None => narrowed.into_owned(),
    };
    Ok(Pixels {
        width: window.width,
        height: window.height,
        pixels,
    })
}

/// A zeroed buffer, or an error where the memory is not there.
fn zeros(rows: usize, stride: usize) -> Result<Vec<u8>> {
    let length = rows.checked_mul(stride);
    let mut buffer = Vec::new();
    match length.map(|length| buffer.try_reserve_exact(length)) {
        Some(Ok(())) => buffer.resize(rows * stride, 0),
        _ => {
            return Err(Error::invalid(format!(
                "no memory to resize: {rows} rows of {stride} bytes"
            )));
        }
    }
    Ok(buffer)
}

/// Which inputs make up each output of one pass, and with what weights.
struct Taps {
    /// For each output, the inputs that it reads.
    ranges: Vec<Range<usize>>,
    /// For each output `stride` weights, of which the first `range.len()` count; fixed point.
    weights: Vec<i32>,
    stride: usize,
}

impl Taps {
    /// Weights from `input` samples to the outputs `first..first + count` of `output` samples.
    fn new(input: u32, output: u64, first: u64, count: u32, filter: Filter) -> Self {
        let scale = f64::from(input) / output as f64;
        // Shrinking widens the filter (this is the antialiasing), enlarging does not narrow it.
        let stretch = scale.max(1.0);
        let support = filter.radius() * stretch;
        let inverse = 1.0 / stretch;
        let stride = (support.ceil() as usize * 2 + 1).min(input as usize);

        let mut ranges = Vec::with_capacity(count as usize);
        let mut weights = vec![0; stride * count as usize];
        let mut exact = Vec::with_capacity(stride);
        for (out, fixed) in (first..).zip(weights.chunks_exact_mut(stride)) {
            let center = (out as f64 + 0.5) * scale;
            // The casts truncate towards zero, as in C, and saturate at zero.
            let start = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(input as usize);
            exact.clear();
            exact.extend((start..end).map(|sample| {
                let distance = sample as f64 - center + 0.5;
                filter.weight(distance * inverse)
            }));
            let sum: f64 = exact.iter().sum();
            for (fixed, weight) in fixed.iter_mut().zip(&exact) {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                let scaled = weight * f64::from(1 << FRACTION_BITS);
                *fixed = (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32;
            }
            ranges.push(start..end);
        }
        Self {
            ranges,
            weights,
            stride,
        }
    }

    /// The inputs that any output reads. The ranges advance, so the ends are at the ends.
    fn inputs(&self) -> Range<usize> {
        match (self.ranges.first(), self.ranges.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }

    fn outputs(&self) -> impl Iterator<Item = (&Range<usize>, &[i32])> {
        self.ranges
            .iter()
            .zip(self.weights.chunks_exact(self.stride))
    }
}

/// Rounds a fixed point sum to a pixel.
///
/// The sum fits 32 bits, because the weights' magnitudes add up to less than 1.5.
fn to_pixel(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// One row: RGB pixels to `out.len() / 3` RGB pixels.
fn horizontal(row: &[u8], taps: &Taps, out: &mut [u8]) {
    for ((range, weights), out) in taps.outputs().zip(out.chunks_exact_mut(3)) {
        let (mut r, mut g, mut b) = (ROUND, ROUND, ROUND);
        let pixels = row[range.start * 3..range.end * 3].chunks_exact(3);
        for (pixel, weight) in pixels.zip(weights) {
            r += i32::from(pixel[0]) * weight;
            g += i32::from(pixel[1]) * weight;
            b += i32::from(pixel[2]) * weight;
        }
        out[0] = to_pixel(r);
        out[1] = to_pixel(g);
        out[2] = to_pixel(b);
    }
}

/// Rows of `stride` bytes, of which the first is the first that `taps` reads, to rows of the same length.
fn vertical(rows: &[u8], taps: &Taps, stride: usize, out: &mut [u8]) {
    let origin = taps.inputs().start;
    let mut sums = vec![0_i32; stride];
    for ((range, weights), out) in taps.outputs().zip(out.chunks_exact_mut(stride)) {
        sums.fill(ROUND);
        let rows = &rows[(range.start - origin) * stride..(range.end - origin) * stride];
        for (row, &weight) in rows.chunks_exact(stride).zip(weights) {
            for (sum, &pixel) in sums.iter_mut().zip(row) {
                *sum += i32::from(pixel) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = to_pixel(sum);
        }
    }
}
