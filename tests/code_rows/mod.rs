//! Generated clustered indexes, without files: heads and coarse codes for the tests of scoring.

use data_attribution::format::clustered::{Cluster, CodeRows, FrequencyTable, Head, Plan, Widths};
use data_attribution::format::shard::row_stride;

/// A number from -1 to 1 for each counter.
pub fn noise(stream: u32, i: usize) -> f32 {
    (bits(stream, i) as f64 / f64::from(u32::MAX) * 2.0 - 1.0) as f32
}

pub fn bits(stream: u32, i: usize) -> u32 {
    let mut n = (i as u32).wrapping_mul(0x9e37_79b1) ^ stream.wrapping_mul(0x85eb_ca77);
    n = (n ^ (n >> 15)).wrapping_mul(0x2c1b_3c6d);
    n = (n ^ (n >> 12)).wrapping_mul(0x297a_2d39);
    n ^ (n >> 15)
}

pub fn unit(stream: u32, dimension: usize) -> Vec<f32> {
    let values: Vec<f32> = (0..dimension).map(|i| noise(stream, i)).collect();
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    values.iter().map(|x| x / norm).collect()
}

pub fn widths(eight: usize, four: usize, two: usize) -> Widths {
    Widths { eight, four, two }
}

/// What the codes of a row are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Codes {
    Random,
    /// Each row is one of five.
    Ties,
    /// Every field 0 (and const and gain).
    Lowest,
    /// Every field all ones, gain 255, const -1.
    Highest,
    /// Bytes 0x80 (the most negative code), const -128, gain 255.
    Extreme,
}

/// V.
const LEAF_AXES: usize = 21;
/// Rows of a leaf.
const LEAF_ROWS: usize = 20;

/// A head with clusters of the given sizes, whose centroids repeat, and the code rows of each cluster.
pub fn index(
    widths: Widths,
    dimension: usize,
    sizes: &[u32],
    codes: Codes,
) -> (Head, Vec<CodeRows>) {
    let m = widths.dimensions();
    let centroids = sizes.len().clamp(1, 3);
    let stride = row_stride(dimension);
    let axes = LEAF_AXES.min(dimension);
    let zero = |j: usize| match widths.bits(j) {
        8 => 0.0,
        bits => f64::from(1u32 << (bits - 1)) as f32 - 0.5 + 0.3 * noise(3, j),
    };
    let plan = Plan {
        dimension,
        widths,
        classes: 0,
        fine_rows: 64,
        items_per_file: 64,
        const_step: 0.002,
        gain_step: 1.5 / 255.0,
        rest_variance: 0.001,
        steps: (0..m).map(|j| 0.04 + 0.03 * noise(1, j)).collect(),
        zeros: (0..m).map(zero).collect(),
        variances: vec![0.01; m],
        leaf_steps: (0..axes).map(|j| 0.02 + 0.01 * noise(2, j)).collect(),
        transform: (0..m.max(axes))
            .flat_map(|j| unit(100 + j as u32, dimension))
            .collect(),
        centroid_scales: vec![0.7 / 127.0; centroids],
        spreads: vec![0.5; centroids],
        centroids: (0..centroids * stride)
            .map(|i| match i % stride < dimension {
                true => (127.0 * noise(4, i) / (dimension as f32).sqrt()) as i8,
                false => 0,
            })
            .collect(),
        tables: Vec::new(),
        leaf_tables: (0..axes + axes.min(1))
            .map(|_| FrequencyTable::from_counts(&[1; 256]))
            .collect(),
    };
    let mut first_rows = vec![0u64];
    let mut files = Vec::new();
    for (cluster, rows) in sizes.iter().enumerate() {
        let first_row = first_rows[cluster];
        let (term_at, word_at) = (first_row as usize, first_row as usize * widths.words());
        let rows = *rows as usize;
        let value = |stream: u32, i: usize, row: usize, at: usize| match codes {
            Codes::Random => bits(stream, i),
            Codes::Ties => bits(stream, (row % 5) * 4096 + at),
            Codes::Lowest => 0,
            Codes::Highest => u32::MAX,
            Codes::Extreme => 0x8080_8080,
        };
        let term = |i: usize| match codes {
            Codes::Extreme => 0xff80,
            _ => value(5, term_at + i, i, 0) & 0xffff,
        };
        let leaf = |i: usize| (i / LEAF_ROWS) as u32;
        let leaves = rows.div_ceil(LEAF_ROWS);
        // Ties: leaves are equal, too.
        let leaf_code = |i: usize| match codes {
            Codes::Ties => 7,
            _ => value(7, cluster * 8192 + i, 0, i) as i8,
        };
        files.push(CodeRows {
            first_row,
            first_cluster: cluster,
            words_per_row: widths.words(),
            terms: (0..rows).map(|i| term(i) | leaf(i) << 16).collect(),
            words: (0..rows * widths.words())
                .map(|i| value(6, word_at + i, i / widths.words(), i % widths.words()))
                .collect(),
            leaves: vec![0; leaves],
            leaf_codes: (0..leaves * axes).map(leaf_code).collect(),
        });
        first_rows.push(first_row + rows as u64);
    }
    let clusters = sizes.iter().enumerate().map(|(i, rows)| Cluster {
        centroid: (i % centroids) as u32,
        rows: *rows,
    });
    let head = Head {
        salt: [0; 16],
        row_salt: [0; 16],
        rows: first_rows[sizes.len()],
        clusters: clusters.collect(),
        first_rows,
        fine: Vec::new(),
        items: Vec::new(),
        plan,
    };
    (head, files)
}

/// The code rows of the clusters `range` as one file, which counts its clusters from the first one.
pub fn joined(files: &[CodeRows]) -> CodeRows {
    let mut whole = files[0].clone();
    for (i, file) in files.iter().enumerate().skip(1) {
        let before = whole.leaves.len() as u32;
        let terms = file.terms.iter().map(|term| term + (before << 16));
        whole.terms.extend(terms);
        whole.leaves.extend(file.leaves.iter().map(|_| i as u32));
        whole.leaf_codes.extend(&file.leaf_codes);
        whole.words.extend(&file.words);
    }
    whole
}
