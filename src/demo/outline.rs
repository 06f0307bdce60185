//! Outlines of the demo's works: polygons, splines, brush strokes and fields of values.
//!
//! A function that gives `Option<Path>` gives `None` where the outline has no extent, which
//! [`Canvas::fill`] and [`Canvas::stroke`] draw as nothing.

use super::canvas::{Canvas, OVERSAMPLING, Point};
use super::elementary::{TAU, unit_vector};
use super::random::{Noise, Random};
use tiny_skia::{Path, PathBuilder};

/// Straight lines through the points, closed or not.
pub(super) fn lines(points: &[Point], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for p in rest {
        path.line_to(p.0, p.1);
    }
    if closed {
        path.close();
    }
    path.finish()
}

pub(super) fn polygon(points: &[Point]) -> Option<Path> {
    lines(points, true)
}

/// A rectangle centred on `centre`, its length along `angle` (radians).
pub(super) fn bar(centre: Point, length: f32, width: f32, angle: f32) -> [Point; 4] {
    let (c, s) = unit_vector(angle);
    let corner = |l: f32, w: f32| {
        let (l, w) = (l * length / 2.0, w * width / 2.0);
        (centre.0 + l * c - w * s, centre.1 + l * s + w * c)
    };
    [
        corner(-1.0, -1.0),
        corner(1.0, -1.0),
        corner(1.0, 1.0),
        corner(-1.0, 1.0),
    ]
}

/// `n` points on the Catmull-Rom curve through `points`, ends included.
pub(super) fn spline(points: &[Point], n: usize) -> Vec<Point> {
    let last = points.len() - 1;
    let mut curve = Vec::with_capacity(n);
    for k in 0..n {
        let place = k as f32 / (n - 1) as f32 * last as f32;
        let i = (place as usize).min(last.saturating_sub(1));
        let t = place - i as f32;
        let (b, c) = (points[i], points[(i + 1).min(last)]);
        let (a, d) = (points[i.saturating_sub(1)], points[(i + 2).min(last)]);
        let along = |a: f32, b: f32, c: f32, d: f32| {
            let bend = (2.0 * a - 5.0 * b + 4.0 * c - d) * t;
            let twist = (3.0 * (b - c) + d - a) * t * t;
            b + 0.5 * t * (c - a + bend + twist)
        };
        curve.push((along(a.0, b.0, c.0, d.0), along(a.1, b.1, c.1, d.1)));
    }
    curve
}

/// The unit tangent of a polyline of at least two points at its k-th.
pub(super) fn tangent(points: &[Point], k: usize) -> Point {
    let (a, b) = (
        points[k.saturating_sub(1)],
        points[(k + 1).min(points.len() - 1)],
    );
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).sqrt().max(1e-6);
    (dx / length, dy / length)
}

/// The outline of a stroke along `points`, of half width `half(t)` at t in [0, 1] of its length.
pub(super) fn brush(points: &[Point], half: impl Fn(f32) -> f32) -> Option<Path> {
    if points.len() < 2 {
        return None;
    }
    let last = (points.len() - 1) as f32;
    let side = |sign: f32| {
        let (points, half) = (&points, &half);
        (0..points.len()).map(move |k| {
            let (tx, ty) = tangent(points, k);
            let reach = sign * half(k as f32 / last);
            (points[k].0 - ty * reach, points[k].1 + tx * reach)
        })
    };
    let mut outline: Vec<Point> = side(1.0).collect();
    let back: Vec<Point> = side(-1.0).collect();
    outline.extend(back.into_iter().rev());
    polygon(&outline)
}

/// A closed outline round `centre`: an ellipse of radii `rx`, `ry` turned by `angle`, uneven by
/// the share `uneven`, `detail` bumps round.
pub(super) fn blob(
    centre: Point,
    (rx, ry, angle): (f32, f32, f32),
    uneven: f32,
    detail: f32,
    random: &Random,
) -> Vec<Point> {
    let noise: Noise = random.noise();
    let (c, s) = unit_vector(angle);
    let n = 64;
    (0..n)
        .map(|k| {
            let (ux, uy) = unit_vector(k as f32 / n as f32 * TAU);
            let swell = 1.0 + uneven * noise.fractal(ux * detail + 9.1, uy * detail + 4.7, 3);
            let (x, y) = (ux * rx * swell, uy * ry * swell);
            (centre.0 + x * c - y * s, centre.1 + x * s + y * c)
        })
        .collect()
}

/// Points of an arc from angle `from` to `to` (radians).
pub(super) fn arc(centre: Point, radius: f32, from: f32, to: f32) -> Vec<Point> {
    let n = 2 + ((to - from).abs() * radius.sqrt() * 3.0) as usize;
    (0..n)
        .map(|k| {
            let (x, y) = unit_vector(from + (to - from) * k as f32 / (n - 1) as f32);
            (centre.0 + x * radius, centre.1 + y * radius)
        })
        .collect()
}

/// The sector of a disc between two angles (radians).
pub(super) fn sector(centre: Point, radius: f32, from: f32, to: f32) -> Option<Path> {
    let mut points = arc(centre, radius, from, to);
    points.push(centre);
    polygon(&points)
}

/// A function's values at every sample of a canvas, for contours whose width needs the slope.
pub(super) struct Field {
    values: Vec<f32>,
    columns: usize,
    rows: usize,
}

impl Field {
    pub(super) fn new(canvas: &Canvas, f: impl Fn(f32, f32) -> f32) -> Self {
        let scale = OVERSAMPLING as f32;
        let columns = (canvas.width * scale) as usize;
        let rows = (canvas.height * scale) as usize;
        let place = |i: usize| (i as f32 + 0.5) / scale;
        let values = (0..columns * rows)
            .map(|k| f(place(k % columns), place(k / columns)))
            .collect();
        Self {
            values,
            columns,
            rows,
        }
    }

    /// The value at a place, which is clamped to the canvas.
    pub(super) fn value(&self, x: f32, y: f32) -> f32 {
        self.values[self.index(x, y)]
    }

    /// The value at a place on the canvas, and the length of its gradient per output pixel.
    pub(super) fn at(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = self.gradient(x, y);
        (
            self.values[self.index(x, y)],
            (dx * dx + dy * dy).sqrt().max(1e-6),
        )
    }

    /// The gradient per output pixel, from differences of neighbouring samples.
    pub(super) fn gradient(&self, x: f32, y: f32) -> Point {
        let k = self.index(x, y);
        let (column, row) = (k % self.columns, k / self.columns);
        let v = &self.values;
        let scale = OVERSAMPLING as f32;
        let (left, right) = (column.min(1), usize::from(column + 1 < self.columns));
        let (up, down) = (row.min(1), usize::from(row + 1 < self.rows));
        let dx = (v[k + right] - v[k - left]) / (left + right) as f32;
        let dy = (v[k + down * self.columns] - v[k - up * self.columns]) / (up + down) as f32;
        (dx * scale, dy * scale)
    }

    fn index(&self, x: f32, y: f32) -> usize {
        let scale = OVERSAMPLING as f32;
        let column = ((x * scale) as usize).min(self.columns - 1);
        let row = ((y * scale) as usize).min(self.rows - 1);
        row * self.columns + column
    }
}
