//! Ground truth that tests make for themselves.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use data_attribution::evaluate::{Missing, TruthOptions};
use serde_json::json;

/// A source of chance for features: a linear congruential generator.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / 16_777_216.0
    }

    /// About normal.
    fn bell(&mut self) -> f32 {
        ((0..4).map(|_| self.unit()).sum::<f32>() - 2.0) * 1.732
    }

    fn row(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.bell()).collect()
    }
}

pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let name = format!("data-attribution-calibrate-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("features")).unwrap();
        Self(path)
    }

    pub fn truth(&self) -> TruthOptions {
        TruthOptions {
            cases: vec![self.0.join("cases.json")],
            features: self.0.join("features"),
            database: None,
            missing: Missing::Stop,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `.npy` file of f32 rows.
pub fn write_npy(path: &Path, rows: &[Vec<f32>]) {
    let shape = (rows.len(), rows[0].len());
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape:?}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// Ground truth as it was made.
pub struct Made {
    pub database: Vec<Vec<f32>>,
    pub exemplars: Vec<Vec<Vec<f32>>>,
    pub queries: Vec<Vec<Vec<f32>>>,
}

/// Entries around directions of their own; queries are their exemplars' mean direction with the coordinates
/// rotated by `shift` places, and noise.
pub fn make(
    scratch: &Scratch,
    (entries, per_entry, items, dimension): (usize, usize, usize, usize),
    (noise, shift): (f32, usize),
) -> Made {
    let mut chance = Chance(42);
    let mut made = Made {
        database: (0..items).map(|_| chance.row(dimension)).collect(),
        exemplars: Vec::new(),
        queries: Vec::new(),
    };
    let mut cases = Vec::new();
    let (mut exemplar_names, mut synth_names) = (String::new(), String::new());
    for e in 0..entries {
        let direction = chance.row(dimension);
        let mut near = |shift: usize, noise: f32| -> Vec<f32> {
            let rotated = (0..dimension).map(|i| direction[(i + shift) % dimension]);
            rotated.map(|x| 3.0 * (x + noise * chance.bell())).collect()
        };
        let exemplars: Vec<_> = (0..2 + e % 3).map(|_| near(0, 0.5)).collect();
        made.queries
            .push((0..per_entry).map(|_| near(shift, noise)).collect());
        let named = |kind: &str, count: usize| -> Vec<String> {
            (0..count).map(|i| format!("{kind}/{e}/{i}.png")).collect()
        };
        let (of_exemplars, of_queries) = (named("x", exemplars.len()), named("q", per_entry));
        for name in &of_exemplars {
            exemplar_names += &format!("{name}\n");
        }
        for name in &of_queries {
            synth_names += &format!("{name}\n");
        }
        cases.push(json!({"exemplar": of_exemplars, "synth": {"any": of_queries}, "class_id": e}));
        made.exemplars.push(exemplars);
    }
    let features = scratch.0.join("features");
    fs::write(scratch.0.join("cases.json"), json!(cases).to_string()).unwrap();
    fs::write(features.join("exemplar.txt"), exemplar_names).unwrap();
    fs::write(features.join("synth.txt"), synth_names).unwrap();
    write_npy(&features.join("database.npy"), &made.database);
    write_npy(&features.join("exemplar.npy"), &made.exemplars.concat());
    write_npy(&features.join("synth.npy"), &made.queries.concat());
    made
}
