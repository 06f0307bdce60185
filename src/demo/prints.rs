//! Artists of the press: risograph sunsets in three halftone inks, and woodcuts in one block and a
//! spot of vermilion.

use super::canvas::{Canvas, OVERSAMPLING, Point, Sheet};
use super::elementary::{TAU, lerp, sin, step, unit_vector};
use super::outline::{brush, polygon, spline};
use super::palette::{Ink, hex};
use super::random::Random;

/// How much ink a halftone screen of `pitch` pixels at `angle` lays for a tone in [0, 1].
fn halftone(x: f32, y: f32, angle: Point, pitch: f32, tone: f32) -> f32 {
    let (u, v) = (x * angle.0 + y * angle.1, y * angle.0 - x * angle.1);
    let dot = 0.5 + 0.25 * (wave(u / pitch) + wave(v / pitch));
    step(dot - 0.14, dot + 0.14, tone * 1.16 - 0.08)
}

/// A cosine of turns, near enough for dots: two parabolas.
fn wave(turns: f32) -> f32 {
    let t = (turns - turns.floor() - 0.5).abs() * 4.0 - 1.0;
    t * (2.0 - t.abs())
}

/// Yellow, pink and blue plates, slightly out of register: a sun over water or dunes, palms.
pub(super) fn riso_sunsets(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let horizon = h * r.range(0.52, 0.7);
    let sun_radius = c.side() * r.range(0.15, 0.25);
    let sun = (
        w * r.range(0.25, 0.75),
        horizon - sun_radius * r.range(0.1, 1.25),
    );
    let (clouds, swell) = (r.noise(), r.noise());
    let hills = r.noise();
    let hill_rise = if r.chance(0.6) {
        h * r.range(0.06, 0.16)
    } else {
        0.0
    };
    let stripes = r.chance(0.4);
    let dunes = r.chance(0.4);
    let in_sun = |x: f32, y: f32| {
        let (dx, dy) = (x - sun.0, y - sun.1);
        let inside = (sun_radius - (dx * dx + dy * dy).sqrt() + 0.5).clamp(0.0, 1.0);
        // Some suns are sliced by bars that widen downwards.
        let t = dy / sun_radius;
        let slice = stripes && t > 0.0 && (t * 6.0).fract() < 0.15 + 0.45 * t;
        if slice { 0.0 } else { inside }
    };
    let cloud = |x: f32, y: f32| step(0.08, 0.3, clouds.fractal(x / w * 2.2, y / h * 9.0, 3));
    let hill = |x: f32| horizon - hill_rise * (0.6 + hills.fractal(x / w * 3.0, 0.7, 3) * 1.6);
    let glitter = |x: f32, y: f32| {
        let depth = (y - horizon) / (h - horizon);
        let row = swell.at(x * 0.02, y * lerp(0.55, 0.2, depth));
        let reach = sun_radius * (0.5 + depth * 0.9);
        let near = 1.0 - ((x - sun.0) / reach).abs();
        step(0.0, 0.25, near * 0.8 + row * 0.7)
    };
    let tones = |x: f32, y: f32| -> [f32; 3] {
        let sky = (y / horizon).clamp(0.0, 1.0);
        if dunes && y > horizon - h * 0.2 {
            // Dunes, each darker towards its foot, the nearest darkest.
            for k in (0..5).rev() {
                let t = k as f32 / 4.0;
                let wind = hills.fractal(x / w * (2.6 - t) + 9.0 * t, 0.3 + t, 2);
                let top = lerp(horizon, h * 0.95, t * 0.85) - h * 0.075 * (wind * 2.0 + 0.2);
                if y > top {
                    let foot = step(0.0, h * 0.2, y - top);
                    return [
                        lerp(0.95, 0.4, t),
                        lerp(0.3, 0.85, t) + 0.25 * foot,
                        lerp(0.0, 0.5, t) + 0.3 * foot * t,
                    ];
                }
            }
        }
        if dunes && y > horizon {
            return [0.95, 0.3, 0.0];
        }
        if y > horizon {
            let depth = (y - horizon) / (h - horizon);
            let bright = glitter(x, y);
            [
                0.15 + 0.75 * bright,
                lerp(0.35, 0.75 * (1.0 - depth), bright),
                lerp(0.5 + 0.4 * depth, 0.0, bright),
            ]
        } else if hill_rise > 0.0 && y > hill(x) {
            [0.2, 0.55, 0.62]
        } else {
            let (disc, veil) = (in_sun(x, y), cloud(x, y));
            let glow = sky * sky;
            let sky_tones = [
                0.1 + 0.7 * glow - 0.2 * veil,
                0.18 + 0.5 * sky - 0.28 * veil,
                0.62 - 0.72 * sky - 0.25 * veil,
            ];
            let fall = ((y - sun.1) / sun_radius + 1.0) / 2.0;
            let disc_tones = [1.0, 0.2 + 0.8 * fall, 0.0];
            [0, 1, 2].map(|k| lerp(sky_tones[k], disc_tones[k], disc))
        }
    };
    // The plates' tones, once per sample: each plate is read at its own offset.
    let scale = OVERSAMPLING as f32;
    let (columns, rows) = ((w * scale) as usize, (h * scale) as usize);
    let plates: Vec<[f32; 3]> = (0..columns * rows)
        .map(|k| tones((k % columns) as f32 / scale, (k / columns) as f32 / scale))
        .collect();
    let tone_at = |x: f32, y: f32| {
        let column = ((x.max(0.0) * scale) as usize).min(columns - 1);
        plates[((y.max(0.0) * scale) as usize).min(rows - 1) * columns + column]
    };
    const INKS: [u32; 3] = [0xFFD21F, 0xFF3F7F, 0x0A6FB8];
    let pitch = 4.6;
    let screens = [0.26, 1.31, 0.79].map(unit_vector);
    let offsets: [Point; 3] = [0, 1, 2].map(|_| (r.bell() * 0.9, r.bell() * 0.9));
    let speckle = r.noise();
    let paper = hex(0xF7F1E3);
    c.shade(|x, y| {
        let mut colour = paper;
        let worn = speckle.at(x * 0.9, y * 0.9);
        for k in 0..3 {
            let (px, py) = (x + offsets[k].0, y + offsets[k].1);
            let tone = tone_at(px, py)[k].clamp(0.0, 1.0);
            let wear = 0.94 - 0.22 * step(0.25, 0.7, if k == 1 { -worn } else { worn });
            let ink = halftone(px, py, screens[k], pitch, tone) * wear;
            colour = colour.overprint(hex(INKS[k]), ink);
        }
        colour
    });
    if r.chance(0.65) {
        for _ in 0..r.int(1, 3) {
            palm(c, r);
        }
    }
    c.sheet = Sheet {
        grain: 0.035,
        fibre: 0.04,
        ..Sheet::default()
    };
}

fn palm(c: &mut Canvas, r: &Random) {
    let ink = hex(0x2B2A6B);
    let (w, h) = (c.width, c.height);
    let left = r.chance(0.5);
    let foot = (
        if left {
            r.range(0.02, 0.22)
        } else {
            r.range(0.78, 0.98)
        } * w,
        h + 4.0,
    );
    let lean = if left { 1.0 } else { -1.0 } * r.range(0.02, 0.14) * w;
    let crown = (foot.0 + lean, h * r.range(0.2, 0.45));
    let trunk = spline(
        &[foot, (foot.0 + lean * 0.2, (foot.1 + crown.1) / 2.0), crown],
        24,
    );
    let girth = r.range(2.6, 4.0);
    c.fill(brush(&trunk, |t| girth * (1.0 - 0.55 * t)), ink);
    let fronds = r.int(8, 11);
    let reach = c.side() * r.range(0.16, 0.22);
    for k in 0..fronds {
        let angle = k as f32 / fronds as f32 * TAU + r.range(-0.2, 0.2);
        let (ux, uy) = unit_vector(angle);
        let middle = (
            crown.0 + ux * reach * 0.6,
            crown.1 + uy * reach * 0.35 - reach * 0.16,
        );
        let tip = (
            crown.0 + ux * reach,
            crown.1 + uy * reach * 0.5 + reach * 0.32,
        );
        let spine = spline(&[crown, middle, tip], 22);
        c.fill(brush(&spine, |t| reach * 0.035 * (1.0 - t) + 0.4), ink);
        for (i, &(x, y)) in spine.iter().enumerate().skip(3) {
            let long = reach * 0.24 * sin(i as f32 / 22.0 * 2.9).max(0.1);
            for side in [-0.5, 0.6] {
                c.line(
                    (x, y),
                    (x + ux * 3.0 + side * long * 0.5, y + long),
                    1.0,
                    ink,
                );
            }
        }
    }
}

/// Carved hills under a vermilion sun: tone is the width of the lines, form their direction.
pub(super) fn woodcut_hills(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let (paper, block, spot) = (hex(0xF1E6CF), hex(0x1B1712), hex(0xD2371F));
    let sun = (w * r.range(0.15, 0.85), h * r.range(0.14, 0.34));
    let sun_radius = c.side() * r.range(0.08, 0.14);
    let wobble = r.noise();
    let pitch = r.range(4.6, 6.0);
    let night = r.chance(0.35);
    c.ground(paper);
    c.shade(|x, y| {
        let (dx, dy) = (x - sun.0, y - sun.1);
        let distance = (dx * dx + dy * dy).sqrt();
        if distance < sun_radius + 3.0 {
            let inside = (sun_radius - distance + 0.5).clamp(0.0, 1.0);
            return paper.mix(spot, inside);
        }
        let far = (distance - sun_radius) / h;
        let dark = if night {
            0.45 + 0.35 * far
        } else {
            0.12 + 0.38 * far
        };
        let shake = wobble.fractal(x * 0.02, y * 0.02, 3);
        let cut = groove((distance + shake * 5.0) / pitch, dark + shake * 0.25, pitch);
        block.alpha(cut)
    });
    let layers = r.int(4, 6);
    let horizon = r.range(0.42, 0.56);
    for layer in 0..layers {
        let t = layer as f32 / (layers - 1) as f32;
        let base = h * lerp(horizon, 0.95, t * t * 0.4 + t * 0.6);
        let rise = h * r.range(0.07, 0.15);
        let form = r.noise();
        let span = r.range(1.1, 2.4) / w;
        let crests: Vec<f32> = (0..=(w as usize * 2))
            .map(|k| base - rise * form.fractal(k as f32 / 2.0 * span, 0.4, 2) * 2.0)
            .collect();
        let crest = |x: f32| crests[((x * 2.0) as usize).min(crests.len() - 1)];
        let kind = (layer + r.int(0, 1)) % 3;
        let spread = lerp(4.4, 7.0, t);
        let slant = r.range(-0.5, 0.5);
        let bright = r.range(0.25, 0.45);
        c.shade_within((0.0, base - rise * 2.5), (w, h), |x, y| {
            let depth = y - crest(x);
            if depth < -1.0 {
                return block.alpha(0.0);
            }
            let shake = wobble.fractal(x * 0.025, y * 0.025 + 31.0 * t, 3);
            let phase = match kind {
                0 => depth / spread + shake * 0.6,
                1 => (x + depth * (0.8 + slant) + shake * 8.0) / spread,
                _ => (x * slant - y * 0.9 + crest(x) * 0.5 + shake * 10.0) / spread,
            };
            let dark = bright + 0.35 * step(0.0, h * 0.3, depth) + shake * 0.55;
            let edge = step(2.2, 1.4, depth.abs());
            let ink = groove(phase, dark.clamp(0.1, 0.9), spread).max(edge);
            let on = (depth + 0.5).clamp(0.0, 1.0);
            paper.mix(block, ink).alpha(on)
        });
        let trees = r.int(0, 3) + layer;
        for _ in 0..trees {
            let x = r.range(0.03, 0.97) * w;
            let size = lerp(12.0, 38.0, t) * r.range(0.7, 1.2);
            cypress(c, r, (x, crest(x) + size * 0.12), size, (block, paper));
        }
    }
    frame(c, paper, block);
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.09,
        ..Sheet::default()
    };
}

/// Ink of a cut line field at `phase` lines, the share `dark` of each black, `pitch` pixels apart.
fn groove(phase: f32, dark: f32, pitch: f32) -> f32 {
    let from_line = ((phase - phase.floor()) - 0.5).abs();
    ((dark * 0.5 - from_line) * pitch + 0.5).clamp(0.0, 1.0)
}

fn cypress(c: &mut Canvas, r: &Random, foot: Point, size: f32, (block, paper): (Ink, Ink)) {
    let lean = r.range(-0.06, 0.06) * size;
    let spine = spline(
        &[
            foot,
            (foot.0 + lean, foot.1 - size * 0.6),
            (foot.0 + lean * 0.5, foot.1 - size * 1.5),
        ],
        30,
    );
    let girth = size * r.range(0.2, 0.3);
    let swell =
        |t: f32| girth * sin((t * 0.93 + 0.07) * std::f32::consts::PI).max(0.0) * (1.1 - 0.5 * t);
    c.fill(brush(&spine, |t| swell(t) + 1.6), paper);
    c.fill(brush(&spine, swell), block);
    for (k, &at) in spine.iter().enumerate().take(26).skip(4).step_by(2) {
        let reach = swell(k as f32 / 29.0);
        let from = (at.0 + reach * 0.15, at.1 + 1.5);
        let to = (at.0 + reach * 0.85, at.1 - reach * 0.35);
        c.line(from, to, size * 0.022 + 0.35, paper);
    }
}

/// The uncut margin of the sheet, its inner edge as rough as the block's.
fn frame(c: &mut Canvas, paper: Ink, block: Ink) {
    let (w, h) = (c.width, c.height);
    let m = 9.0;
    for (x, y, width, height) in [
        (0.0, 0.0, w, m),
        (0.0, h - m, w, m),
        (0.0, 0.0, m, h),
        (w - m, 0.0, m, h),
    ] {
        c.rect(x, y, width, height, paper);
    }
    let corners = [(m, m), (w - m, m), (w - m, h - m), (m, h - m)];
    c.stroke(polygon(&corners), 2.4, block);
}
