//! Rows of one centroid on their way to codes: turned by the transform, then put in order and made less their leaves.

/// Rows of one centroid as they are encoded: residuals after the transform.
#[derive(Clone, Debug, Default)]
pub struct Residuals {
    pub(super) terms: Vec<Terms>,
    /// [n, A].
    pub(super) turned: Vec<f32>,
}

impl Residuals {
    /// The rows at the places `order`.
    pub(super) fn in_order(&self, order: &[u32]) -> Self {
        let axes = self.turned.len() / self.terms.len().max(1);
        let rows = order.iter().map(|at| *at as usize);
        Self {
            terms: rows.clone().map(|at| self.terms[at]).collect(),
            turned: rows
                .flat_map(|at| &self.turned[at * axes..(at + 1) * axes])
                .copied()
                .collect(),
        }
    }

    /// The first `axes` values of each row, [n, axes].
    pub(super) fn leading(&self, axes: usize) -> Vec<f32> {
        let all = self.turned.len() / self.terms.len().max(1);
        leading(&self.turned, all.max(1), axes)
    }
}

/// The first `count` values of each of `rows` [n, width]; zeros beyond those that there are.
pub(super) fn leading(rows: &[f32], width: usize, count: usize) -> Vec<f32> {
    let held = count.min(width);
    let mut values = vec![0.0; rows.len() / width * count];
    for (to, row) in values.chunks_exact_mut(count).zip(rows.chunks_exact(width)) {
        to[..held].copy_from_slice(&row[..held]);
    }
    values
}

/// What is known of a row's residual r beside the coded dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// |r|^2.
    pub square: f32,
    /// <r, c>.
    pub along: f32,
}
