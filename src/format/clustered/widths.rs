//! How the codes of a row lie in 32-bit words: dimensions of 8 bits, then of 4, then of 2.
//!
//! Of a word of width w, dimension 4 s + b is the field at bit 8 b + w s, so that the four fields of
//! equal s are the bytes of `(word >> (w s)) & mask`: one masking gives operands of a dot product of
//! four bytes.

use crate::format::shard::DIMENSION_MAX;

/// Numbers of dimensions of each width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Signed bytes; a multiple of 4.
    pub eight: usize,
    /// Unsigned 4-bit fields; a multiple of 8.
    pub four: usize,
    /// Unsigned 2-bit fields; a multiple of 16.
    pub two: usize,
}

impl Widths {
    /// M, dimensions of all widths.
    pub fn dimensions(self) -> usize {
        self.eight + self.four + self.two
    }

    /// W, 32-bit words of a row.
    pub fn words(self) -> usize {
        self.eight / 4 + self.four / 8 + self.two / 16
    }

    /// P = 2 + 4 W: bytes of a row's code with `const` and `gain`.
    pub fn row_bytes(self) -> usize {
        2 + 4 * self.words()
    }

    /// Width of dimension `j`.
    pub fn bits(self, j: usize) -> u32 {
        if j < self.eight {
            8
        } else if j < self.eight + self.four {
            4
        } else {
            2
        }
    }

    /// The word of dimension `j` and the shift of its field in the word.
    pub fn place(self, j: usize) -> (usize, u32) {
        let bits = self.bits(j);
        let (first_word, field) = match bits {
            8 => (0, j),
            4 => (self.eight / 4, j - self.eight),
            _ => (self.eight / 4 + self.four / 8, j - self.eight - self.four),
        };
        let fields = (32 / bits) as usize;
        let (row, byte) = (field % fields / 4, field % 4);
        (
            first_word + field / fields,
            8 * byte as u32 + bits * row as u32,
        )
    }

    /// Packs `codes` [M] into `words` [W]: -128..=127 for 8 bits, 0..=15 for 4, 0..=3 for 2; higher bits
    /// are cut off.
    pub fn pack(self, codes: &[i16], words: &mut [u32]) {
        words.fill(0);
        for (j, code) in codes.iter().enumerate().take(self.dimensions()) {
            let (word, shift) = self.place(j);
            let mask = (1u32 << self.bits(j)) - 1;
            words[word] |= (*code as u32 & mask) << shift;
        }
    }

    /// The inverse of [`Widths::pack`].
    pub fn unpack(self, words: &[u32], codes: &mut [i16]) {
        for (j, code) in codes.iter_mut().enumerate().take(self.dimensions()) {
            let (word, shift) = self.place(j);
            let field = words[word] >> shift;
            *code = match self.bits(j) {
                8 => i16::from(field as u8 as i8),
                bits => (field & ((1 << bits) - 1)) as i16,
            };
        }
    }

    /// Whether the three are such multiples, with 1 to 2048 dimensions in all.
    pub fn check(self) -> bool {
        let dimensions = self
            .eight
            .checked_add(self.four)
            .and_then(|sum| sum.checked_add(self.two));
        self.eight.is_multiple_of(4)
            && self.four.is_multiple_of(8)
            && self.two.is_multiple_of(16)
            && dimensions.is_some_and(|m| (1..=DIMENSION_MAX).contains(&m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: Widths = Widths {
        eight: 8,
        four: 16,
        two: 32,
    };

    /// Codes that use the whole range of each width.
    fn codes() -> Vec<i16> {
        (0..WIDTHS.dimensions() as i16)
            .map(|j| match j {
                ..8 => [-128, 127, -1, 0, 1, -77, 64, 5][j as usize],
                8..24 => (j * 7) % 16,
                _ => (j * 5 + j / 9) % 4,
            })
            .collect()
    }

    #[test]
    fn the_bytes_of_a_masked_word_are_four_dimensions_in_order() {
        let codes = codes();
        let mut words = [0; 6];
        WIDTHS.pack(&codes, &mut words);
        let mut next = codes.iter();
        for (word, bits) in words.iter().zip([8, 8, 4, 4, 2, 2]) {
            let mask = [0x0303_0303, 0x0f0f_0f0f, u32::MAX][bits as usize / 4];
            for s in 0..8 / bits {
                for byte in (word >> (bits * s) & mask).to_le_bytes() {
                    assert_eq!(byte, *next.next().unwrap() as u8);
                }
            }
        }
        assert_eq!(next.next(), None);
    }

    #[test]
    fn unpacking_gives_back_the_codes() {
        let codes = codes();
        let (mut words, mut back) = ([u32::MAX; 6], vec![0; codes.len()]);
        WIDTHS.pack(&codes, &mut words);
        WIDTHS.unpack(&words, &mut back);
        assert_eq!(back, codes);
        assert_eq!((WIDTHS.dimensions(), WIDTHS.words()), (56, 6));
        assert_eq!(WIDTHS.row_bytes(), 26);
    }

    #[test]
    fn widths_that_do_not_fill_words_are_refused() {
        let check = |eight, four, two| Widths { eight, four, two }.check();
        assert!(WIDTHS.check() && check(4, 0, 0) && check(0, 8, 0) && check(2048, 0, 0));
        for (eight, four, two) in [
            (0, 0, 0),
            (2, 0, 0),
            (4, 4, 0),
            (4, 8, 8),
            (2048, 8, 0),
            (usize::MAX - 3, 8, 0),
        ] {
            assert!(!check(eight, four, two), "{eight} {four} {two}");
        }
    }
}
