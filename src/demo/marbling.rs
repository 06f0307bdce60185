//! The artist of marbled paper: drops of paint on a bath, combed.
//!
//! The maps are those of Lu, Jaffer, Jin, Zhao and Mao, "Mathematical marbling" (2012): a drop of
//! radius r at c moves a point p to c + (p - c) sqrt(1 + r²/|p - c|²), which keeps areas, and a
//! tine shifts points along its line the less the further they are from it. They are applied to
//! the outlines of the earlier drops, which are then filled in the order they fell.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, exp, lerp, sin, unit_vector};
use super::outline::polygon;
use super::palette::{Ink, hex};
use super::random::Random;

struct Drop {
    outline: Vec<Point>,
    ink: Ink,
}

/// A comb stroke.
enum Stroke {
    /// A stylus through a point along a unit vector: shift in pixels, its decay per pixel.
    Tine(Point, Point, f32, f32),
    /// All shifted along a unit vector by a sine across it: height, radians per pixel.
    Wave(Point, f32, f32),
}

impl Stroke {
    fn apply(&self, (x, y): Point) -> Point {
        let (direction, push) = match *self {
            Self::Tine(at, d, push, decay) => {
                let off = (x - at.0) * d.1 - (y - at.1) * d.0;
                (d, push * exp(-off.abs() * decay))
            }
            Self::Wave(d, height, pitch) => (d, height * sin((x * d.1 - y * d.0) * pitch)),
        };
        (x + direction.0 * push, y + direction.1 * push)
    }
}

/// Points of each outline: enough that a combed edge shows no corners.
const DETAIL: usize = 420;

pub(super) fn marbled_paper(c: &mut Canvas, r: &Random) {
    const SETS: [[u32; 5]; 5] = [
        [0x1C2F4F, 0xB23A36, 0xE8D6B0, 0x3F7A8A, 0xD9A441],
        [0x3A1F3F, 0x8F2F4F, 0xE7C9B8, 0x2F6F6A, 0xC98F4A],
        [0x12343A, 0x2F7F83, 0xEFE2C6, 0xC7553A, 0x8FB0A0],
        [0x2A1A12, 0x9A3A22, 0xF0E0C0, 0x3A5A7A, 0xC99A3A],
        [0x1A2A5A, 0x4A5FA8, 0xF2E6DC, 0xA83A5A, 0xE0B06A],
    ];
    let inks = r.pick(&SETS).map(hex);
    c.ground(inks[r.int(0, 4)]);
    let mut drops: Vec<Drop> = Vec::new();
    let count = r.int(90, 130);
    for k in 0..count {
        let at = (
            c.width * r.range(-0.06, 1.06),
            c.height * r.range(-0.06, 1.06),
        );
        let size = lerp(0.15, 0.035, k as f32 / count as f32);
        let radius = c.side() * size * r.range(0.6, 1.25);
        drop_paint(&mut drops, at, radius, r.pick(&inks).vary(r, 0.03));
        // A second drop in the first makes a ring of it.
        if r.chance(0.4) {
            drop_paint(&mut drops, at, radius * 0.62, r.pick(&inks).vary(r, 0.03));
        }
    }
    let strokes = comb(c, r);
    for drop in &mut drops {
        for point in &mut drop.outline {
            *point = strokes.iter().fold(*point, |p, stroke| stroke.apply(p));
        }
    }
    for drop in &drops {
        c.fill(polygon(&drop.outline), drop.ink);
        c.stroke(
            polygon(&drop.outline),
            0.5,
            drop.ink.bright(0.55).alpha(0.55),
        );
    }
    let vein = r.noise();
    c.shade(|x, y| {
        let light = vein.fractal(x * 0.05, y * 0.05, 3);
        let ink = if light > 0.0 { 0xFF_FFFF } else { 0 };
        hex(ink).alpha((light.abs() * 0.16).min(0.1))
    });
    c.sheet = Sheet {
        grain: 0.035,
        fibre: 0.05,
        ..Sheet::default()
    };
}

fn drop_paint(drops: &mut Vec<Drop>, at: Point, radius: f32, ink: Ink) {
    for drop in drops.iter_mut() {
        for point in &mut drop.outline {
            let (dx, dy) = (point.0 - at.0, point.1 - at.1);
            let square = (dx * dx + dy * dy).max(1e-3);
            let stretch = (1.0 + radius * radius / square).sqrt();
            *point = (at.0 + dx * stretch, at.1 + dy * stretch);
        }
    }
    let mut outline = Vec::with_capacity(DETAIL);
    for k in 0..DETAIL {
        let (ux, uy) = unit_vector(k as f32 / DETAIL as f32 * TAU);
        outline.push((at.0 + ux * radius, at.1 + uy * radius));
    }
    drops.push(Drop { outline, ink });
}

/// The strokes of one of four patterns: nonpareil, gel-git, waves, or stones with a swirl.
fn comb(c: &Canvas, r: &Random) -> Vec<Stroke> {
    let (w, h) = (c.width, c.height);
    let upright = r.chance(0.5);
    let (along, across, length) = if upright {
        ((0.0, 1.0), w, h)
    } else {
        ((1.0, 0.0), h, w)
    };
    let through = |place: f32| if upright { (place, 0.0) } else { (0.0, place) };
    let turned = (along.1, along.0);
    let mut strokes = Vec::new();
    match r.int(0, 3) {
        0 => {
            let teeth = r.int(7, 10);
            for k in 0..teeth {
                let place = (k as f32 + 0.5) / teeth as f32 * across;
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                strokes.push(Stroke::Tine(through(place), along, sign * 70.0, 0.05));
            }
            let fine = (length / r.range(15.0, 22.0)) as usize;
            for k in 0..fine {
                let place = (k as f32 + 0.5) / fine as f32 * length;
                let at = if upright { (0.0, place) } else { (place, 0.0) };
                strokes.push(Stroke::Tine(at, turned, 34.0, 0.2));
            }
        }
        1 => {
            let teeth = r.int(6, 10);
            for k in 0..teeth {
                let place = (k as f32 + 0.5) / teeth as f32 * across;
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                strokes.push(Stroke::Tine(through(place), along, sign * 95.0, 0.06));
            }
            let height = r.range(8.0, 18.0);
            strokes.push(Stroke::Wave(turned, height, TAU / r.range(70.0, 130.0)));
        }
        2 => {
            let first = r.range(22.0, 36.0);
            strokes.push(Stroke::Wave(along, first, TAU / r.range(70.0, 130.0)));
            let second = r.range(16.0, 28.0);
            strokes.push(Stroke::Wave(turned, second, TAU / r.range(80.0, 160.0)));
        }
        _ => {
            for k in 0..r.int(2, 5) {
                let at = (w * r.range(0.1, 0.9), h * r.range(0.1, 0.9));
                let direction = unit_vector(r.range(0.0, TAU));
                strokes.push(Stroke::Tine(at, direction, 100.0 - 8.0 * k as f32, 0.03));
            }
        }
    }
    strokes
}
