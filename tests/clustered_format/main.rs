//! Files of a clustered index: against a reader written after FORMAT.md's text alone, cut, changed bit by bit,
//! and hostile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use data_attribution::error::Error;
use data_attribution::format::FileRef;
use data_attribution::format::clustered::rans::{self, Decoder};
use data_attribution::format::clustered::{
    Clusters, CodeRows, Control, FrequencyTable, Head, Plan,
};

mod hostile;
mod reference;
mod sample;

use sample::{DIMENSION, Dice, Index, ROW_BYTES, ROWS};

/// The system's allocator, which notes the largest request.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// No request of these tests may be larger: their files have a few kilobytes, the largest tables 20 MB.
const LARGEST_REQUEST: usize = 24 << 20;

/// The rows [n, P] as the reader gives them, each after the code [V] of its leaf.
fn bytes_of(rows: &CodeRows) -> Vec<(Vec<u8>, Vec<u8>)> {
    let axes = rows.leaf_codes.len() / rows.leaves.len().max(1);
    let words = rows.words.chunks_exact(rows.words_per_row);
    rows.terms
        .iter()
        .zip(words)
        .map(|(term, words)| {
            let terms = [CodeRows::constant(*term) as u8, CodeRows::gain(*term)];
            let leaf = CodeRows::leaf(*term);
            let leaf = &rows.leaf_codes[leaf * axes..(leaf + 1) * axes];
            let words = words.iter().flat_map(|word| word.to_le_bytes());
            (
                leaf.iter().map(|code| *code as u8).collect(),
                terms.into_iter().chain(words).collect(),
            )
        })
        .collect()
}

#[test]
fn coarse_files_are_read_as_the_specification_says() {
    for classes in [0, 1, 2] {
        let index = Index::new(classes);
        let mut expected = index.codes.chunks_exact(ROW_BYTES);
        for (file, (shard, _, bytes)) in index.coarse.iter().enumerate() {
            let rows = index.decode(file, bytes).unwrap();
            let wanted = reference::rows(&index.head_bytes, bytes).into_iter();
            let wanted = wanted.map(|(leaf, row)| (leaf.into_iter().skip(1).collect(), row));
            assert_eq!(bytes_of(&rows), wanted.collect::<Vec<_>>());
            assert_eq!(
                (rows.first_row, rows.rows() as u64),
                (shard.first_row, shard.rows)
            );
            assert_eq!(rows.first_cluster as u64, shard.first_cluster);
            for ((leaf, row), term) in bytes_of(&rows).iter().zip(&rows.terms) {
                assert_eq!(Some(&row[..]), expected.next());
                let row = ROWS as usize - expected.len() - 1;
                assert_eq!(leaf[..], *index.leaves[row].get(1..).unwrap_or(&[]));
                let cluster = index.head.cluster_of(row as u64);
                let found = rows.leaves[CodeRows::leaf(*term)] as usize;
                assert_eq!(found + rows.first_cluster, cluster);
            }
        }
        assert_eq!(expected.next(), None);
    }
}

#[test]
fn blocks_of_any_alphabet_and_length_survive() {
    let dice = &mut Dice(11);
    for symbols in [1, 2, 3, 17, 256] {
        for positions in [1, 2, 7] {
            for rows in (0..10).chain([100, 1001]) {
                let codes: Vec<u8> = (0..rows * positions)
                    .map(|_| (255 - dice.below(symbols)) as u8)
                    .collect();
                let tables: Vec<FrequencyTable> = (0..positions)
                    .map(|position| {
                        let mut counts = [0; 256];
                        let column = codes.iter().skip(position).step_by(positions);
                        column.for_each(|code| counts[usize::from(*code)] += 1);
                        FrequencyTable::from_counts(&counts)
                    })
                    .collect();
                let block = rans::encode_block(&tables, &codes).unwrap();
                assert!(block.len() >= 16 && block.len().is_multiple_of(4));
                assert!(symbols > 1 || block.len() == 16);
                let (decoder, mut back) = (Decoder::new(&tables, positions), vec![9; codes.len()]);
                decoder.decode(0, &block, &mut back).unwrap();
                assert_eq!(back, codes);
                assert!(decoder.decode(1, &block, &mut back).is_err());
                let longer = [&block[..], &[0; 4]].concat();
                assert!(decoder.decode(0, &longer, &mut back).is_err());
            }
        }
    }
}

#[test]
fn plan_and_head_say_the_same_after_a_round_trip() {
    for classes in [0, 2] {
        let index = Index::new(classes);
        let head = &index.head;
        let plan = head.plan.encode().unwrap();
        assert_eq!(head.salt, Plan::salt(&plan));
        assert_eq!(Plan::parse("plan", &plan).unwrap(), head.plan);
        let again = Head::encode(
            &plan,
            &head.row_salt,
            &head.clusters,
            &head.fine,
            &head.items,
        )
        .unwrap();
        assert_eq!(again, index.head_bytes);
    }
    let head = Index::new(0).head;
    assert_eq!(head.first_rows, [0, 1, 5, 14, 16, 24, 27, 34, 39]);
    let clusters: Vec<usize> = [0, 1, 4, 5, 33, 34, 38]
        .map(|row| head.cluster_of(row))
        .into();
    assert_eq!(clusters, [0, 1, 1, 2, 6, 7, 7]);
    let fine = head.fine_file(0);
    assert_eq!(fine.path, format!("fine/ab/{}.bin", "ab".repeat(16)));
    assert_eq!((fine.first_row, fine.rows, fine.bytes), (0, 16, 16 * 20));
    let fine = head.fine_file(2);
    assert_eq!((fine.first_row, fine.rows, fine.bytes), (32, 7, 7 * 20));
    let (path, first, items, bytes, name) = head.items_file(1);
    assert_eq!(path, format!("items/06/{}.json", "06".repeat(16)));
    assert_eq!((first, items, bytes, name), (20, 19, 76, [6; 16]));
    assert_eq!(head.file_names().count(), 5);
    assert!(head.file_names().any(|name| name == path));
    let mut centroid = [9.0; DIMENSION];
    head.plan.centroid(1, &mut centroid);
    assert_eq!(
        centroid,
        [-20.0, -15.0, -10.0, -5.0, 0.0].map(|code| code * 9.0 / 2048.0)
    );
}

#[test]
fn a_manifest_meets_its_own_head_only() {
    let index = Index::new(0);
    let clusters = Clusters {
        head: FileRef::of("head", "bin", &index.head_bytes),
        control: FileRef::of("control", "bin", &index.control),
        coarse: index
            .coarse
            .iter()
            .map(|(entry, ..)| entry.clone())
            .collect(),
    };
    let check = |clusters: &Clusters, count, dimension| {
        let checked = clusters.check_head("m", &index.head, count, dimension);
        checked.map_err(|error| error.code())
    };
    assert_eq!(check(&clusters, ROWS, DIMENSION), Ok(()));
    assert_eq!(check(&clusters, ROWS + 1, DIMENSION), Err("format"));
    assert_eq!(check(&clusters, ROWS, DIMENSION + 1), Err("format"));
    for damage in [
        |clusters: &mut Clusters| clusters.coarse[1].first_row += 1,
        |clusters: &mut Clusters| clusters.coarse[1].first_cluster += 1,
        |clusters: &mut Clusters| clusters.coarse[1].first_cluster = u64::MAX,
        |clusters: &mut Clusters| clusters.coarse[1].clusters += 1,
        |clusters: &mut Clusters| clusters.coarse.truncate(1),
    ] {
        let mut damaged = clusters.clone();
        damage(&mut damaged);
        assert_eq!(check(&damaged, ROWS, DIMENSION), Err("format"));
    }
}

#[test]
fn a_file_that_ends_early_or_late_is_refused() {
    for classes in [0, 2] {
        let index = Index::new(classes);
        let head = &index.head;
        type Read<'a> = Box<dyn Fn(&[u8]) -> Result<(), Error> + 'a>;
        let reads: [(&[u8], Read); 3] = [
            (
                &index.head_bytes,
                Box::new(|bytes| Head::parse("f", bytes).map(drop)),
            ),
            (
                &index.control,
                Box::new(|bytes| Control::parse("f", bytes, head).map(drop)),
            ),
            (
                &index.coarse[1].2,
                Box::new(|bytes| index.decode(1, bytes).map(drop)),
            ),
        ];
        for (bytes, read) in reads {
            read(bytes).unwrap();
            for length in 0..bytes.len() {
                assert_eq!(
                    read(&bytes[..length]).unwrap_err().code(),
                    "format",
                    "{length}"
                );
            }
            for more in [1, 2, 4, 16] {
                let longer = [bytes, &vec![0; more]].concat();
                assert_eq!(read(&longer).unwrap_err().code(), "format", "{more} more");
            }
        }
    }
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}

/// The file with each of its bits changed in turn.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..8 * bytes.len()).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}

#[test]
fn one_changed_bit_gives_an_error_or_a_whole_other_file() {
    for classes in [0, 2] {
        let index = Index::new(classes);
        let head = &index.head;
        for (_, bytes) in flips(&index.head_bytes).step_by(1 + 6 * classes.min(1)) {
            if let Ok(head) = Head::parse("f", &bytes) {
                let plan = head.plan.encode().unwrap();
                let again = Head::encode(
                    &plan,
                    &head.row_salt,
                    &head.clusters,
                    &head.fine,
                    &head.items,
                )
                .unwrap();
                assert_eq!(again, bytes);
            }
        }
        for (_, bytes) in flips(&index.control) {
            if let Ok(control) = Control::parse("f", &bytes, head) {
                assert_eq!(control.encode(&head.plan, &head.salt).unwrap(), bytes);
            }
        }
        let (shard, _, bytes) = &index.coarse[1];
        let blocks = 48 + 4 * (shard.clusters as usize + 1);
        let (mut flipped, mut missed) = (0, 0);
        for (at, bytes) in flips(bytes) {
            let rows = index.decode(1, &bytes);
            // What is in a block is known by the digest; the coder finds most changes all the same:
            // not those between symbols of one frequency at the end of a lane.
            assert!(at >= blocks || rows.is_err(), "byte {at}");
            flipped += 1;
            if let Ok(rows) = rows {
                assert_eq!(rows.rows() as u64, shard.rows);
                missed += 1;
            }
        }
        assert!(
            classes == 0 || missed * 20 < flipped,
            "{missed} of {flipped}"
        );
    }
    assert!(LARGEST.load(Ordering::Relaxed) < LARGEST_REQUEST);
}
