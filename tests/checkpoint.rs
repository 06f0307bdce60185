//! Checkpoint readers against files of torch, safetensors and numpy, and against hostile ones.
//!
//! The files and their expected values are made by `scripts/generate_checkpoints.py`.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use data_attribution::checkpoint::{Checkpoint, NpyFile};
use data_attribution::error::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints");
    folder.join(name)
}

/// A file that lives as long as the test that makes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("data-attribution-{}-{test}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self, bytes: &[u8]) -> Result<Checkpoint, Error> {
        fs::write(&self.0, bytes).unwrap();
        Checkpoint::open(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The error that opening a checkpoint gives.
fn error(name: &str) -> Error {
    Checkpoint::open(golden(name)).expect_err(name)
}

fn read_everything(checkpoint: &Checkpoint) {
    for tensor in checkpoint.tensors() {
        let read = checkpoint.read_f32(&tensor.name);
        assert_eq!(read.is_ok(), tensor.dtype.is_float(), "{tensor:?}");
        if let Ok(values) = read {
            assert_eq!(values.len(), tensor.shape.iter().product::<usize>());
        }
    }
}

#[test]
fn every_golden_file_reads_as_stated() {
    let text = fs::read_to_string(golden("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let files = expected.as_object().unwrap();
    assert_eq!(files.len(), 18);
    for (file, tensors) in files {
        let checkpoint = Checkpoint::open(golden(file)).unwrap();
        let tensors = tensors.as_object().unwrap();
        assert_eq!(checkpoint.tensors().len(), tensors.len(), "{file}");
        for (name, stated) in tensors {
            let info = checkpoint
                .info(name)
                .unwrap_or_else(|| panic!("{file}: {name}"));
            assert_eq!(
                serde_json::json!(info.shape),
                stated["shape"],
                "{file}: {name}"
            );
            assert_eq!(
                format!("{:?}", info.dtype),
                stated["dtype"],
                "{file}: {name}"
            );
            let Some(values) = stated["values"].as_array() else {
                assert!(!info.dtype.is_float(), "{file}: {name}");
                continue;
            };
            let values: Vec<f32> = values.iter().map(|v| v.as_f64().unwrap() as f32).collect();
            let read = checkpoint.read_f32(name).unwrap();
            assert_eq!(read, values, "{file}: {name}");
            let Some(&rows) = info.shape.first() else {
                continue;
            };
            let width = values.len().checked_div(rows).unwrap_or(0);
            for first in 0..=rows {
                for count in 0..=rows - first {
                    let part = checkpoint.read_rows_f32(name, first, count).unwrap();
                    let stated = &values[first * width..(first + count) * width];
                    assert_eq!(part, stated, "{file}: {name} rows {first}+{count}");
                }
                let beyond = checkpoint.read_rows_f32(name, first, rows - first + 1);
                assert!(matches!(beyond, Err(Error::InvalidArgument { .. })));
            }
        }
    }
}

#[test]
fn tensors_keep_the_order_of_the_file() {
    let checkpoint = Checkpoint::open(golden("nested.pth")).unwrap();
    let names: Vec<&str> = checkpoint
        .tensors()
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    let expected = [
        "state_dict.module.weight",
        "state_dict.module.bias",
        "optimizer.state.0.exp_avg",
    ];
    assert_eq!(names, expected);
}

#[test]
fn lists_of_strings_are_found() {
    let checkpoint = Checkpoint::open(golden("features.pth")).unwrap();
    let paths = checkpoint.strings("paths").unwrap();
    assert_eq!(paths, ["a/0.jpg", "b/ü.jpg", "c/2.jpg"]);
    assert!(checkpoint.strings("feats").is_none());
}

#[test]
fn integers_and_unknown_names_are_errors() {
    let checkpoint = Checkpoint::open(golden("dtypes.pth")).unwrap();
    let message = checkpoint.read_f32("steps").unwrap_err().to_string();
    assert!(message.contains("steps holds I64"), "{message}");
    let message = checkpoint.read_f32("absent").unwrap_err().to_string();
    assert!(message.contains("no tensor named absent"), "{message}");
}

#[test]
fn code_in_a_pickle_is_refused_by_name() {
    for (file, global) in [
        ("hostile/os_system.pth", "pickle global posix.system"),
        ("hostile/own_class.pth", "pickle global __main__.Namespace"),
        ("hostile/script_system.pt", "pickle global posix.system"),
        (
            "hostile/script_class.pth",
            "pickle global __torch__.torch.nn.modules.linear.Linear",
        ),
        (
            "hostile/object.npz",
            "array other of Python objects, which is a pickle",
        ),
    ] {
        match error(file) {
            Error::Refused { file: named, what } => {
                assert_eq!(what, global);
                assert!(named.ends_with(file), "{named}");
            }
            other => panic!("{file}: {other}"),
        }
    }
}

#[test]
fn files_that_are_not_read_are_named() {
    for (file, part) in [
        ("hostile/legacy.pth", "a legacy (pre-1.6) torch file"),
        ("hostile/big_endian.pth", "big-endian"),
        ("hostile/short_storage.pth", "less data than it states"),
        ("hostile/missing_storage.pth", "data/1 is missing"),
        (
            "hostile/big_endian.npz",
            "other.npy has a big-endian array, which is not read",
        ),
        ("hostile/text.npz", "other.npy has elements of type '<U1'"),
        ("rows_f32.npy", "a NumPy .npy array"),
        ("expected.json", "a file of unknown format"),
    ] {
        let error = error(file);
        assert_eq!(error.code(), "checkpoint", "{file}");
        assert!(error.to_string().contains(part), "{file}: {error}");
    }
    assert_eq!(error("no-such-file").code(), "io");
}

#[test]
fn npy_rows_are_read() {
    let values: Vec<f32> = (0..12).map(|i| i as f32 * 0.5 - 1.0).collect();
    for name in ["f32", "f16", "f64", "v2", "v3"] {
        let file = NpyFile::open(golden(&format!("rows_{name}.npy"))).unwrap();
        assert_eq!(file.shape(), [4, 3]);
        assert_eq!(file.read_rows_f32(0, 4).unwrap(), values);
        assert_eq!(file.read_rows_f32(1, 2).unwrap(), values[3..9]);
        assert_eq!(file.read_rows_f32(4, 0).unwrap(), [0.0; 0]);
        assert_eq!(
            file.read_rows_f32(3, 2).unwrap_err().code(),
            "invalid-argument"
        );
        assert_eq!(
            file.read_rows_f32(1, usize::MAX).unwrap_err().code(),
            "invalid-argument"
        );
    }
}

#[test]
fn other_npy_files_are_errors() {
    for (file, code, part) in [
        ("hostile/object.npy", "refused", "Python objects"),
        ("hostile/fortran.npy", "format", "Fortran order"),
        ("hostile/big_endian.npy", "format", "big-endian"),
        ("hostile/int.npy", "format", "'<i4'"),
        ("hostile/vector.npy", "format", "1 axes"),
        ("hostile/record.npy", "format", "[('a', '<f4')]"),
        ("state_dict.pth", "format", "not a .npy file"),
    ] {
        let error = NpyFile::open(golden(file)).expect_err(file);
        assert_eq!(error.code(), code, "{file}");
        assert!(error.to_string().contains(part), "{file}: {error}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let scratch = Scratch::new("damaged");
    let originals = ["state_dict.pth", "mixed.safetensors", "rows_f32.npy"];
    for name in originals {
        let original = fs::read(golden(name)).unwrap();
        let is_npy = name.ends_with(".npy");
        let try_open = |bytes: &[u8]| match is_npy {
            true => {
                fs::write(&scratch.0, bytes).unwrap();
                NpyFile::open(&scratch.0).map(|file| {
                    let rows = file.shape()[0];
                    assert!(file.read_rows_f32(0, rows).is_ok());
                })
            }
            false => scratch
                .open(bytes)
                .map(|checkpoint| read_everything(&checkpoint)),
        };
        assert!(try_open(&original).is_ok(), "{name}");
        for length in 0..original.len() {
            assert!(
                try_open(&original[..length]).is_err(),
                "{name} cut to {length} bytes"
            );
        }
        for at in 0..original.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = original.clone();
                bytes[at] ^= flip;
                let _ = try_open(&bytes);
            }
        }
    }
}

/// A torch archive with this pickle and one storage of 64 bytes, `0`.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("archive/data.pkl", pickle), ("archive/data/0", &[0; 64])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The pickle of a golden archive, whose checksum would hide a damaged pickle from its reader.
fn pickle_of(name: &str) -> Vec<u8> {
    let mut zip = ZipArchive::new(fs::File::open(golden(name)).unwrap()).unwrap();
    let entry = zip
        .file_names()
        .find(|entry| entry.ends_with("/data.pkl"))
        .unwrap()
        .to_string();
    let mut pickle = Vec::new();
    zip.by_name(&entry)
        .unwrap()
        .read_to_end(&mut pickle)
        .unwrap();
    pickle
}

#[test]
fn damaged_pickles_never_panic() {
    let scratch = Scratch::new("pickles");
    for name in ["nested.pth", "protocol4.pth", "parameter.pth"] {
        let original = pickle_of(name);
        for length in 0..original.len() {
            let opened = scratch.open(&archive(&original[..length]));
            assert!(opened.is_err(), "{name} cut to {length} bytes");
        }
        for at in 0..original.len() {
            for flip in [0x01, 0x04, 0x80, 0xff] {
                let mut pickle = original.clone();
                pickle[at] ^= flip;
                if let Ok(checkpoint) = scratch.open(&archive(&pickle)) {
                    read_everything(&checkpoint);
                }
            }
        }
    }
}

/// The instructions of a tensor of storage 0, from offset, sizes and strides in one byte each.
fn tensor(elements: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut code = b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    code.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK");
    code.extend([elements, b't', b'Q', b'K', offset]);
    for sizes in [shape, strides] {
        code.push(b'(');
        code.extend(sizes.iter().flat_map(|&size| [b'K', size]));
        code.push(b't');
    }
    code.extend(b"\x89}tR");
    code
}

#[test]
fn tensors_stay_inside_their_storage() {
    let scratch = Scratch::new("bounds");
    let open =
        |code: Vec<u8>| scratch.open(&archive(&[b"\x80\x02", code.as_slice(), b"."].concat()));
    let whole = open(tensor(16, 0, &[4, 4], &[4, 1])).unwrap();
    assert_eq!(whole.read_f32("tensor").unwrap(), [0.0; 16]);
    for (elements, offset, shape, strides, reads) in [
        (16, 15, &[1][..], &[255][..], true),
        (16, 16, &[0], &[1], true),
        (16, 16, &[1], &[1], false),
        (16, 1, &[4, 4], &[4, 1], false),
        (16, 0, &[4, 4], &[5, 1], false),
        (15, 0, &[16], &[1], false),
        (17, 0, &[1], &[1], false),
        (16, 0, &[4, 4], &[4], false),
        (16, 0, &[255; 8], &[0; 8], false),
        (16, 0, &[1; 17], &[1; 17], false),
    ] {
        let opened = open(tensor(elements, offset, shape, strides));
        assert_eq!(
            opened.is_ok(),
            reads,
            "{elements} {offset} {shape:?} {strides:?}"
        );
    }
}

#[test]
fn hostile_pickles_are_errors() {
    let scratch = Scratch::new("hostile");
    let one = tensor(16, 0, &[1], &[1]);
    // Dicts in dicts: d0 = {a: tensor}; d(n+1) = {a: d(n), b: d(n)}, so 2^n names for n objects.
    let mut doubling = [b"\x80\x02}X\x01\0\0\0a", one.as_slice(), b"s"].concat();
    for level in 0..30 {
        doubling.extend([b'q', level, b'0', b'}', b'(']);
        doubling.extend(
            [
                b"X\x01\0\0\0ah",
                &[level][..],
                b"X\x01\0\0\0bh",
                &[level],
                b"u",
            ]
            .concat(),
        );
    }
    doubling.push(b'.');
    let long_text = [b"X\0\0\x10\0", vec![b'x'; 1 << 20].as_slice(), b"q\0"].concat();
    let repeats = [
        b"\x80\x02](",
        &long_text[..],
        &b"h\0".repeat(200_000),
        b"e.",
    ]
    .concat();
    let cases: [(&str, Vec<u8>, &str); 12] = [
        (
            "marks",
            [b"\x80\x02", &[b'('; 2 << 20][..]].concat(),
            "nested too deeply",
        ),
        (
            "stack",
            [b"\x80\x02", &[b'N'; 2 << 20][..]].concat(),
            "nested too deeply",
        ),
        (
            "deep",
            [b"\x80\x02N", &[0x85; 1 << 20][..], b"."].concat(),
            "nested",
        ),
        (
            "cycle",
            b"\x80\x02}q\0X\x01\0\0\0ah\0s.".to_vec(),
            "nested too deeply",
        ),
        ("doubling", doubling, "too long names"),
        ("underflow", b"\x80\x02a.".to_vec(), "not there"),
        ("below the mark", b"\x80\x02N(0.".to_vec(), "not there"),
        ("no mark", b"\x80\x02Nt.".to_vec(), "lacks a mark"),
        (
            "huge string",
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(),
            "ends early",
        ),
        ("no memo", b"\x80\x02h\0.".to_vec(), "did not keep"),
        (
            "odd items",
            b"\x80\x02}(Nu.".to_vec(),
            "something other than a dict",
        ),
        (
            "text protocol",
            b"I1\n.".to_vec(),
            "pickle instruction 0x49",
        ),
    ];
    for (name, pickle, part) in cases {
        let error = scratch.open(&archive(&pickle)).expect_err(name);
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    // A long string that a list repeats is left out: it is longer than any path.
    assert!(
        scratch
            .open(&archive(&repeats))
            .unwrap()
            .strings("")
            .is_none()
    );
}

#[test]
fn names_that_collide_are_an_error() {
    let scratch = Scratch::new("names");
    let one = tensor(16, 0, &[1], &[1]);
    let key = |name: &str| {
        [
            b"X",
            &(name.len() as u32).to_le_bytes()[..],
            name.as_bytes(),
        ]
        .concat()
    };
    let inner = [b"}", &key("b")[..], &one, b"s"].concat();
    let pickle = [
        b"\x80\x02}",
        &key("a.b")[..],
        &one,
        b"s",
        &key("a"),
        &inner,
        b"s.",
    ]
    .concat();
    let error = scratch.open(&archive(&pickle)).unwrap_err().to_string();
    assert!(error.contains("two tensors are named a.b"), "{error}");
}
