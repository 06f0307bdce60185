//! Recall and mAP through a clustered index, against a full sort over what its rows stand for.

use std::fs;

use data_attribution::evaluate::{
    EvaluateOptions, FeatureSource, Missing, ResultRow, Rows, RowsWanted, evaluate,
};
use serde_json::json;

use super::contents::{ReadIndex, unit};
use super::{clustered, pack_as, usual_rows, workplace, write_features};

/// Exemplars are rows of the database, so what the index makes of them is known.
const EXEMPLARS: [usize; 6] = [3, 64, 650, 651, 1200, 1999];
const ROWS: usize = 2000;

/// Ranks of the exemplars of a query among the rows and themselves, ties behind the rows.
fn brute_force(query: &[f32], rows: &[Vec<f32>], exemplars: &[&[f32]]) -> Vec<u64> {
    let score = |row: &[f32]| -> f64 {
        let products = query
            .iter()
            .zip(row)
            .map(|(q, x)| f64::from(*q) * f64::from(*x));
        products.sum()
    };
    let mut own: Vec<f64> = exemplars.iter().map(|x| score(x)).collect();
    own.sort_by(|a, b| b.total_cmp(a));
    let all: Vec<f64> = rows.iter().map(|row| score(row)).collect();
    own.iter()
        .zip(1..)
        // Equal rows differ by nothing but the order of a float sum.
        .map(|(own, hit)| all.iter().filter(|score| **score >= own - 1e-7).count() as u64 + hit)
        .collect()
}

fn values(results: &[ResultRow], rows: Rows) -> [f64; 4] {
    let row = results.iter().find(|row| row.rows == rows).unwrap();
    let [a, b, c] = row.recall.unwrap();
    [a, b, c, row.mean_average_precision.unwrap()]
}

#[test]
fn a_clustered_index_is_evaluated_by_what_its_rows_stand_for() {
    let place = workplace("evaluated");
    let made = usual_rows(ROWS);
    let rows: Vec<Vec<f32>> = made.into_iter().filter(|row| is_sound(row)).collect();
    let names: Vec<String> = (0..rows.len()).map(|row| format!("row/{row}")).collect();
    let features = write_features(&place, "database", &rows, &names);
    pack_as(&place, "index", &features, &clustered(None)).unwrap();
    let index = ReadIndex::open(&place.join("index"));

    let exemplars: Vec<Vec<f32>> = EXEMPLARS.map(|at| rows[at % rows.len()].clone()).into();
    let queries: Vec<Vec<f32>> = exemplars
        .iter()
        .zip(rows.iter().skip(77))
        .map(|(x, y)| x.iter().zip(y).map(|(x, y)| x + 0.9 * y).collect())
        .collect();
    let labels = |kind: &str| -> Vec<String> {
        (0..EXEMPLARS.len()).map(|i| format!("{kind}{i}")).collect()
    };
    write_features(&place, "exemplar", &exemplars, &labels("x"));
    write_features(&place, "synth", &queries, &labels("q"));
    let cases = json!([{"exemplar": labels("x"), "synth": {"any": labels("q")}, "class_id": 0}]);
    fs::write(place.join("cases.json"), cases.to_string()).unwrap();

    let mut source = FeatureSource::new("a", "a", &place);
    source.index = Some(place.join("index"));
    let options = |source: FeatureSource| EvaluateOptions {
        cases: vec![place.join("cases.json")],
        features: vec![source],
        rows: RowsWanted::Both,
        missing: Missing::Stop,
    };
    let found = evaluate(&options(source.clone()), &|_, _| {})
        .unwrap()
        .results;

    let restored: Vec<Vec<f32>> = (0..index.names.len())
        .map(|row| index.vector(row))
        .collect();
    let row_of = |at: usize| {
        let name = format!("row/{}", at % rows.len());
        index.names.iter().position(|other| *other == name).unwrap()
    };
    let own: Vec<&[f32]> = EXEMPLARS
        .iter()
        .map(|at| &restored[row_of(*at)][..])
        .collect();
    let mut expected = [0.0; 4];
    for query in &queries {
        let ranks = brute_force(&unit(query), &restored, &own);
        let count = ranks.len() as f64;
        for (sum, k) in expected.iter_mut().zip([5, 10, 100]) {
            *sum += ranks.iter().filter(|rank| **rank <= k).count() as f64 / count;
        }
        let precisions = ranks
            .iter()
            .zip(1..)
            .map(|(rank, hit)| f64::from(hit) / *rank as f64);
        expected[3] += precisions.sum::<f64>() / count;
    }
    let expected = expected.map(|sum| sum / queries.len() as f64);
    let through = values(&found, Rows::Int8);
    for (found, expected) in through.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{through:?} {expected:?}");
    }
    // The database itself is ranked beside it, and the difference is stated.
    let exact = values(&found, Rows::Float32);
    let row = found.iter().find(|row| row.rows == Rows::Int8).unwrap();
    assert_eq!(
        row.quantization_cost.unwrap(),
        std::array::from_fn(|at| exact[at] - through[at])
    );
    assert_eq!(row.database_items, rows.len());

    // Without the rows of the database, only the index is ranked.
    fs::remove_file(place.join("database.npy")).unwrap();
    let alone = evaluate(&options(source), &|_, _| {}).unwrap().results;
    assert_eq!(values(&alone, Rows::Int8), through);
    fs::remove_dir_all(&place).unwrap();
}

fn is_sound(row: &[f32]) -> bool {
    row.iter().all(|x| x.is_finite()) && row.iter().any(|x| *x != 0.0)
}
