//! The artist of botanical plates: one pressed species a sheet.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, lerp, sin, unit_vector};
use super::outline::{brush, lines, polygon, spline, tangent};
use super::palette::{Ink, hex};
use super::random::Random;

/// A pressed plant per sheet: ruled border, roots, leaves in pairs, flowers or berries.
pub(super) fn botanical_plates(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let paper = hex(0xF3E9CF);
    c.ground(paper);
    let sepia = hex(0x5A4630);
    for (inset, width) in [(10.0, 1.3), (13.5, 0.5)] {
        let (x1, y1) = (w - inset, h - inset);
        c.stroke(
            polygon(&[(inset, inset), (x1, inset), (x1, y1), (inset, y1)]),
            width,
            sepia,
        );
    }
    let greens = r
        .pick(&[
            [0x33562F, 0x7C9A48],
            [0x2C5A4E, 0x83AA8C],
            [0x55602A, 0xA6A94F],
            [0x3B4F3A, 0x6F8F6A],
        ])
        .map(hex);
    let accent = hex(r.pick(&[0xC2452D, 0xD9952B, 0x8A4F8F, 0x3F62A8, 0xD0738A]));
    let kind = r.int(0, 3);
    let plants = if w > h * 1.15 {
        r.int(2, 3)
    } else {
        r.int(1, 2)
    };
    for k in 0..plants {
        let x = w * (k as f32 + 0.5) / plants as f32;
        let reach = r.range(0.6, 0.68) * h * if k % 2 == 1 { 0.86 } else { 1.0 };
        let foot = (x + r.range(-8.0, 8.0), h * 0.845);
        let bend = r.range(-0.14, 0.14) * h;
        let stem = spline(
            &[
                foot,
                (foot.0 + bend * 0.5, foot.1 - reach * 0.4),
                (foot.0 - bend * 0.2, foot.1 - reach * 0.75),
                (foot.0 + bend * 0.4, foot.1 - reach),
            ],
            90,
        );
        plant(c, r, &stem, (kind + k * r.int(0, 1)) % 4, greens, accent);
        roots(c, r, foot);
    }
    // Beside the plant, its parts alone: a leaf, a flower or its fruit.
    if plants == 1 {
        for side in [0.17, 0.83] {
            let at = (w * side, h * r.range(0.6, 0.76));
            match r.int(0, 2) {
                0 => {
                    let size = (c.height * 0.16, 0.24);
                    let up = unit_vector(r.range(-1.9, -1.2));
                    let ink = greens[0].mix(greens[1], 0.4);
                    leaf(c, r, at, up, size, ink, kind == 0);
                }
                1 => flower(c, r, at, c.height * 0.05, accent),
                _ => {
                    let size = c.height * 0.033;
                    c.circle(at, size, accent.bright(0.8));
                    c.circle(at, size * 0.82, accent.mix(paper, 0.6));
                    for k in 0..5 {
                        let (ux, uy) = unit_vector(k as f32 / 5.0 * TAU);
                        let seed = (at.0 + ux * size * 0.42, at.1 + uy * size * 0.42);
                        c.circle(seed, size * 0.15, sepia);
                    }
                }
            }
        }
    }
    // Lettering too small to read, as at this size it would be.
    let mut x = w * 0.5 - 46.0;
    while x < w * 0.5 + 40.0 {
        let word = r.range(8.0, 22.0);
        let points: Vec<Point> = (0..(word * 1.3) as usize)
            .map(|k| (x + k as f32 / 1.3, h * 0.925 + r.range(-1.5, 1.5)))
            .collect();
        c.stroke(lines(&points, false), 0.6, sepia.alpha(0.85));
        x += word + 5.0;
    }
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.09,
        vignette: 0.22,
        ..Sheet::default()
    };
}

fn plant(c: &mut Canvas, r: &Random, stem: &[Point], kind: usize, greens: [Ink; 2], accent: Ink) {
    let last = stem.len() - 1;
    let scale = c.height / 300.0;
    let pairs = [15, 6, 9, 11][kind] + r.int(0, 3) - 1;
    let spread = r.range(0.75, 1.15);
    let alternate = if r.chance(0.4) { 0.5 } else { 0.0 };
    let open = r.range(0.6, 1.15);
    let broad = [0.17, 0.3, 0.22, 0.13][kind];
    for k in 0..pairs {
        for side in [-1.0, 1.0] {
            let level = k as f32 + if side > 0.0 { alternate } else { 0.0 };
            let t = 0.2 + 0.74 * level / pairs as f32;
            let place = (t * last as f32) as usize;
            let (tx, ty) = tangent(stem, place);
            let (ux, uy) = unit_vector(side * (open + r.range(-0.12, 0.15)));
            let direction = (tx * ux - ty * uy, tx * uy + ty * ux);
            let taper = 1.15 - 0.75 * t;
            let length =
                [66.0, 74.0, 52.0, 66.0][kind] * scale * taper * spread * r.range(0.88, 1.1);
            let ink = greens[0].mix(greens[1], r.range(0.0, 0.9));
            leaf(
                c,
                r,
                stem[place],
                direction,
                (length, broad),
                ink,
                kind == 0,
            );
        }
    }
    c.fill(
        brush(stem, |t| (1.9 - 1.3 * t) * scale),
        greens[0].bright(0.8),
    );
    let tip = stem[last];
    match kind {
        1 => flower(c, r, tip, 24.0 * scale, accent),
        2 => {
            for k in 0..r.int(9, 14) {
                let (ux, uy) = unit_vector(-1.57 + r.range(-1.3, 1.3));
                let reach = scale * (12.0 + (k % 3) as f32 * 9.0);
                let at = (tip.0 + ux * reach, tip.1 + 4.0 + uy * reach);
                c.line(tip, at, 0.7, greens[0]);
                let size = r.range(3.2, 4.8) * scale;
                c.circle(at, size, accent.vary(r, 0.07));
                c.circle(
                    (at.0 - size * 0.3, at.1 - size * 0.35),
                    size * 0.28,
                    hex(0xFFF6E0).alpha(0.75),
                );
            }
        }
        3 => {
            for k in 0..11 {
                let (ux, uy) = unit_vector(lerp(-2.75, -0.4, k as f32 / 10.0));
                let at = (tip.0 + ux * 26.0 * scale, tip.1 + uy * 26.0 * scale);
                c.line(tip, at, 0.7, greens[0]);
                for _ in 0..7 {
                    let dot = (at.0 + r.bell() * 2.6, at.1 + r.bell() * 2.6);
                    c.circle(dot, r.range(1.0, 1.8) * scale, accent.vary(r, 0.12));
                }
            }
        }
        _ => {
            // A fern ends in its rolled frond.
            let coil: Vec<Point> = (0..40)
                .map(|k| {
                    let t = k as f32 / 39.0;
                    let (ux, uy) = unit_vector(2.6 + t * 9.0);
                    let reach = 8.0 * scale * (1.0 - 0.85 * t);
                    (
                        tip.0 + 6.8 * scale + ux * reach,
                        tip.1 - 4.0 * scale + uy * reach,
                    )
                })
                .collect();
            c.stroke(lines(&coil, false), 1.6 * scale, greens[0]);
        }
    }
}

fn leaf(
    c: &mut Canvas,
    r: &Random,
    from: Point,
    d: Point,
    (length, broad): (f32, f32),
    ink: Ink,
    fern: bool,
) {
    let droop = r.range(0.02, 0.22) * length;
    let middle = (from.0 + d.0 * length * 0.55, from.1 + d.1 * length * 0.55);
    let tip = (from.0 + d.0 * length, from.1 + d.1 * length + droop);
    let spine = spline(&[from, middle, tip], 24);
    if fern {
        c.stroke(lines(&spine, false), 0.8, ink);
        for k in 2..24 {
            let (tx, ty) = tangent(&spine, k);
            let reach = length * broad * 0.95 * (1.0 - k as f32 / 26.0);
            for side in [-1.0, 1.0] {
                let out = (
                    spine[k].0 + tx * reach * 0.5 - side * ty * reach,
                    spine[k].1 + ty * reach * 0.5 + side * tx * reach,
                );
                let sprig = [
                    spine[k],
                    ((spine[k].0 + out.0) / 2.0, (spine[k].1 + out.1) / 2.0),
                    out,
                ];
                c.fill(brush(&sprig, |t| 1.25 - 0.8 * t), ink);
            }
        }
        return;
    }
    let half = |t: f32| length * broad * sin(t * 2.9 + 0.1).max(0.0) * (1.0 - 0.45 * t);
    c.fill(brush(&spine, half), ink);
    // One half is turned from the light.
    let shaded: Vec<Point> = spine
        .iter()
        .enumerate()
        .map(|(k, p)| {
            let (tx, ty) = tangent(&spine, k);
            let reach = half(k as f32 / 23.0);
            (p.0 - ty * reach, p.1 + tx * reach)
        })
        .chain(spine.iter().rev().copied())
        .collect();
    c.fill(polygon(&shaded), ink.bright(0.72).alpha(0.6));
    let vein = hex(0xEDE6C0).alpha(0.6);
    c.stroke(lines(&spine, false), 0.7, vein);
    for k in (4..20).step_by(3) {
        let (tx, ty) = tangent(&spine, k);
        let reach = half(k as f32 / 23.0) * 0.8;
        for side in [-1.0, 1.0] {
            let end = (
                spine[k].0 + tx * reach * 0.7 - side * ty * reach,
                spine[k].1 + ty * reach * 0.7 + side * tx * reach,
            );
            c.line(spine[k], end, 0.4, vein);
        }
    }
}

fn flower(c: &mut Canvas, r: &Random, at: Point, size: f32, ink: Ink) {
    let petals = r.int(8, 13);
    for (layer, shade) in [(1.0, 0.82), (0.72, 1.08)] {
        for k in 0..petals {
            let (ux, uy) = unit_vector((k as f32 + layer) / petals as f32 * TAU);
            let tip = (at.0 + ux * size * layer, at.1 + uy * size * layer * 0.85);
            let spine = spline(&[at, ((at.0 + tip.0) / 2.0, (at.1 + tip.1) / 2.0), tip], 14);
            let petal = ink.bright(shade).vary(r, 0.04);
            c.fill(brush(&spine, |t| size * 0.17 * sin(t * 2.6 + 0.35)), petal);
            c.stroke(lines(&spine, false), 0.4, ink.bright(0.5).alpha(0.5));
        }
    }
    for _ in 0..40 {
        let dot = (at.0 + r.bell() * size * 0.1, at.1 + r.bell() * size * 0.09);
        c.circle(dot, size * 0.035, hex(0x7A4A16).vary(r, 0.12));
    }
}

fn roots(c: &mut Canvas, r: &Random, foot: Point) {
    for _ in 0..9 {
        let mut points = vec![foot];
        let (mut at, mut dx) = (foot, r.bell() * 1.2);
        for _ in 0..5 {
            dx += r.bell() * 0.8;
            at = (at.0 + dx, at.1 + r.range(2.0, 4.6));
            points.push(at);
        }
        c.fill(
            brush(&spline(&points, 20), |t| 1.0 - 0.8 * t),
            hex(0x8A6A42),
        );
    }
}
