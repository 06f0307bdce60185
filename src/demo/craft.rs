//! Artists of craft: cross-stitch samplers and cut paper.

use super::canvas::{Canvas, Sheet};
use super::elementary::{TAU, cos, step, unit_vector};
use super::outline::Field;
use super::palette::{BLACK, hex, ramp};
use super::random::Random;

/// Left halves of motifs that are mirrored at their last column; a letter names a thread.
const MOTIFS: [&[&str]; 6] = [
    &[
        "....a", "...aa", "..aba", ".abba", "aabba", ".abba", "..aba", "...aa", "....a",
    ],
    &[
        ".aa..", "aaaa.", "abbaa", "abbba", ".abbb", "..abb", "...ab", "....a",
    ],
    &[
        "....c", "...cc", "..ccc", "...cc", "..ccc", ".cccc", "..ccc", ".cccc", "ccccc", "....d",
        "....d",
    ],
    &[
        "a..a.", ".ba.a", "..bab", "a.abb", ".aabd", "a.abb", "..bab", ".ba.a", "a..a.",
    ],
    &[
        "..b..", ".bdb.", "..b.c", "...cc", "b..c.", ".bcc.", "...cc", "....c", "....c",
    ],
    &[
        "dd...", ".dd..", "..dda", "a..da", "aa.ad", ".aadd", "..add", "...dd", "....d",
    ],
];

/// Mirrored motifs in crossed threads on linen: bands of a sampler, or one medallion.
pub(super) fn cross_stitch(c: &mut Canvas, r: &Random) {
    let linen = hex(r.pick(&[0xEDE3CD, 0xE9DCC2, 0xF0E9DA]));
    c.ground(linen);
    let cell = 6.0;
    let (columns, rows) = ((c.width / cell) as usize, (c.height / cell) as usize);
    c.shade(|x, y| {
        let thread = cos(x * TAU / cell * 2.0).max(cos(y * TAU / cell * 2.0));
        hex(0x8A7450).alpha(0.16 * (0.5 - 0.5 * thread) + 0.04)
    });
    const THREADS: [[u32; 4]; 4] = [
        [0xB3202C, 0x1F3F7A, 0x2F6B43, 0xD9A02B],
        [0xA81E3A, 0xD9772B, 0x33684F, 0x4A2A5A],
        [0x1E4A8A, 0xB8322C, 0x3A7A6A, 0xE0AE3A],
        [0x8E1B2E, 0xC8505A, 0x4A6B2F, 0x2A3F6A],
    ];
    let threads = r.pick(&THREADS).map(hex);
    let mut chart = vec![0_u8; columns * rows];
    if r.chance(0.6) {
        sampler(r, &mut chart, columns, rows);
    } else {
        medallion(r, &mut chart, columns, rows);
    }
    let (x0, y0) = (
        (c.width - columns as f32 * cell) / 2.0,
        (c.height - rows as f32 * cell) / 2.0,
    );
    for (k, &thread) in chart.iter().enumerate() {
        let Some(&ink) = thread
            .checked_sub(b'a')
            .and_then(|t| threads.get(usize::from(t)))
        else {
            continue;
        };
        let (x, y) = (
            x0 + (k % columns) as f32 * cell,
            y0 + (k / columns) as f32 * cell,
        );
        let ink = ink.vary(r, 0.04);
        let (a, b) = (0.9, cell - 0.9);
        c.line(
            (x + a, y + b + 0.4),
            (x + b, y + a + 0.4),
            2.3,
            BLACK.alpha(0.16),
        );
        c.line((x + a, y + a), (x + b, y + b), 2.2, ink.bright(0.8));
        c.line((x + a, y + b), (x + b, y + a), 2.2, ink);
        c.line(
            (x + a + 0.5, y + b - 0.9),
            (x + b - 0.9, y + a + 0.5),
            0.6,
            ink.bright(1.35).alpha(0.7),
        );
    }
    c.sheet.grain = 0.035;
}

fn stamp(chart: &mut [u8], columns: usize, (x, y): (i32, i32), motif: &[&str]) {
    for (row, line) in motif.iter().enumerate() {
        let width = line.len() as i32;
        for (column, thread) in line.bytes().enumerate() {
            for at in [x + column as i32, x + 2 * width - 2 - column as i32] {
                let level = y + row as i32;
                if thread != b'.'
                    && at >= 0
                    && level >= 0
                    && (at as usize) < columns
                    && let Some(stitch) = chart.get_mut(level as usize * columns + at as usize)
                {
                    *stitch = thread;
                }
            }
        }
    }
}

fn sampler(r: &Random, chart: &mut [u8], columns: usize, rows: usize) {
    let mut y = 1;
    let mut previous = MOTIFS.len();
    while y < rows {
        let mut own = r.int(0, MOTIFS.len() - 1);
        if own == previous {
            own = (own + 1) % MOTIFS.len();
        }
        previous = own;
        border(r, chart, columns, y);
        y += 5;
        let motif = MOTIFS[own];
        let gap = r.int(2, 4);
        let pitch = motif[0].len() * 2 - 1 + gap;
        let count = (columns + gap) / pitch + 2;
        let start = columns as i32 / 2 - (count * pitch) as i32 / 2 + gap as i32 / 2;
        for k in 0..count {
            stamp(
                chart,
                columns,
                (start + (k * pitch) as i32, y as i32),
                motif,
            );
        }
        y += motif.len() + 1;
    }
}

fn border(r: &Random, chart: &mut [u8], columns: usize, y: usize) {
    let (one, two) = (r.pick(b"abcd"), r.pick(b"abcd"));
    let kind = r.int(0, 2);
    let middle = columns / 2;
    for x in 0..columns {
        let k = x.abs_diff(middle) % 6;
        let wave = match kind {
            0 => k.min(6 - k),
            1 => usize::from(k < 3) * 2 + usize::from(k % 3 == 1),
            _ => k % 2 + 1,
        };
        for (level, thread) in [(wave, one), (3, two)] {
            if (level < 3 || kind != 0)
                && let Some(stitch) = chart.get_mut((y + level) * columns + x)
            {
                *stitch = thread;
            }
        }
    }
}

/// Eightfold symmetry from a slice of noise, ringed by motifs.
fn medallion(r: &Random, chart: &mut [u8], columns: usize, rows: usize) {
    let field = r.noise();
    let (a, b) = (r.range(0.16, 0.3), r.range(2.0, 3.4));
    let reach = columns.min(rows) as i32 / 2 - 7;
    let (cx, cy) = (columns as i32 / 2, rows as i32 / 2);
    for row in 0..rows as i32 {
        for column in 0..columns as i32 {
            let (dx, dy) = ((column - cx).abs(), (row - cy).abs());
            let (near, far) = (dx.min(dy), dx.max(dy));
            let stitch = &mut chart[(row * columns as i32 + column) as usize];
            let ring = near + far;
            if ring <= reach + 3 {
                let v =
                    field.at(near as f32 * a + 0.4, far as f32 * a + 0.7) * b + ring as f32 * 0.08;
                let band = v.abs();
                *stitch = match (band * 3.0) as i32 % 5 {
                    0 => b'a',
                    1 => b'b',
                    3 => b'd',
                    _ => b'.',
                };
            } else if ring <= reach + 5 {
                *stitch = b'a';
            }
            let (ex, ey) = (
                column.min(columns as i32 - 1 - column),
                row.min(rows as i32 - 1 - row),
            );
            let edge = ex.min(ey);
            if edge == 1 || (edge == 2 && (column + row) % 2 == 0) {
                *stitch = b'a';
            }
        }
    }
    let motif = r.pick(&[MOTIFS[0], MOTIFS[1], MOTIFS[3], MOTIFS[4]]);
    let (right, bottom) = (columns as i32 - 13, rows as i32 - 4 - motif.len() as i32);
    for at in [(4, 4), (right, 4), (4, bottom), (right, bottom)] {
        stamp(chart, columns, at, motif);
    }
}

/// Sheets with winding holes, each lower sheet deeper in colour and in the upper one's shadow.
pub(super) fn paper_cut(c: &mut Canvas, r: &Random) {
    const SETS: [[u32; 4]; 6] = [
        [0xFFE3C2, 0xF79D6B, 0xD9466B, 0x4A1A5C],
        [0xE6F5EA, 0x7FCDBB, 0x2C8FA6, 0x153A6B],
        [0xFFF0D0, 0xF7C04A, 0xE8662E, 0x7A1E3A],
        [0xF6E1F0, 0xC99AE0, 0x7A5AC8, 0x241A5A],
        [0xF3F3DC, 0xB5D27A, 0x3F9A6A, 0x0F3F4A],
        [0xFDE4E4, 0xF59AA8, 0xB84A8A, 0x2F1F5F],
    ];
    let inks = r.pick(&SETS).map(hex);
    let (w, h) = (c.width, c.height);
    let sheets = r.int(6, 8);
    let noise = r.noise();
    let kind = r.int(0, 2);
    let centre = (w * r.range(0.35, 0.65), h * r.range(0.35, 0.65));
    let scale = c.side() * r.range(0.42, 0.6);
    let turn = unit_vector(r.range(0.0, TAU));
    // Height of the opening, a sheet covers what lies below its level; and how it varies by sheet.
    let form = Field::new(c, |x, y| {
        let wander = noise.fractal(x / scale, y / scale, 2);
        let (dx, dy) = (x - centre.0, y - centre.1);
        match kind {
            0 => 0.9 - (dx * dx + dy * dy).sqrt() / scale * 0.75 + wander * 0.9,
            1 => 0.5 + wander * 1.7,
            _ => 0.5 + (dx * turn.0 + dy * turn.1) / scale * 0.55 + wander * 0.95,
        }
    });
    let drift = Field::new(c, |x, y| {
        let place = (x / scale * 1.7 + 40.0, y / scale * 1.7);
        0.05 * noise.at(place.0, place.1)
    });
    let at = |x: f32, y: f32, sheet: f32| form.value(x, y) + sheet * drift.value(x, y);
    c.ground(inks[3]);
    for k in (0..sheets).rev() {
        let t = k as f32 / sheets as f32;
        let level = 0.08 + 0.95 * t;
        let ink = ramp(&inks, t);
        let own = k as f32;
        let reach = 11.0;
        c.shade(|x, y| {
            let here = at(x, y, own) - level;
            let slope = 1.0 / scale;
            // Positive above an opening; the slope of the form is about one per scale.
            let gap = here / slope;
            if gap > 40.0 {
                return BLACK.alpha(0.0);
            }
            if gap > 0.0 {
                // The sheet's shadow on what lies below, cast from the upper left.
                let caster = (at(x - 4.0, y - 6.0, own) - level) / slope;
                return BLACK.alpha(0.42 * step(reach, -3.0, caster));
            }
            let rim = step(-2.2, 0.0, gap) * 0.08;
            ink.bright(1.0 + rim)
        });
    }
    c.sheet = Sheet {
        grain: 0.04,
        fibre: 0.06,
        ..Sheet::default()
    };
}
