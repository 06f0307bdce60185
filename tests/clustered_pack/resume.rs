//! Runs that ended in the middle, and files that were damaged or changed in between.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use data_attribution::pack::MANIFEST;
use data_attribution::pack::clustered::{Monitor, Parts, pack_clustered, pack_parts};

use super::division::{merge_into, plan};
use super::{
    Quiet, assert_same, clustered, files, options, pack_as, usual_rows, workplace, write_features,
    write_usual,
};

const ROWS: usize = 3000;

/// Ends the run in a step, as if it had been killed.
struct Killer(&'static str, Quiet);

impl Monitor for Killer {
    fn say(&self, line: &str) {
        self.1.say(line);
    }

    fn progress(&self, step: &'static str, done: usize, total: usize) {
        if step == self.0 && done > total / 2 {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_killed_run_goes_on_with_what_is_whole() {
    let place = workplace("killed");
    let features = write_usual(&place, ROWS);
    pack_as(&place, "one", &features, &clustered(Some(3))).unwrap();
    let steps = ["distributing rows", "packing rows", "writing the index"];
    for (at, step) in steps.into_iter().enumerate() {
        let options = options(&place, "two");
        let run = |monitor: &dyn Monitor| {
            features.with(|inputs| {
                pack_clustered(inputs, &options, &clustered(Some(3)), monitor).map(|_| ())
            })
        };
        let killer = Killer(step, Quiet::default());
        assert!(
            catch_unwind(AssertUnwindSafe(|| run(&killer))).is_err(),
            "{step}"
        );
        assert!(!place.join("two").join(MANIFEST).exists());
        let quiet = Quiet::default();
        run(&quiet).unwrap();
        let said = quiet.said();
        assert!(said.contains("going on with the plan"), "{said}");
        let whole = said.matches("of an earlier run is whole").count();
        // Killed beyond half of all rows: the first of three parts is packed by then, at the end all are.
        let expected = [0..=0, 1..=2, 3..=3];
        assert!(expected[at].contains(&whole), "{step}: {said}");
        assert_same(&place.join("one"), &place.join("two"));
        fs::remove_dir_all(place.join("two")).unwrap();
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn damaged_files_are_made_again_and_never_merged() {
    let place = workplace("damaged");
    let features = write_usual(&place, ROWS);
    pack_as(&place, "one", &features, &clustered(None)).unwrap();
    let plan = plan(&place, &features);
    let parts = Parts::new(plan.plan.centroid_count(), 3).unwrap();
    let pack = || {
        let quiet = Quiet::default();
        let done = features.with(|inputs| {
            pack_parts(
                inputs,
                &plan,
                &parts,
                &[0, 1, 2],
                &place.join("work"),
                &quiet,
            )
        });
        done.unwrap();
        quiet.said()
    };
    assert_eq!(pack(), "");
    assert_eq!(pack().matches("is whole").count(), 3);
    let part = |file: &str| place.join("work/part-2-of-3").join(file);
    // Damage to any file of a part, and what it says; to a spill as well, which is needed then.
    for file in ["codes", "blocks", "fine", "items"] {
        flip(&part(file));
        let error = merge_into(&place, &plan, "work", "two").unwrap_err();
        assert_eq!(error.code(), "integrity", "{file}");
        assert!(error.to_string().contains(file));
        assert!(files(&place.join("two")).is_empty(), "{file}");
        assert!(pack().contains("part-2-of-3 is packed again: some of its files are not whole"));
    }
    for file in ["1.keys", "1.values", "1.items"] {
        fs::remove_file(part("fine")).unwrap();
        cut(&place.join("work/spill").join(file));
        let said = pack();
        assert!(said.contains("distributing them again"), "{file}: {said}");
        assert_eq!(said.matches("is whole").count(), 2);
    }
    cut(&part("part.json"));
    flip(&place.join("work/spill/2.values"));
    // The damaged spill is of a part that is whole: nobody needs it.
    let said = pack();
    assert!(!said.contains("distributing"), "{said}");
    merge_into(&place, &plan, "work", "two").unwrap();
    assert_same(&place.join("one"), &place.join("two"));
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn changed_features_start_over_and_the_old_index_stands_until_then() {
    let place = workplace("changed");
    let features = write_usual(&place, ROWS);
    pack_as(&place, "index", &features, &clustered(Some(2))).unwrap();
    let before = files(&place.join("index"));
    let work = Some(place.join("work"));
    let clustered = data_attribution::pack::clustered::ClusteredOptions {
        work,
        ..clustered(Some(2))
    };
    let options = options(&place, "index");
    let killer = Killer("writing the index", Quiet::default());
    let run = || {
        features.with(|inputs| pack_clustered(inputs, &options, &clustered, &killer).map(|_| ()))
    };
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert_eq!(files(&place.join("index")), before);
    let mut rows = usual_rows(ROWS);
    rows[1234] = rows[4].clone();
    let names: Vec<String> = (0..ROWS).map(|row| format!("other/{row}")).collect();
    let features = write_features(&place, "features", &rows, &names);
    let quiet = Quiet::default();
    let run = || features.with(|inputs| pack_clustered(inputs, &options, &clustered, &quiet));
    run().unwrap();
    let said = quiet.said();
    assert!(said.contains("planning anew"), "{said}");
    assert_eq!(said.matches("has changed").count(), 3, "{said}");
    assert!(!place.join("work").exists());
    pack_as(&place, "fresh", &features, &super::clustered(None)).unwrap();
    assert_same(&place.join("index"), &place.join("fresh"));
    fs::remove_dir_all(&place).unwrap();
}
