//! Scores of coarse codes on the CPU: the definition against f64, the fast path against the definition,
//! and the ranking against a sort. The GPU is in score_codes_gpu.rs.

mod code_rows;

use std::rc::Rc;

use code_rows::{Codes, index, joined, unit, widths};
use data_attribution::format::clustered::{CodeRows, Head};
use data_attribution::format::{Calibrator, shard};
use data_attribution::score::{CodeQuery, CpuScorer, Hit, QuantizedQuery, normaliser};

/// The centroid of a row and the code of its leaf.
fn leaf_of<'a>(head: &Head, rows: &'a CodeRows, term: u32) -> (usize, &'a [i8]) {
    let (leaf, axes) = (CodeRows::leaf(term), head.plan.leaf_axes());
    let cluster = rows.first_cluster + rows.leaves[leaf] as usize;
    let centroid = head.clusters[cluster].centroid as usize;
    (centroid, &rows.leaf_codes[leaf * axes..(leaf + 1) * axes])
}

/// By the definition, one row at a time.
fn defined(query: &CodeQuery, head: &Head, rows: &CodeRows) -> Vec<f32> {
    let words = rows.words.chunks(rows.words_per_row);
    let scores = rows.terms.iter().zip(words).map(|(term, words)| {
        let (centroid, leaf) = leaf_of(head, rows, *term);
        query.score_row(
            centroid,
            leaf,
            CodeRows::constant(*term),
            CodeRows::gain(*term),
            words,
        )
    });
    scores.collect()
}

/// From the vectors that codes stand for, in f64; with the largest error that the integers may make.
fn by_values(
    query: &CodeQuery,
    q: &[f32],
    head: &Head,
    rows: &CodeRows,
    (term, words): (u32, &[u32]),
) -> (f64, f64) {
    let plan = &head.plan;
    let mut codes = vec![0i16; plan.widths.dimensions()];
    plan.widths.unpack(words, &mut codes);
    let constant = f64::from(CodeRows::constant(term));
    let gain = f64::from(CodeRows::gain(term));
    let (centroid, leaf) = leaf_of(head, rows, term);
    let mut x = vec![0f32; plan.dimension];
    plan.centroid(centroid, &mut x);
    let mut values: Vec<f64> = x
        .iter()
        .map(|c| (1.0 + constant * f64::from(plan.const_step)) * f64::from(*c))
        .collect();
    for (j, code) in leaf.iter().enumerate() {
        let value = f64::from(*code) * f64::from(plan.leaf_steps[j]);
        let axis = &plan.transform[j * plan.dimension..][..plan.dimension];
        for (x, t) in values.iter_mut().zip(axis) {
            *x += value * f64::from(*t);
        }
    }
    let mut magnitudes = 0.0;
    for (j, code) in codes.iter().enumerate() {
        let offset = f64::from(*code) - f64::from(plan.zeros[j]);
        let value = gain * f64::from(plan.gain_step) * offset * f64::from(plan.steps[j]);
        let axis = &plan.transform[j * plan.dimension..][..plan.dimension];
        for (x, t) in values.iter_mut().zip(axis) {
            *x += value * f64::from(*t);
        }
        magnitudes += offset.abs();
    }
    let score: f64 = values.iter().zip(q).map(|(x, q)| x * f64::from(*q)).sum();
    let units = 0.5 + 0.5 * constant.abs() + gain * (0.5 + 0.5 * magnitudes);
    let rounding = 2e-7 * score.abs() + 1e-9;
    (score, 1.001 * units * f64::from(query.unit()) + rounding)
}

#[test]
fn the_definition_is_the_product_with_the_decoded_vector() {
    for (eight, four, two) in [(4, 8, 16), (12, 40, 48), (0, 8, 0), (0, 0, 16), (8, 0, 0)] {
        for codes in [Codes::Random, Codes::Lowest, Codes::Highest, Codes::Extreme] {
            let dimension = 70;
            let (head, files) = index(widths(eight, four, two), dimension, &[9, 4], codes);
            let q = unit(9, dimension);
            let query = CodeQuery::new(&head.plan, &q).unwrap();
            let rows = joined(&files);
            let found = defined(&query, &head, &rows);
            let words = rows.words.chunks(rows.words_per_row);
            for ((term, words), found) in rows.terms.iter().zip(words).zip(found) {
                let (wanted, tolerance) = by_values(&query, &q, &head, &rows, (*term, words));
                let difference = (f64::from(found) - wanted).abs();
                assert!(difference <= tolerance, "{found} {wanted} {tolerance}");
                // The integers cost little: a hundredth of what a row's rounding to codes does.
                assert!(tolerance < 0.02, "{tolerance}");
            }
        }
    }
}

/// Q is lowered where 4095 would leave 31 bits: the scores stay right at all extremes.
#[test]
fn no_codes_overflow_the_sum() {
    for (eight, four, two) in [(2048, 0, 0), (0, 2048, 0), (512, 512, 1024), (4, 0, 0)] {
        for (codes, zero) in [
            (Codes::Extreme, 0.0),
            (Codes::Highest, -4096.0),
            (Codes::Highest, 0.0),
            (Codes::Lowest, 4096.0),
            (Codes::Extreme, 4096.0),
        ] {
            let (mut head, files) = index(widths(eight, four, two), 8, &[2], codes);
            // Every axis is the query, so that all products have one sign.
            let q = unit(9, 8);
            let plan = &mut head.plan;
            plan.transform = q.repeat(plan.axes());
            plan.steps.fill(0.01);
            plan.zeros.fill(zero);
            for negative in [false, true] {
                if negative {
                    plan_negated(&mut head.plan.transform);
                }
                let query = CodeQuery::new(&head.plan, &q).unwrap();
                let lowered = f64::from(query.unit()) / f64::from(head.plan.gain_step) * 4095.0;
                assert!(eight + four < 512 || lowered > 0.0101, "{lowered}");
                let mut rows = joined(&files);
                for gain in [255, 1] {
                    for constant in [0x80, 0x7f] {
                        rows.terms.fill(constant | gain << 8);
                        let words = &rows.words[..rows.words_per_row];
                        let (wanted, tolerance) =
                            by_values(&query, &q, &head, &rows, (rows.terms[0], words));
                        let found = f64::from(defined(&query, &head, &rows)[0]);
                        // An overflow would be off by 2^32 units.
                        assert!(tolerance < f64::from(query.unit()) * 2e9);
                        assert!((found - wanted).abs() < tolerance, "{found} {wanted}");
                        let mut fast = vec![0.0; 2];
                        query.score_rows(&head, &rows, &mut fast);
                        assert_eq!(fast, defined(&query, &head, &rows));
                    }
                }
            }
        }
    }
}

fn plan_negated(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = -*x);
}

#[test]
fn the_fast_path_gives_the_definitions_bits() {
    for (eight, four, two) in [
        (4, 0, 0),
        (0, 8, 0),
        (0, 0, 16),
        (0, 8, 16),
        (4, 0, 16),
        (4, 8, 0),
        (20, 40, 80),
        (16, 48, 64),
    ] {
        for rows in [0u32, 1, 63, 64, 65, 255, 256, 257, 1000] {
            let (head, files) = index(widths(eight, four, two), 33, &[rows, 3], Codes::Random);
            let query = CodeQuery::new(&head.plan, &unit(8, 33)).unwrap();
            let rows = joined(&files);
            let mut found = vec![7.0; rows.rows()];
            query.score_rows(&head, &rows, &mut found);
            assert_eq!(found, defined(&query, &head, &rows));
        }
    }
}

#[test]
fn the_ranking_of_files_in_any_order_is_that_of_a_sort() {
    for codes in [Codes::Random, Codes::Ties, Codes::Highest] {
        let (head, mut files) = index(widths(4, 8, 32), 24, &[300, 1, 0, 777, 64], codes);
        let query = Rc::new(CodeQuery::new(&head.plan, &unit(8, 24)).unwrap());
        let mut sorted = Vec::new();
        for file in &files {
            let scores = defined(&query, &head, file);
            let hit = |(i, score): (usize, &f32)| Hit {
                id: file.first_row as u32 + i as u32,
                score: *score,
            };
            sorted.extend(scores.iter().enumerate().map(hit));
        }
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        files.rotate_left(2);
        for k in [1, 10, 1142, 5000] {
            let mut scorer = CpuScorer::new(query.clone(), head.rows, k).unwrap();
            for file in &files {
                scorer.add_codes("c", &head, file).unwrap();
            }
            assert_eq!(scorer.hits(), sorted[..k.min(sorted.len())], "{codes:?}");
        }
    }
}

#[test]
fn rows_that_did_not_come_count_nothing_in_the_sum() {
    let (head, files) = index(widths(4, 8, 16), 24, &[50, 60, 70], Codes::Random);
    let query = Rc::new(CodeQuery::new(&head.plan, &unit(8, 24)).unwrap());
    let mut scorer = CpuScorer::new(query.clone(), head.rows, 5).unwrap();
    scorer.add_codes("c", &head, &files[1]).unwrap();
    let best = scorer.hits()[0].score;
    let calibrator = Calibrator {
        inv_tau: 20.0,
        bias: 10.0,
        fitted: true,
    };
    let influence = |score: &f32| (20.0 * f64::from(score - best)).exp() + 0.01;
    let wanted: f64 = defined(&query, &head, &files[1])
        .iter()
        .map(influence)
        .sum();
    let found = normaliser(&calibrator, scorer.scores(), best);
    assert!((found / wanted - 1.0).abs() < 1e-5, "{found} {wanted}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (head, files) = index(widths(4, 8, 16), 24, &[5, 6], Codes::Random);
    let q = unit(8, 24);
    let query = Rc::new(CodeQuery::new(&head.plan, &q).unwrap());
    assert!(CodeQuery::new(&head.plan, &q[1..]).is_err());
    let mut bad = q.clone();
    bad[3] = f32::NAN;
    let error = CodeQuery::new(&head.plan, &bad).unwrap_err();
    assert_eq!(error.code(), "not-finite");

    let mut scorer = CpuScorer::new(query.clone(), head.rows, 5).unwrap();
    let change = |change: &dyn Fn(&mut CodeRows)| {
        let mut rows = files[1].clone();
        change(&mut rows);
        rows
    };
    for rows in [
        change(&|rows| rows.first_row += 1),
        change(&|rows| rows.first_row = u64::MAX),
        change(&|rows| rows.first_cluster += 1),
        change(&|rows| rows.first_cluster = usize::MAX),
        change(&|rows| rows.terms[2] |= 1 << 16),
        change(&|rows| rows.leaves[0] = 1),
        change(&|rows| rows.leaves[0] = u32::MAX),
        change(&|rows| rows.leaf_codes.truncate(20)),
        change(&|rows| rows.words_per_row = 0),
        change(&|rows| {
            rows.words.pop();
        }),
        change(&|rows| {
            rows.terms.push(0);
        }),
    ] {
        let error = scorer.add_codes("c", &head, &rows).unwrap_err();
        assert_eq!(error.code(), "format");
    }
    assert!(scorer.hits().is_empty());
    scorer.add_codes("c", &head, &files[1]).unwrap();

    let bytes = shard::encode(0, 24, &q).unwrap();
    let rows = shard::decode("s", &bytes).unwrap();
    assert!(scorer.add("s", &rows).is_err());
    let flat = QuantizedQuery::new(&q).unwrap();
    let mut scorer = CpuScorer::new(flat, head.rows, 5).unwrap();
    assert!(scorer.add_codes("c", &head, &files[1]).is_err());
    scorer.add("s", &rows).unwrap();
}

/// All rows equal: residuals and steps vanish, and what remains is the centroid.
#[test]
fn a_query_across_all_axes_scores_by_the_centroids() {
    let (mut head, files) = index(widths(4, 8, 16), 24, &[5], Codes::Random);
    let q = unit(8, 24);
    head.plan.transform.fill(0.0);
    let query = CodeQuery::new(&head.plan, &q).unwrap();
    let words = &files[0].words[..files[0].words_per_row];
    let found = f64::from(query.score_row(0, &[3; 21], 0, 200, words));
    assert!((found - query.base(0)).abs() < 1e-7 && query.base(0) != 0.0);
    head.plan.centroids.fill(0);
    let query = CodeQuery::new(&head.plan, &q).unwrap();
    assert_eq!(query.score_row(0, &[3; 21], 100, 200, words), 0.0);
}
