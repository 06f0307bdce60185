//! The published test cases.
#![cfg(feature = "cli")]

use std::collections::BTreeMap;
use std::path::Path;

use data_attribution::evaluate::{CaseCounts, parse_cases};

/// The published test cases, where they have been put beside the project; its tests do not need them.
#[test]
fn the_published_test_cases_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/test_cases");
    if !folder.is_dir() {
        println!("SKIPPED: no published test cases at {}", folder.display());
        return;
    }
    for (file, entries, exemplars, per_type, kinds) in [
        ("test_artchive", 255, 3_081, 10_200, ["gpt", "object"]),
        ("test_bamfg", 250, 1_692, 10_000, ["gpt", "object"]),
        ("test_observed_imagenet", 593, 593, 23_720, ["media", "gpt"]),
    ] {
        let case = parse_cases(&folder.join(format!("{file}.json"))).unwrap();
        assert_eq!(case.name, file);
        let queries: BTreeMap<String, usize> = kinds
            .iter()
            .map(|kind| (kind.to_string(), per_type))
            .collect();
        let expected = CaseCounts {
            entries,
            exemplars,
            queries,
        };
        assert_eq!(case.counts(), expected);
    }
}
