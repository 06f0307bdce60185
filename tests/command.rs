//! The tool as a user runs it: exit codes, one clear line per failure, nothing half-written.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_attribution::backbone::registry;

const TOOL: &str = env!("CARGO_BIN_EXE_data-attribution");

fn workplace(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "data-attribution-tool-{name}-{}",
        std::process::id()
    ));
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

fn tool(place: &Path, arguments: &[&str]) -> Output {
    Command::new(TOOL)
        .args(arguments)
        .current_dir(place)
        .output()
        .unwrap()
}

/// A safetensors file of the toy backbone, changed by `change(name, shape, values)`.
fn write_checkpoint(path: &Path, change: impl Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool) {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (i, (name, mut shape)) in registry::find("toy-p14")
        .unwrap()
        .architecture
        .tensors()
        .into_iter()
        .enumerate()
    {
        let length = shape.iter().product::<usize>();
        // Values of the scale that training gives, so that features differ between images.
        let base = f32::from(u8::from(name.contains("norm") && name.ends_with("weight")));
        let spread = 2.0 / (length as f32 / shape[0] as f32).sqrt();
        let noise = |j: usize| {
            let n = (j as u32 + 1).wrapping_mul(0x9e37_79b1) ^ (i as u32).wrapping_mul(0x85eb_ca77);
            (n ^ (n >> 15)).wrapping_mul(0x2c1b_3c6d) as f32 / (1u32 << 31) as f32 - 1.0
        };
        let mut values: Vec<f32> = (0..length)
            .map(|j| {
                if base == 1.0 {
                    1.0 + 0.1 * noise(j)
                } else {
                    spread * noise(j)
                }
            })
            .collect();
        if !change(&name, &mut shape, &mut values) {
            continue;
        }
        let start = data.len();
        values
            .iter()
            .for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
        header.insert(
            name,
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    fs::write(path, file).unwrap();
}

fn import(place: &Path) -> Output {
    tool(
        place,
        &[
            "import",
            "--backbone",
            "toy-p14",
            "w.safetensors",
            "-o",
            "model",
        ],
    )
}

fn assert_fails(output: &Output, wanted: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "succeeded: {text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{text}");
    for part in wanted {
        assert!(last.contains(part), "{part:?} is not in {last:?}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn paint(place: &Path, count: u32) {
    fs::create_dir_all(place.join("images")).unwrap();
    for i in 0..count {
        image::RgbImage::from_fn(64, 80, |x, y| {
            image::Rgb([(x * i * 9) as u8, (y * (20 - i)) as u8, (i * 50) as u8])
        })
        .save(place.join(format!("images/{i}.png")))
        .unwrap();
    }
}

#[test]
fn import_pack_and_attribute() {
    let place = workplace("way");
    write_checkpoint(&place.join("w.safetensors"), |_, _, _| true);
    assert!(import(&place).status.success());
    paint(&place, 12);
    fs::write(
        place.join("about.csv"),
        "path,caption,link\n3.png,Three,https://example.org/3\n",
    )
    .unwrap();
    let packed = tool(
        &place,
        &[
            "pack",
            "--model",
            "model",
            "--images",
            "images",
            "-o",
            "index",
            "--metadata",
            "about.csv",
        ],
    );
    assert!(
        packed.status.success(),
        "{}",
        String::from_utf8_lossy(&packed.stderr)
    );
    let asked = tool(
        &place,
        &[
            "attribute",
            "--model",
            "model",
            "--index",
            "index",
            "images/3.png",
            "--top",
            "4",
            "--json",
        ],
    );
    let answer: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(answer["hits"].as_array().unwrap().len(), 4);
    assert_eq!(answer["hits"][0]["name"], "3.png");
    assert_eq!(answer["hits"][0]["caption"], "Three");
    assert_eq!(answer["hits"][0]["link"], "https://example.org/3");
    assert_fails(
        &tool(&place, &["attribute", "--index", "index", "about.csv"]),
        &["not an image"],
    );
    assert_fails(
        &tool(&place, &["attribute", "--index", "nowhere", "images/3.png"]),
        &["nowhere"],
    );
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn features_and_names_make_an_index_and_bad_rows_are_left_out() {
    let place = workplace("features");
    write_checkpoint(&place.join("w.safetensors"), |_, _, _| true);
    assert!(import(&place).status.success());
    let npy = |rows: &[[f32; 32]]| {
        let mut header = format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 32), }}",
            rows.len()
        );
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        rows.iter()
            .flatten()
            .for_each(|v| file.extend(v.to_le_bytes()));
        fs::write(place.join("f.npy"), file).unwrap();
    };
    let mut rows = [[0.0f32; 32]; 5];
    for (i, row) in rows.iter_mut().enumerate() {
        row[i] = 2.0;
    }
    rows[1] = [0.0; 32];
    rows[3][7] = f32::NAN;
    npy(&rows);
    fs::write(place.join("n.txt"), "a\nb\nc\nd\ne\n").unwrap();
    let pack = [
        "pack",
        "--model",
        "model",
        "--features",
        "f.npy",
        "--names",
        "n.txt",
        "-o",
        "index",
    ];
    let packed = tool(&place, &pack);
    let errors = String::from_utf8_lossy(&packed.stderr);
    assert!(packed.status.success(), "{errors}");
    assert!(
        errors.contains("left out: b:") && errors.contains("left out: d:"),
        "{errors}"
    );
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(place.join("index/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["count"], 3);
    fs::write(place.join("n.txt"), "a\nb\n").unwrap();
    assert_fails(&tool(&place, &pack), &["5 rows but 2 names"]);
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_bad_checkpoint_is_one_clear_line() {
    let place = workplace("checkpoint");
    let file = place.join("w.safetensors");
    write_checkpoint(&file, |name, _, _| name != "blocks.1.attn.qkv.weight");
    assert_fails(
        &import(&place),
        &["1 of", "missing", "blocks.1.attn.qkv.weight"],
    );
    write_checkpoint(&file, |name, shape, _| {
        if name == "blocks.0.mlp.fc1.weight" {
            shape.swap(0, 1);
        }
        true
    });
    assert_fails(
        &import(&place),
        &["blocks.0.mlp.fc1.weight", "[32, 128]", "[128, 32]"],
    );
    write_checkpoint(&file, |name, _, values| {
        if name == "norm.weight" {
            values[3] = f32::NAN;
        }
        true
    });
    assert_fails(&import(&place), &["norm.weight", "not finite"]);
    fs::write(&file, b"neither").unwrap();
    assert_fails(&import(&place), &["w.safetensors"]);
    assert_fails(
        &tool(
            &place,
            &["import", "--backbone", "nothing", "w.safetensors"],
        ),
        &["no backbone"],
    );
    let malicious = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/checkpoints/hostile/os_system.pth");
    fs::copy(malicious, &file).unwrap();
    assert_fails(&import(&place), &["refused", "system"]);
    assert!(!place.join("model").exists());
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_full_disk_while_packing_leaves_no_index() {
    let place = workplace("full");
    write_checkpoint(&place.join("w.safetensors"), |_, _, _| true);
    assert!(import(&place).status.success());
    paint(&place, 6);
    // A limit on file size fails writes as a full disk does, and needs no disk to fill.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 16; exec '{TOOL}' pack --model model --images images -o index"
    );
    let output = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(&place)
        .output()
        .unwrap();
    assert_fails(&output, &["index/"]);
    assert!(!place.join("index/manifest.json").exists());
    let left: Vec<_> = walkdir::WalkDir::new(place.join("index"))
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // With room, the same command goes on to a whole index.
    assert!(
        tool(
            &place,
            &[
                "pack", "--model", "model", "--images", "images", "-o", "index"
            ]
        )
        .status
        .success()
    );
    assert!(place.join("index/manifest.json").exists());
    fs::remove_dir_all(&place).unwrap();
}
