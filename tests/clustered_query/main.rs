//! Queries of a clustered index against brute force: on the float32 rows, and on what the fine rows stand for.
#![cfg(feature = "cli")]

#[path = "../made/mod.rs"]
mod made;
mod order;
mod place;

use std::fs;

use data_attribution::attribution::{Ask, Quality, Silent};
use data_attribution::device::DeviceChoice;
use data_attribution::format::clustered::fine::row_salt;
use data_attribution::format::clustered::{Control, Head};
use data_attribution::format::{FileRef, Manifest};
use data_attribution::pack::MANIFEST;
use place::{Chance, DIMENSION, Place, ask, dot, features, influences, unit};

#[test]
fn exact_is_brute_force_on_the_fine_rows_and_its_intervals_hold_their_rounding() {
    let (rows, queries) = features(5000, 6);
    let (mut covered, mut intervals) = (0, 0);
    let place = Place::pack("exact", rows, ["20", "-5"]);
    let attributor = place.open(DeviceChoice::Cpu).unwrap();
    let (_, decoded) = place.decoded();
    assert_eq!(decoded.len(), 5000);
    for query in &queries {
        let scores: Vec<f64> = decoded.iter().map(|row| dot(row, query)).collect();
        let shares = influences(&scores, 20.0, -0.005);
        let answer = ask(&attributor, query, 50, Quality::Exact);
        assert!(answer.completeness.influence_exact);
        assert_eq!(answer.completeness.reranked, 5000);
        let mut best: Vec<usize> = (0..scores.len()).collect();
        best.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for (hit, row) in answer.hits.iter().zip(best) {
            // The query is rounded to 13 bits: neighbours closer than that may change places.
            assert!((f64::from(hit.score) - scores[row]).abs() < 2e-4);
            assert!((f64::from(hit.score) - scores[hit.id as usize]).abs() < 2e-4);
            let share = shares[hit.id as usize];
            assert!((hit.influence.unwrap() - share).abs() < 0.01 * share + 1e-5);
            let (low, high) = (hit.influence_low.unwrap(), hit.influence_high.unwrap());
            assert!((low..=high).contains(&hit.influence.unwrap()));
            assert!(high - low < 0.1 * share + 1e-3, "{low} to {high}");
        }
        let float: Vec<f64> = place.rows.iter().map(|row| dot(row, query)).collect();
        let float = influences(&float, 20.0, -0.005);
        for (hit, original) in answer.hits.iter().zip(Place::originals(&answer)) {
            let (low, high) = (hit.influence_low.unwrap(), hit.influence_high.unwrap());
            intervals += 1;
            covered += usize::from((low..=high).contains(&float[original]));
        }
        // The name belongs to the row: what it names is nearest to what the row stands for.
        for (hit, original) in answer.hits.iter().zip(Place::originals(&answer)) {
            let alike = |row: &Vec<f32>| dot(row, &decoded[hit.id as usize]);
            let most = place.rows.iter().map(alike).fold(f64::MIN, f64::max);
            assert_eq!(alike(&place.rows[original]), most, "{original}");
        }
    }
    let coverage = covered as f64 / intervals as f64;
    println!("the float32 rows' influence is in {coverage:.3} of {intervals} intervals");
    assert!(coverage >= 0.9, "coverage {coverage}");
}

#[test]
fn balanced_finds_the_best_and_its_intervals_hold() {
    let (rows, queries) = features(20_000, 60);
    let place = Place::pack("balanced", rows, ["30", "0"]);
    let attributor = place.open(DeviceChoice::Cpu).unwrap();
    let (mut found, mut estimated, mut reranked, mut covered, mut shares) = (0, 0.0, 0, 0, 0);
    let mut rests = 0;
    for query in &queries {
        let truth = place.truth(query, 100);
        let answer = ask(&attributor, query, 100, Quality::Balanced);
        let whole = ask(&attributor, query, 100, Quality::Exact);
        assert_eq!(answer.hits.len(), 100);
        found += Place::originals(&answer)
            .iter()
            .filter(|i| truth.contains(i))
            .count();
        estimated += answer.completeness.estimated_recall;
        reranked += answer.completeness.reranked;
        assert_eq!(answer.completeness.rows_read, 20_000);
        for hit in &answer.hits {
            let (low, high) = (hit.influence_low.unwrap(), hit.influence_high.unwrap());
            assert!(low <= hit.influence.unwrap() && hit.influence.unwrap() <= high);
            if let Some(same) = whole.hits.iter().find(|other| other.id == hit.id) {
                assert_eq!(same.score.to_bits(), hit.score.to_bits());
                shares += 1;
                covered += usize::from((low..=high).contains(&same.influence.unwrap()));
            }
        }
        let total: f64 = answer.hits.iter().map(|hit| hit.influence.unwrap()).sum();
        assert!((total + answer.remaining_influence - 1.0).abs() < 1e-9);
        let rest = answer.remaining_low..=answer.remaining_high;
        assert!(rest.contains(&answer.remaining_influence));
        let all = whole.remaining_low..=whole.remaining_high;
        assert!(all.contains(&whole.remaining_influence));
        // What the hits of this answer leave, by the scores of all rows.
        let best = f64::from(whole.hits[0].score);
        let own = |score: f32| (30.0 * (f64::from(score) - best)).exp();
        let sum = own(whole.hits[0].score) / whole.hits[0].influence.unwrap();
        let shown: f64 = answer.hits.iter().map(|hit| own(hit.score)).sum();
        rests += usize::from(rest.contains(&(1.0 - shown / sum)));
    }
    let asked = queries.len();
    let recall = found as f64 / (100 * asked) as f64;
    println!(
        "recall {recall:.4}, estimated {:.4}, {} rows reranked a query",
        estimated / asked as f64,
        reranked / asked as u64
    );
    assert!(recall >= 0.985, "recall {recall}");
    assert!((recall - estimated / asked as f64).abs() < 0.015);
    assert!(
        reranked < 6000 * asked as u64,
        "{reranked} of 20,000 a query would be no saving"
    );
    let coverage = covered as f64 / shares as f64;
    println!("coverage of the 95 % intervals: {coverage:.3}");
    assert!(coverage >= 0.85, "coverage {coverage}");
    println!("coverage of the rest's intervals: {rests} of {asked}");
    assert!(rests * 100 >= 85 * asked);
}

#[test]
fn a_line_that_is_passed_makes_influences_exact() {
    let (rows, queries) = features(20_000, 12);
    // Zero below the best score less ln(100) / 60 = 0.077.
    let place = Place::pack("certified", rows, ["60", "-10"]);
    let attributor = place.open(DeviceChoice::Cpu).unwrap();
    let mut certified = 0;
    for query in &queries {
        let answer = ask(&attributor, query, 20, Quality::Balanced);
        let whole = ask(&attributor, query, 20, Quality::Exact);
        if !answer.completeness.influence_exact {
            continue;
        }
        certified += 1;
        for hit in &answer.hits {
            let Some(same) = whole.hits.iter().find(|other| other.id == hit.id) else {
                continue;
            };
            let share = hit.influence.unwrap();
            assert!((same.influence.unwrap() - share).abs() < 1e-5);
            // What is left of the interval is the rounding of rows.
            let (low, high) = (hit.influence_low.unwrap(), hit.influence_high.unwrap());
            assert!(low <= share && share <= high);
            assert!(
                share < 1e-4 || high - low < 0.8 * share,
                "{low} {share} {high}"
            );
        }
        // So it is in what remains.
        let rest = answer.remaining_influence;
        assert!(answer.remaining_low <= rest && rest <= answer.remaining_high);
        assert!(answer.remaining_high - answer.remaining_low < 0.02);
    }
    println!("{certified} of 12 certified");
    assert!(certified > 0);
}

#[test]
fn fast_reads_less_and_says_so() {
    let (rows, queries) = features(20_000, 30);
    let place = Place::pack("fast", rows, ["30", "0"]);
    let attributor = place.open(DeviceChoice::Cpu).unwrap();
    let (mut found, mut estimated, mut fast_rows, mut balanced_rows) = (0, 0.0, 0, 0);
    for query in &queries {
        let truth = place.truth(query, 100);
        let answer = ask(&attributor, query, 100, Quality::Fast);
        found += Place::originals(&answer)
            .iter()
            .filter(|i| truth.contains(i))
            .count();
        estimated += answer.completeness.estimated_recall;
        fast_rows += answer.completeness.reranked;
        balanced_rows += ask(&attributor, query, 100, Quality::Balanced)
            .completeness
            .reranked;
    }
    let asked = queries.len() as f64;
    let (recall, estimated) = (found as f64 / 100.0 / asked, estimated / asked);
    println!(
        "recall {recall:.3}, estimated {estimated:.3}, rows {fast_rows} against {balanced_rows}"
    );
    assert!(fast_rows < balanced_rows);
    assert!((recall - estimated).abs() < 0.08);
    assert!(recall > 0.7);
}

#[test]
fn few_rows_equal_rows_and_queries_without_direction() {
    let one = Place::pack("one", vec![vec![1.0; DIMENSION]], ["20", "0"]);
    let attributor = one.open(DeviceChoice::Cpu).unwrap();
    for quality in [Quality::Fast, Quality::Balanced, Quality::Exact] {
        let answer = ask(&attributor, &[0.5; DIMENSION], 100, quality);
        assert_eq!(answer.hits.len(), 1);
        assert!((answer.hits[0].score - 1.0).abs() < 1e-3);
        assert!((answer.hits[0].influence.unwrap() - 1.0).abs() < 1e-9);
    }
    for bad in [vec![0.0; DIMENSION], vec![f32::NAN; DIMENSION]] {
        let failed = pollster::block_on(attributor.attribute_feature(&bad, 5, &Silent));
        assert_eq!(failed.unwrap_err().code(), "not-finite");
    }
    let short = pollster::block_on(attributor.attribute_feature(&[1.0; 3], 5, &Silent));
    assert_eq!(short.unwrap_err().code(), "invalid-argument");

    let equal = Place::pack("equal", vec![vec![1.0; DIMENSION]; 3000], ["20", "0"]);
    let attributor = equal.open(DeviceChoice::Cpu).unwrap();
    for quality in [Quality::Balanced, Quality::Exact] {
        let answer = ask(&attributor, &[0.5; DIMENSION], 40, quality);
        let ids: Vec<u32> = answer.hits.iter().map(|hit| hit.id).collect();
        assert_eq!(
            ids,
            (0..40).collect::<Vec<_>>(),
            "{quality:?}: ties go to the smaller id"
        );
        for hit in &answer.hits {
            assert!(
                (hit.influence.unwrap() - 1.0 / 3000.0).abs() < 1e-5,
                "{quality:?}"
            );
        }
    }
}

#[test]
fn rows_of_few_values_are_ranked_as_any_others() {
    for dimension in [1usize, 2, 3, 4, 5, 8, 15, 16] {
        let mut chance = Chance(dimension as u64);
        let mut random = || -> Vec<f32> {
            let mut row: Vec<f32> = (0..dimension).map(|_| chance.bell()).collect();
            unit(&mut row);
            row.resize(dimension.next_multiple_of(4), 0.0);
            row
        };
        let rows: Vec<Vec<f32>> = (0..1500).map(|_| random()).collect();
        let queries: Vec<Vec<f32>> = (0..5).map(|_| random()).collect();
        let name = format!("small-{dimension}");
        let place = Place::pack_of(&name, rows, ["20", "0"], dimension);
        let attributor = place.open(DeviceChoice::Cpu).unwrap();
        for query in &queries {
            let mut scores: Vec<f64> = place.rows.iter().map(|row| dot(row, query)).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            for (quality, allowed) in [(Quality::Exact, 8e-3), (Quality::Balanced, 1e-2)] {
                let answer = ask(&attributor, query, 30, quality);
                assert_eq!(answer.hits.len(), 30);
                for (hit, wanted) in answer.hits.iter().zip(&scores) {
                    let off = (f64::from(hit.score) - wanted).abs();
                    assert!(off < allowed, "D = {dimension}, {quality:?}: off by {off}");
                }
            }
        }
    }
}

#[test]
fn an_index_without_rows_gives_no_hits() {
    let place = Place::pack("none", vec![vec![1.0; DIMENSION]], ["20", "-5"]);
    let folder = place.at("index");
    let bytes = fs::read(folder.join(MANIFEST)).unwrap();
    let mut manifest = Manifest::parse(MANIFEST, &bytes).unwrap();
    let clusters = manifest.clusters.as_mut().unwrap();
    let head = fs::read(folder.join(&clusters.head.file)).unwrap();
    let head = Head::parse("head", &head).unwrap();
    let write = |kind: &str, bytes: Vec<u8>| {
        let file = FileRef::of(kind, "bin", &bytes);
        fs::write(folder.join(&file.file), bytes).unwrap();
        file
    };
    let plan = head.plan.encode().unwrap();
    let empty = Head::encode(&plan, &row_salt(&head.salt, []), &[], &[], &[]).unwrap();
    clusters.head = write("head", empty);
    clusters.control = write(
        "control",
        Control::default().encode(&head.plan, &head.salt).unwrap(),
    );
    clusters.coarse.clear();
    manifest.count = 0;
    fs::write(
        folder.join(MANIFEST),
        serde_json::to_vec(&manifest).unwrap(),
    )
    .unwrap();
    let attributor = place.open(DeviceChoice::Cpu).unwrap();
    for quality in [Quality::Fast, Quality::Balanced, Quality::Exact] {
        let answer = ask(&attributor, &[0.5; DIMENSION], 10, quality);
        assert!(answer.hits.is_empty());
        assert_eq!((answer.count, answer.remaining_influence), (0, 0.0));
        let about = answer.completeness;
        assert_eq!((about.rows, about.rows_read, about.reranked), (0, 0, 0));
        assert!(about.influence_exact && about.estimated_recall == 1.0);
    }
}

#[test]
fn damaged_files_are_named_and_never_scored() {
    let (rows, queries) = features(3000, 1);
    let place = Place::pack("damaged", rows, ["20", "0"]);
    let (head, _) = place.decoded();
    let manifest = Manifest::parse(
        MANIFEST,
        &fs::read(place.at("index").join(MANIFEST)).unwrap(),
    )
    .unwrap();
    let clusters = manifest.clusters.unwrap();
    let query = &queries[0];
    let fails = |file: &str| {
        let opened = place.open(DeviceChoice::Cpu);
        let failed = opened.and_then(|attributor| {
            pollster::block_on(attributor.attribute_feature(
                query,
                Ask {
                    top_k: 10,
                    quality: Quality::Balanced,
                },
                &Silent,
            ))
        });
        let error = failed.unwrap_err();
        assert_eq!(error.code(), "integrity", "{error}");
        assert!(
            error.to_string().contains(file),
            "{error} does not name {file}"
        );
    };
    for file in [
        &clusters.head.file,
        &clusters.control.file,
        &clusters.coarse[0].file.file,
    ] {
        let path = place.at("index").join(file);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        fs::write(&path, flipped).unwrap();
        fails(file);
        fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        fails(file);
        fs::write(&path, whole).unwrap();
    }
    // Every row of the fine files is damaged; the one that is needed first is named.
    for index in 0..head.fine.len() {
        let path = place.at("index").join(head.fine_file(index).path);
        let mut bytes = fs::read(&path).unwrap();
        for row in bytes.chunks_exact_mut(head.plan.fine_row_bytes()) {
            row[20] ^= 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    fails("fine/");
}

#[test]
fn the_gpu_gives_the_same_hits() {
    let (rows, queries) = features(6000, 4);
    let place = Place::pack("gpu", rows, ["30", "0"]);
    let gpu = match place.open(DeviceChoice::WebGpu) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("SKIPPED the_gpu_gives_the_same_hits: {error}");
            return;
        }
    };
    let cpu = place.open(DeviceChoice::Cpu).unwrap();
    for query in &queries {
        let (a, b) = (
            ask(&gpu, query, 100, Quality::Balanced),
            ask(&cpu, query, 100, Quality::Balanced),
        );
        assert_eq!(a.completeness.reranked, b.completeness.reranked);
        for (a, b) in a.hits.iter().zip(&b.hits) {
            assert_eq!((a.id, a.score.to_bits()), (b.id, b.score.to_bits()));
            assert!((a.influence.unwrap() - b.influence.unwrap()).abs() < 1e-5);
        }
    }
}
