//! TorchScript, `.npz` and safetensors files made by hand, hostile ones among them.
//!
//! What torch and numpy themselves write is checked in `checkpoint.rs` against golden values.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use data_attribution::checkpoint::{Checkpoint, Dtype};
use data_attribution::error::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file that lives as long as the test that makes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("data-attribution-{}-containers-{test}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self, bytes: &[u8]) -> Result<Checkpoint, Error> {
        fs::write(&self.0, bytes).unwrap();
        Checkpoint::open(&self.0)
    }

    /// The message of the error that opening gives.
    fn message(&self, bytes: &[u8]) -> String {
        let error = self.open(bytes).expect_err("this file is damaged");
        assert_eq!(error.code(), "checkpoint", "{error}");
        error.to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

fn archive(members: &[(&str, CompressionMethod, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for &(name, method, content) in members {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A TorchScript archive with this pickle between PROTO and STOP, and a storage `0` of 64 zeros.
fn script(code: &[u8]) -> Vec<u8> {
    let pickle = [b"\x80\x02", code, b"."].concat();
    archive(&[
        ("m/data/0", STORED, &[0; 64]),
        ("m/data.pkl", STORED, &pickle),
        ("m/code/__torch__.py", DEFLATED, b"import os"),
        ("m/constants.pkl", STORED, b"not looked at"),
    ])
}

/// A tensor of one element of storage 0.
const TENSOR: &[u8] =
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
    X\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0(K\x01t(K\x01t\x89}tR";

fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

/// An object of a class of these attributes.
fn object(class: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let mut code = format!("c{class}\n)\u{0}}}(").into_bytes();
    let new = code.iter().position(|&byte| byte == 0).unwrap();
    code[new] = 0x81;
    for (name, value) in attributes {
        code.extend(text(name));
        code.extend(*value);
    }
    code.extend(b"ub");
    code
}

/// A `.npy` file of `descr` and `shape`, in Python's notation.
fn npy(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), values].concat()
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    let tensors = checkpoint.tensors().iter();
    tensors.map(|tensor| tensor.name.as_str()).collect()
}

#[test]
fn script_modules_are_bags_of_attributes() {
    let scratch = Scratch::new("bags");
    let inner = object("__torch__.a.___torch_mangle_3\nB", &[("weight", TENSOR)]);
    let list = [b"ctorch.jit._pickle\nbuild_tensorlist\n(](", TENSOR, b"etR"].concat();
    let tagged = [
        b"ctorch.jit._pickle\nrestore_type_tag\n}(",
        &text("k")[..],
        TENSOR,
        b"u",
        &text("Dict[str, Tensor]"),
        b"\x86R",
    ]
    .concat();
    let module = object(
        "__torch__\nM",
        &[
            ("training", b"\x88"),
            ("width", b"K\x07"),
            ("inner", &inner),
            ("list", &list),
            ("tagged", &tagged),
            ("place", b"ctorch\ndevice\nX\x03\0\0\0cpu\x85R"),
            ("color", b"c__torch__.a\nColor\nK\x01R"),
        ],
    );
    let checkpoint = scratch.open(&script(&module)).unwrap();
    assert_eq!(names(&checkpoint), ["inner.weight", "list.0", "tagged.k"]);
    assert_eq!(checkpoint.read_f32("inner.weight").unwrap(), [0.0]);
    // A state that is a tuple, as a class with its own `__getstate__` may have.
    let state = [b"c__torch__\nM\n)\x81", TENSOR, b"K\x01\x86b"].concat();
    let checkpoint = scratch.open(&script(&state)).unwrap();
    assert_eq!(names(&checkpoint), ["0"]);
}

#[test]
fn script_archives_refuse_every_other_global() {
    let scratch = Scratch::new("globals");
    for global in [
        "posix\nsystem",
        "__torch\nM",
        "__torch__x.y\nM",
        "x.__torch__.y\nM",
        "torch.jit._pickle\nbuild_other",
        "builtins\neval",
    ] {
        let code = format!("c{global}\n)R");
        let error = scratch.open(&script(code.as_bytes())).expect_err(global);
        let dotted = global.replace('\n', ".");
        let Error::Refused { what, .. } = error else {
            panic!("{global}: {error}");
        };
        assert_eq!(what, format!("pickle global {dotted}"));
    }
    let called = b"c__torch__\nM\n(K\x01tR";
    let message = scratch.message(&script(called));
    assert!(message.contains("calls something"), "{message}");
    let on_a_list = b"](K\x01e}b";
    let message = scratch.message(&script(on_a_list));
    assert!(message.contains("sets attributes"), "{message}");
}

#[test]
fn shared_states_are_bounded() {
    let scratch = Scratch::new("shared");
    // One state of 2000 attributes, given to 20,000 objects: 80 million values if nobody counts.
    let mut code = b"}(".to_vec();
    for at in 0..2000 {
        code.extend(text(&at.to_string()));
        code.push(b'N');
    }
    code.extend(b"uq\0](");
    for _ in 0..20_000 {
        code.extend(b"c__torch__\nM\n)\x81h\0b");
    }
    code.push(b'e');
    let message = scratch.message(&script(&code));
    assert!(message.contains("too many values"), "{message}");
}

#[test]
fn arrays_read_from_stored_and_deflated_members() {
    let scratch = Scratch::new("npz");
    let values: Vec<f32> = (0..600_000).map(|i| (i % 1000) as f32).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let whole = npy("<f4", false, "(3, 200000)", &bytes);
    let turned = npy("<f4", true, "(200000, 3)", &bytes);
    for method in [STORED, DEFLATED] {
        let checkpoint = scratch.open(&archive(&[
            ("a/kernel.npy", method, &whole),
            ("b.npy", method, &turned),
            ("notes.txt", method, b"passed over"),
        ]));
        let checkpoint = checkpoint.unwrap();
        assert_eq!(names(&checkpoint), ["a/kernel", "b"]);
        assert_eq!(checkpoint.info("b").unwrap().dtype, Dtype::F32);
        assert_eq!(checkpoint.read_f32("a/kernel").unwrap(), values);
        for first in 0..3 {
            let row = checkpoint.read_rows_f32("a/kernel", first, 1).unwrap();
            assert_eq!(row, values[first * 200_000..][..200_000]);
        }
        // Column-major: element [i, j] is value i + 200000 j.
        let rows = checkpoint.read_rows_f32("b", 199_998, 2).unwrap();
        let expected = [199_998, 399_998, 599_998, 199_999, 399_999, 599_999];
        assert_eq!(rows, expected.map(|at: usize| values[at]));
    }
}

#[test]
fn arrays_of_another_length_than_stated_are_errors() {
    let scratch = Scratch::new("lengths");
    let values = [0u8; 16];
    for method in [STORED, DEFLATED] {
        let open = |member: Vec<u8>| scratch.open(&archive(&[("a.npy", method, &member)]));
        assert!(open(npy("<f4", false, "(4,)", &values)).is_ok());
        for (descr, shape) in [
            ("<f4", "(3,)"),
            ("<f4", "(5,)"),
            ("<f8", "(4,)"),
            ("<f4", "(4611686018427387904, 4)"),
            ("<f4", "(0, 4)"),
            ("<f4", "(18446744073709551616,)"),
            ("<f4", "(-4,)"),
        ] {
            let error = open(npy(descr, false, shape, &values)).expect_err(shape);
            assert_eq!(error.code(), "checkpoint", "{shape}: {error}");
            assert!(error.to_string().contains("member a.npy has"), "{error}");
        }
        let deep = format!("({})", "1,".repeat(65));
        assert!(open(npy("<f4", false, &deep, &[0; 4])).is_err());
        assert!(open(npy("<f4", false, "(4,)", &values)[..20].to_vec()).is_err());
        let huge = npy("<f4", false, "(0, 4294967296, 4294967296)", &[]);
        assert!(open(huge).is_err());
    }
}

#[test]
fn members_that_expand_too_much_are_refused() {
    let scratch = Scratch::new("bomb");
    let bomb = |mib: usize| {
        let count = mib << 18;
        let member = npy("<f4", false, &format!("({count},)"), &vec![0; mib << 20]);
        archive(&[("a.npy", DEFLATED, &member)])
    };
    let checkpoint = scratch.open(&bomb(8)).unwrap();
    assert_eq!(checkpoint.read_f32("a").unwrap().len(), 8 << 18);
    let message = scratch.message(&bomb(65));
    assert!(message.contains("member a.npy states"), "{message}");
    assert!(message.contains("save it uncompressed"), "{message}");
}

/// Overwrites both places where an archive of one member states the length of its content.
fn state_length(archive: &mut [u8], length: u32) {
    let at = |signature: &[u8]| archive.windows(4).position(|four| four == signature);
    let places = [
        at(b"PK\x03\x04").unwrap() + 22,
        at(b"PK\x01\x02").unwrap() + 24,
    ];
    for place in places {
        archive[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }
}

#[test]
fn deflated_members_that_lie_or_are_damaged_are_errors() {
    let scratch = Scratch::new("lies");
    let noise: Vec<u8> = (0..4096u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 16).to_le_bytes())
        .collect();
    let long = npy("<f4", false, "(04096,)", &noise);
    let good = archive(&[("a.npy", DEFLATED, &long)]);
    assert!(scratch.open(&good).unwrap().read_f32("a").is_ok());
    // The stream holds more than header and directory state: 4000 values, written with equal length.
    let short = npy("<f4", false, "(04000,)", &noise);
    let mut lies = archive(&[("a.npy", DEFLATED, &short)]);
    state_length(&mut lies, short.len() as u32 - 4 * 96);
    let error = scratch.open(&lies).unwrap().read_f32("a").unwrap_err();
    assert_eq!(error.code(), "checkpoint", "{error}");
    // It holds less.
    let mut lies = archive(&[("a.npy", DEFLATED, &npy("<f4", false, "(04100,)", &noise))]);
    state_length(&mut lies, long.len() as u32 + 16);
    let error = scratch.open(&lies).unwrap().read_f32("a").unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    // A bit of it is wrong, which its checksum tells.
    let mut damaged = good;
    damaged[10_000] ^= 1;
    let error = scratch.open(&damaged).unwrap().read_f32("a").unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[test]
fn other_zip_archives_are_named() {
    let scratch = Scratch::new("others");
    for (members, part) in [
        (&[("a.txt", STORED, &b"x"[..])][..], "neither of torch nor"),
        (&[("m/model.json", STORED, b"{}")], "before torch 1.4"),
        (
            &[("m/data.pkl", DEFLATED, b"\x80\x02N.")],
            "data.pkl is compressed, which torch does not do",
        ),
        (
            &[("m/data.pkl", STORED, b""), ("n/data.pkl", STORED, b"")],
            "more than one data.pkl",
        ),
    ] {
        let message = scratch.message(&archive(members));
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn safetensors_headers_are_checked() {
    let scratch = Scratch::new("safetensors");
    let file = |header: &str, bytes: usize| {
        let length = (header.len() as u64).to_le_bytes();
        [&length, header.as_bytes(), &vec![0; bytes]].concat()
    };
    let good = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert!(scratch.open(&file(good, 8)).is_ok());
    for (header, bytes) in [
        (good, 7),
        (good, 9),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            12,
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
            8,
        ),
        (
            r#"{"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}"#,
            8,
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
            8,
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
            8,
        ),
        ("{", 8),
    ] {
        let error = scratch.open(&file(header, bytes)).expect_err(header);
        assert_eq!(error.code(), "checkpoint", "{header}");
    }
}
