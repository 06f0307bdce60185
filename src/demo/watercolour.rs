//! The artist in watercolour: loose bouquets on white paper.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, unit_vector};
use super::outline::{blob, brush, polygon, spline};
use super::palette::{Ink, WHITE, hex};
use super::random::Random;

/// Flowers of transparent washes on white paper, wet edges, spatter.
pub(super) fn watercolour_blooms(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    c.ground(hex(0xFCFAF4));
    const PAINTS: [[u32; 3]; 5] = [
        [0xE8567F, 0xF59AAE, 0x9A4FB0],
        [0xF2793A, 0xF8B84A, 0xE0406A],
        [0x7A6AD0, 0xB59AE8, 0x4A90D8],
        [0xD84A60, 0xF0A070, 0xF6C85A],
        [0x4A8FD0, 0x86C8E0, 0xA070D0],
    ];
    let paints = r.pick(&PAINTS).map(hex);
    c.transparent_inks(true);
    for _ in 0..r.int(2, 4) {
        let at = (w * r.range(0.2, 0.8), h * r.range(0.2, 0.8));
        let size = c.side() * r.range(0.2, 0.36);
        wash(
            c,
            r,
            at,
            (size, size * 0.8, r.range(0.0, 3.0)),
            r.pick(&paints).mix(WHITE, 0.55),
            0.9,
        );
    }
    let heart = (w * r.range(0.38, 0.62), h * r.range(0.5, 0.66));
    let count = r.int(4, 7);
    let mut flowers: Vec<(Point, f32)> = Vec::new();
    for _ in 0..80 {
        let size = c.side() * r.range(0.1, 0.18);
        let (ux, uy) = unit_vector(r.range(0.0, TAU));
        let reach = r.unit().sqrt();
        let at = (
            heart.0 + ux * w * 0.36 * reach,
            heart.1 - h * 0.16 + uy * h * 0.32 * reach,
        );
        // Washes that overlap much turn to mud.
        let clear = flowers.iter().all(|&(other, own)| {
            let (dx, dy) = (other.0 - at.0, other.1 - at.1);
            (dx * dx + dy * dy).sqrt() > (size + own) * 0.95
        });
        if clear && flowers.len() < count {
            flowers.push((at, size));
        }
    }
    let leaves = [hex(0x7FB07A), hex(0x4F9A80), hex(0xA9C060)];
    for &(at, _) in &flowers {
        let foot = (heart.0 + r.bell() * 6.0, h * 1.02);
        let stalk = spline(&[at, ((at.0 + heart.0) / 2.0, (at.1 + h) / 2.0), foot], 30);
        c.fill(brush(&stalk, |t| 0.8 + 0.9 * t), leaves[0].alpha(0.8));
        for _ in 0..r.int(1, 3) {
            let place = r.int(6, 24);
            let angle = r.range(0.0, TAU);
            let (ux, uy) = unit_vector(angle);
            let length = c.side() * r.range(0.07, 0.13);
            let middle = (stalk[place].0 + ux * length, stalk[place].1 + uy * length);
            wash(
                c,
                r,
                middle,
                (length, length * 0.32, angle),
                r.pick(&leaves),
                0.35,
            );
        }
    }
    for &(at, size) in &flowers {
        let own = r.int(0, 2);
        let petals = r.int(5, 8);
        let turn = r.range(0.0, TAU);
        for k in 0..petals {
            let angle = turn + k as f32 / petals as f32 * TAU;
            let (ux, uy) = unit_vector(angle);
            let middle = (at.0 + ux * size * 0.62, at.1 + uy * size * 0.62);
            let ink = paints[own].mix(paints[(own + 1) % 3], r.unit());
            wash(c, r, middle, (size * 0.62, size * 0.4, angle), ink, 0.3);
        }
        wash(
            c,
            r,
            at,
            (size * 0.28, size * 0.28, 0.0),
            paints[(own + 2) % 3].bright(0.8),
            0.4,
        );
        for _ in 0..10 {
            let (ux, uy) = unit_vector(r.range(0.0, TAU));
            let reach = size * r.range(0.1, 0.4);
            c.circle(
                (at.0 + ux * reach, at.1 + uy * reach),
                r.range(0.7, 1.5),
                hex(0x6A4A2A).alpha(0.75),
            );
        }
    }
    for _ in 0..r.int(25, 60) {
        let at = (heart.0 + r.bell() * w * 0.27, heart.1 + r.bell() * h * 0.27);
        let size = r.unit() * r.unit() * 3.0 + 0.5;
        c.circle(at, size, r.pick(&paints).alpha(r.range(0.25, 0.6)));
    }
    c.transparent_inks(false);
    c.sheet = Sheet {
        grain: 0.02,
        fibre: 0.055,
        ..Sheet::default()
    };
}

/// Many thin uneven layers of one paint, and the dark rim that it leaves when it dries.
fn wash(
    c: &mut Canvas,
    r: &Random,
    at: Point,
    (rx, ry, angle): (f32, f32, f32),
    ink: Ink,
    uneven: f32,
) {
    let shape = r.clone();
    for layer in 0..7 {
        // All layers share the outline's broad form and differ in the fine.
        let same = shape.clone();
        let size = 1.04 - 0.055 * layer as f32 + r.range(-0.05, 0.05);
        let drift = (at.0 + r.bell() * rx * 0.05, at.1 + r.bell() * rx * 0.05);
        let outline = blob(drift, (rx * size, ry * size, angle), uneven, 1.6, &same);
        c.fill(polygon(&outline), ink.vary(r, 0.05).alpha(0.1));
    }
    let same = shape.clone();
    let outline = blob(at, (rx, ry, angle), uneven, 1.6, &same);
    c.stroke(polygon(&outline), 0.8, ink.bright(0.85).alpha(0.35));
    for _ in 0..2 {
        let inner = (at.0 + r.bell() * rx * 0.25, at.1 + r.bell() * ry * 0.25);
        let pool = blob(inner, (rx * 0.4, ry * 0.4, angle), 0.6, 2.0, r);
        c.fill(polygon(&pool), ink.bright(0.92).alpha(0.2));
    }
}
