//! The coarse codes that the start-up check of a GPU scores: see [`super::parity`].

use super::parity::{DIMENSION, ROWS, generated};
use crate::format::clustered::{Cluster, CodeRows, Head, Plan, Widths};

/// Generated coarse codes of [`ROWS`] rows of [`DIMENSION`] in clusters of two centroids, with fields of every
/// width; and their head.
pub(super) fn toy_codes() -> (Head, CodeRows) {
    let widths = Widths {
        eight: 4,
        four: 8,
        two: 16,
    };
    let (coded, words) = (widths.dimensions(), widths.words());
    let plan = Plan {
        dimension: DIMENSION,
        widths,
        classes: 0,
        fine_rows: 64,
        items_per_file: 64,
        const_step: 0.005,
        gain_step: 0.01,
        rest_variance: 0.001,
        steps: vec![0.02; coded],
        zeros: (0..coded)
            .map(|j| match widths.bits(j) {
                8 => 0.0,
                4 => 7.5,
                _ => 1.5,
            })
            .collect(),
        variances: vec![0.01; coded],
        leaf_steps: Vec::new(),
        transform: (0..coded * DIMENSION)
            .map(|i| 0.3 * generated(5, i))
            .collect(),
        centroid_scales: vec![0.001; 2],
        spreads: vec![0.5; 2],
        centroids: (0..2 * DIMENSION)
            .map(|i| (127.0 * generated(6, i)) as i8)
            .collect(),
        tables: Vec::new(),
        leaf_tables: Vec::new(),
    };
    let clusters: Vec<Cluster> = [40, 1, ROWS as u32 - 41]
        .into_iter()
        .zip([0, 1, 0])
        .map(|(rows, centroid)| Cluster { centroid, rows })
        .collect();
    let bits = |stream, i| (generated(stream, i) * (1u32 << 31) as f32) as i32 as u32;
    let leaf_of = |row: usize| u32::from(row >= 40) + u32::from(row >= 41);
    let rows = CodeRows {
        first_row: 0,
        first_cluster: 0,
        words_per_row: words,
        terms: (0..ROWS)
            .map(|row| bits(7, row) >> 16 | leaf_of(row) << 16)
            .collect(),
        words: (0..ROWS * words)
            .map(|i| bits(8, i) ^ bits(9, i) >> 16)
            .collect(),
        leaves: vec![0, 1, 2],
        leaf_codes: Vec::new(),
    };
    let head = Head {
        plan,
        salt: [0; 16],
        row_salt: [0; 16],
        rows: ROWS as u64,
        clusters,
        first_rows: vec![0, 40, 41, ROWS as u64],
        fine: Vec::new(),
        items: Vec::new(),
    };
    (head, rows)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::score::query::normalised;
    use crate::score::{CodeQuery, CpuScorer};

    #[test]
    fn the_codes_that_are_compared_give_scores_that_tell_rows_apart() {
        let (head, codes) = toy_codes();
        let unit: Vec<f32> = (0..DIMENSION).map(|i| generated(10, i)).collect();
        let query = CodeQuery::new(&head.plan, &normalised(&unit).unwrap()).unwrap();
        let mut cpu = CpuScorer::new(Rc::new(query), ROWS as u64, ROWS).unwrap();
        cpu.add_codes("parity", &head, &codes).unwrap();
        let hits = cpu.hits();
        assert_eq!(hits.len(), ROWS);
        let different = hits.windows(2).filter(|pair| pair[0].score > pair[1].score);
        assert!(different.count() > ROWS - ROWS / 20);
        assert!(hits.iter().all(|hit| hit.score.is_finite()));
        // Every field of a word takes several values, so a kernel that reads one wrongly shows.
        for word in 0..codes.words_per_row {
            let rows = codes.words.iter().skip(word).step_by(codes.words_per_row);
            let (any, all) = rows.fold((0, u32::MAX), |(any, all), row| (any | row, all & row));
            assert_eq!((any, all), (u32::MAX, 0), "word {word}");
        }
    }
}
