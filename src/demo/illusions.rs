//! Artists who play with the eye: op art, isometric towns, ribbons on Truchet tiles.

use super::canvas::{Canvas, Point};
use super::elementary::{TAU, exp, lerp, sin, unit_vector};
use super::outline::{Field, arc, lines, polygon};
use super::palette::{Ink, WHITE, hex, ramp};
use super::random::Random;

/// Black and white: checks, stripes or rings swollen by one to three lenses.
pub(super) fn op_art(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let side = c.side();
    let lenses: Vec<(Point, f32, f32)> = (0..r.int(1, 3))
        .map(|_| {
            let at = (w * r.range(0.2, 0.8), h * r.range(0.2, 0.8));
            let push = r.pick(&[-0.45, 0.6, 0.75]) * r.range(0.85, 1.1);
            (at, side * r.range(0.26, 0.45), push)
        })
        .collect();
    let bend = move |x: f32, y: f32| -> Point {
        let (mut px, mut py) = (x, y);
        for &(at, radius, push) in &lenses {
            let (dx, dy) = (px - at.0, py - at.1);
            let pull = push * exp(-(dx * dx + dy * dy) / (radius * radius) * 2.2);
            px -= dx * pull;
            py -= dy * pull;
        }
        (px, py)
    };
    let (ux, uy) = unit_vector(r.range(0.0, TAU));
    let pitch = side / r.range(9.0, 15.0);
    let wave = (side * r.range(0.02, 0.09), TAU / side * r.range(0.8, 2.2));
    let centre = (w * r.range(0.25, 0.75), h * r.range(0.25, 0.75));
    let kind = r.int(0, 3);
    let along = |x: f32, y: f32| {
        let (px, py) = bend(x, y);
        (px * ux + py * uy, py * ux - px * uy)
    };
    let first = Field::new(c, |x, y| {
        let (u, v) = along(x, y);
        match kind {
            0 => u / pitch,
            1 => (u + wave.0 * sin(v * wave.1)) / pitch * 1.25,
            2 => {
                let (px, py) = bend(x, y);
                let (dx, dy) = (px - centre.0, py - centre.1);
                (dx * dx + dy * dy).sqrt() / pitch * 1.3
            }
            _ => (u + wave.0 * 1.5 * sin(v * wave.1)) / pitch,
        }
    });
    let second = Field::new(c, |x, y| {
        let (u, v) = along(x, y);
        match kind {
            0 => v / pitch,
            2 => u / side * 1.5,
            3 => (v + wave.0 * 1.5 * sin(u * wave.1)) / pitch,
            _ => 0.5,
        }
    });
    let (black, white) = (hex(0x0E0E10), hex(0xF7F6F2));
    // A square wave of the phase, -1 or 1, smooth over one pixel.
    let square = |(phase, slope): (f32, f32)| {
        let t = phase - phase.floor();
        let to_edge = (0.25 - (t - 0.5).abs()) / slope;
        (to_edge * 1.6).clamp(-1.0, 1.0)
    };
    c.shade(|x, y| {
        let parity = square(first.at(x, y)) * square(second.at(x, y));
        white.mix(black, 0.5 + 0.5 * parity)
    });
    c.sheet.grain = 0.015;
}

/// Pastel blocks, stairs, arches and domes on a square lattice seen along its diagonal.
pub(super) fn isometric_towns(c: &mut Canvas, r: &Random) {
    const SKIES: [[u32; 2]; 4] = [
        [0xF9D9C8, 0xF2A7A0],
        [0xCDE8E6, 0x8FC7CF],
        [0xE6DAF2, 0xB7A3DA],
        [0xFCE8B8, 0xF3B98A],
    ];
    const WALLS: [[u32; 4]; 4] = [
        [0xF26D6D, 0xF9B384, 0xFBE3B9, 0x7FC4B8],
        [0xEE8E9E, 0xF7C9B0, 0x8FD0C8, 0xF4EBD9],
        [0x9B8BD0, 0xE8A0BF, 0xF9D8C0, 0x7EC3D6],
        [0xE97F5A, 0xF6C667, 0x6FB7A6, 0xF3E4D0],
    ];
    let sky = r.pick(&SKIES).map(hex);
    let walls = r.pick(&WALLS).map(hex);
    let (w, h) = (c.width, c.height);
    c.shade(|_, y| sky[0].mix(sky[1], y / h));
    let sun = (w * r.range(0.15, 0.85), h * r.range(0.12, 0.25));
    c.circle(sun, c.side() * r.range(0.06, 0.1), WHITE.alpha(0.55));
    let n = r.int(5, 8) as i32;
    let unit = c.side() / (n as f32 * 1.66);
    let heights = r.noise();
    let peak = r.range(2.4, 4.2);
    let origin = (w / 2.0, h * r.range(0.54, 0.58));
    let place = |i: f32, j: f32, up: f32| -> Point {
        (
            origin.0 + (i - j) * unit * 0.866,
            origin.1 + (i + j) * unit * 0.5 - up * unit * 0.9,
        )
    };
    for i in 0..n {
        for j in 0..n {
            let (a, b) = (i as f32 - n as f32 / 2.0, j as f32 - n as f32 / 2.0);
            let edge = 1.0 - (a * a + b * b).sqrt() / n as f32 * 1.15;
            let rise =
                0.8 + peak * edge + 2.2 * heights.at(i as f32 * 0.45 + 0.2, j as f32 * 0.45 + 0.3);
            if rise < 0.45 {
                continue;
            }
            // Half steps make stairs of neighbouring blocks.
            let up = ((rise * 2.0) as i32) as f32 / 2.0;
            let wall = walls[(heights.cell(i, j) * 4.0) as usize % 4];
            let (a, b) = (i as f32 - n as f32 / 2.0, j as f32 - n as f32 / 2.0);
            block(
                c,
                r,
                &|di, dj, z| place(a + di, b + dj, z),
                (up, unit),
                wall,
            );
        }
    }
    c.sheet.grain = 0.02;
    c.sheet.fibre = 0.03;
}

fn block(
    c: &mut Canvas,
    r: &Random,
    at: &dyn Fn(f32, f32, f32) -> Point,
    (up, unit): (f32, f32),
    wall: Ink,
) {
    let (left, right) = (
        wall.bright(0.86),
        wall.bright(0.66).mix(hex(0x5A3A7A), 0.14),
    );
    c.fill(
        polygon(&[
            at(0.0, 1.0, up),
            at(1.0, 1.0, up),
            at(1.0, 1.0, -0.6),
            at(0.0, 1.0, -0.6),
        ]),
        left,
    );
    c.fill(
        polygon(&[
            at(1.0, 0.0, up),
            at(1.0, 1.0, up),
            at(1.0, 1.0, -0.6),
            at(1.0, 0.0, -0.6),
        ]),
        right,
    );
    let roof = wall.mix(WHITE, 0.38);
    c.fill(
        polygon(&[
            at(0.0, 0.0, up),
            at(1.0, 0.0, up),
            at(1.0, 1.0, up),
            at(0.0, 1.0, up),
        ]),
        roof,
    );
    // Doors and windows with round heads, on either face.
    for level in 0..(up as i32).max(1) {
        let z = up - level as f32 - 0.85;
        for face in 0..2 {
            if !r.chance(0.42) || z < -0.1 {
                continue;
            }
            let on = |u: f32, v: f32| {
                if face == 0 {
                    at(u, 1.0, z + v)
                } else {
                    at(1.0, 1.0 - u, z + v)
                }
            };
            let half = r.pick(&[0.1, 0.14, 0.2]);
            let mut outline = vec![on(0.5 - half, 0.0), on(0.5 + half, 0.0)];
            for k in 0..=8 {
                let (ux, uy) = unit_vector(k as f32 / 8.0 * TAU / 2.0);
                outline.push(on(0.5 + half * ux, 0.36 + half * uy));
            }
            let shade = if face == 0 { left } else { right };
            c.fill(polygon(&outline), shade.mix(hex(0x3A2450), 0.6));
        }
    }
    let middle = at(0.5, 0.5, up);
    match r.int(0, 11) {
        0 => {
            let size = unit * 0.34;
            let dome = arc(middle, size, TAU / 2.0, TAU);
            c.fill(polygon(&dome), WHITE.mix(wall, 0.15));
            let shade = arc(middle, size, TAU * 0.8, TAU);
            let mut half: Vec<Point> = shade;
            half.push((middle.0 + size * 0.2, middle.1));
            c.fill(polygon(&half), hex(0x6A4A8A).alpha(0.22));
            c.line(
                (middle.0, middle.1 - size),
                (middle.0, middle.1 - size * 1.5),
                1.2,
                hex(0xE8B04A),
            );
        }
        1 | 2 => {
            let size = unit * r.range(0.26, 0.36);
            let crown = (middle.0, middle.1 - size * 1.5);
            c.line(middle, crown, 1.8, hex(0x7A5040));
            c.circle(crown, size, hex(0x4F9A7A));
            c.circle(
                (crown.0 - size * 0.25, crown.1 - size * 0.25),
                size * 0.62,
                hex(0x74BC8C),
            );
        }
        3 => {
            let size = unit * 0.42;
            let tip = (middle.0, middle.1 - size * 2.3);
            let (l, f, e) = (at(0.1, 0.9, up), at(0.9, 0.9, up), at(0.9, 0.1, up));
            c.fill(polygon(&[l, f, tip]), hex(0xE8604C));
            c.fill(polygon(&[f, e, tip]), hex(0xA8405A));
        }
        4 => {
            c.line(
                middle,
                (middle.0, middle.1 - unit * 0.8),
                1.2,
                hex(0x5A4060),
            );
            let mast = middle.1 - unit * 0.8;
            c.fill(
                polygon(&[
                    (middle.0, mast),
                    (middle.0 + unit * 0.4, mast + unit * 0.13),
                    (middle.0, mast + unit * 0.27),
                ]),
                hex(0xF05A4A),
            );
        }
        _ => {}
    }
}

/// Striped ribbons that turn and cross from tile to tile.
pub(super) fn truchet_ribbons(c: &mut Canvas, r: &Random) {
    const SETS: [[u32; 5]; 4] = [
        [0xF3E3C3, 0x7A3B1E, 0xD9622B, 0xF0A63A, 0xF7E0A0],
        [0xEFE6D2, 0x23424A, 0x2F8A86, 0xF2B84B, 0xF6E8C8],
        [0xF5E1CF, 0x5A2438, 0xB83A4B, 0xF08A5A, 0xFBD9A8],
        [0xE9E4D0, 0x3A3560, 0x7A5AA0, 0xE58A7A, 0xF8DDB0],
    ];
    let inks = r.pick(&SETS).map(hex);
    c.ground(inks[0]);
    // Whole pixels, so that the ends of a piece that is laid over another fall between samples.
    let size = (c.side() / r.pick(&[3.0, 3.6, 4.4, 5.2]) / 2.0).floor() * 2.0;
    let diagonal = r.chance(0.35);
    let columns = (c.width / size) as usize + 2;
    let rows = (c.height / size) as usize + 2;
    let (x0, y0) = (-r.range(0.0, size).floor(), -r.range(0.0, size).floor());
    let bias = r.range(0.25, 0.75);
    let crossings = r.range(0.05, 0.3);
    let (mut paths, mut bridges) = (Vec::new(), Vec::new());
    for k in 0..columns * rows {
        let (column, row) = (k % columns, k / columns);
        let at = (x0 + column as f32 * size, y0 + row as f32 * size);
        let (right, down) = (at.0 + size, at.1 + size);
        let middle = (at.0 + size / 2.0, at.1 + size / 2.0);
        if r.chance(crossings) {
            paths.push(vec![(at.0 - 0.4, middle.1), (right + 0.4, middle.1)]);
            paths.push(vec![(middle.0, at.1 - 0.4), (middle.0, down + 0.4)]);
            bridges.push((middle, r.chance(0.5)));
            continue;
        }
        let first = if diagonal {
            ((column + row) % 2 == 0) == r.chance(0.85)
        } else {
            r.chance(bias)
        };
        let corners = if first {
            [(at, 0.0), ((right, down), TAU / 2.0)]
        } else {
            [((right, at.1), TAU / 4.0), ((at.0, down), TAU * 0.75)]
        };
        for (corner, from) in corners {
            let to = from + TAU / 4.0 + 0.01;
            paths.push(arc(corner, size / 2.0, from - 0.01, to));
        }
    }
    // Band by band over the whole sheet: where pieces meet, each band meets its own colour.
    let bands = [0, 1, 2, 3].map(|k| {
        let t = k as f32 / 3.0;
        (size * RIBBON * lerp(1.0, 0.16, t), ramp(&inks[1..], t))
    });
    for (width, ink) in bands {
        for path in &paths {
            c.stroke_butt(lines(path, false), width, ink);
        }
    }
    for (middle, upright) in bridges {
        let reach = (size * RIBBON / 2.0).ceil() + 1.0;
        let (dx, dy) = if upright { (0.0, reach) } else { (reach, 0.0) };
        let over = [
            (middle.0 - dx, middle.1 - dy),
            (middle.0 + dx, middle.1 + dy),
        ];
        let shade = hex(0x2A1A10).alpha(0.35);
        c.stroke_butt(lines(&over, false), size * (RIBBON + 0.14), shade);
        for (width, ink) in bands {
            c.stroke_butt(lines(&over, false), width, ink);
        }
    }
    c.sheet.grain = 0.03;
    c.sheet.fibre = 0.06;
}

/// Width of a ribbon as a share of the tile's side.
const RIBBON: f32 = 0.56;
