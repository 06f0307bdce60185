//! A whole small index, with clusters of every remainder by the coder's four lanes.

use data_attribution::error::Error;
use data_attribution::format::FileRef;
use data_attribution::format::clustered::{
    BlockCodes, Cluster, CoarseDecoder, CoarseShard, CodeRows, Control, FrequencyTable, Head,
    ItemsName, Plan, Widths, encode_block, encode_file,
};
/// Numbers that look random and are the same on every run (xorshift64*).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        number as usize % bound
    }
}

pub const DIMENSION: usize = 5;
pub const WIDTHS: Widths = Widths {
    eight: 4,
    four: 8,
    two: 16,
};
/// P.
pub const ROW_BYTES: usize = 14;
pub const CENTROIDS: usize = 3;
/// Clusters of every remainder by four lanes; the first centroid's are split.
pub const CLUSTERS: [(u32, u32); 8] = [
    (0, 1),
    (0, 4),
    (2, 9),
    (1, 2),
    (1, 8),
    (2, 3),
    (0, 7),
    (1, 5),
];
/// The first coarse file has this many clusters.
pub const FIRST_FILE: usize = 3;
pub const ROWS: u64 = 39;

/// V of a sample with so many classes.
pub fn leaf_axes(classes: usize) -> usize {
    [3, 0, 5][classes]
}

/// A whole small index.
pub struct Index {
    pub head_bytes: Vec<u8>,
    pub head: Head,
    pub decoder: CoarseDecoder,
    pub control: Vec<u8>,
    /// Entries, blocks, files.
    pub coarse: Vec<(CoarseShard, Vec<Vec<u8>>, Vec<u8>)>,
    /// [N, P].
    pub codes: Vec<u8>,
    /// The leaf [1 + V] of each row.
    pub leaves: Vec<Vec<u8>>,
}

/// The entry of a coarse file with these clusters and rows.
pub fn shard(
    bytes: &[u8],
    [first_cluster, clusters]: [u64; 2],
    [first_row, rows]: [u64; 2],
) -> CoarseShard {
    CoarseShard {
        file: FileRef::of("coarse", "bin", bytes),
        first_cluster,
        clusters,
        first_row,
        rows,
    }
}

/// `count` values from `first` up.
fn rising(first: f32, count: usize) -> Vec<f32> {
    (0..count).map(|i| first * (1.0 + i as f32 / 8.0)).collect()
}

/// Leaves [.., 1 + `axes`] of a cluster of `rows` rows: of one row, of two, and so on.
fn leaves(dice: &mut Dice, axes: usize, rows: u32) -> Vec<Vec<u8>> {
    let (mut left, mut leaves) = (rows as usize, Vec::new());
    while left > 0 && axes > 0 {
        let size = (leaves.len() + 1).min(left);
        left -= size;
        let codes = (0..axes).map(|_| 250u8.wrapping_add(dice.below(12) as u8));
        leaves.push([(size - 1) as u8].into_iter().chain(codes).collect());
    }
    leaves
}

/// A plan whose tables know the symbols of `codes` [n, P].
pub fn plan(classes: usize, codes: &[u8]) -> Plan {
    let (dimensions, stride) = (WIDTHS.dimensions(), DIMENSION.next_multiple_of(4));
    let tables = (0..classes * ROW_BYTES).map(|table| {
        let mut counts = [0; 256];
        for row in codes.chunks_exact(ROW_BYTES) {
            counts[usize::from(row[table % ROW_BYTES])] += 1 + table as u64;
        }
        FrequencyTable::from_counts(&counts)
    });
    let centroids = (0..CENTROIDS * stride).map(|i| match i % stride {
        ..DIMENSION => i as i8 * 5 - 60,
        _ => 0,
    });
    // As many rows as there are leaves with so many, and codes from -6 to 5.
    let leaf_tables = (0..leaf_axes(classes) + leaf_axes(classes).min(1)).map(|at| {
        let count = |symbol: usize| match at {
            0 => u64::from(symbol < 8),
            _ => u64::from(!(6..250).contains(&symbol)) * (1 + symbol as u64),
        };
        FrequencyTable::from_counts(&std::array::from_fn(count))
    });
    Plan {
        dimension: DIMENSION,
        widths: WIDTHS,
        classes,
        fine_rows: 16,
        items_per_file: 20,
        const_step: 0.004,
        gain_step: 0.01,
        rest_variance: 0.003,
        steps: rising(0.01, dimensions),
        zeros: rising(-0.5, dimensions),
        variances: rising(0.02, dimensions),
        leaf_steps: rising(0.02, leaf_axes(classes)),
        transform: (0..dimensions * DIMENSION)
            .map(|i| i as f32 / 256.0 - 0.25)
            .collect(),
        centroid_scales: rising(1.0 / 256.0, CENTROIDS),
        spreads: rising(0.3, CENTROIDS),
        centroids: centroids.collect(),
        tables: tables.collect(),
        leaf_tables: leaf_tables.collect(),
    }
}

impl Index {
    pub fn new(classes: usize) -> Self {
        let dice = &mut Dice(3);
        let codes = (0..ROWS as usize * ROW_BYTES).map(|_| {
            let bound = 1 + dice.below(256);
            (dice.below(bound) / 8 * 11) as u8
        });
        let codes: Vec<u8> = codes.collect();
        let plan = plan(classes, &codes);
        let encoded = plan.encode().unwrap();
        let clusters = CLUSTERS.map(|(centroid, rows)| Cluster { centroid, rows });
        let items = [5, 6].map(|byte| ItemsName {
            name: [byte; 16],
            bytes: 70 + u32::from(byte),
        });
        let names = [[0xab; 16], [2; 16], [3; 16]];
        let head_bytes = Head::encode(&encoded, &[9; 16], &clusters, &names, &items).unwrap();
        let head = Head::parse("head", &head_bytes).unwrap();
        let (mut rest, mut of_rows) = (&codes[..], Vec::new());
        let blocks: Vec<Vec<u8>> = CLUSTERS
            .iter()
            .map(|(centroid, rows)| {
                let leaves = leaves(dice, leaf_axes(classes), *rows);
                let (rows, more) = rest.split_at(*rows as usize * ROW_BYTES);
                rest = more;
                let block = BlockCodes {
                    class: *centroid as usize % classes.max(1),
                    leaves: &leaves.concat(),
                    rows,
                };
                for leaf in leaves {
                    of_rows.extend(vec![leaf.clone(); 1 + usize::from(leaf[0])]);
                }
                encode_block(&plan, block).unwrap()
            })
            .collect();
        of_rows.resize(ROWS as usize, Vec::new());
        let file = |first: usize, end: usize| {
            let (start, blocks) = (head.first_rows[first], &blocks[first..end]);
            let rows = head.first_rows[end] - start;
            let bytes = encode_file(first as u32, start, rows as u32, head.salt, blocks).unwrap();
            let entry = shard(&bytes, [first as u64, blocks.len() as u64], [start, rows]);
            (entry, blocks.to_vec(), bytes)
        };
        let coarse = vec![file(0, FIRST_FILE), file(FIRST_FILE, CLUSTERS.len())];
        let control = Control {
            rows: vec![0, 7, 38],
            codes: [0, 7, 38]
                .map(|row| &codes[row * ROW_BYTES..][..ROW_BYTES])
                .concat(),
            leaves: [0, 7, 38].map(|row| of_rows[row].as_slice()).concat(),
            scales: vec![0.001, 0.0, 0.002],
            fine: (0..3 * 8).map(|i| i * 5 - 60).collect(),
        };
        Self {
            control: control.encode(&plan, &head.salt).unwrap(),
            decoder: CoarseDecoder::new(&head),
            head_bytes,
            head,
            coarse,
            codes,
            leaves: of_rows,
        }
    }

    /// Decodes `bytes` as coarse file `file`.
    pub fn decode(&self, file: usize, bytes: &[u8]) -> Result<CodeRows, Error> {
        self.decoder.decode(&self.head, &self.coarse[file].0, bytes)
    }
}
