//! The artist in ink: plum branches on rice paper.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, lerp, unit_vector};
use super::outline::{blob, brush, lines, polygon, spline, tangent};
use super::palette::{Ink, hex};
use super::random::Random;

/// Plum branches in dry black ink on rice paper, red blossom, a pale moon, a seal.
pub(super) fn ink_branches(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let paper = hex(0xEFE7D6);
    c.ground(paper);
    let wash = r.noise();
    c.shade(|x, y| {
        let cloud = wash.fractal(x / w * 1.8, y / h * 2.4, 4);
        hex(0x8E8A80).alpha((cloud * 0.5).clamp(0.0, 0.22))
    });
    if r.chance(0.55) {
        let moon = (w * r.range(0.25, 0.75), h * r.range(0.2, 0.5));
        let radius = c.side() * r.range(0.13, 0.22);
        c.glow(moon, radius * 2.4, hex(0x77746C).alpha(0.4));
        c.circle(moon, radius, paper.bright(1.03));
    }
    let from_left = r.chance(0.5);
    let stems = r.int(1, 2);
    let mut buds = Vec::new();
    for k in 0..stems {
        let side = if from_left == (k == 0) { -0.03 } else { 1.03 };
        let foot = if r.chance(0.3) {
            (w * r.range(0.2, 0.8), h * 1.03)
        } else {
            (w * side, h * r.range(0.45, 1.0))
        };
        let goal = (
            w * r.range(0.35, 0.65) - foot.0,
            h * r.range(0.2, 0.5) - foot.1,
        );
        let length = (goal.0 * goal.0 + goal.1 * goal.1).sqrt();
        let direction = (goal.0 / length, goal.1 / length);
        let girth = r.range(8.0, 14.0) / (1.0 + k as f32 * 0.6);
        grow(c, r, foot, direction, (length * 1.45, girth), 0, &mut buds);
    }
    let crimson = r.chance(0.7);
    let petal = if crimson {
        hex(0xC8323C)
    } else {
        hex(0xE58C9B)
    };
    r.shuffle(&mut buds);
    let keep = (buds.len() as f32 * r.range(0.45, 0.8)) as usize;
    for &at in buds.iter().take(keep.min(70)) {
        blossom(c, r, at, petal);
    }
    for _ in 0..r.int(2, 8) {
        let at = (w * r.unit(), h * r.range(0.3, 1.0));
        let fallen = blob(at, (3.4, 2.2, r.range(0.0, 3.0)), 0.3, 1.0, r);
        c.fill(polygon(&fallen), petal.alpha(0.55));
    }
    seal(c, r, paper);
    c.sheet = Sheet {
        grain: 0.03,
        fibre: 0.09,
        ..Sheet::default()
    };
}

fn grow(
    c: &mut Canvas,
    r: &Random,
    from: Point,
    direction: Point,
    (length, girth): (f32, f32),
    depth: u32,
    buds: &mut Vec<Point>,
) {
    let joints = 6;
    let mut points = vec![from];
    let (mut at, (mut dx, mut dy)) = (from, direction);
    for _ in 0..joints {
        // Plum wood turns in angles, not in curves.
        let (kx, ky) = (
            r.bell() * 0.33 + direction.0 * 0.2,
            r.bell() * 0.33 + direction.1 * 0.2,
        );
        (dx, dy) = (dx + kx, dy + ky);
        let norm = (dx * dx + dy * dy).sqrt().max(0.2);
        (dx, dy) = (dx / norm, dy / norm);
        at = (
            at.0 + dx * length / joints as f32,
            at.1 + dy * length / joints as f32,
        );
        points.push(at);
    }
    let path = spline(&points, 70);
    let rough = r.noise();
    let ink = hex(0x17140F);
    let tone = lerp(0.92, 0.75, depth as f32 / 3.0);
    let half = |t: f32| {
        let knots = 1.0 + 0.28 * rough.fractal(t * 26.0, depth as f32 * 3.0, 3);
        girth * (1.0 - 0.8 * t) * knots * 0.5 + 0.25
    };
    c.fill(brush(&path, |t| half(t) + 1.0), ink.alpha(0.16));
    c.fill(brush(&path, half), ink.alpha(tone));
    // Dry brush: bare paper between the bristles.
    for _ in 0..(girth * 3.0) as usize {
        let start = r.int(2, 48);
        let run = r.int(5, 18);
        let off = r.range(-0.75, 0.75);
        let streak: Vec<Point> = (start..(start + run).min(69))
            .map(|k| {
                let (tx, ty) = tangent(&path, k);
                let reach = half(k as f32 / 69.0) * off;
                (path[k].0 - ty * reach, path[k].1 + tx * reach)
            })
            .collect();
        c.stroke(lines(&streak, false), 0.55, hex(0xE6DCC8).alpha(0.5));
    }
    for k in (6..70).step_by(5) {
        if depth > 0 || k > 40 {
            buds.push((path[k].0 + r.bell() * 3.0, path[k].1 + r.bell() * 3.0));
        }
    }
    if depth == 3 {
        return;
    }
    let twigs = [r.int(4, 6), r.int(3, 4), r.int(1, 3)][depth as usize];
    for k in 0..twigs {
        let place = r.int(12, 64);
        let (tx, ty) = tangent(&path, place);
        let (ux, uy) = unit_vector(if (k % 2 == 0) == r.chance(0.8) {
            0.85
        } else {
            -0.85
        });
        let turned = (tx * ux - ty * uy, tx * uy + ty * ux - 0.15);
        let thin = half(place as f32 / 69.0) * 1.25;
        let size = (length * r.range(0.3, 0.58), thin.max(0.9));
        grow(c, r, path[place], turned, size, depth + 1, buds);
    }
}

fn blossom(c: &mut Canvas, r: &Random, at: Point, petal: Ink) {
    let size = r.range(4.6, 9.0);
    if r.chance(0.3) {
        let bud = blob(at, (size * 0.5, size * 0.42, 0.0), 0.2, 1.0, r);
        c.fill(polygon(&bud), petal.bright(0.9).alpha(0.9));
        return;
    }
    let turn = r.range(0.0, TAU);
    let squash = r.range(0.6, 1.0);
    for k in 0..5 {
        let (ux, uy) = unit_vector(turn + k as f32 / 5.0 * TAU);
        let centre = (at.0 + ux * size * 0.62, at.1 + uy * size * 0.62 * squash);
        let outline = blob(
            centre,
            (size * 0.56, size * 0.5, turn + k as f32),
            0.25,
            1.2,
            r,
        );
        c.fill(polygon(&outline), petal.vary(r, 0.06).alpha(0.78));
        let heart = blob(
            (at.0 + ux * size * 0.4, at.1 + uy * size * 0.4),
            (size * 0.3, size * 0.26, 0.0),
            0.3,
            1.0,
            r,
        );
        c.fill(polygon(&heart), petal.bright(0.62).alpha(0.35));
    }
    for k in 0..6 {
        let (ux, uy) = unit_vector(turn + 0.4 + k as f32);
        let tip = (at.0 + ux * size * 0.5, at.1 + uy * size * 0.5 * squash);
        c.line(at, tip, 0.4, hex(0x2A0E10).alpha(0.8));
        c.circle(tip, 0.6, hex(0xF3D27A));
    }
}

fn seal(c: &mut Canvas, r: &Random, paper: Ink) {
    let size = c.side() * 0.065;
    let x = if r.chance(0.5) {
        c.width * 0.06
    } else {
        c.width * 0.94 - size
    };
    let y = c.height * r.pick(&[0.07, 0.84]);
    let red = hex(0xB3261E);
    let outline = blob(
        (x + size / 2.0, y + size / 2.0),
        (size * 0.5, size * 0.5, 0.0),
        0.05,
        3.0,
        r,
    );
    c.fill(polygon(&outline), red.alpha(0.35));
    c.rect(x, y, size, size, red);
    for k in 0..4 {
        let level = y + size * (0.2 + 0.2 * k as f32);
        let (a, b) = (r.range(0.15, 0.35), r.range(0.6, 0.85));
        c.line(
            (x + size * a, level),
            (x + size * b, level),
            size * 0.07,
            paper,
        );
    }
    let upright = x + size * r.range(0.35, 0.65);
    c.line(
        (upright, y + size * 0.18),
        (upright, y + size * 0.82),
        size * 0.07,
        paper,
    );
}
