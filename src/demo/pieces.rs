//! Artists who set a picture from small pieces: dots of paint, cubes of stone.

use super::canvas::{Canvas, Point, Sheet};
use super::elementary::{TAU, cos, lerp, sin, step, unit_vector};
use super::outline::{blob, polygon};
use super::palette::{Ink, hex, ramp};
use super::random::Random;

/// A shore in dots of broken colour: sky, sea, meadow, round trees.
pub(super) fn pointillist_shore(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    const SKIES: [[u32; 3]; 4] = [
        [0x5B8FCF, 0xA9CDE8, 0xFBE6B8],
        [0x7C7FC4, 0xE3A9C2, 0xFFD98F],
        [0x4E9BC2, 0x9FD8D6, 0xFFF0C4],
        [0x8A6FB8, 0xF09A8A, 0xFFCF6B],
    ];
    let sky = r.pick(&SKIES).map(hex);
    let sea = [hex(0x2C6FA6), hex(0x3FA3B0), hex(0x8CCFC0)];
    let land = [hex(0xC9B04A), hex(0x8AAE3C), hex(0x3E7D3A)];
    let horizon = h * r.range(0.38, 0.55);
    let (clouds, coast) = (r.noise(), r.noise());
    let slope = r.range(-0.35, 0.35);
    let bank = h * r.range(0.68, 0.85);
    let shore = |x: f32| bank + slope * (x - w / 2.0) + 26.0 * coast.at(x / w * 2.5, 0.3);
    let sun = (w * r.range(0.15, 0.85), horizon * r.range(0.3, 0.85));
    let sun_radius = c.side() * r.range(0.05, 0.09);
    let scene = |x: f32, y: f32| -> Ink {
        if y > shore(x) {
            return ramp(
                &land,
                (y - shore(x)) / (h * 0.3) + 0.25 * clouds.at(x * 0.03, y * 0.06),
            );
        }
        let near_sun = {
            let (dx, dy) = (x - sun.0, y - sun.1);
            (dx * dx + dy * dy).sqrt() / sun_radius
        };
        if y > horizon {
            let depth = (y - horizon) / (h - horizon);
            let path = 1.0 - (x - sun.0).abs() / (sun_radius * (1.0 + depth * 2.5));
            let water = ramp(&sea, depth * 1.1 + 0.5 * clouds.at(x * 0.02, y * 0.25));
            return water.mix(sky[2], step(-0.1, 0.9, path) * 0.85);
        }
        let cloud = step(0.05, 0.32, clouds.fractal(x / w * 3.0, y / h * 6.0, 3));
        let air = ramp(&sky, y / horizon).mix(hex(0xFFF6E6), cloud * 0.8);
        air.mix(hex(0xFFF3B0), step(2.4, 1.0, near_sun))
    };
    c.ground(hex(0xE9DCC0));
    let mut dabs: Vec<(Point, f32, Ink)> = Vec::new();
    for (radius, spacing) in [(3.8, 4.8), (2.6, 4.1)] {
        let (columns, rows) = ((w / spacing) as usize + 2, (h / spacing) as usize + 2);
        let start = dabs.len();
        for k in 0..columns * rows {
            let jitter = spacing * 0.55;
            let x = (k % columns) as f32 * spacing + r.range(-jitter, jitter);
            let y = (k / columns) as f32 * spacing + r.range(-jitter, jitter);
            let ink = broken(scene(x, y), r);
            dabs.push(((x, y), radius * r.range(0.75, 1.15), ink));
        }
        r.shuffle(&mut dabs[start..]);
    }
    for (at, radius, ink) in dabs {
        c.circle(at, radius, ink);
    }
    for _ in 0..r.int(0, 3) {
        sail(
            c,
            r,
            (
                w * r.range(0.08, 0.92),
                lerp(horizon, bank - 30.0, r.range(0.15, 0.7)),
            ),
        );
    }
    for _ in 0..r.int(2, 6) {
        let x = r.range(-0.02, 1.02) * w;
        tree(c, r, (x, shore(x) + r.range(4.0, h * 0.14)));
    }
    c.sheet = Sheet {
        grain: 0.02,
        weave: 0.025,
        ..Sheet::default()
    };
}

/// The colour as a dab of it: now and then its complement, else a near hue.
fn broken(ink: Ink, r: &Random) -> Ink {
    if r.chance(0.09) {
        let opposite = Ink {
            r: 1.0 - ink.r,
            g: 1.0 - ink.g,
            b: 1.0 - ink.b,
            a: 1.0,
        };
        return ink.mix(opposite, 0.4).bright(1.15);
    }
    ink.vary(r, 0.1)
}

fn tree(c: &mut Canvas, r: &Random, foot: Point) {
    let size = r.range(0.09, 0.17) * c.height;
    let crown = (foot.0, foot.1 - size * 1.7);
    for k in 0..60 {
        let t = k as f32 / 60.0;
        let at = (foot.0 + r.bell() * 1.6, lerp(foot.1, crown.1, t));
        let bark = hex(0x5B3A4A).vary(r, 0.1);
        c.circle(at, r.range(1.2, 2.2), bark);
    }
    let leaves = [hex(0x1F4F4A), hex(0x2F7D3E), hex(0x8DB53A), hex(0xE6CF4E)];
    for k in 0..420 {
        let (ux, uy) = unit_vector(r.range(0.0, TAU));
        let reach = r.unit().sqrt() * size;
        let at = (crown.0 + ux * reach * 0.95, crown.1 + uy * reach);
        let lit = 0.5 - uy * reach / size * 0.45 + ux * 0.12 + k as f32 / 2100.0;
        let ink = broken(ramp(&leaves, lit + r.bell() * 0.12), r);
        c.circle(at, r.range(1.6, 2.6), ink);
    }
}

fn sail(c: &mut Canvas, r: &Random, at: Point) {
    let size = r.range(9.0, 20.0);
    for _ in 0..90 {
        let (u, v) = (r.unit(), r.unit());
        let y = at.1 - size * 1.7 * v;
        let x = at.0 + size * (u - 0.35) * (1.0 - v) * 0.9;
        c.circle((x, y), 1.5, hex(0xFFF8EC).vary(r, 0.06));
    }
    for _ in 0..22 {
        let x = at.0 + size * r.range(-0.5, 0.6);
        c.circle(
            (x, at.1 + r.range(0.0, 2.4)),
            1.5,
            hex(0x8C2F39).vary(r, 0.08),
        );
    }
}

/// Byzantine rosettes: rows of cut stone ringing one to three centres, gold among blues and reds.
pub(super) fn mosaic(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    c.ground(hex(0x4A4238));
    let stones = r.pick(&[
        [0xD9A93A, 0x1F4E79, 0xE8DCC0, 0x9C2F2A, 0x2F8F8A, 0x14304F],
        [0xE0B84C, 0x2A6A5A, 0xF0E6CC, 0xB5532A, 0x5FA8A0, 0x173F45],
        [0xD4A24A, 0x6A2438, 0xEADBC0, 0x2A5A8C, 0xB8763A, 0x3A1A2A],
    ]);
    let stones = stones.map(hex);
    let spots: &[Point] = match r.int(0, 3) {
        0 => &[(0.5, 0.5)],
        1 => &[(0.3, 0.35), (0.75, 0.7)],
        2 => &[(0.5, 1.02)],
        _ => &[(0.22, 0.7), (0.56, 0.22), (0.86, 0.8)],
    };
    let centres: Vec<Point> = spots
        .iter()
        .map(|&(x, y)| {
            (
                w * (x + r.range(-0.06, 0.06)),
                h * (y + r.range(-0.06, 0.06)),
            )
        })
        .collect();
    let size = r.range(7.2, 8.6);
    for (own, &centre) in centres.iter().enumerate() {
        let petals = r.int(5, 9) as f32;
        let medallion = c.side() * r.range(0.3, 0.44) / (centres.len() as f32).sqrt() * 1.25;
        let turn = r.range(0.0, TAU);
        let borders = [r.int(0, 5), r.int(0, 5)];
        for ring in 0..(w + h) as usize / size as usize {
            let radius = ring as f32 * size;
            let count = ((radius * TAU / size) as usize).max(1);
            let start = r.unit();
            for k in 0..count {
                let angle = (k as f32 + start) / count as f32 * TAU;
                let (ux, uy) = unit_vector(angle);
                let at = (centre.0 + ux * radius, centre.1 + uy * radius);
                let inside = at.0 > -9.0 && at.1 > -9.0 && at.0 < w + 9.0 && at.1 < h + 9.0;
                let closest = centres.iter().enumerate().all(|(o, p)| {
                    let (dx, dy) = (at.0 - p.0, at.1 - p.1);
                    o == own || dx * dx + dy * dy > radius * radius
                });
                if !inside || !closest {
                    continue;
                }
                let t = radius / medallion;
                let ink = rosette(&stones, t, (angle + turn) * petals, ring, borders);
                tessera(c, r, at, (size, angle), ink);
            }
        }
    }
    c.sheet.grain = 0.03;
    c.sheet.fibre = 0.05;
}

/// The stone at distance `t` medallion radii and petal phase `phase` (radians).
fn rosette(stones: &[Ink; 6], t: f32, phase: f32, ring: usize, borders: [usize; 2]) -> Ink {
    let petal = 0.5 + 0.5 * cos(phase);
    if t < 0.14 {
        return stones[0];
    }
    if t < 0.86 {
        let edge = (t - 0.14) / 0.72;
        let reach = petal * petal * 0.35 + petal * 0.65;
        if edge < reach - 0.22 {
            return stones[2].mix(stones[3], edge * 1.3);
        }
        if edge < reach {
            return stones[3];
        }
        let bead = petal < 0.12 && (0.7..0.84).contains(&edge);
        return if bead { stones[0] } else { stones[1] };
    }
    if t < 1.0 {
        return stones[0];
    }
    if t < 1.22 {
        let tooth = sin(phase * 2.0) > 0.0;
        return if tooth { stones[borders[0]] } else { stones[2] };
    }
    if t < 1.32 {
        return stones[0];
    }
    // The ground swells between two stones, with a plain row now and then.
    let swell = 0.5 + 0.3 * sin(phase + t * 5.0) + 0.2 * sin(t * 11.0);
    match ring % 8 {
        0 => stones[borders[1]],
        _ => stones[5].mix(stones[4], swell * swell * 0.8),
    }
}

fn tessera(c: &mut Canvas, r: &Random, at: Point, (size, angle): (f32, f32), ink: Ink) {
    let half = size * 0.43;
    let (ux, uy) = unit_vector(angle + r.range(-0.08, 0.08));
    let corner = |a: f32, b: f32| {
        let (a, b) = (a * half + r.range(-0.5, 0.5), b * half + r.range(-0.5, 0.5));
        (at.0 + a * ux - b * uy, at.1 + a * uy + b * ux)
    };
    let outline = [
        corner(-1.0, -1.0),
        corner(1.0, -1.0),
        corner(1.0, 1.0),
        corner(-1.0, 1.0),
    ];
    let stone = ink.vary(r, 0.05).bright(r.range(0.84, 1.14));
    c.fill(polygon(&outline), stone);
    if r.chance(0.3) {
        let chip = blob(at, (half * 0.5, half * 0.3, angle), 0.3, 1.5, r);
        c.fill(polygon(&chip), stone.bright(1.18).alpha(0.5));
    }
}
