//! Fine rows over hosts that misbehave: right rows by another way, or an error that names the file.

mod host;

use std::cell::Cell;

use data_attribution::Result;
use data_attribution::format::clustered::Head;
use data_attribution::source::{RowStore, RowStoreOptions, Traffic};
use host::{FILE_ROWS, Fault, Host, ROW_BYTES, ROWS, index, index_of};
use pollster::block_on;

const OPTIONS: RowStoreOptions = RowStoreOptions {
    memory_bytes: 1 << 20,
    gap_bytes: 2 * ROW_BYTES,
    gap_bytes_max: 6 * ROW_BYTES,
    requests: 3,
};

/// Scale and codes of row `row`, straight from the file's bytes.
fn truth(head: &Head, host: &Host, row: u64) -> (f32, Vec<i8>) {
    let file = head.fine_file((row / FILE_ROWS) as usize);
    let start = ((row % FILE_ROWS) * ROW_BYTES) as usize;
    let bytes = &host.memory.files[&file.path][start..start + ROW_BYTES as usize];
    let scale = f32::from_le_bytes(bytes[8..12].try_into().unwrap());
    (scale, bytes[12..].iter().map(|byte| *byte as i8).collect())
}

/// Reads `rows` and asserts that they are the index's.
fn read(store: &RowStore, head: &Head, host: &Host, rows: &[u64]) -> Result<Traffic> {
    let heard = Cell::new(0);
    let hear = |bytes| heard.set(heard.get() + bytes);
    let fine = block_on(store.rows(host, head, rows, &hear))?;
    for (i, row) in rows.iter().enumerate() {
        let found = fine.get(i).unwrap();
        let (scale, codes) = truth(head, host, *row);
        assert_eq!((found.scale, found.codes), (scale, &codes[..]), "row {row}");
    }
    assert!(fine.get(rows.len()).is_none());
    assert_eq!(heard.get(), fine.traffic.fetched_bytes);
    Ok(fine.traffic)
}

fn path(head: &Head, index: usize) -> String {
    head.fine_file(index).path
}

#[test]
fn near_rows_share_a_request_and_known_rows_need_none() {
    let (head, host) = index(0);
    let store = RowStore::new(OPTIONS);
    // Out of order and with a repetition; 3..6 and 8 are near, 40 is far, 70 is in the second file.
    let rows = [40, 3, 4, 5, 8, 70, 4];
    let cost = read(&store, &head, &host, &rows).unwrap();
    let mut log = host.take_log();
    log.sort();
    let mut wanted = vec![
        format!("{} bytes=72-215", path(&head, 0)),
        format!("{} bytes=960-983", path(&head, 0)),
        format!("{} bytes=144-167", path(&head, 1)),
    ];
    wanted.sort();
    assert_eq!(log, wanted);
    assert_eq!(
        (cost.requests, cost.fetched_bytes, cost.cached_bytes),
        (3, 8 * 24, 0)
    );

    // Row 7 lay in a gap and is known; 9 is not.
    let cost = read(&store, &head, &host, &[7, 3, 9]).unwrap();
    assert_eq!(
        host.take_log(),
        [format!("{} bytes=216-239", path(&head, 0))]
    );
    assert_eq!(
        (cost.requests, cost.fetched_bytes, cost.cached_bytes),
        (1, 24, 48)
    );
    assert_eq!(read(&store, &head, &host, &[]).unwrap(), Traffic::default());
    let beyond = read(&store, &head, &host, &[ROWS]).unwrap_err();
    assert_eq!(beyond.code(), "invalid-argument");
}

#[test]
fn rows_share_more_the_dearer_a_request_is_and_within_bounds() {
    // Nine rows of the first file, five apart: gaps of four rows.
    let rows: Vec<u64> = (0..45).step_by(5).collect();
    for (cost, requests) in [(0, 9), (3, 9), (4, 1), (1000, 1)] {
        let (head, host) = index(0);
        host.request_bytes.set(Some((0, cost * ROW_BYTES)));
        let found = read(&RowStore::new(OPTIONS), &head, &host, &rows).unwrap();
        assert_eq!(found.requests, requests, "{cost}");
    }
    // Gaps of seven are beyond the bound, whatever a request costs.
    let rows: Vec<u64> = (0..64).step_by(8).collect();
    let (head, host) = index(0);
    host.request_bytes.set(Some((0, u64::MAX)));
    let found = read(&RowStore::new(OPTIONS), &head, &host, &rows).unwrap();
    assert_eq!(found.requests, 8);
}

#[test]
fn the_first_ranges_show_what_a_request_costs() {
    // Gaps of four rows in all five files.
    let rows: Vec<u64> = (0..ROWS).step_by(5).collect();
    let (head, host) = index(0);
    let apart = read(&RowStore::new(OPTIONS), &head, &host, &rows).unwrap();
    assert_eq!(apart.requests, rows.len() as u64);
    let (head, host) = index(0);
    host.request_bytes.set(Some((32, 5 * ROW_BYTES)));
    let found = read(&RowStore::new(OPTIONS), &head, &host, &rows).unwrap();
    // The three files that hold the first 32 ranges; each of the other two is then one range, and as good as a whole file.
    let first = rows.iter().filter(|row| **row < 3 * FILE_ROWS).count() as u64;
    assert_eq!(found.requests, first + 2);
}

#[test]
fn most_of_a_file_is_read_as_the_file() {
    let (head, host) = index(0);
    let rows: Vec<u64> = (0..48).chain(64..111).collect();
    let cost = read(&RowStore::new(OPTIONS), &head, &host, &rows).unwrap();
    let mut log = host.take_log();
    log.sort_by_key(|line| line.ends_with("whole"));
    assert_eq!(log[1], format!("{} whole", path(&head, 0)));
    assert_eq!(log[0], format!("{} bytes=0-1127", path(&head, 1)));
    assert_eq!((cost.requests, cost.fetched_bytes), (2, 64 * 24 + 47 * 24));
}

#[test]
fn every_fault_of_ranges_ends_in_the_right_rows() {
    let faults = [
        (Fault::NoRanges, 1),
        (Fault::Flipped(1), 0),
        (Fault::Flipped(2), 1),
        (Fault::Flipped(u32::MAX), 1),
        (Fault::Shifted, 1),
        (Fault::Cut, 1),
        (Fault::Longer, 1),
    ];
    for (fault, whole) in faults {
        let (head, host) = index(0);
        host.ranges.set(Some(fault));
        read(&RowStore::new(OPTIONS), &head, &host, &[5]).unwrap();
        let log = host.take_log();
        let found = log.iter().filter(|line| line.ends_with("whole")).count();
        assert_eq!(found, whole, "{fault:?}: {log:?}");
        assert!(log.len() <= 3, "{fault:?}: {log:?}");
        // Many rows at once, then with half of them known.
        let store = RowStore::new(OPTIONS);
        for step in [7, 3] {
            let rows: Vec<u64> = (0..ROWS).step_by(step).collect();
            read(&store, &head, &host, &rows).unwrap();
        }
    }
}

#[test]
fn a_file_that_is_wrong_in_every_way_is_an_error_with_its_name() {
    let (head, mut host) = index(0);
    let bad = path(&head, 1);
    let (old_head, old) = index(1);
    let stale = old.memory.files[&path(&old_head, 1)].clone();
    // The same plan, packed again with other rows.
    let (again_head, again) = index_of(0, 1);
    assert_eq!(again_head.salt, head.salt);
    let repacked = again.memory.files[&path(&again_head, 1)].clone();
    let right = host.memory.files[&bad].clone();
    let swapped = host.memory.files[&path(&head, 0)].clone();
    let mut flipped = right.clone();
    flipped[(70 - 64) * 24 + 15] ^= 1;
    for (name, bytes, code) in [
        ("stale", Some(stale), "integrity"),
        ("stale, of the same plan", Some(repacked), "integrity"),
        ("swapped", Some(swapped), "integrity"),
        ("flipped", Some(flipped), "integrity"),
        ("cut", Some(right[..right.len() - 1].to_vec()), "integrity"),
        ("longer", Some([&right[..], &[0]].concat()), "integrity"),
        ("empty", Some(Vec::new()), "integrity"),
        ("absent", None, "not-found"),
    ] {
        match bytes {
            Some(bytes) => drop(host.memory.files.insert(bad.clone(), bytes)),
            None => drop(host.memory.files.remove(&bad)),
        }
        for ranges in [None, Some(Fault::NoRanges)] {
            host.ranges.set(ranges);
            let store = RowStore::new(OPTIONS);
            let error = block_on(store.rows(&host, &head, &[5, 70, 140], &|_| {})).unwrap_err();
            assert_eq!(error.code(), code, "{name}: {error}");
            assert!(error.to_string().contains(&bad), "{name}: {error}");
            // Other files are read as ever, and this one once it is mended.
            read(&store, &head, &host, &[5, 140]).unwrap();
            let broken = host.memory.files.insert(bad.clone(), right.clone());
            read(&store, &head, &host, &[5, 70, 140]).unwrap();
            match broken {
                Some(broken) => drop(host.memory.files.insert(bad.clone(), broken)),
                None => drop(host.memory.files.remove(&bad)),
            }
        }
    }
}

#[test]
fn a_wrong_row_in_a_file_of_the_right_hash_is_an_error() {
    // A file as the head names it, whose rows are those of another index.
    let (head, mut host) = index(0);
    let (other_head, other) = index(1);
    let mixed = Head {
        fine: other_head.fine.clone(),
        ..head
    };
    host.memory.files = other.memory.files;
    for ranges in [None, Some(Fault::NoRanges)] {
        host.ranges.set(ranges);
        let store = RowStore::new(OPTIONS);
        let error = block_on(store.rows(&host, &mixed, &[5], &|_| {})).unwrap_err();
        assert_eq!(error.code(), "integrity");
        assert!(error.to_string().contains(&path(&mixed, 0)), "{error}");
    }
}

#[test]
fn offline_in_the_middle_keeps_what_arrived() {
    let (head, host) = index(0);
    let store = RowStore::new(OPTIONS);
    let rows: Vec<u64> = (0..ROWS).step_by(8).collect();
    host.ranges.set(Some(Fault::Offline(10)));
    let error = read(&store, &head, &host, &rows).unwrap_err();
    assert_eq!(error.code(), "network");
    assert!(error.to_string().contains("fine/"), "{error}");
    let mut arrived = host.take_log();
    arrived.truncate(10);
    host.ranges.set(None);
    let cost = read(&store, &head, &host, &rows).unwrap();
    // What ended together with the failed request may be lost, not more.
    let again = host.take_log();
    let twice = again.iter().filter(|line| arrived.contains(line)).count();
    assert!(twice <= OPTIONS.requests, "{twice} were fetched twice");
    assert!(cost.cached_bytes >= (10 - OPTIONS.requests as u64) * 24);
}

#[test]
fn a_second_visit_reads_from_the_cache() {
    for ranges in [None, Some(Fault::NoRanges)] {
        let (head, host) = index(0);
        host.ranges.set(ranges);
        let rows: Vec<u64> = (0..ROWS).step_by(9).collect();
        let store = RowStore::new(OPTIONS);
        read(&store, &head, &host, &rows).unwrap();
        assert!(
            host.cache.borrow().is_empty(),
            "saved in the way of the answer"
        );
        block_on(store.save(&host));
        assert_eq!(host.cache.borrow().len(), 5);
        host.take_log();

        let next = RowStore::new(OPTIONS);
        let cost = read(&next, &head, &host, &rows).unwrap();
        assert_eq!(host.take_log(), [""; 0]);
        assert_eq!(cost.cached_bytes, rows.len() as u64 * ROW_BYTES);
        // What comes on top is added to the entry.
        read(&next, &head, &host, &[1]).unwrap();
        block_on(next.save(&host));
        host.take_log();
        read(&RowStore::new(OPTIONS), &head, &host, &[0, 1, 9]).unwrap();
        assert_eq!(host.take_log(), [""; 0]);
    }
}

#[test]
fn damaged_entries_are_deleted_and_the_rows_fetched_again() {
    let (head, host) = index(0);
    let rows = [3, 20, 40];
    let store = RowStore::new(OPTIONS);
    read(&store, &head, &host, &rows).unwrap();
    block_on(store.save(&host));
    let name = path(&head, 0);
    let good = host.cache.borrow()[&name].clone();
    let (other_head, other) = index(1);
    let store = RowStore::new(OPTIONS);
    read(&store, &other_head, &other, &rows).unwrap();
    block_on(store.save(&other));
    let foreign = other.cache.borrow()[&path(&other_head, 0)].clone();
    let mut entries: Vec<Vec<u8>> = vec![foreign, Vec::new(), good[..good.len() - 1].to_vec()];
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        entries.push(damaged);
    }
    for (i, entry) in entries.into_iter().enumerate() {
        host.cache.borrow_mut().insert(name.clone(), entry);
        let store = RowStore::new(OPTIONS);
        host.take_log();
        read(&store, &head, &host, &rows).unwrap();
        let kept = host.cache.borrow().get(&name).cloned();
        // The mark of a file that is kept whole (byte 12) is no row: it cannot be wrong about one.
        let mark = i == 3 + 12;
        assert_eq!(kept.is_none(), !mark, "entry {i}");
        assert_eq!(host.take_log().is_empty(), mark, "entry {i}");
        block_on(store.save(&host));
        if !mark {
            assert_eq!(host.cache.borrow()[&name], good, "entry {i} was not mended");
        }
    }
}

#[test]
fn memory_stays_bounded_and_what_left_it_is_read_back() {
    let (head, host) = index(0);
    let store = RowStore::new(RowStoreOptions {
        memory_bytes: 12 * (24 + 64),
        ..OPTIONS
    });
    // More than the bound in one read: it lasts as long as the read.
    let rows: Vec<u64> = (0..ROWS).step_by(5).collect();
    read(&store, &head, &host, &rows).unwrap();
    assert!(store.memory() <= 12 * (24 + 64), "{}", store.memory());
    // A saved file that left is read back from the cache.
    for row in [3, 70, 140, 200, 260] {
        read(&store, &head, &host, &[row]).unwrap();
        block_on(store.save(&host));
    }
    let rows: Vec<u64> = (0..12).map(|i| 10 + 4 * i).collect();
    read(&store, &head, &host, &rows).unwrap();
    block_on(store.save(&host));
    host.take_log();
    read(&store, &head, &host, &[3, 70, 140, 200, 260]).unwrap();
    assert_eq!(host.take_log(), [""; 0]);
}
