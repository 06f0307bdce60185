//! The same bytes however the work is divided: over threads, parts, processes, or by another engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use data_attribution::pack::clustered::{
    OpenPlan, Parts, merge, pack_parts, pack_shuffled_part, plan_features, sampled_rows,
};

use super::model::DIMENSION;
use super::{
    Features, Quiet, ROWS, assert_same, clustered, files, noise, options, pack_as, usual_rows,
    workplace, write_features, write_usual,
};

/// Plans `features` into `place`/plan.
pub fn plan(place: &Path, features: &Features) -> OpenPlan {
    let (folder, options) = (place.join("plan"), options(place, ""));
    features
        .with(|inputs| {
            let quiet = Quiet::default();
            plan_features(inputs, None, &options, &clustered(None), &folder, &quiet)
        })
        .unwrap();
    OpenPlan::open(&folder).unwrap()
}

/// Merges the parts in `place`/`work` into `place`/`out`.
pub fn merge_into(
    place: &Path,
    plan: &OpenPlan,
    work: &str,
    out: &str,
) -> Result<(), data_attribution::Error> {
    let options = plan
        .head
        .pack_options(&place.join("plan"), None, &place.join(out));
    merge(plan, &place.join(work), &options, &|_, _| {}).map(|_| ())
}

#[test]
fn threads_and_parts_do_not_change_a_byte() {
    let place = workplace("division");
    let features = write_usual(&place, ROWS);
    pack_as(&place, "one", &features, &clustered(Some(1))).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let packed = pool.build().unwrap().install(|| {
            let out = format!("threads-{threads}");
            pack_as(&place, &out, &features, &clustered(Some(2)))
        });
        packed.unwrap();
        assert_same(
            &place.join("one"),
            &place.join(format!("threads-{threads}")),
        );
    }
    let plan = plan(&place, &features);
    for count in [1, 2, 3, 500] {
        let parts = Parts::new(plan.plan.centroid_count(), count).unwrap();
        let work = format!("work-{count}");
        // One after the other, the last part first, as on machines that know nothing of each other.
        for part in (0..count.min(3)).rev() {
            let pack = |wanted: &[usize]| {
                features.with(|inputs| {
                    let quiet = Quiet::default();
                    pack_parts(inputs, &plan, &parts, wanted, &place.join(&work), &quiet)
                })
            };
            match count {
                500 => assert!(pack(&[part]).unwrap_err().to_string().contains("256")),
                _ => pack(&[part]).unwrap(),
            }
        }
        if count <= 3 {
            merge_into(&place, &plan, &work, &work.replace("work", "merged")).unwrap();
            assert_same(&place.join("one"), &place.join(format!("merged-{count}")));
        }
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn rows_that_another_engine_shuffled_make_the_same_index() {
    let place = workplace("shuffled");
    let features = write_usual(&place, ROWS);
    pack_as(&place, "one", &features, &clustered(None)).unwrap();
    let rows = usual_rows(ROWS);
    let name = |row: usize| format!("row/{row}");
    // The plan from the sampled rows alone.
    let sampled = sampled_rows(ROWS, DIMENSION, &clustered(None).plan);
    let sampled: Vec<usize> = sampled.into_iter().flatten().collect();
    assert!(sampled.len() < ROWS / 2);
    let values: Vec<Vec<f32>> = sampled.iter().map(|row| rows[*row].clone()).collect();
    let names: Vec<String> = sampled.iter().map(|row| name(*row)).collect();
    let sample = write_features(&place, "sample", &values, &names);
    let (folder, packing) = (place.join("plan"), options(&place, ""));
    let plan_of = |rows: usize| {
        sample.with(|inputs| {
            let (quiet, clustered) = (Quiet::default(), clustered(None));
            plan_features(inputs, Some(rows), &packing, &clustered, &folder, &quiet)
        })
    };
    assert!(plan_of(1500).unwrap_err().to_string().contains("sample"));
    plan_of(ROWS).unwrap();
    let plan = OpenPlan::open(&folder).unwrap();
    // The rows in another order, each with its number, part by part.
    let parts = Parts::new(plan.plan.centroid_count(), 3).unwrap();
    let mut order: Vec<usize> = (0..ROWS).collect();
    order.sort_by(|a, b| noise(*a as u64).total_cmp(&noise(*b as u64)));
    let mut of_part: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for rows_at_once in order.chunks(77) {
        let values: Vec<f32> = rows_at_once
            .iter()
            .flat_map(|row| rows[*row].clone())
            .collect();
        for (row, part) in rows_at_once
            .iter()
            .zip(plan.parts_of(&values, &parts).unwrap())
        {
            of_part.entry(part).or_default().push(*row);
        }
    }
    assert_eq!(of_part.len(), 3);
    let pack = |part: usize, held: &[usize], numbers: &[u64]| {
        let values: Vec<Vec<f32>> = held.iter().map(|row| rows[*row].clone()).collect();
        let names: Vec<String> = held.iter().map(|row| name(*row)).collect();
        let features = write_features(&place, &format!("part-{part}"), &values, &names);
        features.with(|inputs| {
            let (quiet, work) = (Quiet::default(), place.join("work"));
            pack_shuffled_part(Some((inputs, numbers)), &plan, &parts, part, &work, &quiet)
        })
    };
    let numbers = |held: &[usize]| held.iter().map(|row| *row as u64).collect::<Vec<u64>>();
    // Rows of another part, too few numbers and numbers that stand twice are refused.
    let (first, second) = (&of_part[&0], &of_part[&1]);
    let other = pack(0, second, &numbers(second)).unwrap_err();
    assert!(other.to_string().contains("is of part 1"), "{other}");
    let few = pack(0, first, &numbers(&first[1..])).unwrap_err();
    assert!(few.to_string().contains("row numbers"), "{few}");
    let mut twice = numbers(first);
    twice[1] = twice[0];
    let twice = pack(0, first, &twice).unwrap_err();
    assert!(twice.to_string().contains("is there twice"), "{twice}");
    for part in [2, 0] {
        pack(part, &of_part[&part], &numbers(&of_part[&part])).unwrap();
    }
    // A part that is missing, then one that lacks a row.
    assert_eq!(
        merge_into(&place, &plan, "work", "two").unwrap_err().code(),
        "io"
    );
    let less = &of_part[&1][1..];
    pack(1, less, &numbers(less)).unwrap();
    let less = merge_into(&place, &plan, "work", "two").unwrap_err();
    assert!(less.to_string().contains("made for 5000"), "{less}");
    assert!(!place.join("two").exists());
    pack(1, &of_part[&1], &numbers(&of_part[&1])).unwrap();
    merge_into(&place, &plan, "work", "two").unwrap();
    assert_same(&place.join("one"), &place.join("two"));
    fs::remove_dir_all(&place).unwrap();
}

/// What `pack` prints of the forms that it tried: those of few enough fine rows, 4 MB or the fewest that there are,
/// are compared by the wait for a first query, and the best is taken.
#[track_caller]
fn assert_choice_is_the_least_wait(printed: &str) {
    let forms: Vec<Vec<f64>> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("plan: "))
        .filter(|line| line.starts_with("entropy") || line.starts_with("packed"))
        .map(|line| {
            let numbers = line.split_whitespace().skip(1).take(7);
            numbers.map(|number| number.parse().unwrap()).collect()
        })
        .collect();
    assert_eq!(forms.len(), 15, "{printed}");
    let [row_bytes, found, fine, wait] = [0, 2, 4, 6];
    let most = forms.iter().map(|form| form[found]).fold(0.0, f64::max);
    // Of 2,000 rows all fine rows are few.
    let best = forms.iter().filter(|form| form[found] >= most - 0.005);
    assert!(forms.iter().all(|form| form[fine] <= 5.0));
    let best = best.min_by(|a, b| a[wait].total_cmp(&b[wait])).unwrap();
    let taken = format!("plan: took {:.2} bytes a row", best[row_bytes]);
    assert!(printed.contains(&taken), "{taken}\n{printed}");
}

#[test]
fn the_commands_make_what_pack_makes() {
    let place = workplace("commands");
    write_usual(&place, 2000);
    let run = |arguments: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_data-attribution"))
            .args(arguments.split(' '))
            .current_dir(&place)
            .output()
            .unwrap();
        let (out, error) = (String::from_utf8(run.stdout), String::from_utf8(run.stderr));
        let (out, error) = (out.unwrap(), error.unwrap());
        assert!(run.status.success(), "{arguments}: {error}");
        (out, error)
    };
    let from = "--features features.npy --names features.txt";
    let (out, error) = run(&format!("pack {from} --model model -o flat"));
    assert!(error.contains("2000 rows: a flat index (clustered from 20000 rows on)"));
    assert!(!out.contains("coarse"), "{out}");
    let clustered = "--model model --structure clustered -o";
    let (out, error) = run(&format!("pack {from} {clustered} one"));
    assert!(
        error.contains("2000 rows: a clustered index (as asked)"),
        "{error}"
    );
    assert!(
        ["head ", "coarse ", "control ", "fine ", "items "]
            .iter()
            .all(|p| out.contains(p))
    );
    assert_choice_is_the_least_wait(&error);
    run(&format!("plan {from} --model model --parts 3 -o plan"));
    for part in 1..=3 {
        run(&format!("pack-part {part}/3 --plan plan {from} -o work"));
    }
    run("merge --plan plan --work work -o two");
    assert_same(&place.join("one"), &place.join("two"));
    let (lines, _) = run("assign --plan plan --features features.npy");
    let lines: Vec<usize> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines.len(), 2000);
    assert!((1..=3).all(|part| lines.contains(&part)) && lines.iter().max() == Some(&3));
    let (sample, _) = run("sample --rows 1000000 --dimension 512");
    let rows: Vec<usize> = sample
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert!((1_000..=1_000_000).contains(&rows.iter().sum::<usize>()));
    assert!(files(&place.join("one")).len() > 6);
    fs::remove_dir_all(&place).unwrap();
}
