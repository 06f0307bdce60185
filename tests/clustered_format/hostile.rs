//! Files made to mislead: each is refused with an error that names what is wrong, before it is believed.

use std::sync::atomic::Ordering;

use data_attribution::error::Error;
use data_attribution::format::clustered::{
    BlockCodes, Cluster, CoarseDecoder, Control, FrequencyTable, Head, ItemsName, Plan,
    encode_block, encode_file,
};

use crate::sample::{CENTROIDS, DIMENSION, Index, ROW_BYTES, ROWS, WIDTHS, plan, shard};
use crate::{LARGEST, LARGEST_REQUEST};

/// The error must be of the format and say `reason`.
#[track_caller]
fn refused<T>(result: Result<T, Error>, reason: &str) {
    let error = result.err().expect(reason);
    assert_eq!(error.code(), "format", "{reason:?}: {error}");
    let text = error.to_string();
    assert!(
        text.starts_with("f: ") || text.starts_with("coarse/"),
        "{text}"
    );
    assert!(text.contains(reason), "{reason:?}: {text}");
}

/// The file with `patch` written over it at `at`.
fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn word(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn float(value: f32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Where the sections of the sample's plan start in its head.
const PLAN: usize = 48;
const STEPS: usize = PLAN + 64;
const ZEROS: usize = STEPS + 4 * 28;
const VARIANCES: usize = ZEROS + 4 * 28;
const LEAF_STEPS: usize = VARIANCES + 4 * 28;
/// With five axes of leaves.
const TRANSFORM: usize = LEAF_STEPS + 4 * 5;
const SCALES: usize = TRANSFORM + 2 * 28 * DIMENSION;
const SPREADS: usize = SCALES + 4 * CENTROIDS;
const CODES: usize = SPREADS + 4 * CENTROIDS;
const TABLES: usize = CODES + 8 * CENTROIDS;

#[test]
fn values_that_no_plan_has_are_refused() {
    let index = Index::new(2);
    let cases = [
        (PLAN, vec![b'X'], "magic"),
        (PLAN + 8, word(0), "`version` is 0"),
        (PLAN + 8, word(1), "packed again"),
        (PLAN + 56, word(6), "`axes of leaves` is 6"),
        (LEAF_STEPS, float(0.0), "`leaf steps`"),
        (PLAN + 12, word(0), "`dimension` is 0"),
        (PLAN + 12, word(2049), "`dimension` is 2049"),
        (PLAN + 16, word(0), "`centroids` is 0"),
        (PLAN + 16, word(65_537), "`centroids` is 65537"),
        (
            PLAN + 16,
            word(65_536),
            "`centroid scales` takes 262144 bytes",
        ),
        (PLAN + 20, word(6), "widths"),
        (PLAN + 20, word(u32::MAX - 3), "`n8`"),
        (PLAN + 24, word(2048), "widths"),
        (PLAN + 32, word(257), "`classes` is 257"),
        (PLAN + 32, word(256), "`symbols of a table` takes 2 bytes"),
        (
            PLAN + 20,
            [word(2000), word(8), word(16), word(3)].concat(),
            "tables",
        ),
        (PLAN + 36, word(0), "`fine rows` is 0"),
        (PLAN + 40, word(65_537), "`items of a file` is 65537"),
        (PLAN + 44, float(-0.001), "`const_step`"),
        (PLAN + 44, float(f32::NAN), "`const_step`"),
        (PLAN + 48, float(0.0), "`gain_step`"),
        (PLAN + 48, float(f32::INFINITY), "`gain_step`"),
        (PLAN + 52, float(-1.0), "`rest variance`"),
        (PLAN + 63, vec![1], "padding of `header`"),
        (STEPS + 4, float(0.0), "`steps`"),
        (STEPS + 4, float(f32::NAN), "`steps`"),
        (ZEROS, float(f32::NEG_INFINITY), "`zeros`"),
        (VARIANCES, float(-1e-9), "`variances`"),
        (TRANSFORM, vec![0, 0x7e], "`transform`"),
        (TRANSFORM, vec![0, 0xfc], "`transform`"),
        (TRANSFORM, vec![0, 0x40], "`transform`"),
        (SCALES, float(0.0085), "`centroid scales`"),
        (SCALES, float(f32::NAN), "`centroid scales`"),
        (SPREADS, float(-0.1), "`spreads`"),
        (CODES, vec![127; 5], "longer"),
        (CODES + 5, vec![1], "padding of a centroid"),
        (TABLES, vec![0, 0], "a table has 0 symbols"),
        (TABLES, vec![1, 1], "a table has 257 symbols"),
        (TABLES + 5, vec![0], "after"),
        (TABLES + 3, vec![0, 0], "frequency 0"),
        (TABLES + 3, vec![0, 16], "does not sum to 4096"),
    ];
    for (at, patch, reason) in cases {
        refused(
            Head::parse("f", &patched(&index.head_bytes, at, &patch)),
            reason,
        );
    }
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}

#[test]
fn a_plan_that_would_be_refused_is_not_written() {
    type Break = fn(&mut Plan);
    let breaks: [Break; 14] = [
        |plan| plan.steps[3] = f32::NAN,
        |plan| plan.steps.truncate(27),
        |plan| plan.transform[9] = 0.1,
        |plan| plan.transform[9] = f32::NAN,
        |plan| plan.centroids[7] = 1,
        |plan| plan.centroids.truncate(8),
        |plan| plan.leaf_steps[0] = f32::NAN,
        |plan| plan.leaf_tables.truncate(3),
        |plan| plan.leaf_steps.truncate(4),
        |plan| plan.classes = 1,
        |plan| plan.tables[0].frequencies[0] += 1,
        |plan| plan.widths.two = 8,
        |plan| plan.fine_rows = 0,
        |plan| plan.dimension = usize::MAX,
    ];
    let codes = vec![0; ROW_BYTES];
    assert!(plan(2, &codes).encode().is_ok());
    for (number, damage) in breaks.iter().enumerate() {
        let mut plan = plan(2, &codes);
        damage(&mut plan);
        assert_eq!(
            plan.encode().unwrap_err().code(),
            "invalid-argument",
            "break {number}"
        );
    }
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    let index = Index::new(0);
    let end = index.head_bytes.len();
    let (items, clusters) = (end - 2 * 20, end - 2 * 20 - 3 * 16 - 8 * 8);
    let cases = [
        (0, b"DATTRPL1".to_vec(), "magic"),
        (12, word(u32::MAX), "`clusters` takes"),
        (12, word(7), "clusters have 34 rows of 39"),
        (16, word(40), "clusters have 39 rows of 40"),
        (16, u64::MAX.to_le_bytes().to_vec(), "the limit is"),
        (24, u64::MAX.to_le_bytes().to_vec(), ""),
        (24, word(0), "`magic` takes 8 bytes, 0 are left"),
        (clusters, word(3), "cluster 0 is impossible"),
        (clusters + 4, word(0), "cluster 0 is impossible"),
        (clusters + 4, word(65_537), "cluster 0 is impossible"),
        (items + 16, word(0), "items file 0 states 0 bytes"),
        (items + 36, word(1 << 31), "items file 1 states"),
    ];
    for (at, patch, reason) in cases {
        refused(
            Head::parse("f", &patched(&index.head_bytes, at, &patch)),
            reason,
        );
    }
    for at in [8, PLAN + 8] {
        let later = patched(&index.head_bytes, at, &word(3));
        assert_eq!(
            Head::parse("f", &later).err().unwrap().code(),
            "newer-version"
        );
    }
    // A hundred bytes that ask for everything.
    for (at, patch) in [
        (12, word(u32::MAX)),
        (24, word(68)),
        (PLAN + 12, word(2048)),
        (PLAN + 16, word(65_536)),
    ] {
        let bytes = patched(&index.head_bytes, at, &patch);
        refused(Head::parse("f", &bytes[..116]), "takes");
    }
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}

#[test]
fn coarse_files_that_are_not_the_described_ones_are_refused() {
    for classes in [0, 2] {
        let index = Index::new(classes);
        let (entry, blocks, bytes) = &index.coarse[1];
        let cases = [
            (0, b"DATTRFN1".to_vec(), "magic"),
            (12, word(2), "the manifest says"),
            (16, word(4), "the manifest says"),
            (16, word(u32::MAX), "`clusters` is"),
            (20, word(u32::MAX), "the manifest says"),
            (24, word(13), "the manifest says"),
            (32, vec![0; 16], "`salt`"),
            (48, word(4), "cover"),
            (52, word(u32::MAX), "cover"),
            (56, word(0), "cover"),
            (68, word(0), "cover"),
        ];
        for (at, patch, reason) in cases {
            refused(index.decode(1, &patched(bytes, at, &patch)), reason);
        }
        let later = index.decode(1, &patched(bytes, 8, &word(3)));
        assert_eq!(later.unwrap_err().code(), "newer-version");

        // The manifest agrees with the file, the head with neither.
        for (clusters, rows, reason) in [
            ([2, 5], [14, 25], "not the head's"),
            ([3, 5], [13, 25], "not the head's"),
            ([3, 5], [14, 24], "not the head's"),
            ([3, 4], [14, 25], "not the head's"),
            ([4, 5], [16, 25], "beyond"),
            ([u64::from(u32::MAX), 5], [14, 25], "beyond"),
        ] {
            let blocks = &vec![blocks[0].clone(); clusters[1] as usize];
            let bytes = encode_file(
                clusters[0] as u32,
                rows[0],
                rows[1] as u32,
                index.head.salt,
                blocks,
            );
            let bytes = bytes.unwrap();
            let entry = shard(&bytes, clusters, rows);
            refused(index.decoder.decode(&index.head, &entry, &bytes), reason);
        }

        // Blocks that are not those of their clusters.
        let with = |number: usize, block: &[u8]| {
            let mut blocks = blocks.clone();
            blocks[number] = block.to_vec();
            let bytes = encode_file(
                3,
                entry.first_row,
                entry.rows as u32,
                index.head.salt,
                &blocks,
            );
            index.decode(1, &bytes.unwrap())
        };
        let block = &blocks[2];
        let end = |block: &[u8]| 8 + u32::from_le_bytes(block[4..8].try_into().unwrap()) as usize;
        refused(with(2, &[&block[..], &[0; 4]].concat()), "block 2: it");
        refused(with(2, &block[..block.len() - 4]), "block 2: it");
        refused(with(2, &[]), "block 2: it");
        refused(with(2, &blocks[1]), "block 2: it");
        if classes > 0 {
            let below = "block 2: a state is below 65536";
            refused(with(2, &patched(block, 12, &word(65_535))), below);
            let rows = end(block);
            refused(with(2, &patched(block, rows, &word(65_535))), below);
            let short = "block 2: it is shorter than its states";
            refused(with(2, &block[..rows + 12]), short);
            let mut none = block[..rows + 16].to_vec();
            none.resize(rows + 16 + 2 * ROW_BYTES * 8, 1);
            refused(with(2, &none), "block 2: it has words left over");
            let class = "block 2: there are no tables of its class";
            refused(with(2, &patched(block, 0, &[2])), class);
        }
        let leaf =
            |at: usize, bytes: &[u8], reason| refused(with(2, &patched(block, at, bytes)), reason);
        leaf(2, &[9, 0], "block 2: it has too many leaves");
        leaf(2, &[1, 0], "block 2: it");
        // Two leaves as well, of a row less.
        let others = &blocks[0][..end(&blocks[0])];
        let mixed = [others, &block[end(block)..]].concat();
        refused(with(2, &mixed), "block 2: its leaves do not have its rows");
        leaf(2, &[0, 0], "block 2: ");
        leaf(4, &word(8), "block 2: it is shorter than its states");
        leaf(4, &word(u32::MAX), "block 2: it is shorter than it says");
        refused(with(2, &block[..7]), "block 2: it is shorter than it says");
    }
    let (other, index) = (Index::new(1), Index::new(2));
    let (entry, _, bytes) = &index.coarse[0];
    let mixed = other.decoder.decode(&index.head, entry, bytes);
    assert_eq!(mixed.unwrap_err().code(), "invalid-argument");
}

#[test]
fn blocks_of_sixteen_bytes_do_not_become_gigabytes() {
    let mut plan = plan(1, &[0; ROW_BYTES]);
    (plan.fine_rows, plan.items_per_file) = (65_536, 65_536);
    let encoded = plan.encode().unwrap();
    let cluster = Cluster {
        centroid: 0,
        rows: 65_536,
    };
    let items = ItemsName {
        name: [0; 16],
        bytes: 1,
    };
    let head = Head::encode(
        &encoded,
        &[9; 16],
        &[cluster; 256],
        &[[0; 16]; 256],
        &[items; 256],
    )
    .unwrap();
    let head = Head::parse("f", &head).unwrap();
    let rows = BlockCodes {
        class: 0,
        leaves: &[],
        rows: &[0; ROW_BYTES],
    };
    let block = encode_block(&plan, rows).unwrap();
    let bytes = encode_file(0, 0, 256 << 16, head.salt, &vec![block; 256]).unwrap();
    let entry = shard(&bytes, [0, 256], [0, 256 << 16]);
    let decoder = CoarseDecoder::new(&head);
    refused(decoder.decode(&head, &entry, &bytes), "too many");
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}

#[test]
fn leaves_of_sixteen_bytes_do_not_become_gigabytes() {
    let mut plan = plan(2, &[0; ROW_BYTES]);
    plan.leaf_tables
        .fill(FrequencyTable::from_counts(&[0; 256]));
    (plan.fine_rows, plan.items_per_file) = (65_536, 65_536);
    let encoded = plan.encode().unwrap();
    let rows = 65_535;
    let cluster = Cluster { centroid: 0, rows };
    let items = ItemsName {
        name: [0; 16],
        bytes: 1,
    };
    let (clusters, salt) = ([cluster; 2], [9; 16]);
    let head = Head::encode(&encoded, &salt, &clusters, &[[0; 16]; 2], &[items; 2]);
    let head = Head::parse("f", &head.unwrap()).unwrap();
    // Of one row each.
    let codes = BlockCodes {
        class: 0,
        leaves: &vec![0; rows as usize * plan.leaf_tables.len()],
        rows: &vec![0; rows as usize * ROW_BYTES],
    };
    let block = encode_block(&plan, codes).unwrap();
    assert_eq!(block.len(), 8 + 16 + 16);
    let decoder = CoarseDecoder::new(&head);
    let decode = |clusters: u32| {
        let blocks = vec![block.clone(); clusters as usize];
        let bytes = encode_file(0, 0, clusters * rows, head.salt, &blocks).unwrap();
        let entry = shard(&bytes, [0, clusters.into()], [0, (clusters * rows).into()]);
        decoder.decode(&head, &entry, &bytes)
    };
    assert_eq!(decode(1).unwrap().leaves.len(), rows as usize);
    refused(decode(2), "the file has too many leaves");
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}

#[test]
fn control_samples_of_other_rows_are_refused() {
    let index = Index::new(2);
    let (codes, end) = (32 + 3 * 4, index.control.len());
    let (scales, padding) = (end - 3 * (4 + 8), codes + 3 * ROW_BYTES);
    let leaves = padding + 2;
    let cases = [
        (0, b"DATTRHD1".to_vec(), "magic"),
        (12, word(u32::MAX), "takes"),
        (12, word(2), "`leaves` takes"),
        (16, vec![0; 16], "`salt`"),
        (32, word(7), "row 7 stands before row 7"),
        (40, word(39), "row 39 of 39"),
        (padding, vec![1], "padding of `codes`"),
        (leaves, word(u32::MAX), "`leaves` takes"),
        (leaves, word(0), "its leaves: it is shorter"),
        (leaves + 4, word(0), "its leaves: a state"),
        (scales, float(f32::NAN), "scale NaN"),
        (scales, float(-0.001), "scale -0.001"),
        (
            scales,
            [float(0.0155), vec![0; 8], vec![127; 8]].concat(),
            "no difference of unit rows",
        ),
    ];
    for (at, patch, reason) in cases {
        let bytes = patched(&index.control, at, &patch);
        refused(Control::parse("f", &bytes, &index.head), reason);
    }
    let later = patched(&index.control, 8, &word(3));
    let later = Control::parse("f", &later, &index.head).unwrap_err();
    assert_eq!(later.code(), "newer-version");

    let whole = Control::parse("f", &index.control, &index.head).unwrap();
    assert_eq!(whole.codes.len(), 3 * WIDTHS.row_bytes());
    assert!(whole.rows.iter().all(|row| u64::from(*row) < ROWS));
    for damage in [
        |control: &mut Control| control.rows.swap(0, 1),
        |control: &mut Control| control.scales.truncate(2),
        |control: &mut Control| control.codes.truncate(41),
        |control: &mut Control| control.leaves.truncate(6),
        |control: &mut Control| control.leaves[2] = 99,
        |control: &mut Control| control.scales[0] = f32::NAN,
        |control: &mut Control| control.rows.clear(),
    ] {
        let mut control = whole.clone();
        damage(&mut control);
        let error = control
            .encode(&index.head.plan, &index.head.salt)
            .unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
    }
}
