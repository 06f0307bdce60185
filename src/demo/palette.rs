//! Colours of the demo's works: straight (not premultiplied) sRGB, mixed in sRGB as paint programs
//! do, each channel in [0, 1].

use super::random::Random;

/// A colour with its opacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    pub(super) r: f32,
    pub(super) g: f32,
    pub(super) b: f32,
    pub(super) a: f32,
}

/// The opaque colour 0xRRGGBB.
pub(super) const fn hex(rgb: u32) -> Ink {
    Ink {
        r: ((rgb >> 16) & 255) as f32 / 255.0,
        g: ((rgb >> 8) & 255) as f32 / 255.0,
        b: (rgb & 255) as f32 / 255.0,
        a: 1.0,
    }
}

pub(super) const BLACK: Ink = hex(0);
pub(super) const WHITE: Ink = hex(0xFF_FFFF);

impl Ink {
    pub(super) fn alpha(self, a: f32) -> Self {
        Self { a, ..self }
    }

    /// `self` at t = 0, `other` at t = 1; t is clamped.
    pub(super) fn mix(self, other: Self, t: f32) -> Self {
        let t = t.clamp(0.0, 1.0);
        let blend = |a: f32, b: f32| a + (b - a) * t;
        Self {
            r: blend(self.r, other.r),
            g: blend(self.g, other.g),
            b: blend(self.b, other.b),
            a: blend(self.a, other.a),
        }
    }

    /// Every channel times `factor`: darker below 1, lighter above; opacity stays.
    pub(super) fn bright(self, factor: f32) -> Self {
        let scale = |x: f32| (x * factor).clamp(0.0, 1.0);
        Self {
            r: scale(self.r),
            g: scale(self.g),
            b: scale(self.b),
            a: self.a,
        }
    }

    /// One transparent layer of `other` over `self`, as printing inks overprint.
    pub(super) fn overprint(self, other: Self, coverage: f32) -> Self {
        let layer = WHITE.mix(other, coverage);
        Self {
            r: self.r * layer.r,
            g: self.g * layer.g,
            b: self.b * layer.b,
            a: self.a,
        }
    }

    /// Shifts each channel by up to `amount`, so that no two strokes are of quite one colour.
    pub(super) fn vary(self, random: &Random, amount: f32) -> Self {
        let shift = |x: f32| (x + random.range(-amount, amount)).clamp(0.0, 1.0);
        Self {
            r: shift(self.r),
            g: shift(self.g),
            b: shift(self.b),
            a: self.a,
        }
    }
}

/// The colour at t in [0, 1] of evenly spaced stops, of which there must be at least one.
pub(super) fn ramp(stops: &[Ink], t: f32) -> Ink {
    let last = stops.len() - 1;
    let place = t.clamp(0.0, 1.0) * last as f32;
    let i = (place as usize).min(last);
    let j = (i + 1).min(last);
    stops[i].mix(stops[j], place - i as f32)
}
