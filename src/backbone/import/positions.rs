//! Position embeddings for another grid than they were trained on.

/// Resizes position embeddings [1 + n*n, width] to a grid of `side`, as DINOv2 does at run time:
/// bicubic with a = -0.75, no antialias, and a scale of (side + 0.1) / n, whose 0.1 shifts every
/// sample slightly. `None` when the input is no class token and square grid.
pub fn resize_positions(values: &[f32], width: usize, side: usize) -> Option<Vec<f32>> {
    let cells = (values.len() / width).checked_sub(1)?;
    let n = cells.isqrt();
    if n * n != cells || n == 0 || !values.len().is_multiple_of(width) {
        return None;
    }
    let (class, grid) = values.split_at(width);
    let taps: Vec<[(usize, f32); 4]> = (0..side).map(|i| cubic_taps(i, side, n)).collect();
    let mut out = class.to_vec();
    out.reserve(side * side * width);
    for y in &taps {
        for x in &taps {
            let start = out.len();
            out.resize(start + width, 0.0);
            for (row, wy) in y {
                for (column, wx) in x {
                    let cell = &grid[(row * n + column) * width..][..width];
                    for (sum, value) in out[start..].iter_mut().zip(cell) {
                        *sum += wy * wx * value;
                    }
                }
            }
        }
    }
    Some(out)
}

fn cubic_taps(i: usize, side: usize, n: usize) -> [(usize, f32); 4] {
    const A: f32 = -0.75;
    let scale = ((side as f64 + 0.1) / n as f64) as f32;
    let source = (i as f32 + 0.5) / scale - 0.5;
    let floor = source.floor();
    let t = source - floor;
    let near = |d: f32| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f32| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    std::array::from_fn(|k| {
        let at = (floor as i64 - 1 + k as i64).clamp(0, n as i64 - 1);
        (at as usize, weights[k])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubic_weights_sum_to_one_and_stay_inside() {
        for i in 0..16 {
            let taps = cubic_taps(i, 16, 37);
            assert!((taps.iter().map(|t| t.1).sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(taps.iter().all(|t| t.0 < 37));
        }
    }

    #[test]
    fn a_constant_grid_stays_constant_and_other_counts_are_refused() {
        let out = resize_positions(&[2.0; 3 * (1 + 25)], 3, 4).unwrap();
        assert_eq!(out.len(), 3 * 17);
        assert!(out.iter().all(|v| (v - 2.0).abs() < 1e-5));
        assert!(resize_positions(&[0.0; 3 * 7], 3, 4).is_none());
        assert!(resize_positions(&[], 3, 4).is_none());
    }
}
