//! The artist in leaded glass: panes are the cells of a Voronoi diagram, lead runs along its edges.

use super::canvas::{Canvas, Point};
use super::elementary::{TAU, step, unit_vector};
use super::outline::polygon;
use super::palette::{Ink, hex, ramp};
use super::random::Random;

struct Pane {
    x: f32,
    y: f32,
    ink: Ink,
}

/// Jewel-coloured panes between lead: roses, suns over hills, or lilies.
pub(super) fn stained_glass(c: &mut Canvas, r: &Random) {
    let (w, h) = (c.width, c.height);
    let panes = match r.int(0, 2) {
        0 => rose(c, r),
        1 => sunrise(c, r),
        _ => bloom_window(c, r),
    };
    let (bubbles, streaks) = (r.noise(), r.noise());
    let lead = hex(0x15120F);
    let light = (w * r.range(0.3, 0.7), h * r.range(0.2, 0.6));
    let blocks = Blocks::new(c, &panes);
    c.shade(|x, y| {
        let (own, border) = blocks.nearest(&panes, x, y);
        let (lx, ly) = ((x - light.0) / w, (y - light.1) / h);
        let shine = 1.4 - 0.75 * (lx * lx + ly * ly).sqrt();
        let grain = 0.16 * bubbles.fractal(x * 0.06, y * 0.06, 3);
        let drawn = 0.12 * streaks.at(x * 0.012 + y * 0.05, y * 0.012 - x * 0.09);
        let rim = step(1.0, 9.0, border) * 0.22;
        let glass = own.ink.bright((0.86 + rim + grain + drawn) * shine);
        let cover = (border - 1.35 + 0.5).clamp(0.0, 1.0);
        let round = lead.bright(1.0 + 1.6 * step(1.2, 0.0, border));
        round.mix(glass, cover)
    });
    let corners = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)];
    c.stroke(polygon(&corners), 9.0, lead);
    c.sheet.grain = 0.02;
    c.sheet.vignette = 0.15;
}

const JEWELS: [u32; 7] = [
    0xC21F3A, 0x1E4FB4, 0xF0B51E, 0x1C8A5A, 0x6B2A9A, 0xE2701B, 0x1E93B8,
];

/// Which panes can matter within each square block of the window.
struct Blocks {
    candidates: Vec<Vec<usize>>,
    columns: usize,
}

/// Side of a block, and the distance from a border beyond which the border no longer shows.
const BLOCK: f32 = 16.0;
const RIM: f32 = 9.0;

impl Blocks {
    fn new(c: &Canvas, panes: &[Pane]) -> Self {
        let columns = (c.width / BLOCK) as usize + 1;
        let rows = (c.height / BLOCK) as usize + 1;
        let candidates = (0..columns * rows)
            .map(|k| {
                let x = ((k % columns) as f32 + 0.5) * BLOCK;
                let y = ((k / columns) as f32 + 0.5) * BLOCK;
                let far = |pane: &Pane| {
                    let (dx, dy) = (x - pane.x, y - pane.y);
                    (dx * dx + dy * dy).sqrt()
                };
                let nearest = panes.iter().map(far).fold(f32::MAX, f32::min);
                // The bisector of sites at distances d1 < d2 is (d2 - d1) / 2 away or more, and
                // a distance changes by at most half the block's diagonal within it.
                let limit = nearest + 2.0 * BLOCK * 0.7072 + 2.0 * RIM;
                let within = |&k: &usize| far(&panes[k]) <= limit;
                (0..panes.len()).filter(within).collect()
            })
            .collect();
        Self {
            candidates,
            columns,
        }
    }

    /// The pane at a place and how far its border is; exact up to [`RIM`].
    fn nearest<'a>(&self, panes: &'a [Pane], x: f32, y: f32) -> (&'a Pane, f32) {
        let block = (y / BLOCK) as usize * self.columns + (x / BLOCK) as usize;
        let candidates = &self.candidates[block];
        let square = |k: usize| {
            let (dx, dy) = (x - panes[k].x, y - panes[k].y);
            dx * dx + dy * dy
        };
        let (mut nearest, mut best) = (0, f32::MAX);
        for &k in candidates {
            let d = square(k);
            if d < best {
                (nearest, best) = (k, d);
            }
        }
        let own = &panes[nearest];
        let mut border = f32::MAX;
        for &k in candidates {
            if k != nearest {
                let (gx, gy) = (panes[k].x - own.x, panes[k].y - own.y);
                let gap = (gx * gx + gy * gy).sqrt().max(1e-3);
                border = border.min((square(k) - best) / (2.0 * gap));
            }
        }
        (own, border)
    }
}

fn scatter(
    c: &Canvas,
    r: &Random,
    spacing: f32,
    mut ink: impl FnMut(f32, f32) -> Option<Ink>,
) -> Vec<Pane> {
    let mut panes = Vec::new();
    let (columns, rows) = (
        (c.width / spacing) as usize + 2,
        (c.height / spacing) as usize + 2,
    );
    for k in 0..columns * rows {
        let x = ((k % columns) as f32 - 0.5 + r.range(-0.38, 0.38)) * spacing + spacing / 2.0;
        let y = ((k / columns) as f32 - 0.5 + r.range(-0.38, 0.38)) * spacing + spacing / 2.0;
        if let Some(ink) = ink(x, y) {
            panes.push(Pane {
                x,
                y,
                ink: ink.vary(r, 0.06),
            });
        }
    }
    panes
}

fn rose(c: &Canvas, r: &Random) -> Vec<Pane> {
    let mut jewels = JEWELS.map(hex);
    r.shuffle(&mut jewels);
    let (cx, cy) = (
        c.width * r.range(0.42, 0.58),
        c.height * r.range(0.42, 0.58),
    );
    let gap = c.side() * r.range(0.075, 0.1);
    let fold = r.int(6, 10);
    let mut panes = vec![Pane {
        x: cx,
        y: cy,
        ink: jewels[0],
    }];
    let mut ring = 1;
    while (ring as f32) * gap < c.width.max(c.height) * 0.75 {
        let count = fold * (1 + ring / 2);
        let turn = if ring % 2 == 0 { 0.5 } else { 0.0 };
        for k in 0..count {
            let (ux, uy) = unit_vector((k as f32 + turn) / count as f32 * TAU);
            let reach = ring as f32 * gap;
            let ink = jewels[(ring * 2 + k % 2 * (1 + ring % 2)) % 6];
            panes.push(Pane {
                x: cx + ux * reach,
                y: cy + uy * reach,
                ink: ink.vary(r, 0.07),
            });
        }
        ring += 1;
    }
    panes
}

fn sunrise(c: &Canvas, r: &Random) -> Vec<Pane> {
    let (w, h) = (c.width, c.height);
    let sun = (w * r.range(0.25, 0.75), h * r.range(0.25, 0.5));
    let radius = c.side() * r.range(0.12, 0.17);
    let hills = r.noise();
    let land = h * r.range(0.6, 0.72);
    const SKIES: [[u32; 4]; 3] = [
        [0x1F4FB4, 0x1E93C8, 0x7AC8D8, 0xFFE08A],
        [0x4A2490, 0x9A2F8A, 0xE2486A, 0xFFB040],
        [0x15356A, 0x1E7A9A, 0x3FB8A0, 0xF4E07A],
    ];
    let skies = r.pick(&SKIES).map(hex);
    let lands = [hex(0x2E9A57), hex(0x14704F), hex(0x174A8C)];
    let mut panes = scatter(c, r, c.side() * 0.098, |x, y| {
        let (dx, dy) = (x - sun.0, y - sun.1);
        let far = (dx * dx + dy * dy).sqrt() / radius;
        if far < 1.75 {
            return None;
        }
        let top = land + h * 0.1 * hills.at(x / w * 2.5, 0.5);
        Some(if y > top {
            ramp(&lands, (y - top) / (h - land))
        } else {
            ramp(&skies, 1.3 - far * 0.2)
        })
    });
    let rays = r.int(9, 13);
    for k in 0..rays {
        let (ux, uy) = unit_vector(k as f32 / rays as f32 * TAU);
        for (reach, ink) in [(0.62, 0xFFD23F), (1.36, 0xF2801E)] {
            panes.push(Pane {
                x: sun.0 + ux * radius * reach,
                y: sun.1 + uy * radius * reach,
                ink: hex(ink).vary(r, 0.06),
            });
        }
    }
    panes.push(Pane {
        x: sun.0,
        y: sun.1,
        ink: hex(0xFFEFA0),
    });
    panes
}

fn bloom_window(c: &Canvas, r: &Random) -> Vec<Pane> {
    let (w, h) = (c.width, c.height);
    let ground = r
        .pick(&[
            [0x123E8C, 0x1E6FB0],
            [0x17604A, 0x2E9A6B],
            [0x4A1E7A, 0x2A3A9A],
        ])
        .map(hex);
    let mut flowers: Vec<(Point, f32)> = Vec::new();
    for _ in 0..60 {
        let radius = c.side() * r.range(0.12, 0.19);
        let at = (w * r.range(0.08, 0.92), h * r.range(0.1, 0.9));
        let clear = |&(o, s): &(Point, f32)| {
            let (dx, dy) = (o.0 - at.0, o.1 - at.1);
            dx * dx + dy * dy > (s + radius) * (s + radius) * 1.1
        };
        if flowers.len() < 7 && flowers.iter().all(clear) {
            flowers.push((at, radius));
        }
    }
    let mut panes = scatter(c, r, c.side() * 0.105, |x, y| {
        let outside = flowers.iter().all(|&(at, radius)| {
            let (dx, dy) = (x - at.0, y - at.1);
            dx * dx + dy * dy > radius * radius * 1.5
        });
        outside.then(|| ramp(&ground, y / h))
    });
    for (at, radius) in flowers {
        let petal = hex(r.pick(&[0xE23A5E, 0xF2B01E, 0xF07A2A, 0xE86AA8, 0xF4E4C0]));
        let count = r.int(6, 8);
        let turn = r.range(0.0, TAU);
        for k in 0..count {
            let angle = turn + k as f32 / count as f32 * TAU;
            for (reach, half, shade) in [(0.6, 0.0, 1.0), (1.12, 0.5, 0.0)] {
                let (ux, uy) = unit_vector(angle + half / count as f32 * TAU);
                let leaf = hex(0x2FA35A);
                panes.push(Pane {
                    x: at.0 + ux * radius * reach,
                    y: at.1 + uy * radius * reach,
                    ink: leaf.mix(petal, shade).vary(r, 0.05),
                });
            }
        }
        panes.push(Pane {
            x: at.0,
            y: at.1,
            ink: hex(0xFFD84A),
        });
    }
    panes
}
