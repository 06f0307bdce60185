//! Artists of plain shapes: Bauhaus tiles, De Stijl grids, suprematist flights.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, cos, sin, unit_vector};
use super::outline::{arc, bar, lines, polygon, sector};
use super::palette::{Ink, hex};
use super::random::Random;

/// Square tiles of quarter discs, half discs, rings, stripes and stairs.
pub(super) fn bauhaus(c: &mut Canvas, r: &Random) {
    const SETS: [[u32; 6]; 3] = [
        [0xF2E5CC, 0xE0452B, 0xF0AE2D, 0x1F6A6D, 0x1B2A41, 0xF19C8A],
        [0xF4E9D8, 0xD8432F, 0xF4B942, 0x2B6CA3, 0x22222E, 0x8CBFB0],
        [0xEFE4D0, 0xE96A2C, 0xEFC04A, 0x157A6E, 0x2A2346, 0xE8A3A8],
    ];
    let inks = r.pick(&SETS).map(hex);
    let across = r.pick(&[4.0, 5.0, 6.0]);
    let size = c.width.max(c.height) / across;
    let (columns, rows) = (across as usize, across as usize);
    let (x0, y0) = (
        (c.width - size * columns as f32) / 2.0,
        (c.height - size * rows as f32) / 2.0,
    );
    let wide = r.chance(0.6);
    for k in 0..columns * rows {
        let at = (
            x0 + (k % columns) as f32 * size,
            y0 + (k / columns) as f32 * size,
        );
        tile(c, r, at, size, &inks);
    }
    // A few tiles of double size break the beat.
    if wide {
        for _ in 0..r.int(1, 3) {
            let (i, j) = (r.int(0, columns - 2), r.int(0, rows - 2));
            tile(
                c,
                r,
                (x0 + i as f32 * size, y0 + j as f32 * size),
                size * 2.0,
                &inks,
            );
        }
    }
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.06,
        ..Sheet::default()
    };
}

fn tile(c: &mut Canvas, r: &Random, (x, y): Point, size: f32, inks: &[Ink; 6]) {
    let ground = r.int(0, 5);
    let figure = (ground + r.int(1, 5)) % 6;
    let third = (0..6).find(|&k| k != ground && k != figure && (k + figure).is_multiple_of(2));
    let (ground, figure) = (inks[ground], inks[figure]);
    let third = inks[third.unwrap_or(0)];
    c.rect(x, y, size, size, ground);
    let quarter = r.int(0, 3);
    let corner = [(x, y), (x + size, y), (x + size, y + size), (x, y + size)][quarter];
    let from = quarter as f32 * TAU / 4.0;
    let middle = (x + size / 2.0, y + size / 2.0);
    match r.int(0, 9) {
        0 | 1 => {
            c.fill(sector(corner, size, from, from + TAU / 4.0), figure);
            if r.chance(0.5) {
                c.fill(sector(corner, size * 0.5, from, from + TAU / 4.0), third);
            }
        }
        2 => {
            let edge = (
                middle.0 - cos(from) * size / 2.0,
                middle.1 - sin(from) * size / 2.0,
            );
            c.fill(
                sector(edge, size / 2.0, from - TAU / 4.0, from + TAU / 4.0),
                figure,
            );
            c.fill(
                sector(middle, size / 2.0, from - TAU / 4.0, from + TAU / 4.0),
                third,
            );
        }
        3 => {
            c.circle(middle, size * 0.5, figure);
            c.circle(middle, size * 0.25, third);
        }
        4 => {
            for k in [5.0, 4.0, 3.0, 2.0, 1.0] {
                let ink = if k as usize % 2 == 1 { figure } else { ground };
                c.fill(sector(corner, size * k / 5.0, from, from + TAU / 4.0), ink);
            }
        }
        5 => {
            for k in 0..4 {
                let step = size / 4.0;
                let place = k as f32 * step;
                if quarter.is_multiple_of(2) {
                    c.rect(x + place, y, step / 2.0, size, figure);
                } else {
                    c.rect(x, y + place, size, step / 2.0, figure);
                }
            }
        }
        6 => {
            let next = [(x + size, y), (x + size, y + size), (x, y + size), (x, y)][quarter];
            let last = [(x, y + size), (x, y), (x + size, y), (x + size, y + size)][quarter];
            c.fill(polygon(&[corner, next, last]), figure);
        }
        7 => {
            for k in 0..16 {
                let (i, j) = ((k % 4) as f32 + 0.5, (k / 4) as f32 + 0.5);
                c.circle(
                    (x + i * size / 4.0, y + j * size / 4.0),
                    size * 0.07,
                    figure,
                );
            }
        }
        8 => {
            let across = [(x + size, y), (x + size, y + size), (x, y + size), (x, y)];
            let opposite = [(x + size, y + size), (x, y + size), (x, y), (x + size, y)][quarter];
            c.fill(sector(corner, size * 0.5, from, from + TAU / 4.0), figure);
            c.fill(
                sector(opposite, size * 0.5, from + TAU / 2.0, from + TAU * 0.75),
                third,
            );
            if r.chance(0.3) {
                c.circle(across[quarter], size * 0.08, figure);
            }
        }
        _ => {
            c.fill(sector(middle, size * 0.5, from, from + TAU / 2.0), figure);
            c.rect(middle.0 - size * 0.04, y, size * 0.08, size, third);
        }
    }
}

/// Black bars divide a white canvas; a few fields are red, blue or yellow.
pub(super) fn de_stijl(c: &mut Canvas, r: &Random) {
    let white = hex(0xF1EFE6);
    c.ground(white);
    let mut fields = vec![(0.0, 0.0, c.width, c.height)];
    let wanted = r.int(8, 16);
    let mut bars = Vec::new();
    for _ in 0..200 {
        if fields.len() >= wanted {
            break;
        }
        // The largest field or a random one.
        let largest = (0..fields.len()).max_by(|&a, &b| {
            let area = |k: usize| fields[k].2 * fields[k].3;
            area(a).total_cmp(&area(b))
        });
        let k = if r.chance(0.55) {
            largest.unwrap_or(0)
        } else {
            r.int(0, fields.len() - 1)
        };
        let (x, y, w, h) = fields[k];
        let upright = r.chance(w / (w + h));
        let cut = r.pick(&[0.25, 0.33, 0.4, 0.6, 0.67, 0.75]) + r.range(-0.04, 0.04);
        let span = if upright { w } else { h };
        if span * cut.min(1.0 - cut) < 22.0 {
            continue;
        }
        if upright {
            fields[k] = (x, y, w * cut, h);
            fields.push((x + w * cut, y, w * (1.0 - cut), h));
            bars.push(((x + w * cut, y), (x + w * cut, y + h)));
        } else {
            fields[k] = (x, y, w, h * cut);
            fields.push((x, y + h * cut, w, h * (1.0 - cut)));
            bars.push(((x, y + h * cut), (x + w, y + h * cut)));
        }
    }
    let mut inks = vec![
        hex(0xD01F1C),
        hex(0x1B4A9C),
        hex(0xF5CE1E),
        hex(0xD01F1C),
        hex(0xF5CE1E),
        hex(0x1B4A9C),
        hex(0x17171A),
    ];
    inks.truncate(r.int(4, 7));
    r.shuffle(&mut fields);
    for (k, &(x, y, w, h)) in fields.iter().enumerate() {
        let ink = inks
            .get(k)
            .copied()
            .unwrap_or(if k % 3 == 0 { hex(0xE4E2DA) } else { white });
        c.rect(x, y, w, h, ink.vary(r, 0.012));
    }
    let thick = r.range(5.0, 9.0);
    for (from, to) in bars {
        let width = thick * r.range(0.75, 1.25);
        c.stroke_butt(lines(&[from, to], false), width, hex(0x141416));
    }
    c.sheet = Sheet {
        grain: 0.02,
        fibre: 0.05,
        weave: 0.03,
        ..Sheet::default()
    };
}

/// Tilted bars and planes in flight over a pale ground, along one slant and across it.
pub(super) fn suprematist(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let side = c.side();
    c.ground(hex(0xEAE3D3));
    let inks = [
        0x16151A, 0xC8281E, 0x1D3F7A, 0xE3A51B, 0x2F6B4A, 0x8A3B24, 0xD9839A,
    ]
    .map(hex);
    let slant = r.pick(&[-1.0, 1.0]) * r.range(0.35, 0.95);
    let across = slant + TAU / 4.0;
    let (ux, uy) = unit_vector(slant);
    let centre = (w * r.range(0.4, 0.6), h * r.range(0.4, 0.6));
    let on_axis = |along: f32, off: f32| -> Point {
        let (a, b) = (along * side, off * side);
        (
            centre.0 + ux * a - uy * b + r.bell() * 4.0,
            centre.1 + uy * a + ux * b + r.bell() * 4.0,
        )
    };
    match r.int(0, 3) {
        0 => {
            let at = on_axis(r.range(-0.2, 0.2), 0.0);
            c.fill(polygon(&bar(at, side * 0.44, side * 0.36, slant)), inks[0]);
        }
        1 => {
            let at = on_axis(-0.15, 0.05);
            c.circle(at, side * r.range(0.16, 0.24), inks[r.int(0, 2)]);
        }
        2 => {
            let at = on_axis(0.0, 0.0);
            let reach = side * 0.55;
            let tip = (at.0 + ux * reach, at.1 + uy * reach);
            let base = bar(at, 1.0, side * 0.42, slant);
            c.fill(polygon(&[tip, base[0], base[3]]), inks[r.int(0, 3)]);
        }
        _ => {
            let at = on_axis(-0.05, 0.0);
            c.fill(polygon(&bar(at, side * 0.78, side * 0.16, slant)), inks[0]);
            let cross = on_axis(-0.2, 0.02);
            c.fill(
                polygon(&bar(cross, side * 0.5, side * 0.09, across)),
                inks[1],
            );
        }
    }
    for _ in 0..r.int(9, 16) {
        let at = on_axis(r.range(-0.62, 0.62), r.bell() * 0.26);
        let angle = if r.chance(0.72) { slant } else { across } + r.bell() * 0.035;
        let length = side * r.range(0.1, 0.46);
        let width = length * r.pick(&[0.06, 0.1, 0.16, 0.28, 0.5]);
        c.fill(
            polygon(&bar(at, length, width, angle)),
            r.pick(&inks).vary(r, 0.02),
        );
    }
    let rank = on_axis(r.range(-0.4, 0.4), r.range(-0.3, 0.3));
    for k in 0..r.int(3, 6) {
        let off = k as f32 * side * 0.035;
        let at = (rank.0 - uy * off, rank.1 + ux * off);
        c.fill(
            polygon(&bar(at, side * (0.3 - 0.04 * k as f32), 3.2, slant)),
            inks[(k + 1) % 4],
        );
    }
    for _ in 0..r.int(1, 3) {
        let at = (w * r.range(0.1, 0.9), h * r.range(0.1, 0.9));
        if r.chance(0.5) {
            c.circle(at, side * r.range(0.02, 0.06), r.pick(&inks));
        } else {
            let curve = arc(
                at,
                side * r.range(0.1, 0.3),
                slant,
                slant + r.range(1.0, 2.6),
            );
            c.stroke_butt(lines(&curve, false), r.range(1.2, 4.0), inks[0]);
        }
    }
    let long = on_axis(0.0, r.range(-0.2, 0.2));
    c.fill(
        polygon(&bar(long, side * 1.25, 1.6, slant + r.range(-0.25, 0.25))),
        inks[0],
    );
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.11,
        weave: 0.03,
        ..Sheet::default()
    };
}
