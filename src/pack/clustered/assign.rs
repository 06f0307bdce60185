//! The nearest centroid of every row.

use rayon::prelude::*;

use super::product::{Panels, half_squares};
use crate::format::clustered::Plan;

/// Assigns rows to the centroids of a plan.
pub struct Assigner {
    panels: Panels,
    halves: Vec<f32>,
}

impl Assigner {
    /// The assigner of `plan`: its centroids as readers have them.
    pub fn new(plan: &Plan) -> Self {
        let mut centroids = vec![0.0; plan.centroid_count() * plan.dimension];
        centroids
            .par_chunks_mut(plan.dimension)
            .enumerate()
            .for_each(|(k, centroid)| plan.centroid(k, centroid));
        Self::of(&centroids, plan.dimension)
    }

    /// The assigner to `centroids` [K, dimension].
    pub(super) fn of(centroids: &[f32], dimension: usize) -> Self {
        Self {
            panels: Panels::new(centroids, dimension),
            halves: half_squares(centroids, dimension),
        }
    }

    /// The number of the nearest centroid of each of `unit` [n, D], the smallest of equally near ones. The same
    /// for any number of threads.
    pub fn assign(&self, unit: &[f32]) -> Vec<u32> {
        let best = self.panels.best(unit, &self.halves);
        best.into_iter().map(|(k, _)| k).collect()
    }
}
