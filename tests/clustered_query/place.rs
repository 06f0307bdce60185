//! Rows with clusters of their own, packed by the tool as a clustered index, and what brute force says of them.

use super::made::{Scratch, write_npy};
use data_attribution::attribution::{Ask, Attribution, Attributor, Quality, Silent};
use data_attribution::device::DeviceChoice;
use data_attribution::format::clustered::{Head, decode_row};
use data_attribution::format::{Manifest, MapperKind, MapperLayer};
use data_attribution::mapper::folder::{MapperWeights, write_mapper};
use data_attribution::pack::MANIFEST;
use data_attribution::source::folder::Folder;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub const DIMENSION: usize = 48;

/// SplitMix64, as a bell curve.
pub struct Chance(pub u64);

impl Chance {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bell(&mut self) -> f32 {
        let sum: f32 = (0..12)
            .map(|_| (self.bits() >> 40) as f32 / 16_777_216.0)
            .sum();
        sum - 6.0
    }
}

pub fn unit(row: &mut [f32]) {
    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter_mut().for_each(|x| *x /= norm);
}

/// A mapper that takes the first `outputs` of `inputs` values.
pub fn first_values(inputs: usize, outputs: usize) -> MapperWeights {
    let values = (0..inputs * outputs).map(|i| f32::from(i / inputs == i % inputs));
    let values: Vec<f32> = values.collect();
    MapperWeights {
        kind: MapperKind::Linear,
        layers: vec![MapperLayer::Linear {
            inputs,
            outputs,
            bias: true,
            relu: false,
        }],
        real: [&values[..], &vec![0.0; outputs]].concat(),
        synth: [&values[..], &vec![0.0; outputs]].concat(),
    }
}

pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Rows around some centres, of falling variance along the axes, and queries a little off some of them.
pub fn features(count: usize, queries: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut chance = Chance(7);
    let mut around = |centre: &[f32], spread: f32| -> Vec<f32> {
        let axes = centre.iter().enumerate();
        let mut row: Vec<f32> = axes
            .map(|(j, c)| c + spread * chance.bell() / (1.0 + j as f32 / 6.0))
            .collect();
        unit(&mut row);
        row
    };
    let centres: Vec<Vec<f32>> = (0..40).map(|_| around(&[0.3; DIMENSION], 1.0)).collect();
    let rows: Vec<Vec<f32>> = (0..count)
        .map(|i| around(&centres[i * i % 40], 0.5))
        .collect();
    let asked = (0..queries).map(|i| around(&rows[(i * 997 + 5) % count], 0.15));
    (rows.clone(), asked.collect())
}

pub struct Place {
    pub scratch: Scratch,
    pub rows: Vec<Vec<f32>>,
}

impl Place {
    /// Packs `rows` as a clustered index.
    pub fn pack(name: &str, rows: Vec<Vec<f32>>, calibrator: [&str; 2]) -> Self {
        Self::pack_of(name, rows, calibrator, DIMENSION)
    }

    /// Packs `rows`, of which the first `dimension` values count.
    pub fn pack_of(
        name: &str,
        rows: Vec<Vec<f32>>,
        calibrator: [&str; 2],
        dimension: usize,
    ) -> Self {
        let scratch = Scratch::new(name);
        let place = Self { scratch, rows };
        write_npy(&place.at("rows.npy"), &place.rows);
        let names: Vec<String> = (0..place.rows.len()).map(|i| format!("{i}.png")).collect();
        fs::write(place.at("names.txt"), names.join("\n")).unwrap();
        // A backbone has features of a multiple of 4 values; a mapper makes fewer of them.
        let features = place.rows[0].len();
        let size = features.to_string();
        place.run(&["toy-model", "--dimension", &size, "--out", "model"]);
        let mut mapper = Vec::new();
        if features != dimension {
            write_mapper(
                &first_values(features, dimension),
                "fewer",
                None,
                &place.at("m"),
            )
            .unwrap();
            mapper = vec!["--mapper", "m"];
        }
        let pack = [
            "pack",
            "--model",
            "model",
            "--features",
            "rows.npy",
            "--names",
            "names.txt",
            "--out",
            "index",
            "--structure",
            "clustered",
            "--inv-tau",
            calibrator[0],
            "--bias",
            calibrator[1],
        ];
        place.run(&[&pack[..], &mapper].concat());
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    pub fn run(&self, arguments: &[&str]) {
        let tool = env!("CARGO_BIN_EXE_data-attribution");
        let output = Command::new(tool)
            .args(arguments)
            .current_dir(&self.scratch.0)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub fn open(
        &self,
        device: DeviceChoice,
    ) -> Result<Attributor<Folder>, data_attribution::Error> {
        let source = Folder::new(self.at("index"));
        pollster::block_on(Attributor::open(source, MANIFEST, device, &Silent))
    }

    /// The original number of a hit, which is its name.
    pub fn originals(answer: &Attribution) -> Vec<usize> {
        let number = |name: &str| name.trim_end_matches(".png").parse().unwrap();
        answer.hits.iter().map(|hit| number(&hit.name)).collect()
    }

    /// The best `k` by float32 rows.
    pub fn truth(&self, query: &[f32], k: usize) -> HashSet<usize> {
        let mut scored: Vec<(f64, usize)> = self
            .rows
            .iter()
            .enumerate()
            .map(|(i, row)| (dot(row, query), i))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        scored.into_iter().take(k).map(|(_, i)| i).collect()
    }

    /// The head, and each row as its fine row stands for it.
    pub fn decoded(&self) -> (Head, Vec<Vec<f32>>) {
        let manifest = Manifest::parse(
            MANIFEST,
            &fs::read(self.at("index").join(MANIFEST)).unwrap(),
        )
        .unwrap();
        let clusters = manifest.clusters.unwrap();
        let head = Head::parse(
            "head",
            &fs::read(self.at("index").join(&clusters.head.file)).unwrap(),
        )
        .unwrap();
        let mut rows = Vec::new();
        let mut centroid = vec![0.0; DIMENSION];
        for file in (0..head.fine.len()).map(|index| head.fine_file(index)) {
            let bytes = fs::read(self.at("index").join(&file.path)).unwrap();
            for (row, bytes) in
                (file.first_row..).zip(bytes.chunks_exact(head.plan.fine_row_bytes()))
            {
                let fine = decode_row(&file.path, &head.row_salt, row, DIMENSION, bytes).unwrap();
                let cluster = head.clusters[head.cluster_of(row)];
                head.plan.centroid(cluster.centroid as usize, &mut centroid);
                let values = centroid.iter().zip(fine.codes);
                rows.push(
                    values
                        .map(|(c, code)| c + fine.scale * f32::from(*code))
                        .collect(),
                );
            }
        }
        (head, rows)
    }
}

pub fn ask(
    attributor: &Attributor<Folder>,
    query: &[f32],
    top_k: usize,
    quality: Quality,
) -> Attribution {
    let ask = Ask { top_k, quality };
    pollster::block_on(attributor.attribute_feature(query, ask, &Silent)).unwrap()
}

/// Influences of all rows in f64, after the formula in `attribution.md`'s words: softmax with an offset, cut at zero.
pub fn influences(scores: &[f64], inv_tau: f64, offset: f64) -> Vec<f64> {
    let best = scores.iter().copied().fold(f64::MIN, f64::max);
    let t: Vec<f64> = scores
        .iter()
        .map(|s| ((inv_tau * (s - best)).exp() + offset).max(0.0))
        .collect();
    let sum: f64 = t.iter().sum();
    t.into_iter().map(|t| t / sum).collect()
}
