//! Artists of charts: relief maps and the night sky.

use super::canvas::{Canvas, Sheet};
use super::elementary::{TAU, step, unit_vector};
use super::outline::{Field, arc, lines, polygon};
use super::palette::{WHITE, hex, ramp};
use super::random::Random;

/// Relief of an unknown coast: tints, contours, soundings, a graticule, a dashed route.
pub(super) fn contour_map(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let noise = r.noise();
    let scale = c.side() * r.range(0.62, 0.95);
    let lift = r.range(-0.08, 0.16);
    let relief = Field::new(c, |x, y| noise.fractal(x / scale, y / scale, 4) + lift);
    let lands = r
        .pick(&[
            [0xDDE5C0, 0xEFE6C2, 0xE2C79A, 0xC99B73, 0xF4EEE4],
            [0xCFE0BE, 0xE9E8C4, 0xEBD3A0, 0xD8A67E, 0xFBF6EE],
        ])
        .map(hex);
    let seas = [hex(0xCFE6EA), hex(0xA4CFDC), hex(0x7CB2CC)];
    let (land_line, sea_line) = (hex(0x8A4F2E), hex(0x3A7DA3));
    let interval = r.range(0.034, 0.046);
    c.shade(|x, y| {
        let (height, slope) = relief.at(x, y);
        let (gx, gy) = relief.gradient(x, y);
        let level = height / interval;
        let from_line = (level - (level + 0.5).floor()).abs() * interval / slope;
        let index = ((level + 0.5).floor() as i32).rem_euclid(5) == 0;
        let width = if index { 0.85 } else { 0.42 };
        let line = (width - from_line + 0.5).clamp(0.0, 1.0);
        let coast = (1.3 - height.abs() / slope).clamp(0.0, 1.0);
        let relief_light = 1.0 - (gx + gy) * scale * 0.035;
        let (tint, ink) = if height > 0.0 {
            (
                ramp(&lands, height * 1.7).bright(relief_light.clamp(0.82, 1.12)),
                land_line,
            )
        } else {
            (ramp(&seas, -height * 2.2), sea_line)
        };
        tint.mix(ink, line * if index { 0.9 } else { 0.62 })
            .mix(hex(0x23506B), coast)
    });
    let pitch = c.side() / r.pick(&[3.0, 4.0]);
    let mut x = pitch * r.unit();
    while x < w {
        c.line((x, 0.0), (x, h), 0.5, hex(0x4A4A5A).alpha(0.35));
        x += pitch;
    }
    let mut y = pitch * r.unit();
    while y < h {
        c.line((0.0, y), (w, y), 0.5, hex(0x4A4A5A).alpha(0.35));
        y += pitch;
    }
    for _ in 0..90 {
        let at = (w * r.range(0.04, 0.96), h * r.range(0.04, 0.96));
        let (height, _) = relief.at(at.0, at.1);
        if height > 0.42 {
            let peak = [
                (at.0, at.1 - 2.6),
                (at.0 + 2.6, at.1 + 2.0),
                (at.0 - 2.6, at.1 + 2.0),
            ];
            c.fill(polygon(&peak), hex(0x3A2A20));
        } else if (0.02..0.3).contains(&height) && r.chance(0.25) {
            c.rect(at.0 - 1.3, at.1 - 1.3, 2.6, 2.6, hex(0x2A2A30));
        }
    }
    // The route climbs as gently as the ground allows.
    let mut at = (w * r.range(0.2, 0.8), h * r.range(0.2, 0.8));
    let mut heading = unit_vector(r.range(0.0, TAU));
    let mut route = Vec::new();
    for _ in 0..150 {
        let (gx, gy) = relief.gradient(at.0.clamp(0.0, w - 1.0), at.1.clamp(0.0, h - 1.0));
        let norm = (gx * gx + gy * gy).sqrt().max(1e-5);
        let side = if -gy * heading.0 + gx * heading.1 > 0.0 {
            1.0
        } else {
            -1.0
        };
        heading = (
            heading.0 * 0.9 - side * gy / norm * 0.1,
            heading.1 * 0.9 + side * gx / norm * 0.1,
        );
        let length = (heading.0 * heading.0 + heading.1 * heading.1)
            .sqrt()
            .max(1e-5);
        heading = (heading.0 / length, heading.1 / length);
        at = (at.0 + heading.0 * 2.0, at.1 + heading.1 * 2.0);
        route.push(at);
    }
    for dash in route.chunks(4).step_by(2) {
        c.stroke(lines(dash, false), 1.5, hex(0xC8281E));
    }
    c.sheet = Sheet {
        grain: 0.025,
        fibre: 0.06,
        ..Sheet::default()
    };
}

/// Gold on midnight blue: rings with their degrees, the Milky Way, constellations.
pub(super) fn star_chart(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let side = c.side();
    let night = r
        .pick(&[
            [0x081233, 0x15265C],
            [0x0A1030, 0x1E1F5A],
            [0x06172E, 0x123A5C],
        ])
        .map(hex);
    let gold = hex(0xE2BE72);
    let mist = r.noise();
    let turn = unit_vector(r.range(0.0, TAU));
    let shift = r.range(-0.35, 0.35);
    let centre = (w * r.range(0.3, 0.7), h * r.range(0.3, 0.7));
    c.shade(|x, y| {
        let off = ((x - centre.0) * turn.1 - (y - centre.1) * turn.0) / side;
        let cloud = mist.fractal(x / side * 3.2, y / side * 3.2, 4);
        let band = step(0.3, 0.0, (off + shift + cloud * 0.2).abs());
        let veil = (band * (0.45 + cloud)).clamp(0.0, 0.7);
        night[0]
            .mix(night[1], 0.4 + cloud)
            .mix(hex(0x8FA6D8), veil * 0.75)
    });
    let radius = side * r.range(0.36, 0.46);
    let rings = r.int(3, 5);
    for k in 1..=rings {
        c.ring(
            centre,
            radius * k as f32 / rings as f32,
            0.8,
            gold.alpha(0.7),
        );
    }
    c.ring(centre, radius * 1.055, 1.6, gold);
    c.ring(centre, radius * 1.13, 0.8, gold);
    for k in 0..120 {
        let (ux, uy) = unit_vector(k as f32 / 120.0 * TAU);
        let long = if k % 10 == 0 { 1.055 } else { 1.025 };
        let from = (centre.0 + ux * radius, centre.1 + uy * radius);
        c.line(
            from,
            (centre.0 + ux * radius * long, centre.1 + uy * radius * long),
            0.6,
            gold,
        );
        if k % 10 == 0 {
            c.line(
                (
                    centre.0 + ux * radius / rings as f32,
                    centre.1 + uy * radius / rings as f32,
                ),
                from,
                0.4,
                gold.alpha(0.4),
            );
        }
    }
    let tilt = (
        centre.0 + radius * r.range(-0.5, 0.5),
        centre.1 + radius * r.range(-0.5, 0.5),
    );
    let ecliptic = arc(tilt, radius * 1.1, 0.0, TAU);
    for dash in ecliptic.chunks(3).step_by(2) {
        c.stroke(lines(dash, false), 0.7, hex(0xD88A5A).alpha(0.9));
    }
    for _ in 0..r.int(420, 640) {
        let at = (w * r.unit(), h * r.unit());
        let size = 0.4 + 1.0 * r.unit() * r.unit() * r.unit();
        c.circle(
            at,
            size,
            r.pick(&[WHITE, hex(0xFFE6B8), hex(0xBFD4FF)])
                .alpha(r.range(0.45, 1.0)),
        );
    }
    for _ in 0..r.int(5, 9) {
        constellation(c, r);
    }
    c.sheet = Sheet {
        grain: 0.04,
        fibre: 0.05,
        vignette: 0.25,
        ..Sheet::default()
    };
}

fn constellation(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let mut at = (w * r.range(0.1, 0.9), h * r.range(0.1, 0.9));
    let mut stars = vec![at];
    let mut heading = r.range(0.0, TAU);
    for _ in 0..r.int(4, 7) {
        heading += r.bell() * 0.75;
        let (ux, uy) = unit_vector(heading);
        let stride = c.side() * r.range(0.05, 0.12);
        at = (at.0 + ux * stride, at.1 + uy * stride);
        stars.push(at);
        if r.chance(0.22) {
            let (vx, vy) = unit_vector(heading + r.pick(&[-1.3, 1.3]));
            let twig = (at.0 + vx * stride, at.1 + vy * stride);
            stars.extend([twig, at]);
        }
    }
    c.stroke(lines(&stars, false), 0.8, hex(0xF3E2B4).alpha(0.75));
    for &star in &stars {
        let size = r.range(1.3, 2.8);
        let glow = hex(0xFFF4D6);
        c.glow(star, size * 4.0, glow.alpha(0.5));
        let mut points = Vec::new();
        for k in 0..8 {
            let (ux, uy) = unit_vector(k as f32 / 8.0 * TAU);
            let reach = if k % 2 == 0 { size * 1.9 } else { size * 0.55 };
            points.push((star.0 + ux * reach, star.1 + uy * reach));
        }
        c.fill(polygon(&points), glow);
    }
}
