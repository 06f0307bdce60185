//! Artists of line: flow fields and strange attractors.

use super::canvas::{Canvas, OVERSAMPLING, Point, Sheet};
use super::elementary::{TAU, cos, lerp, sin, unit_vector};
use super::outline::brush;
use super::palette::{hex, ramp};
use super::random::Random;

/// Bands of many widths that follow one field and never touch.
pub(super) fn flow_field(c: &mut Canvas, r: &Random) {
    const SETS: [[u32; 8]; 4] = [
        [
            0xF4ECDD, 0xD94F30, 0xE9A13B, 0x1F4E5F, 0x7FB7BE, 0x2B2B3A, 0xF2C4A0, 0xB83B5E,
        ],
        [
            0xEFEADF, 0x264653, 0x2A9D8F, 0xE9C46A, 0xF4A261, 0xE76F51, 0x8AB17D, 0x3D405B,
        ],
        [
            0xF6EBE1, 0x5B2A86, 0xE36588, 0xF2A65A, 0x3A86A8, 0x9AC2C9, 0x2E294E, 0xD8315B,
        ],
        [
            0xF2EEE3, 0x14433D, 0xC44536, 0xE2B15B, 0x6A994E, 0xA7C4A0, 0x33312E, 0xE08E79,
        ],
    ];
    let inks = r.pick(&SETS).map(hex);
    let (w, h) = (c.width, c.height);
    c.ground(inks[0]);
    let noise = r.noise();
    let (scale, swing) = (c.side() * r.range(0.7, 1.3), r.range(1.6, 3.4));
    let base = r.range(0.0, TAU);
    let angle = |x: f32, y: f32| base + swing * noise.fractal(x / scale, y / scale, 2) * 1.6;
    let cell = 2.0;
    let (columns, rows) = ((w / cell) as i32 + 40, (h / cell) as i32 + 40);
    let mut taken = vec![0_u32; (columns * rows) as usize];
    let busy = |taken: &[u32], at: Point, reach: f32, own: u32, mark: bool| -> Option<Vec<usize>> {
        let mut cells = Vec::new();
        let (cx, cy) = (at.0 / cell + 20.0, at.1 / cell + 20.0);
        let n = (reach / cell) as i32 + 1;
        for j in -n..=n {
            for i in -n..=n {
                let (x, y) = (cx as i32 + i, cy as i32 + j);
                let (dx, dy) = (x as f32 + 0.5 - cx, y as f32 + 0.5 - cy);
                if (dx * dx + dy * dy) * cell * cell > reach * reach {
                    continue;
                }
                if x < 0 || y < 0 || x >= columns || y >= rows {
                    continue;
                }
                let k = (y * columns + x) as usize;
                if taken[k] != 0 && taken[k] != own {
                    return None;
                }
                if mark {
                    cells.push(k);
                }
            }
        }
        Some(cells)
    };
    let mut own = 0;
    for (width, tries, long) in [
        (22.0, 60, 320.0),
        (14.0, 160, 260.0),
        (8.0, 400, 200.0),
        (4.5, 900, 130.0),
        (2.6, 1600, 80.0),
    ] {
        for _ in 0..tries {
            own += 1;
            let start = (w * r.range(-0.05, 1.05), h * r.range(-0.05, 1.05));
            let reach = width / 2.0 + 1.7;
            let mut path = Vec::new();
            for sign in [-1.0, 1.0] {
                let mut at = start;
                let mut half = Vec::new();
                while (half.len() as f32) * 2.0 < long * 0.5
                    && busy(&taken, at, reach, own, false).is_some()
                {
                    let (ux, uy) = unit_vector(angle(at.0, at.1));
                    half.push(at);
                    at = (at.0 + sign * ux * 2.0, at.1 + sign * uy * 2.0);
                }
                if sign < 0.0 {
                    half.reverse();
                    path = half;
                } else {
                    path.extend(half.into_iter().skip(1));
                }
            }
            if (path.len() as f32) * 2.0 < width * 1.8 + 8.0 {
                continue;
            }
            for &at in &path {
                for k in busy(&taken, at, width / 2.0, own, true).unwrap_or_default() {
                    taken[k] = own;
                }
            }
            let ink = inks[1 + (r.unit() * r.unit() * 7.0) as usize % 7].vary(r, 0.02);
            c.fill(brush(&path, |_| width / 2.0), ink);
            // Some bands are cut into lengths of two colours.
            if width > 4.0 && r.chance(0.3) {
                let second = r.pick(&inks);
                let run = r.int(3, 12);
                for piece in path.chunks(run).skip(1).step_by(2) {
                    c.fill(brush(piece, |_| width / 2.0), second);
                }
            }
        }
    }
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.05,
        ..Sheet::default()
    };
}

/// Orbits of a Clifford map, hundreds of thousands of points of light on black.
pub(super) fn strange_attractor(c: &mut Canvas, r: &Random) {
    const GLOWS: [[u32; 4]; 5] = [
        [0x1B3FD0, 0x18B5E0, 0xF05AC8, 0xFFE6A8],
        [0x5A1AD0, 0xE0307A, 0xFF9A3A, 0xFFF0C0],
        [0x0A7A6A, 0x2AE0A0, 0xA8F06A, 0xFDFFD0],
        [0xB01A3A, 0xFF5A3A, 0xFFC04A, 0xFFF8E0],
        [0x2A3AE0, 0x8A5AF0, 0x5AE0F0, 0xFFFFFF],
    ];
    let glow = r.pick(&GLOWS).map(hex);
    let scale = OVERSAMPLING as f32;
    let (columns, rows) = ((c.width * scale) as usize, (c.height * scale) as usize);
    // Parameters are drawn until the orbit fills enough of a coarse grid to be worth looking at.
    let mut chosen = [-1.7, 1.8, -1.9, -0.4];
    for _ in 0..60 {
        let candidate = [0, 1, 2, 3]
            .map(|k| r.range(if k < 2 { 1.2 } else { 0.3 }, 2.1) * r.pick(&[-1.0, 1.0]));
        let mut seen = vec![false; 48 * 48];
        let mut p = (0.1, 0.1);
        for _ in 0..6000 {
            p = clifford(&candidate, p);
            let cell = |v: f32, k: f32| {
                (((v / (1.0 + k.abs())) * 0.5 + 0.5) * 47.9).clamp(0.0, 47.0) as usize
            };
            seen[cell(p.1, candidate[3]) * 48 + cell(p.0, candidate[2])] = true;
        }
        if seen.iter().filter(|&&s| s).count() > 900 {
            chosen = candidate;
            break;
        }
    }
    // The orbit's bounds, which fill the sheet but for a margin.
    let (mut low, mut high) = ((9.0_f32, 9.0_f32), (-9.0_f32, -9.0_f32));
    let mut p = (0.1, 0.1);
    for _ in 0..20_000 {
        p = clifford(&chosen, p);
        low = (low.0.min(p.0), low.1.min(p.1));
        high = (high.0.max(p.0), high.1.max(p.1));
    }
    let span = (high.0 - low.0, high.1 - low.1);
    let margin = 0.05;
    let across = |v: f32, low: f32, span: f32, cells: usize| {
        let share = margin + (v - low) / span * (1.0 - 2.0 * margin);
        ((share.max(0.0) * cells as f32) as usize).min(cells - 1)
    };
    let mut light = vec![(0.0_f32, 0.0_f32); columns * rows];
    let mut p = (0.1, 0.1);
    for _ in 0..900_000 {
        let q = clifford(&chosen, p);
        let speed = ((q.0 - p.0) * (q.0 - p.0) + (q.1 - p.1) * (q.1 - p.1)).sqrt();
        p = q;
        let column = across(p.0, low.0, span.0, columns);
        let cell = across(p.1, low.1, span.1, rows) * columns + column;
        light[cell].0 += 1.0;
        light[cell].1 += speed / (span.0 + span.1) * 2.0;
    }
    let black = hex(0x05060D);
    c.shade(|x, y| {
        let k = ((y * scale) as usize).min(rows - 1) * columns
            + ((x * scale) as usize).min(columns - 1);
        let (count, hue) = light[k];
        if count == 0.0 {
            return black;
        }
        let bright = (count / (count + 4.0)).sqrt();
        let colour = ramp(&glow, lerp(hue / count * 1.3, bright, 0.3));
        black.mix(colour, bright * 1.15)
    });
    c.sheet.grain = 0.02;
}

fn clifford(k: &[f32; 4], (x, y): Point) -> Point {
    (
        sin(k[0] * y) + k[2] * cos(k[0] * x),
        sin(k[1] * x) + k[3] * cos(k[1] * y),
    )
}
