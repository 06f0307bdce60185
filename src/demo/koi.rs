//! The artist of ponds: carp seen from above.

use super::canvas::{Canvas, Point};
use super::elementary::{TAU, lerp, sin, step, unit_vector};
use super::outline::{arc, blob, brush, lines, polygon, sector, spline, tangent};
use super::palette::{WHITE, hex, ramp};
use super::random::Random;

/// Carp over dark water, rings, lily pads, lotus.
pub(super) fn koi_pond(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let waters = r
        .pick(&[
            [0x0F4C55, 0x1D7A78],
            [0x123F5C, 0x2A7F96],
            [0x184A3E, 0x3C8A68],
            [0x0E3B4A, 0x2E8C8A],
        ])
        .map(hex);
    let (deep, caustic) = (r.noise(), r.noise());
    c.shade(|x, y| {
        let cloud = 0.5 + deep.fractal(x * 0.009, y * 0.009, 3);
        // Light gathered by ripples runs along the zeros of a warped noise.
        let bend = deep.at(x * 0.02, y * 0.02) * 1.3;
        let net = caustic.at(x * 0.026 + bend, y * 0.026 - bend).abs();
        ramp(&waters, cloud).mix(hex(0xBFEBDD), 0.3 * step(0.09, 0.0, net))
    });
    for _ in 0..r.int(2, 5) {
        let at = (w * r.unit(), h * r.unit());
        let reach = r.range(14.0, 40.0);
        for k in 1..=3 {
            c.ring(
                at,
                reach * k as f32 / 3.0,
                0.9,
                WHITE.alpha(0.24 / k as f32),
            );
        }
    }
    let fish = r.int(3, 6);
    let mut places: Vec<Point> = Vec::new();
    while places.len() < fish {
        let mut best = ((0.0, 0.0), -1.0);
        for _ in 0..12 {
            let at = (w * r.range(0.14, 0.86), h * r.range(0.16, 0.84));
            let near = places.iter().map(|p| {
                let (dx, dy) = (p.0 - at.0, p.1 - at.1);
                dx * dx + dy * dy
            });
            let space = near.fold(1e9, f32::min);
            if space > best.1 {
                best = (at, space);
            }
        }
        places.push(best.0);
    }
    let swirl = if r.chance(0.5) {
        Some(r.range(0.0, TAU))
    } else {
        None
    };
    for at in places {
        let angle = match swirl {
            Some(shared) => shared + r.bell() * 0.5,
            None => r.range(0.0, TAU),
        };
        koi(c, r, at, angle);
    }
    for _ in 0..r.int(3, 8) {
        let edge = r.chance(0.75);
        let (mut x, y) = (r.unit(), r.unit());
        if edge {
            x = if x < 0.5 {
                x * 0.24
            } else {
                1.0 - (1.0 - x) * 0.24
            };
        }
        let radius = c.side() * r.range(0.06, 0.13);
        pad(c, r, (w * x, h * y), radius);
        if r.chance(0.35) {
            lotus(c, r, (w * x, h * y), radius * 0.75);
        }
    }
    for _ in 0..r.int(0, 14) {
        let at = (w * r.unit(), h * r.unit());
        let petal = blob(at, (2.6, 1.7, r.range(0.0, 3.0)), 0.2, 1.0, r);
        c.fill(polygon(&petal), hex(0xF7C6D0).alpha(0.9));
    }
    c.sheet.grain = 0.025;
    c.sheet.vignette = 0.3;
}

fn koi(c: &mut Canvas, r: &Random, at: Point, angle: f32) {
    let length = c.side() * r.range(0.3, 0.46);
    let bend = r.pick(&[-1.0, 1.0]) * r.range(0.12, 0.5);
    let mut points = Vec::new();
    for k in 0..7 {
        let t = k as f32 / 6.0 - 0.5;
        let (ux, uy) = unit_vector(angle + bend * t * 2.2);
        points.push((at.0 - ux * length * t, at.1 - uy * length * t));
    }
    let spine = spline(&points, 60);
    let half = |t: f32| {
        let head = (t * 5.0).min(1.0);
        length * 0.118 * (head * (2.0 - head)).sqrt() * (1.0 - 0.88 * step(0.25, 1.0, t)) + 0.5
    };
    let shadow: Vec<Point> = spine.iter().map(|p| (p.0 + 6.0, p.1 + 9.0)).collect();
    c.fill(
        brush(&shadow, |t| half(t) * 1.08),
        hex(0x03191C).alpha(0.35),
    );
    const COATS: [(u32, u32); 6] = [
        (0xFBF3E6, 0xE8481C),
        (0xF5A31E, 0xF9D27A),
        (0xFDF6EC, 0xD9301A),
        (0xEE6A1F, 0xFFF3E0),
        (0xF4EFE8, 0x22242A),
        (0xF7B733, 0xE8611A),
    ];
    let (body, patch) = r.pick(&COATS);
    let (body, patch) = (hex(body), hex(patch));
    let fin = body.mix(WHITE, 0.25);
    for (place, size) in [(16, 0.19), (36, 0.1)] {
        for side in [-1.0, 1.0] {
            let (tx, ty) = tangent(&spine, place);
            let reach = half(place as f32 / 59.0);
            let root = (
                spine[place].0 - side * ty * reach * 0.8,
                spine[place].1 + side * tx * reach * 0.8,
            );
            let out = (tx * 0.6 - side * ty, ty * 0.6 + side * tx);
            let tip = (
                root.0 + out.0 * length * size,
                root.1 + out.1 * length * size,
            );
            c.fill(
                brush(&spline(&[root, tip], 12), |t| {
                    length * size * 0.4 * sin(t * 2.5 + 0.2).max(0.0)
                }),
                fin.alpha(0.72),
            );
            for k in 0..4 {
                let spread = (k as f32 - 1.5) * length * size * 0.14;
                c.line(
                    root,
                    (tip.0 + tx * spread, tip.1 + ty * spread),
                    0.4,
                    WHITE.alpha(0.5),
                );
            }
        }
    }
    let (tail, (tx, ty)) = (spine[59], tangent(&spine, 59));
    for side in [-1.0, 1.0] {
        let out = (
            tail.0 + tx * length * 0.2 - side * ty * length * 0.1,
            tail.1 + ty * length * 0.2 + side * tx * length * 0.1,
        );
        let start = spine[54];
        let curve = spline(&[start, tail, out], 16);
        c.fill(
            brush(&curve, |t| length * 0.016 + length * 0.05 * sin(t * 2.7)),
            fin.alpha(0.75),
        );
    }
    c.fill(brush(&spine, half), body.bright(0.82));
    c.fill(brush(&spine, |t| half(t) * 0.86), body);
    let edge = r.noise();
    let mut from = r.int(0, 8);
    while from < 52 {
        let run = r.int(7, 15);
        let patch_path: Vec<Point> = spine[from..(from + run).min(58)].to_vec();
        let (start, span) = (from as f32 / 59.0, run as f32 / 59.0);
        let cover = r.range(0.65, 1.0);
        let shift = edge.at(from as f32, 0.5);
        c.fill(
            brush(&patch_path, |t| {
                let fray = 1.0 + 0.3 * edge.at(t * 5.0 + from as f32, 2.5 + shift);
                half(start + t * span)
                    * cover
                    * fray.min(1.1)
                    * (sin(t * 3.0 + 0.07).max(0.0)).sqrt()
            }),
            patch,
        );
        from += run + r.int(2, 10);
    }
    c.stroke(
        lines(&spine[8..50], false),
        0.9,
        body.bright(0.7).alpha(0.6),
    );
    for side in [-1.0, 1.0] {
        let (tx, ty) = tangent(&spine, 5);
        let reach = half(5.0 / 59.0) * 0.72;
        c.circle(
            (
                spine[5].0 - side * ty * reach,
                spine[5].1 + side * tx * reach,
            ),
            length * 0.012 + 0.4,
            hex(0x1A1410),
        );
    }
}

fn pad(c: &mut Canvas, r: &Random, at: Point, radius: f32) {
    let notch = r.range(0.0, TAU);
    let shadow = (at.0 + 4.0, at.1 + 6.0);
    c.fill(
        sector(shadow, radius, notch + 0.22, notch + TAU - 0.22),
        hex(0x03191C).alpha(0.35),
    );
    let green = ramp(&[hex(0x2F7A3E), hex(0x6FA84A), hex(0x3F8F5A)], r.unit());
    c.fill(
        sector(at, radius, notch + 0.22, notch + TAU - 0.22),
        green.bright(0.8),
    );
    c.fill(
        sector(at, radius * 0.93, notch + 0.22, notch + TAU - 0.22),
        green,
    );
    for k in 1..12 {
        let (ux, uy) = unit_vector(notch + k as f32 / 12.0 * TAU);
        let end = (at.0 + ux * radius * 0.88, at.1 + uy * radius * 0.88);
        c.line(at, end, 0.7, green.bright(1.3).alpha(0.7));
    }
    let shine = arc(at, radius * 0.75, notch + 2.2, notch + 3.4);
    c.stroke(lines(&shine, false), 1.3, WHITE.alpha(0.22));
}

fn lotus(c: &mut Canvas, r: &Random, at: Point, size: f32) {
    let turn = r.range(0.0, TAU);
    for (layer, ink) in [(1.0, 0xF4A6BC), (0.78, 0xF9C6D2), (0.52, 0xFDE6E6)] {
        for k in 0..9 {
            let (ux, uy) = unit_vector(turn + (k as f32 + layer * 1.7) / 9.0 * TAU);
            let tip = (at.0 + ux * size * layer, at.1 + uy * size * layer);
            let petal = spline(&[at, tip], 12);
            let width = size * 0.2 * lerp(0.8, 1.0, layer);
            c.fill(
                brush(&petal, |t| width * sin(t * 2.9 + 0.15).max(0.0)),
                hex(ink).vary(r, 0.02),
            );
        }
    }
    c.circle(at, size * 0.16, hex(0xF6C945));
}
