//! What is in an index, read as a reader does.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use data_attribution::format::clustered::fine::{row_salt, rows_digest};
use data_attribution::format::clustered::{
    CoarseDecoder, CodeRows, Control, Head, Plan, decode_row,
};
use data_attribution::format::manifest::ItemColumns;
use data_attribution::format::{FileRef, Manifest};
use data_attribution::pack::MANIFEST;
use data_attribution::pack::clustered::{LeafChoice, RowEncoder};

use super::model::DIMENSION;
use super::{
    ROWS, clustered, is_left_out, pack_as, usual_rows, workplace, write_features, write_usual,
};

/// A row of an index.
pub struct Row {
    /// [P].
    pub code: Vec<u8>,
    pub cluster: usize,
    /// The number of its leaf, and the leaf's code [V].
    pub leaf: (usize, Vec<i8>),
    /// The fine row.
    pub scale: f32,
    pub fine: Vec<i8>,
}

/// An index, every file checked against the hash that names it.
pub struct ReadIndex {
    pub manifest: Manifest,
    pub head: Head,
    pub rows: Vec<Row>,
    pub names: Vec<String>,
    pub captions: HashMap<String, String>,
    pub control: Control,
}

impl ReadIndex {
    pub fn open(folder: &Path) -> Self {
        let manifest = fs::read(folder.join(MANIFEST)).unwrap();
        let manifest = Manifest::parse(MANIFEST, &manifest).unwrap();
        let read = |file: &FileRef| {
            let bytes = fs::read(folder.join(&file.file)).unwrap();
            file.verify(&bytes).unwrap();
            bytes
        };
        let clusters = manifest.clusters.as_ref().unwrap();
        let head = Head::parse("head", &read(&clusters.head)).unwrap();
        clusters
            .check_head("manifest", &head, manifest.count, manifest.dimension)
            .unwrap();
        let control = Control::parse("control", &read(&clusters.control), &head).unwrap();
        let decoder = CoarseDecoder::new(&head);
        let (mut rows, mut leaves) = (Vec::<Row>::new(), 0);
        for shard in &clusters.coarse {
            let codes = decoder.decode(&head, shard, &read(&shard.file)).unwrap();
            assert_eq!(codes.first_row, rows.len() as u64);
            for (term, words) in codes
                .terms
                .iter()
                .zip(codes.words.chunks(codes.words_per_row))
            {
                let mut code = vec![*term as u8, (term >> 8) as u8];
                words.iter().for_each(|w| code.extend(w.to_le_bytes()));
                let (leaf, axes) = (CodeRows::leaf(*term), head.plan.leaf_axes());
                rows.push(Row {
                    code,
                    cluster: codes.first_cluster + codes.leaves[leaf] as usize,
                    leaf: (
                        leaves + leaf,
                        codes.leaf_codes[leaf * axes..(leaf + 1) * axes].to_vec(),
                    ),
                    scale: 0.0,
                    fine: Vec::new(),
                });
            }
            leaves += codes.leaves.len();
        }
        let named = |path: &str, name: &[u8; 16], bytes: u64| {
            let content = fs::read(folder.join(path)).unwrap();
            let hex: String = name.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(content.len() as u64, bytes);
            assert!(data_attribution::format::sha256_hex(&content).starts_with(&hex));
            assert!(path.contains(&format!("/{}/{hex}.", &hex[..2])));
            content
        };
        for index in 0..head.fine.len() {
            let file = head.fine_file(index);
            let content = named(&file.path, &file.name, file.bytes);
            for (at, bytes) in content.chunks(head.plan.fine_row_bytes()).enumerate() {
                let row = file.first_row + at as u64;
                let fine = decode_row("fine", &head.row_salt, row, DIMENSION, bytes).unwrap();
                rows[row as usize].scale = fine.scale;
                rows[row as usize].fine = fine.codes.to_vec();
            }
        }
        let (mut names, mut captions) = (Vec::new(), HashMap::new());
        for index in 0..head.items.len() {
            let (path, first, count, bytes, name) = head.items_file(index);
            let columns: ItemColumns = serde_json::from_slice(&named(&path, &name, bytes)).unwrap();
            assert_eq!((first, count), (names.len() as u64, columns.names.len()));
            for (name, caption) in columns.names.iter().zip(&columns.captions) {
                captions.extend(caption.clone().map(|caption| (name.clone(), caption)));
            }
            names.extend(columns.names);
        }
        assert!(rows.len() as u64 == head.rows && names.len() == rows.len());
        Self {
            manifest,
            head,
            rows,
            names,
            captions,
            control,
        }
    }

    /// What row `row` stands for.
    pub fn vector(&self, row: usize) -> Vec<f32> {
        let Row {
            cluster,
            scale,
            fine: codes,
            ..
        } = &self.rows[row];
        let mut vector = vec![0.0; DIMENSION];
        let centroid = self.head.clusters[*cluster].centroid;
        self.head.plan.centroid(centroid as usize, &mut vector);
        let values = vector.iter_mut().zip(codes);
        values.for_each(|(value, code)| *value += scale * f32::from(*code));
        vector
    }
}

/// `row` at unit length.
pub fn unit(row: &[f32]) -> Vec<f32> {
    let norm = row
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt();
    row.iter().map(|x| (f64::from(*x) / norm) as f32).collect()
}

/// Squared distances of `unit` to all centroids.
fn distances(plan: &Plan, unit: &[f32]) -> Vec<f64> {
    let mut centroid = vec![0.0; DIMENSION];
    (0..plan.centroid_count())
        .map(|k| {
            plan.centroid(k, &mut centroid);
            let pairs = unit.iter().zip(&centroid);
            pairs.map(|(x, c)| f64::from(x - c).powi(2)).sum()
        })
        .collect()
}

#[test]
fn every_row_is_there_once_in_its_cluster_under_its_name() {
    for leaves in [LeafChoice::Never, LeafChoice::Always] {
        every_row_is_there_once(leaves);
    }
}

fn every_row_is_there_once(leaves: LeafChoice) {
    let place = workplace("contents");
    let features = write_usual(&place, ROWS);
    fs::write(place.join("about.csv"), "path,caption\nrow/77,Mine\n").unwrap();
    let options = data_attribution::pack::PackOptions {
        metadata: Some(place.join("about.csv")),
        ..super::options(&place, "index")
    };
    let quiet = super::Quiet::default();
    let mut chosen = clustered(None);
    chosen.plan.leaves = leaves;
    let (report, sizes) = features
        .with(|inputs| super::pack_clustered(inputs, &options, &chosen, &quiet))
        .unwrap();
    assert!(!place.join("index/.work").exists());
    let rows = usual_rows(ROWS);
    let kept = (0..ROWS).filter(|row| !is_left_out(*row)).count();
    let left_out: Vec<&str> = report.left_out.iter().map(|(name, _)| &**name).collect();
    let first = [
        "row/5", "row/705", "row/1405", "row/2105", "row/2805", "row/3505",
    ];
    assert_eq!(
        (&left_out[..6], report.left_out_count),
        (&first[..], ROWS - kept)
    );
    let index = ReadIndex::open(&place.join("index"));
    assert_eq!((index.manifest, index.rows.len()), (report.manifest, kept));
    let index = ReadIndex::open(&place.join("index"));
    assert_eq!(
        index.captions.get("row/77").map(String::as_str),
        Some("Mine")
    );
    assert_eq!(index.captions.len(), 1);
    assert!(sizes.fine.1 == kept.div_ceil(64) && sizes.items.1 == kept.div_ceil(300));
    assert!(
        index.head.clusters.len() > 4,
        "{} clusters",
        index.head.clusters.len()
    );

    assert_eq!(
        index.head.plan.leaf_axes() > 0,
        leaves == LeafChoice::Always
    );
    let encoder = RowEncoder::new(&index.head.plan);
    let count = index.head.plan.classes.max(1);
    let mut classes: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut seen = vec![false; ROWS];
    let mut last = None;
    for (at, name) in index.names.iter().enumerate() {
        let number: usize = name.strip_prefix("row/").unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{name} twice");
        let wanted = unit(&rows[number]);
        let Row {
            code,
            cluster,
            leaf,
            scale,
            ..
        } = &index.rows[at];
        for (x, y) in index.vector(at).iter().zip(&wanted) {
            assert!((x - y).abs() <= scale * 0.501 + 1e-6, "{name}: {x} for {y}");
        }
        let centroid = index.head.clusters[*cluster].centroid as usize;
        let distances = distances(&index.head.plan, &wanted);
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(distances[centroid] <= nearest + 1e-5, "{name}");
        // The class is the block's: one of them codes all its rows so.
        let classes = classes.entry(*cluster).or_insert((0..count).collect());
        classes.retain(|class| {
            let (mut alone, place) = (Vec::new(), (*class, centroid));
            let encoded = encoder.encode(place, &leaf.1, &wanted, &mut alone);
            encoded.is_ok() && alone == *code
        });
        assert!(!classes.is_empty(), "{name} is coded otherwise");
        // Without leaves rows lie by the signs of their residuals.
        let number = if leaves == LeafChoice::Always {
            number
        } else {
            at
        };
        let key = (centroid, leaf.0, number);
        assert!(
            last < Some(key),
            "{name} is not in order: {last:?}, {key:?}"
        );
        last = Some(key);
    }
    assert!((0..ROWS).all(|row| seen[row] != is_left_out(row)));

    // The salt of the checks is made of all that the rows are.
    let head = &index.head;
    let clusters = head.clusters.iter().zip(head.first_rows.windows(2));
    let digests = clusters.map(|(cluster, ends)| {
        let rows = &index.rows[ends[0] as usize..ends[1] as usize];
        let bodies: Vec<Vec<u8>> = rows
            .iter()
            .map(|Row { scale, fine, .. }| {
                let codes = fine.iter().map(|code| *code as u8);
                scale.to_le_bytes().into_iter().chain(codes).collect()
            })
            .collect();
        (*cluster, rows_digest(bodies.iter().map(Vec::as_slice)))
    });
    assert_eq!(row_salt(&head.salt, digests), head.row_salt);

    let control = &index.control;
    assert_eq!(control.rows.len(), kept.min(4096));
    let (bytes, stride) = (index.head.plan.widths.row_bytes(), index.head.plan.stride());
    for (at, row) in control.rows.iter().enumerate() {
        let Row {
            code,
            leaf,
            scale,
            fine,
            ..
        } = &index.rows[*row as usize];
        assert_eq!(control.codes[at * bytes..(at + 1) * bytes], **code);
        assert_eq!(control.scales[at], *scale);
        let leaf_bytes = index.head.plan.leaf_tables.len();
        let found = control.leaves[at * leaf_bytes..(at + 1) * leaf_bytes].iter();
        let found: Vec<i8> = found.skip(1).map(|code| *code as i8).collect();
        assert_eq!(found, leaf.1);
        assert_eq!(control.fine[at * stride..(at + 1) * stride], **fine);
    }
    fs::remove_dir_all(&place).unwrap();
}

/// Groups of 25 near rows: their leaves are worth their codes, and `pack` finds that out.
#[test]
fn rows_in_small_groups_are_given_leaves() {
    let place = workplace("groups");
    let noise = |of: usize, j: usize| ((of * 31 + j * 17) as f32 * 12.9898).sin();
    let value = |row: usize, j: usize| noise(row / 25, j) + 0.1 * noise(100_003 * (row + 1), j);
    let row = |row: usize| (0..DIMENSION).map(|j| value(row, j)).collect();
    let rows: Vec<Vec<f32>> = (0..4000).map(row).collect();
    let names: Vec<String> = (0..4000).map(|at| format!("row/{at}")).collect();
    let features = write_features(&place, "grouped", &rows, &names);
    let bytes = [LeafChoice::Auto, LeafChoice::Never].map(|leaves| {
        let out = format!("{leaves:?}");
        let mut chosen = clustered(None);
        chosen.plan.leaves = leaves;
        pack_as(&place, &out, &features, &chosen).unwrap();
        let index = ReadIndex::open(&place.join(&out));
        let has_leaves = index.head.plan.leaf_axes() > 0;
        assert_eq!(has_leaves, leaves == LeafChoice::Auto);
        let files = &index.manifest.clusters.as_ref().unwrap().coarse;
        files.iter().map(|shard| shard.file.bytes).sum::<u64>()
    });
    assert!(5 * bytes[0] < 4 * bytes[1], "{bytes:?}");
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn equal_rows_and_one_row_make_an_index_and_no_usable_row_makes_none() {
    let place = workplace("odd");
    let row =
        |scale: f32| -> Vec<f32> { (0..DIMENSION).map(|j| scale * (j as f32 - 7.5)).collect() };
    for (name, count) in [("equal", 500), ("one", 1), ("two", 2), ("many", 9000)] {
        let rows: Vec<Vec<f32>> = (0..count).map(|at| row(1.0 + at as f32)).collect();
        let names: Vec<String> = (0..count).map(|at| format!("{name}\t\"{at}\"")).collect();
        let features = write_features(&place, name, &rows, &names);
        pack_as(&place, name, &features, &clustered(None)).unwrap();
        let index = ReadIndex::open(&place.join(name));
        assert_eq!(index.rows.len(), count);
        let mut found = index.names.clone();
        let mut wanted = names.clone();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        let wanted = unit(&rows[0]);
        for at in 0..count {
            let scale = index.rows[at].scale;
            for (x, y) in index.vector(at).iter().zip(&wanted) {
                assert!((x - y).abs() <= scale * 0.501 + 1e-6);
            }
        }
    }
    let rows = vec![row(0.0), row(f32::NAN), row(f32::INFINITY)];
    let names = ["a", "b", "c"].map(str::to_owned);
    let features = write_features(&place, "none", &rows, &names);
    let error = pack_as(&place, "none", &features, &clustered(None)).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(!place.join("none").join(MANIFEST).exists());
    fs::remove_dir_all(&place).unwrap();
}
