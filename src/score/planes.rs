//! How rows lie on the GPU: in planes of one word, four rows side by side, so that neighbouring
//! invocations, which score neighbouring rows, read neighbouring bytes: [W, rows / 4, 4].

use super::QuantizedQuery;
use super::codes::CodeQuery;
use crate::format::clustered::{CodeRows, Head};
use crate::format::shard::FineShard;

/// Rows that are transposed at a time, so that what is read stays in the nearest cache.
const TILE: usize = 32;

/// Rows for one upload.
pub(super) struct Block {
    pub rows: usize,
    /// Id of the first one.
    pub first_id: u32,
    /// [W, rows / 4] fours of words.
    pub planes: Vec<[u32; 4]>,
    /// A word a row: its scale, or its terms.
    pub values: Vec<u32>,
    /// B and A of the leaves; empty for int8 rows.
    pub bases: Vec<[i32; 2]>,
    /// The end of the kernel's parameters.
    pub params: [u32; 2],
}

/// Rows `first..first + rows` of `shard` for `shaders/score_rows.wgsl`.
pub(super) fn rows_block(
    query: &QuantizedQuery,
    shard: &FineShard,
    first: usize,
    rows: usize,
) -> Block {
    let width = shard.stride / 4;
    // Strides are whole words, but nothing says that the bytes lie at a multiple of 4.
    let codes = shard.codes.as_chunks::<4>().0;
    let word = |i: usize| codes.get(i).map_or(0, |word| bytemuck::cast(*word));
    let scales = shard.scales.iter().skip(first).take(rows);
    Block {
        rows,
        first_id: (shard.first_row as u32).wrapping_add(first as u32),
        planes: planes(width, rows, |row, plane| {
            word((first + row) * width + plane)
        }),
        values: scales.map(|scale| scale.to_bits()).collect(),
        bases: Vec::new(),
        params: [query.scale.to_bits(), 0],
    }
}

/// Rows `first..first + rows` of `codes` for `shaders/score_codes.wgsl`.
pub(super) fn codes_block(
    query: &CodeQuery,
    head: &Head,
    codes: &CodeRows,
    first: usize,
    rows: usize,
) -> Block {
    let width = codes.words_per_row;
    let word = |i: usize| codes.words.get(i).copied().unwrap_or_default();
    let terms = codes.terms.iter().skip(first).take(rows);
    Block {
        rows,
        first_id: (codes.first_row as u32).wrapping_add(first as u32),
        planes: planes(width, rows, |row, plane| {
            word((first + row) * width + plane)
        }),
        values: terms.copied().collect(),
        bases: query.local_terms(head, codes),
        params: [query.zero() as u32, query.unit().to_bits()],
    }
}

/// The planes of `rows` rows of `width` words, which `word(row, plane)` gives.
fn planes(width: usize, rows: usize, word: impl Fn(usize, usize) -> u32) -> Vec<[u32; 4]> {
    let fours = rows.div_ceil(4);
    let mut planes = vec![[0; 4]; width * fours];
    for start in (0..fours).step_by(TILE / 4) {
        for (plane, to) in planes.chunks_exact_mut(fours.max(1)).enumerate() {
            let to = to.iter_mut().enumerate().skip(start).take(TILE / 4);
            for (four, to) in to {
                // Behind the last row lies whatever, which is not scored.
                *to = std::array::from_fn(|i| word(4 * four + i, plane));
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_holds_the_same_word_of_all_rows() {
        let query = QuantizedQuery::new(&[1.0; 37]).unwrap();
        let shard = FineShard {
            first_row: 1000,
            dimension: 37,
            stride: 40,
            scales: (0..70).map(|i| i as f32).collect(),
            codes: (0..70 * 40).map(|i| (i * 7 % 251) as u8 as i8).collect(),
        };
        for (first, rows) in [(0, 70), (0, 64), (64, 6), (33, 33), (0, 0)] {
            let block = rows_block(&query, &shard, first, rows);
            assert_eq!(block.planes.len(), 10 * rows.div_ceil(4));
            assert_eq!(block.first_id, 1000 + first as u32);
            for row in 0..rows {
                assert_eq!(block.values[row], ((first + row) as f32).to_bits());
                for j in 0..40 {
                    let four = block.planes[j / 4 * rows.div_ceil(4) + row / 4];
                    let found = four[row % 4].to_le_bytes()[j % 4] as i8;
                    assert_eq!(found, shard.codes[(first + row) * 40 + j]);
                }
            }
        }
    }
}
