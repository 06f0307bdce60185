//! Artists of far views: mountains in mist, and cities at night.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, lerp, sin, step};
use super::outline::polygon;
use super::palette::{BLACK, Ink, WHITE, hex, ramp};
use super::random::Random;

/// The height of a ridge at every sample column.
fn ridge(canvas: &Canvas, random: &Random, base: f32, rise: f32, frequency: f32) -> Vec<f32> {
    let noise = random.noise();
    (0..(canvas.width * 2.0) as usize)
        .map(|column| {
            let x = column as f32 / 2.0 / canvas.height * frequency;
            let crest = 1.0 - 2.0 * noise.at(x, 0.5).abs();
            let detail = noise.fractal(x * 4.0, 9.5, 4);
            base - rise * (0.75 * crest + 0.3 * detail)
        })
        .collect()
}

/// Ridges behind ridges, each paler and bluer with distance, mist in the valleys, firs in front.
pub(super) fn misty_mountains(c: &mut Canvas, r: &Random) {
    const MOODS: [(u32, u32, u32); 5] = [
        (0xF6DCC2, 0x8FB0C4, 0x17364A),
        (0xEDE8D6, 0x9CC2C2, 0x123C40),
        (0xF4D2CE, 0x9FA5CC, 0x2A2A55),
        (0xE2ECEF, 0x86ABD0, 0x132F50),
        (0xF8E3B8, 0xA3BFB4, 0x21403C),
    ];
    let (low, top, deep) = r.pick(&MOODS);
    let (low, top, deep) = (hex(low), hex(top), hex(deep));
    let (w, h) = (c.width, c.height);
    let sun = (r.range(0.15, 0.85) * w, r.range(0.14, 0.36) * h);
    let sun_radius = c.side() * r.range(0.055, 0.1);
    c.shade(|_, y| top.mix(low, y / h * 1.5));
    c.glow(sun, sun_radius * 6.0, low.bright(1.1).alpha(0.8));
    c.circle(sun, sun_radius, WHITE.mix(low, 0.25));
    let layers = r.int(5, 7);
    let horizon = r.range(0.34, 0.5);
    for layer in 0..layers {
        let t = (layer + 1) as f32 / layers as f32;
        let base = h * lerp(horizon, 0.97, (t - 1.0 / layers as f32) * 1.1);
        let rise = h * lerp(0.2, 0.12, t) * r.range(0.6, 1.4);
        let frequency = lerp(2.6, 1.5, t) * r.range(0.8, 1.2);
        let heights = ridge(c, r, base, rise, frequency);
        let body = low.mix(deep, t * t * 0.75 + t * 0.25 + 0.08);
        if layer + 2 >= layers {
            firs(c, r, &heights, t, body);
        }
        let mist = h * 0.3;
        c.shade(|x, y| {
            let depth = y - heights[(x * 2.0) as usize];
            let veil = step(0.0, 1.0, depth / mist) * (1.0 - t * t) * 0.95;
            body.mix(low, veil)
                .alpha((depth * 2.0 + 0.5).clamp(0.0, 1.0))
        });
    }
    if r.chance(0.45) {
        let flock = (r.range(0.25, 0.75) * w, r.range(0.12, 0.3) * h);
        for _ in 0..r.int(4, 9) {
            let at = (flock.0 + r.bell() * 26.0, flock.1 + r.bell() * 12.0);
            let span = r.range(3.0, 6.0);
            for side in [-1.0, 1.0] {
                let tip = (at.0 + side * span, at.1 - span * 0.45);
                c.line(at, tip, 0.9, deep.alpha(0.75));
            }
        }
    }
    c.sheet = Sheet {
        grain: 0.025,
        fibre: 0.05,
        ..Sheet::default()
    };
}

fn firs(c: &mut Canvas, r: &Random, heights: &[f32], nearness: f32, ink: Ink) {
    let stands = r.noise();
    let mut x = -4.0;
    while x < c.width + 4.0 {
        let column = ((x.max(0.0) * 2.0) as usize).min(heights.len() - 1);
        let dense = stands.at(x * 0.018, 3.3);
        if dense > -0.25 {
            let height = nearness * r.range(12.0, 26.0) * (0.8 + 0.7 * dense.max(0.0));
            fir(c, r, (x, heights[column] + 3.0), height, ink);
        }
        x += r.range(2.5, 9.0) * nearness;
    }
}

fn fir(c: &mut Canvas, r: &Random, foot: Point, height: f32, ink: Ink) {
    let tiers = 6;
    let mut outline = vec![(foot.0, foot.1 - height)];
    for side in [1.0, -1.0] {
        for k in 0..tiers {
            let down = if side > 0.0 { k } else { tiers - 1 - k };
            let y = foot.1 - height * (1.0 - (down + 1) as f32 / tiers as f32);
            let reach = height * 0.22 * (down + 1) as f32 / tiers as f32 * r.range(0.75, 1.2);
            let (out, back) = (
                (foot.0 + side * reach, y),
                (foot.0 + side * reach * 0.45, y - 0.8),
            );
            if side > 0.0 {
                outline.extend([out, back]);
            } else {
                outline.extend([back, out]);
            }
        }
    }
    c.fill(polygon(&outline), ink);
}

/// Skylines with lit windows under a moon, doubled in the water.
pub(super) fn night_city(c: &mut Canvas, r: &Random) {
    const DUSKS: [[u32; 4]; 4] = [
        [0x070A24, 0x1C1650, 0x61266F, 0xE2607A],
        [0x050B22, 0x0E2350, 0x2B4F86, 0xE79A6B],
        [0x0B0720, 0x2A1050, 0x7B2468, 0xF28A52],
        [0x04101F, 0x0B2B48, 0x1E5C70, 0x9AC7A8],
    ];
    let dusk = r.pick(&DUSKS).map(hex);
    let (w, h) = (c.width, c.height);
    let shore = h * r.range(0.7, 0.82);
    c.shade(|_, y| ramp(&dusk, y / shore * 1.12));
    for _ in 0..r.int(70, 130) {
        let at = (r.range(0.0, w), r.unit() * r.unit() * shore * 0.8);
        c.circle(at, r.range(0.35, 0.95), WHITE.alpha(r.range(0.3, 0.95)));
    }
    let moon = (r.range(0.12, 0.88) * w, r.range(0.12, 0.34) * h);
    let moon_radius = c.side() * r.range(0.05, 0.1);
    let moonlight = hex(0xFFF3D0);
    c.glow(moon, moon_radius * 4.5, moonlight.alpha(0.45));
    c.circle(moon, moon_radius, moonlight);
    for _ in 0..5 {
        let at = (
            moon.0 + r.bell() * moon_radius * 0.35,
            moon.1 + r.bell() * moon_radius * 0.35,
        );
        c.circle(
            at,
            moon_radius * r.range(0.08, 0.22),
            hex(0xD9C9A6).alpha(0.45),
        );
    }
    let tallest = r.range(0.42, 0.72);
    for layer in 0..3 {
        let near = layer as f32 / 2.0;
        let wall = ramp(&dusk, 0.72).mix(hex(0x06081A), 0.3 + 0.58 * near);
        let profile = r.noise();
        let mut x = -r.range(0.0, 20.0);
        while x < w {
            let width = r.range(13.0, 26.0) + 8.0 * near;
            let swell = 0.62 + 0.55 * profile.at(x / w * 3.0, 0.5) + r.range(-0.25, 0.25);
            let height = (shore * tallest * lerp(1.15, 0.6, near) * swell).max(18.0);
            tower(c, r, (x, shore - height, width, height), wall, near);
            x += width + r.range(-4.0, 3.0);
        }
        c.shade_within((0.0, shore - 70.0), (w, shore), |_, y| {
            dusk[3].alpha(0.12 * step(shore - 70.0, shore, y) * (1.0 - near))
        });
    }
    water(c, r, shore, dusk[0]);
    c.sheet.grain = 0.03;
    c.sheet.vignette = 0.25;
}

fn tower(c: &mut Canvas, r: &Random, box_: (f32, f32, f32, f32), wall: Ink, near: f32) {
    let (x, y, width, height) = box_;
    c.rect(x, y, width, height, wall);
    c.rect(x, y, width * 0.22, height, BLACK.alpha(0.18));
    let mid = x + width / 2.0;
    match r.int(0, 5) {
        0 => c.line((mid, y), (mid, y - r.range(8.0, 24.0)), 1.0, wall),
        1 => c.rect(x + width * 0.2, y - 6.0, width * 0.6, 7.0, wall),
        2 => {
            let tip = y - r.range(8.0, 20.0);
            c.fill(polygon(&[(x, y), (mid, tip), (x + width, y)]), wall);
            c.line((mid, tip), (mid, tip - 7.0), 0.8, wall);
        }
        3 => {
            c.rect(x + width * 0.15, y - 8.0, width * 0.7, 9.0, wall);
            c.rect(x + width * 0.32, y - 15.0, width * 0.36, 9.0, wall);
        }
        _ => {}
    }
    const LAMPS: [u32; 6] = [0xFFD98A, 0xFFB45E, 0xFFF2C9, 0xFFC971, 0x9BE3F5, 0xFFE08F];
    let lamp = hex(r.pick(&LAMPS));
    let lit = r.range(0.18, 0.6);
    let (step_x, step_y) = (lerp(3.4, 4.6, near), lerp(4.2, 6.2, near));
    let columns = ((width - 3.0) / step_x) as usize;
    let rows = ((height - 4.0) / step_y) as usize;
    let left = x + (width - columns as f32 * step_x) / 2.0;
    for row in 0..rows {
        for column in 0..columns {
            if r.chance(lit) {
                let ink = lamp.vary(r, 0.08).alpha(r.range(0.45, 1.0));
                let (px, py) = (left + column as f32 * step_x, y + 3.5 + row as f32 * step_y);
                c.rect(px + 0.7, py, step_x * 0.55, step_y * 0.52, ink);
            }
        }
    }
}

/// Mirrors what is above `shore` into what is below, broken by ripples.
fn water(c: &mut Canvas, r: &Random, shore: f32, deep: Ink) {
    let (w, h) = (c.width, c.height);
    let ripples = r.noise();
    let mirror = Canvas::copy_of(c);
    let stretch = shore / (h - shore) * 0.55;
    c.shade_within((0.0, shore), (w, h), |x, y| {
        let depth = y - shore;
        let wave = ripples.at(x * 0.012, y * 0.36) * (1.0 + depth * 0.06);
        let swing = sin(y * TAU / 4.3 + x * 0.02) * depth * 0.02;
        let up = shore - depth * stretch + wave * 2.0;
        let seen = mirror.look(x + wave * 3.0 + swing, up.min(shore - 0.5));
        seen.bright(1.15)
            .mix(deep, 0.12 + 0.3 * depth / (h - shore))
            .alpha(1.0)
    });
    for _ in 0..40 {
        let y = lerp(shore + 2.0, h, r.unit());
        let (x, length) = (r.range(0.0, w), r.range(6.0, 30.0));
        let ink = mirror.look(x, shore - 12.0).mix(WHITE, 0.35);
        c.line((x, y), (x + length, y), 0.7, ink.alpha(0.28));
    }
}
