//! Every golden checkpoint, and a manifest and each file of a clustered index, under thousands of mutations, the same
//! on every run: no panic, bounded memory.
//!
//! The bounded part of what the fuzzer of `tests/fuzz` does without end. Files of zip archives are also
//! changed member by member and packed again, as a checksum would hide the change otherwise.
#![cfg(feature = "cli")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use data_attribution::checkpoint::{Checkpoint, NpyFile};
use data_attribution::format::Manifest;
use data_attribution::format::clustered::{Control, Head, decode_row, encode_row};
use data_attribution::source::row_store::KnownRows;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

#[allow(dead_code, reason = "made for the tests of the format")]
#[path = "clustered_format/sample.rs"]
mod sample;

/// Mutations of each file.
const ROUNDS: usize = 240;
/// The same for files of an index, which are small and read in memory.
const INDEX_ROUNDS: usize = 20_000;
/// What reading one of them may take, per byte of it: a table of a few bytes becomes one of 256 entries.
const INDEX_BYTES_PER_BYTE: usize = 256;
const MANIFEST: &str = r#"{"format":"data-attribution-index","version":1,"title":"t","backbone":{"name":"b","identity":"i",
"head":{"file":"model/aa.json","bytes":2,"sha256":"SHA"}},"real_mapper":null,"synth_mapper":null,"dimension":5,"count":39,
"calibrator":{"inv_tau":20.0,"bias":-1.0,"fitted":true},"layers":[],"clusters":{
"head":{"file":"head/a.bin","bytes":9,"sha256":"SHA"},"control":{"file":"control/a.bin","bytes":9,"sha256":"SHA"},"coarse":[
{"file":"coarse/a.bin","bytes":9,"sha256":"SHA","first_cluster":0,"clusters":3,"first_row":0,"rows":14},
{"file":"coarse/b.bin","bytes":9,"sha256":"SHA","first_cluster":3,"clusters":5,"first_row":14,"rows":25}]},
"items":{"shards":[]},"thumbnails":{"folder":"thumbnails","media_type":"image/jpeg","short_side":256},
"totals":{"model_bytes":1,"index_bytes":2}}"#;
/// Most elements that a tensor can have beside those in its file: strides that repeat them, or zeros that
/// 64 MiB of half precision were compressed from.
const MAX_EXPANDED_ELEMENTS: usize = 32 << 20;
/// What opening may take: the directory of a zip archive and the objects of a pickle, per byte of the
/// file, and buffers.
const OPEN_BYTES_PER_BYTE: usize = 512;
const BUFFER_BYTES: usize = 4 << 20;

/// The system's allocator, which notes how much is in use at most.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Numbers that look random and are the same on every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        number as usize % bound.max(1)
    }

    /// Lengths and counts that go wrong most easily.
    fn number(&mut self, bytes: usize) -> u64 {
        let near = self.below(5) as u64;
        match self.below(6) {
            0 => near,
            1 => u64::MAX - near,
            2 => (bytes as u64).wrapping_add(near).wrapping_sub(2),
            3 => (1u64 << self.below(64)).wrapping_sub(near),
            4 => i64::MAX as u64 - near,
            _ => self.below(256) as u64,
        }
    }

    /// Changes `bytes` in one to three places; `other` is a file to splice from.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(3) {
            let length = bytes.len();
            // Ends are where zip archives have their directory, starts where the rest has its header.
            let at = match self.below(3) {
                0 => self.below(length),
                1 => self.below(length.min(64)),
                _ => length - self.below(length.min(200)).min(length),
            };
            match self.below(8) {
                0 => bytes.truncate(at),
                1 | 2 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                3 => {
                    let from = self.below(other.len());
                    let part = &other[from..(from + self.below(64)).min(other.len())];
                    let end = (at + self.below(64)).min(length);
                    bytes.splice(at.min(end)..end, part.iter().copied());
                }
                4 => {
                    let end = (at + self.below(64)).min(length);
                    bytes.drain(at.min(end)..end);
                }
                _ => {
                    let number = self.number(length).to_le_bytes();
                    let size = 1 << self.below(4);
                    let places = bytes.iter_mut().skip(at).zip(number).take(size);
                    places.for_each(|(byte, new)| *byte = new);
                }
            }
        }
    }
}

/// The archive `bytes` with one member changed, all stored or all deflated; `None` if it is no archive.
fn repack(dice: &mut Dice, bytes: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut old = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    let names: Vec<String> = old.file_names().map(String::from).collect();
    // The pickle is what most can be wrong with.
    let pickle = names.iter().position(|name| name.ends_with("/data.pkl"));
    let changed = match pickle {
        Some(index) if dice.below(4) > 0 => index,
        _ => dice.below(names.len()),
    };
    let deflate = pickle.is_none() && dice.below(2) == 0;
    for (index, name) in names.iter().enumerate() {
        let mut content = Vec::new();
        old.by_index(index).ok()?.read_to_end(&mut content).ok()?;
        if index == changed {
            dice.mutate(&mut content, other);
        }
        let method = match deflate {
            true => CompressionMethod::Deflated,
            false => CompressionMethod::Stored,
        };
        let options = SimpleFileOptions::default().compression_method(method);
        new.start_file(name.as_str(), options).unwrap();
        new.write_all(&content).unwrap();
    }
    Some(new.finish().unwrap().into_inner())
}

/// Reads the file as what it is; returns whether it was read, and the elements of the largest tensor.
fn read(path: &Path) -> (bool, usize) {
    if path.extension().is_some_and(|extension| extension == "npy") {
        let Ok(file) = NpyFile::open(path) else {
            return (false, 0);
        };
        let [rows, columns] = file.shape();
        let values = file.read_rows_f32(0, rows).unwrap();
        assert_eq!(values.len(), rows * columns);
        return (true, values.len());
    }
    let Ok(checkpoint) = Checkpoint::open(path) else {
        return (false, 0);
    };
    let mut largest = 0;
    for tensor in checkpoint.tensors() {
        let count = tensor.shape.iter().product::<usize>();
        let values = checkpoint.read_f32(&tensor.name);
        if tensor.dtype.is_float() {
            largest = largest.max(count);
        } else {
            assert!(values.is_err(), "{tensor:?}");
        }
        if let Ok(values) = values {
            assert_eq!(values.len(), count, "{tensor:?}");
        }
    }
    (true, largest)
}

/// Writes and reads a file; its memory must be in proportion to its length and its largest tensor.
fn try_file(path: &Path, bytes: &[u8], what: &str) -> bool {
    fs::write(path, bytes).unwrap();
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (opened, largest) = read(path);
    let taken = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(
        largest <= bytes.len() + MAX_EXPANDED_ELEMENTS,
        "{what}: a tensor of {largest} elements in {} bytes",
        bytes.len()
    );
    // A tensor is held twice while its elements are brought into order.
    let bound = BUFFER_BYTES + OPEN_BYTES_PER_BYTE * bytes.len() + 2 * size_of::<f32>() * largest;
    assert!(taken <= bound, "{what}: {taken} bytes, bound {bound}");
    opened
}

fn golden_files() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints");
    let mut files = Vec::new();
    for folder in [folder.clone(), folder.join("hostile")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.extension().is_none_or(|kind| kind != "json") {
                files.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

// One test, so that nothing else takes memory meanwhile.
#[test]
fn mutated_files_neither_panic_nor_take_memory_without_bound() {
    let files = golden_files();
    assert!(files.len() >= 40, "{} golden files", files.len());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut tried, mut opened) = (0, 0);
    for (path, original) in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = path.extension().unwrap().to_str().unwrap();
        let scratch = format!("data-attribution-{}-corpus.{kind}", std::process::id());
        let scratch = std::env::temp_dir().join(scratch);
        let hostile = path.parent().unwrap().ends_with("hostile");
        assert_eq!(try_file(&scratch, original, name), !hostile, "{name}");
        for round in 0..ROUNDS {
            let other = &files[dice.below(files.len())].1;
            let repacked = (round % 2 == 0)
                .then(|| repack(&mut dice, original, other))
                .flatten();
            let bytes = repacked.unwrap_or_else(|| {
                let mut bytes = original.clone();
                dice.mutate(&mut bytes, other);
                bytes
            });
            let what = format!("{name}, mutation {round}");
            opened += usize::from(try_file(&scratch, &bytes, &what));
            tried += 1;
        }
        fs::remove_file(&scratch).unwrap();
    }
    // The mutations are neither all harmless nor all caught at the first byte.
    assert!(
        opened > tried / 20 && opened < tried * 9 / 10,
        "{opened} of {tried}"
    );
    println!("{opened} of {tried} mutated files opened");
    index_files(&mut dice);
}

/// Mutates files of an index and reads them; what can be read is what it says.
fn index_files(dice: &mut Dice) {
    let index = sample::Index::new(2);
    let plain = sample::Index::new(0);
    let (head, dimension) = (&index.head, sample::DIMENSION);
    let row_bytes = head.plan.fine_row_bytes();
    let mut row = Vec::new();
    encode_row(&head.row_salt, 7, &[0.5; 5], &[0.4472; 5], &mut row).unwrap();
    let mut known = KnownRows::default();
    for number in [3, 8, 70_000] {
        known.insert(number, &row);
    }
    let manifest = MANIFEST.replace("SHA", &"0f".repeat(32)).into_bytes();
    type Read<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;
    let files: Vec<(&str, Vec<u8>, Read)> = vec![
        (
            "manifest",
            manifest,
            Box::new(|bytes| {
                let Ok(manifest) = Manifest::parse("m", bytes) else {
                    return false;
                };
                let rows: u64 = manifest
                    .clusters
                    .iter()
                    .flat_map(|c| &c.coarse)
                    .map(|s| s.rows)
                    .sum();
                assert!(manifest.clusters.is_none() || rows == manifest.count);
                true
            }),
        ),
        (
            "head",
            index.head_bytes.clone(),
            Box::new(|bytes| {
                let Ok(head) = Head::parse("h", bytes) else {
                    return false;
                };
                assert_eq!(
                    head.file_names().count(),
                    head.fine.len() + head.items.len()
                );
                assert_eq!(head.first_rows.last(), Some(&head.rows));
                true
            }),
        ),
        (
            "control",
            index.control.clone(),
            Box::new(|bytes| {
                let Ok(control) = Control::parse("c", bytes, head) else {
                    return false;
                };
                assert_eq!(control.encode(&head.plan, &head.salt).unwrap(), bytes);
                true
            }),
        ),
        (
            "coded",
            index.coarse[1].2.clone(),
            Box::new(|bytes| {
                let Ok(codes) = index.decode(1, bytes) else {
                    return false;
                };
                assert_eq!(codes.rows() as u64, index.coarse[1].0.rows);
                true
            }),
        ),
        (
            "packed",
            plain.coarse[0].2.clone(),
            Box::new(|bytes| {
                let Ok(codes) = plain.decode(0, bytes) else {
                    return false;
                };
                assert_eq!(codes.rows() as u64, plain.coarse[0].0.rows);
                true
            }),
        ),
        (
            "row",
            row.clone(),
            Box::new(|bytes| {
                let Ok(found) = decode_row("r", &head.row_salt, 7, dimension, bytes) else {
                    return false;
                };
                // Nothing but the row itself has its check.
                assert_eq!(bytes, row, "{found:?}");
                true
            }),
        ),
        (
            "known rows",
            known.encode(row_bytes),
            Box::new(|bytes| {
                let Some(known) = KnownRows::parse(bytes, row_bytes) else {
                    return false;
                };
                assert_eq!(
                    KnownRows::parse(&known.encode(row_bytes), row_bytes),
                    Some(known)
                );
                true
            }),
        ),
    ];
    for (name, original, read) in &files {
        assert!(read(original), "{name}");
        let mut opened = 0;
        for round in 0..INDEX_ROUNDS {
            let other = &files[dice.below(files.len())].1;
            let mut bytes = original.clone();
            dice.mutate(&mut bytes, other);
            let before = USED.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            opened += usize::from(read(&bytes));
            let taken = PEAK.load(Ordering::Relaxed).saturating_sub(before);
            let bound = (1 << 16) + INDEX_BYTES_PER_BYTE * bytes.len();
            assert!(
                taken <= bound,
                "{name}, mutation {round}: {taken} bytes of {bound}"
            );
        }
        assert!(opened < INDEX_ROUNDS, "{name}");
        println!("{opened} of {INDEX_ROUNDS} mutated files of the kind {name:?} can be read");
    }
}
