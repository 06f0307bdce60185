//! The surface that the demo's artists paint on.
//!
//! Coordinates are output pixels, origin at the top left, y down. The surface holds
//! [`OVERSAMPLING`]² samples per output pixel and is always opaque, so premultiplied and straight
//! colour are the same there. [`Canvas::finish`] averages the samples and lays the material of the
//! sheet (grain, fibre, weave) over them.

use super::palette::Ink;
use super::random::Noise;
use image::RgbImage;
use tiny_skia::{
    BlendMode, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8,
    Rect, Stroke, Transform,
};

/// Samples per output pixel along each axis.
pub(super) const OVERSAMPLING: u32 = 2;
const SCALE: f32 = OVERSAMPLING as f32;

/// A place on the canvas, in output pixels.
pub(super) type Point = (f32, f32);

/// What the sheet is made of; every amount is a share of full brightness, 0 for none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sheet {
    /// Noise of single pixels.
    pub(super) grain: f32,
    /// Blotches some pixels wide, as of paper.
    pub(super) fibre: f32,
    /// Threads of a canvas.
    pub(super) weave: f32,
    /// Darkening towards the corners.
    pub(super) vignette: f32,
}

pub(super) struct Canvas {
    pixmap: Pixmap,
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) sheet: Sheet,
    blend: BlendMode,
}

impl Canvas {
    /// A white canvas of `width` by `height` output pixels, neither of them 0.
    pub(super) fn new(width: u32, height: u32) -> Self {
        let mut pixmap = Pixmap::new(width * OVERSAMPLING, height * OVERSAMPLING)
            .expect("sizes of works are constants above 0");
        pixmap.fill(tiny_skia::Color::WHITE);
        Self {
            pixmap,
            width: width as f32,
            height: height as f32,
            sheet: Sheet::default(),
            blend: BlendMode::SourceOver,
        }
    }

    /// What `other` shows now, to be looked at while `other` is painted on.
    pub(super) fn copy_of(other: &Self) -> Self {
        Self {
            pixmap: other.pixmap.clone(),
            ..*other
        }
    }

    /// The shorter side.
    pub(super) fn side(&self) -> f32 {
        self.width.min(self.height)
    }

    /// Whether fills and strokes from here on darken what is below them, as transparent inks do.
    pub(super) fn transparent_inks(&mut self, yes: bool) {
        self.blend = if yes {
            BlendMode::Multiply
        } else {
            BlendMode::SourceOver
        };
    }

    /// Covers all with one colour.
    pub(super) fn ground(&mut self, ink: Ink) {
        self.pixmap.fill(colour(ink.alpha(1.0)));
    }

    fn paint(&self, ink: Ink) -> Paint<'static> {
        let mut paint = Paint {
            blend_mode: self.blend,
            ..Paint::default()
        };
        paint.set_color(colour(ink));
        paint
    }

    /// Fills a path; `None`, as a degenerate outline gives, draws nothing.
    pub(super) fn fill(&mut self, path: Option<Path>, ink: Ink) {
        if let Some(path) = path {
            let paint = self.paint(ink);
            let scale = Transform::from_scale(SCALE, SCALE);
            self.pixmap
                .fill_path(&path, &paint, FillRule::Winding, scale, None);
        }
    }

    /// Strokes a path with round ends and joins; `None` draws nothing.
    pub(super) fn stroke(&mut self, path: Option<Path>, width: f32, ink: Ink) {
        self.stroke_ends(path, width, ink, LineCap::Round);
    }

    /// Strokes a path whose ends are cut square at its end points.
    pub(super) fn stroke_butt(&mut self, path: Option<Path>, width: f32, ink: Ink) {
        self.stroke_ends(path, width, ink, LineCap::Butt);
    }

    fn stroke_ends(&mut self, path: Option<Path>, width: f32, ink: Ink, line_cap: LineCap) {
        if let Some(path) = path {
            let paint = self.paint(ink);
            let stroke = Stroke {
                width,
                line_cap,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            let scale = Transform::from_scale(SCALE, SCALE);
            self.pixmap.stroke_path(&path, &paint, &stroke, scale, None);
        }
    }

    pub(super) fn circle(&mut self, centre: Point, radius: f32, ink: Ink) {
        self.fill(PathBuilder::from_circle(centre.0, centre.1, radius), ink);
    }

    pub(super) fn ring(&mut self, centre: Point, radius: f32, width: f32, ink: Ink) {
        let path = PathBuilder::from_circle(centre.0, centre.1, radius);
        self.stroke(path, width, ink);
    }

    pub(super) fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, ink: Ink) {
        let path = Rect::from_xywh(x, y, width, height).map(PathBuilder::from_rect);
        self.fill(path, ink);
    }

    pub(super) fn line(&mut self, from: Point, to: Point, width: f32, ink: Ink) {
        let mut path = PathBuilder::new();
        path.move_to(from.0, from.1);
        path.line_to(to.0, to.1);
        self.stroke(path.finish(), width, ink);
    }

    /// Lays `ink(x, y)` over every sample, by its opacity.
    pub(super) fn shade(&mut self, ink: impl Fn(f32, f32) -> Ink) {
        self.shade_within((0.0, 0.0), (self.width, self.height), ink);
    }

    /// [`Canvas::shade`] of the samples between two corners only.
    pub(super) fn shade_within(&mut self, low: Point, high: Point, ink: impl Fn(f32, f32) -> Ink) {
        let (columns, rows) = (self.pixmap.width(), self.pixmap.height());
        let sample = |v: f32, limit: u32| ((v.max(0.0) * SCALE) as u32).min(limit);
        let (x0, x1) = (sample(low.0, columns), sample(high.0, columns));
        let (y0, y1) = (sample(low.1, rows), sample(high.1, rows));
        let pixels = self.pixmap.pixels_mut();
        for row in y0..y1 {
            let y = (row as f32 + 0.5) / SCALE;
            for column in x0..x1 {
                let over = ink((column as f32 + 0.5) / SCALE, y);
                if over.a <= 0.0 {
                    continue;
                }
                let pixel = &mut pixels[(row * columns + column) as usize];
                let lay = |below: u8, above: f32| {
                    let below = f32::from(below) / 255.0;
                    byte(below + (above - below) * over.a.min(1.0))
                };
                let laid = PremultipliedColorU8::from_rgba(
                    lay(pixel.red(), over.r),
                    lay(pixel.green(), over.g),
                    lay(pixel.blue(), over.b),
                    255,
                );
                *pixel = laid.unwrap_or(*pixel);
            }
        }
    }

    /// A soft disc of light: full at the centre, nothing at `radius`.
    pub(super) fn glow(&mut self, centre: Point, radius: f32, ink: Ink) {
        let low = (centre.0 - radius, centre.1 - radius);
        let high = (centre.0 + radius, centre.1 + radius);
        self.shade_within(low, high, |x, y| {
            let (dx, dy) = ((x - centre.0) / radius, (y - centre.1) / radius);
            let fall = (1.0 - (dx * dx + dy * dy).sqrt()).max(0.0);
            ink.alpha(ink.a * fall * fall)
        });
    }

    /// The colour of the sample nearest to a place, which is clamped to the canvas.
    pub(super) fn look(&self, x: f32, y: f32) -> Ink {
        let (columns, rows) = (self.pixmap.width(), self.pixmap.height());
        let column = ((x.max(0.0) * SCALE) as u32).min(columns - 1);
        let row = ((y.max(0.0) * SCALE) as u32).min(rows - 1);
        let pixel = self.pixmap.pixels()[(row * columns + column) as usize];
        Ink {
            r: f32::from(pixel.red()) / 255.0,
            g: f32::from(pixel.green()) / 255.0,
            b: f32::from(pixel.blue()) / 255.0,
            a: 1.0,
        }
    }

    /// Averages the samples and lays the sheet's material over them; `seed` places the fibres.
    pub(super) fn finish(self, seed: u32) -> RgbImage {
        let (width, height) = (self.width as u32, self.height as u32);
        let columns = self.pixmap.width();
        let samples = self.pixmap.pixels();
        let (noise, sheet) = (Noise::new(seed), self.sheet);
        RgbImage::from_fn(width, height, |x, y| {
            let mut sum = [0_u32; 3];
            for row in y * OVERSAMPLING..(y + 1) * OVERSAMPLING {
                for column in x * OVERSAMPLING..(x + 1) * OVERSAMPLING {
                    let sample = samples[(row * columns + column) as usize];
                    sum[0] += u32::from(sample.red());
                    sum[1] += u32::from(sample.green());
                    sum[2] += u32::from(sample.blue());
                }
            }
            let light = sheet.light(noise, x, y, self.width, self.height);
            let full = (255 * OVERSAMPLING * OVERSAMPLING) as f32;
            image::Rgb(sum.map(|s| byte(s as f32 / full * light)))
        })
    }
}

impl Sheet {
    /// The factor by which the material changes the brightness of an output pixel.
    fn light(self, noise: Noise, x: u32, y: u32, width: f32, height: f32) -> f32 {
        let (fx, fy) = (x as f32, y as f32);
        let mut light = 1.0;
        if self.grain > 0.0 {
            light += self.grain * (noise.cell(x as i32, y as i32) * 2.0 - 1.0);
        }
        if self.fibre > 0.0 {
            let (fine, broad) = (
                noise.at(fx * 0.43, fy * 0.37),
                noise.at(fx * 0.017, fy * 0.019),
            );
            light += self.fibre * (0.3 * fine + 0.3 * broad);
        }
        if self.weave > 0.0 {
            // Threads three pixels apart, alternately above and below each other.
            let over = (x / 3 + y / 3).is_multiple_of(2);
            let thread = if over { y % 3 } else { x % 3 };
            light += self.weave * (if thread == 1 { 0.6 } else { -0.3 });
        }
        if self.vignette > 0.0 {
            let (dx, dy) = (fx / width - 0.5, fy / height - 0.5);
            light -= self.vignette * (dx * dx + dy * dy) * 2.0;
        }
        light
    }
}

/// [0, 1] to 0..=255, rounded, out of range clamped.
fn byte(x: f32) -> u8 {
    (x * 255.0 + 0.5) as u8
}

fn colour(ink: Ink) -> tiny_skia::Color {
    tiny_skia::Color::from_rgba8(byte(ink.r), byte(ink.g), byte(ink.b), byte(ink.a))
}
