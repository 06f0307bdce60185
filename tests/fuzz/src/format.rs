//! The files of a clustered index, and a small index that fuzzed files belong to.

use std::sync::OnceLock;

#[allow(dead_code)]
#[path = "../../../src/format/architecture.rs"]
pub mod architecture;
#[allow(dead_code)]
#[path = "../../../src/format/clustered/mod.rs"]
pub mod clustered;
#[allow(dead_code)]
#[path = "../../../src/format/digest.rs"]
pub mod digest;
#[allow(dead_code)]
#[path = "../../../src/format/manifest.rs"]
pub mod manifest;
#[allow(dead_code)]
#[path = "../../../src/format/mapper.rs"]
pub mod mapper;
#[allow(dead_code)]
#[path = "../../../src/format/model.rs"]
pub mod model;
#[allow(dead_code)]
#[path = "../../../src/format/shard.rs"]
pub mod shard;

use clustered::{Cluster, CoarseDecoder, FrequencyTable, Head, ItemsName, Plan, Widths};

/// An index of 18 rows in four clusters; with an entropy coder or without.
pub fn index(coded: bool) -> &'static (Head, CoarseDecoder) {
    static INDEXES: OnceLock<[(Head, CoarseDecoder); 2]> = OnceLock::new();
    &INDEXES.get_or_init(|| [small_index(0), small_index(1)])[usize::from(coded)]
}

fn small_index(classes: usize) -> (Head, CoarseDecoder) {
    let widths = Widths {
        eight: 4,
        four: 8,
        two: 0,
    };
    let (coded, rows) = (widths.dimensions(), [1, 4, 5, 8]);
    let tables = (0..classes * widths.row_bytes()).map(|table| {
        // One symbol, two, and so on.
        let counts = std::array::from_fn(|symbol| u64::from(symbol <= table * table));
        FrequencyTable::from_counts(&counts)
    });
    let plan = Plan {
        dimension: 3,
        widths,
        classes,
        fine_rows: 18,
        items_per_file: 18,
        const_step: 0.01,
        gain_step: 0.01,
        rest_variance: 0.0,
        steps: vec![0.01; coded],
        zeros: vec![0.0; coded],
        variances: vec![0.1; coded],
        leaf_steps: vec![0.01; 2 * classes],
        transform: vec![0.25; coded * 3],
        centroid_scales: vec![0.005],
        spreads: vec![0.5],
        centroids: vec![1, 2, 3, 0],
        tables: tables.collect(),
        // Two axes of leaves where rows are coded.
        leaf_tables: (0..3 * classes)
            .map(|_| FrequencyTable::from_counts(&[1; 256]))
            .collect(),
    };
    let plan = plan.encode().expect("a good plan");
    let clusters = rows.map(|rows| Cluster { centroid: 0, rows });
    let items = [ItemsName {
        name: [1; 16],
        bytes: 1,
    }];
    let head = Head::encode(&plan, &[2; 16], &clusters, &[[0; 16]], &items).expect("a good head");
    let head = Head::parse("head", &head).expect("the same head");
    let decoder = CoarseDecoder::new(&head);
    (head, decoder)
}
