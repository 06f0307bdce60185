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
use data_attribution::pack::clustered::RowEncoder;

use super::model::DIMENSION;
use super::{
    ROWS, clustered, is_left_out, pack_as, usual_rows, workplace, write_features, write_usual,
};

/// An index, every file checked against the hash that names it.
pub struct ReadIndex {
    pub manifest: Manifest,
    pub head: Head,
    /// Codes [P] of each row, its cluster, and the decoded fine row as (scale, codes).
    pub rows: Vec<(Vec<u8>, usize, f32, Vec<i8>)>,
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
        let mut rows = Vec::new();
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
                let cluster = codes.first_cluster + CodeRows::cluster(*term);
                rows.push((code, cluster, 0.0, Vec::new()));
            }
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
                rows[row as usize].2 = fine.scale;
                rows[row as usize].3 = fine.codes.to_vec();
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
        let (_, cluster, scale, codes) = &self.rows[row];
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
    let place = workplace("contents");
    let features = write_usual(&place, ROWS);
    fs::write(place.join("about.csv"), "path,caption\nrow/77,Mine\n").unwrap();
    let options = data_attribution::pack::PackOptions {
        metadata: Some(place.join("about.csv")),
        ..super::options(&place, "index")
    };
    let quiet = super::Quiet::default();
    let (report, sizes) = features
        .with(|inputs| super::pack_clustered(inputs, &options, &clustered(None), &quiet))
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

    let encoder = RowEncoder::new(&index.head.plan);
    let mut seen = vec![false; ROWS];
    let mut last = None;
    for (at, name) in index.names.iter().enumerate() {
        let number: usize = name.strip_prefix("row/").unwrap().parse().unwrap();
        assert!(!std::mem::replace(&mut seen[number], true), "{name} twice");
        let wanted = unit(&rows[number]);
        let (code, cluster, scale, _) = &index.rows[at];
        for (x, y) in index.vector(at).iter().zip(&wanted) {
            assert!((x - y).abs() <= scale * 0.501 + 1e-6, "{name}: {x} for {y}");
        }
        let centroid = index.head.clusters[*cluster].centroid as usize;
        let distances = distances(&index.head.plan, &wanted);
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(distances[centroid] <= nearest + 1e-5, "{name}");
        let mut alone = Vec::new();
        encoder.encode(centroid, &wanted, &mut alone).unwrap();
        assert_eq!(*code, alone, "{name}");
        let key = (centroid, encoder.order_key(code), number);
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
            .map(|(_, _, scale, codes)| {
                let codes = codes.iter().map(|code| *code as u8);
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
        let (code, _, scale, fine) = &index.rows[*row as usize];
        assert_eq!(control.codes[at * bytes..(at + 1) * bytes], **code);
        assert_eq!(control.scales[at], *scale);
        assert_eq!(control.fine[at * stride..(at + 1) * stride], **fine);
    }
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn equal_rows_and_one_row_make_an_index_and_no_usable_row_makes_none() {
    let place = workplace("odd");
    let row =
        |scale: f32| -> Vec<f32> { (0..DIMENSION).map(|j| scale * (j as f32 - 7.5)).collect() };
    for (name, count) in [("equal", 500), ("one", 1), ("two", 2)] {
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
            let scale = index.rows[at].2;
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
