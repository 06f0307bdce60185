//! The estimates against brute force on simulated queries.

use super::simulated::{Outcome, Reading, Scores, Vectors};
use super::*;

const LIST: usize = 3000;
const CONTROL: usize = 2048;

/// Outcomes of `draws` queries.
fn outcomes(
    draws: u64,
    rule: &Rule,
    read: usize,
    inv_tau: f64,
    offset: f64,
) -> Vec<(Outcome, f64)> {
    let vectors = Vectors::new(50_000, 1);
    let one = |draw| {
        let scores = Scores::new(&vectors, 100 + draw);
        let reading = Reading::new(&scores, rule.k, LIST, CONTROL, read, draw);
        (
            reading.run(rule, inv_tau, offset),
            scores.truth(inv_tau, offset).0,
        )
    };
    (0..draws).map(one).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |all, value| (all.0 + value, all.1 + 1.0));
    sum / count
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn balanced_finds_what_it_promises_and_says_so() {
    let all = outcomes(30, &Rule::balanced(50), usize::MAX, 20.0, 0.0);
    let recall = mean(all.iter().map(|o| o.0.recall));
    let estimate = mean(all.iter().map(|o| o.0.estimated_recall));
    assert!(recall > 0.985, "{recall}");
    assert!((recall - estimate).abs() < 0.01, "{recall} {estimate}");
    // The number of candidates follows from the query.
    let rows: Vec<usize> = all.iter().map(|o| o.0.reranked).collect();
    assert!(rows.iter().all(|r| *r >= 50 && *r < 1500), "{rows:?}");
    assert!(
        rows.iter().max() > rows.iter().min().map(|r| r + 64).as_ref(),
        "{rows:?}"
    );
}

#[test]
fn rows_are_fetched_ahead_where_many_seem_to_be_wanted_and_never_in_fast() {
    let vectors = Vectors::new(50_000, 1);
    let mut most = 0;
    for draw in 0..10 {
        let scores = Scores::new(&vectors, 100 + draw);
        let reading = Reading::new(&scores, 50, LIST, CONTROL, usize::MAX, draw);
        let rule = Rule::balanced(50);
        let next = reading.at(|state| rule.next(state, None));
        assert!(
            next.rows + next.ahead <= rule.ahead.max(next.rows),
            "{next:?}"
        );
        most = most.max(next.ahead);
        assert_eq!(
            reading.at(|state| Rule::fast(50).next(state, None)).ahead,
            0
        );
    }
    assert!(most > 0);
}

#[test]
fn fast_keeps_to_its_rows_and_knows_its_recall() {
    let rule = Rule::fast(50);
    let all = outcomes(30, &rule, usize::MAX, 20.0, 0.0);
    assert!(all.iter().all(|o| o.0.reranked <= rule.rows));
    let recall = mean(all.iter().map(|o| o.0.recall));
    let estimate = mean(all.iter().map(|o| o.0.estimated_recall));
    assert!(
        recall > 0.9 && (recall - estimate).abs() < 0.015,
        "{recall} {estimate}"
    );
    // Too few rows for the recall: the estimate follows.
    let few = Rule {
        rows: 64,
        recall: 0.999,
        ..rule
    };
    let all = outcomes(30, &few, usize::MAX, 20.0, 0.0);
    let recall = mean(all.iter().map(|o| o.0.recall));
    let estimate = mean(all.iter().map(|o| o.0.estimated_recall));
    assert!(
        recall < 0.97 && (recall - estimate).abs() < 0.015,
        "{recall} {estimate}"
    );
}

#[test]
fn the_interval_holds_the_sum_as_often_as_it_says() {
    for (inv_tau, offset, error) in [(20.0, -0.001, 0.01), (50.0, 0.0, 0.02)] {
        let all = outcomes(200, &Rule::fast(50), usize::MAX, inv_tau, offset);
        let held = all
            .iter()
            .filter(|(o, truth)| o.mass.low <= *truth && *truth <= o.mass.high);
        let cover = held.count() as f64 / 200.0;
        let off = median(
            all.iter()
                .map(|(o, truth)| (o.mass.value / truth - 1.0).abs()),
        );
        let width = median(
            all.iter()
                .map(|(o, _)| (o.mass.high - o.mass.low) / o.mass.value),
        );
        let bias = mean(all.iter().map(|(o, truth)| o.mass.value / truth - 1.0));
        println!(
            "{inv_tau} {offset}: cover {cover} median error {off:.5} width {width:.4} bias {bias:.5}"
        );
        // 200 draws of 0.95 have a deviation of 0.015.
        assert!(cover >= 0.92, "{inv_tau} {offset}: {cover}");
        assert!(
            // Errors are normal here, so an interval with room for others is wide.
            off < error && width < 16.0 * error && bias.abs() < error,
            "{off} {width} {bias}"
        );
    }
}

#[test]
fn certified_influences_are_those_of_brute_force() {
    let all = outcomes(30, &Rule::balanced(50), usize::MAX, 50.0, -0.05);
    let exact: Vec<&(Outcome, f64)> = all.iter().filter(|o| o.0.mass.exact).collect();
    assert!(exact.len() > 15, "{}", exact.len());
    for (outcome, truth) in exact {
        assert!((outcome.mass.value / truth - 1.0).abs() < 1e-6);
        assert_eq!(outcome.mass.low, outcome.mass.high);
        assert!(outcome.reranked < LIST);
    }
    // An ordinary softmax has influence everywhere.
    assert!(
        outcomes(5, &Rule::balanced(50), usize::MAX, 50.0, 0.0)
            .iter()
            .all(|o| !o.0.mass.exact)
    );
}

#[test]
fn rows_that_were_not_read_are_accounted_for() {
    let all = outcomes(100, &Rule::fast(50), 20, 20.0, 0.0);
    let held = all
        .iter()
        .filter(|(o, truth)| o.mass.low <= *truth && *truth <= o.mass.high);
    let cover = held.count() as f64 / 100.0;
    let off = median(
        all.iter()
            .map(|(o, truth)| (o.mass.value / truth - 1.0).abs()),
    );
    let recall = mean(all.iter().map(|o| o.0.recall));
    let estimate = mean(all.iter().map(|o| o.0.estimated_recall));
    println!(
        "partial: cover {cover} median error {off:.4} recall {recall:.3} estimate {estimate:.3}"
    );
    assert!(cover >= 0.9 && off < 0.03, "{cover} {off}");
    assert!((recall - estimate).abs() < 0.08, "{recall} {estimate}");
}

/// Scores given row by row.
fn given(exact: &[f32], approximate: &[f32]) -> Scores {
    Scores {
        exact: exact.to_vec(),
        approximate: approximate.to_vec(),
        cluster: vec![0; exact.len()],
    }
}

fn run(scores: &Scores, k: usize, list: usize, control: usize, offset: f64) -> Outcome {
    Reading::new(scores, k, list, control, usize::MAX, 1).run(&Rule::balanced(k), 20.0, offset)
}

#[test]
fn small_indexes_are_exact() {
    let none = run(&given(&[], &[]), 10, 100, 0, 0.0);
    assert_eq!(
        (none.reranked, none.estimated_recall, none.mass.value),
        (0, 1.0, 0.0)
    );
    assert!(none.mass.exact);
    let one = run(&given(&[0.7], &[0.69]), 10, 100, 5, 0.0);
    assert_eq!(
        (one.reranked, one.recall, one.estimated_recall),
        (1, 1.0, 1.0)
    );
    assert_eq!((one.mass.value, one.mass.exact), (1.0, true));
    // More hits than rows.
    let scores = given(&[0.7, 0.2, 0.5], &[0.6, 0.3, 0.5]);
    let few = run(&scores, 10, 100, 5, -0.001);
    assert_eq!(
        (few.reranked, few.estimated_recall, few.mass.exact),
        (3, 1.0, true)
    );
    assert!((few.mass.value / scores.truth(20.0, -0.001).0 - 1.0).abs() < 1e-12);
}

#[test]
fn odd_scores_have_defined_results() {
    // All rows equal.
    let equal = run(&given(&[0.5; 4000], &[0.5; 4000]), 20, 1000, 200, 0.0);
    assert!(
        (equal.mass.value / 4000.0 - 1.0).abs() < 1e-3,
        "{:?}",
        equal.mass
    );
    assert!(equal.mass.low <= 4000.0 && 4000.0 <= equal.mass.high);
    assert_eq!(equal.recall, 1.0);
    // A query far from everything, and no control sample at all.
    let far: Vec<f32> = (0..4000).map(|i| -0.3 - 1e-4 * (i % 100) as f32).collect();
    let noisy: Vec<f32> = far
        .iter()
        .enumerate()
        .map(|(i, s)| s + 0.002 * ((i * 7919 % 11) as f32 - 5.0))
        .collect();
    for control in [0, 300] {
        let scores = given(&far, &noisy);
        let got = run(&scores, 20, 1000, control, 0.0);
        let (truth, _) = scores.truth(20.0, 0.0);
        assert!(
            got.mass.low <= truth && truth <= got.mass.high,
            "{control} {:?} {truth}",
            got.mass
        );
        assert!((0.0..=1.0).contains(&got.estimated_recall));
    }
    // A bias of -1000 or less: nothing has influence.
    let dark = run(&given(&far, &noisy), 20, 1000, 300, -1.0);
    assert_eq!((dark.mass.value, dark.mass.exact), (0.0, true));
    assert_eq!(dark.mass.share(0.0).value, 0.0);
}

/// Scores whose errors are far from normal: one row in fifty is much better than its code says.
fn heavy(vectors: &Vectors, seed: u64) -> Scores {
    let mut scores = Scores::new(vectors, seed);
    let mut sequence = crate::random::Sequence::new(seed, 9);
    for (exact, approximate) in scores.exact.iter().zip(&mut scores.approximate) {
        if sequence.below(50) == 0 {
            *approximate = exact - 0.06;
        }
    }
    scores
}

#[test]
fn a_draw_holds_the_sum_where_the_model_of_errors_does_not() {
    let vectors = Vectors::new(50_000, 1);
    let (inv_tau, offset, draws) = (50.0, 0.0, 200);
    let (mut held, mut errors, mut widths) = (0, Vec::new(), Vec::new());
    for draw in 0..draws {
        let scores = heavy(&vectors, 300 + draw);
        let reading = Reading::new(&scores, 50, LIST, CONTROL, usize::MAX, draw);
        let outcome = reading.drawing(&Rule::fast(50), inv_tau, offset, 128);
        let (truth, _) = scores.truth(inv_tau, offset);
        held += usize::from(outcome.mass.low <= truth && truth <= outcome.mass.high);
        errors.push((outcome.mass.value / truth - 1.0).abs());
        widths.push((outcome.mass.high - outcome.mass.low) / outcome.mass.value);
    }
    let cover = held as f64 / draws as f64;
    let (error, width) = (median(errors.into_iter()), median(widths.into_iter()));
    println!("drawn: cover {cover} median error {error:.4} width {width:.4}");
    assert!(cover >= 0.92, "{cover}");
    assert!(error < 0.03 && width < 0.25, "{error} {width}");
}

#[test]
fn draws_follow_the_sizes() {
    let vectors = Vectors::new(5000, 2);
    let scores = Scores::new(&vectors, 3);
    let reading = Reading::new(&scores, 10, 2000, 500, usize::MAX, 1);
    reading.at(|state| {
        let curve = Curve {
            inv_tau: 20.0,
            offset: 0.0,
            best: 0.9,
        };
        let draw = Draw::new(state, &curve, 100);
        let mut positions: Vec<usize> = draw.positions().collect();
        assert!(
            positions.len() > 90 && positions.len() <= 100,
            "{}",
            positions.len()
        );
        positions.sort_unstable();
        assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(*positions.last().unwrap() < state.waiting.len());
        // More of them where the mass is.
        let first = positions.iter().filter(|p| **p < 500).count();
        assert!(
            first > positions.len() / 2,
            "{first} of {}",
            positions.len()
        );
        // As many as there are rows: all are certain, and nothing is left.
        let all = Draw::new(state, &curve, 5000);
        assert_eq!(
            (all.certain.len(), all.drawn.len()),
            (state.waiting.len(), 0)
        );
        assert_eq!(all.rest, 0.0);
        assert_eq!(Draw::new(state, &curve, 0).positions().count(), 0);
    });
}
