//! The entropy coder of coarse rows and leaves: rANS with four interleaved states and tables of 12 bits.
//!
//! Each byte position of a row has its own table. Lane l holds the rows l, l + 4, …; the lanes take turns
//! and share one stream of 16-bit words. States stay in 2^16 .. 2^32. What the decoder reads
//! last is what the encoder starts with, so the encoder runs backwards. rANS: J. Duda,
//! "Asymmetric numeral systems", arXiv:1311.2540.

pub use super::frequencies::{FrequencyTable, PROBABILITY_BITS, PROBABILITY_SUM};
use crate::error::{Error, Result};

/// Rows that are coded side by side.
pub const LANES: usize = 4;

/// States below this take another word; also the state at the end of a block.
const STATE_LOW: u32 = 1 << 16;
/// Bytes of the states at the start of a block.
const STATES_BYTES: usize = 4 * LANES;

/// Codes `rows` [n, P] with one table a byte position.
///
/// # Errors
/// [`Error::InvalidArgument`] for rows that are not whole, a table that does not sum to 4096, or a symbol that its
/// table does not have.
pub fn encode_block(tables: &[FrequencyTable], rows: &[u8]) -> Result<Vec<u8>> {
    let positions = tables.len();
    if positions == 0 || !rows.len().is_multiple_of(positions) {
        return Err(Error::invalid(format!(
            "{} bytes cannot be rows of {positions} bytes",
            rows.len()
        )));
    }
    if let Some(position) = tables.iter().position(|table| !table.is_whole()) {
        return Err(Error::invalid(format!(
            "the table of byte {position} does not sum to {PROBABILITY_SUM}"
        )));
    }
    let starts: Vec<[u32; 256]> = tables.iter().map(FrequencyTable::starts).collect();
    let count = rows.len() / positions;
    let mut states = [STATE_LOW; LANES];
    let mut words: Vec<u16> = Vec::with_capacity(rows.len() / 4 + 16);
    for group in (0..count.div_ceil(LANES)).rev() {
        let lanes = (count - group * LANES).min(LANES);
        for position in (0..positions).rev() {
            let table = &tables[position];
            for lane in (0..lanes).rev() {
                let symbol = usize::from(rows[(group * LANES + lane) * positions + position]);
                let frequency = u32::from(table.frequencies[symbol]);
                if frequency == 0 {
                    return Err(Error::invalid(format!(
                        "the table of byte {position} does not have the symbol {symbol}"
                    )));
                }
                let mut state = states[lane];
                if u64::from(state) >= u64::from(frequency) << 20 {
                    words.push(state as u16);
                    state >>= 16;
                }
                states[lane] = ((state / frequency) << PROBABILITY_BITS)
                    + state % frequency
                    + starts[position][symbol];
            }
        }
    }
    let mut bytes = Vec::with_capacity(STATES_BYTES + 2 * words.len() + 2);
    for state in states {
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    for word in words.iter().rev() {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

/// What the slots of one table mean.
struct SlotTable {
    /// The symbol of each slot.
    symbols: [u8; PROBABILITY_SUM as usize],
    /// Of each symbol: frequency | first slot << 16.
    spans: [u32; 256],
}

impl SlotTable {
    fn new(table: &FrequencyTable) -> Self {
        let mut slots = Self {
            symbols: [0; PROBABILITY_SUM as usize],
            spans: [0; 256],
        };
        let starts = table.starts();
        for (symbol, frequency) in (0u8..=255).zip(table.frequencies.iter()) {
            let start = starts[usize::from(symbol)];
            let end = start as usize + usize::from(*frequency);
            if let Some(slots) = slots.symbols.get_mut(start as usize..end) {
                slots.fill(symbol);
            }
            slots.spans[usize::from(symbol)] = u32::from(*frequency) | start << 16;
        }
        slots
    }

    /// Takes a symbol out of `state`, which may then be below [`STATE_LOW`].
    ///
    /// No overflow: the frequency is at most 4096 and `state >> 12` below 2^20.
    #[inline(always)]
    fn pop(&self, state: &mut u32) -> u8 {
        let slot = *state & (PROBABILITY_SUM - 1);
        let symbol = self.symbols[slot as usize];
        let span = self.spans[usize::from(symbol)];
        let rest = slot.wrapping_sub(span >> 16);
        *state = (span & 0xffff)
            .wrapping_mul(*state >> PROBABILITY_BITS)
            .wrapping_add(rest);
        symbol
    }
}

/// The words of a block.
struct Words<'a> {
    bytes: &'a [u8],
    /// Bytes that were taken; beyond the end when the words ran out.
    taken: usize,
}

impl Words<'_> {
    /// The next four words, the first in the low bits; zeros beyond the end.
    #[inline(always)]
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        match rest.first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => Self::last_window(rest),
        }
    }

    #[cold]
    fn last_window(rest: &[u8]) -> u64 {
        let byte = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        rest.iter().rev().fold(0, byte)
    }

    /// Brings `state` back to [`STATE_LOW`] or more, with the first word of the window if it needs one.
    /// Without a branch: which states need a word cannot be predicted.
    #[inline(always)]
    fn refill(&mut self, window: &mut u64, state: &mut u32) {
        let needs = *state < STATE_LOW;
        let filled = *state << 16 | (*window as u32 & 0xffff);
        *state = if needs { filled } else { *state };
        *window >>= u32::from(needs) * 16;
        self.taken += usize::from(needs) * 2;
    }
}

/// Decodes blocks; holds the slot tables of all classes and byte positions.
pub struct Decoder {
    positions: usize,
    /// [E, P].
    tables: Vec<SlotTable>,
}

impl Decoder {
    /// Builds the slot tables of `tables` [E, P], which sum to 4096 each.
    pub fn new(tables: &[FrequencyTable], positions: usize) -> Self {
        Self {
            positions,
            tables: tables.iter().map(SlotTable::new).collect(),
        }
    }

    /// P.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Decodes a block into `rows` [n, P], whose length says how many there are.
    ///
    /// # Errors
    /// What is wrong with the block, for the caller to say of which file.
    pub fn decode(&self, class: usize, block: &[u8], rows: &mut [u8]) -> Result<(), &'static str> {
        let p = self.positions;
        let tables = class
            .checked_mul(p)
            .and_then(|first| self.tables.get(first..first.checked_add(p)?))
            .filter(|tables| !tables.is_empty())
            .ok_or("there are no tables of its class")?;
        let (first, bytes) = block
            .split_at_checked(STATES_BYTES)
            .ok_or("it is shorter than its states")?;
        let mut states = [0u32; LANES];
        for (state, bytes) in states.iter_mut().zip(first.as_chunks::<4>().0) {
            *state = u32::from_le_bytes(*bytes);
        }
        if states.iter().any(|state| *state < STATE_LOW) {
            return Err("a state is below 65536");
        }
        let mut words = Words { bytes, taken: 0 };
        let [mut a, mut b, mut c, mut d] = states;
        let mut groups = rows.chunks_exact_mut(LANES * p);
        for group in &mut groups {
            let (row_a, group) = group.split_at_mut(p);
            let (row_b, group) = group.split_at_mut(p);
            let (row_c, row_d) = group.split_at_mut(p);
            let rows = row_a.iter_mut().zip(row_b).zip(row_c).zip(row_d);
            for (table, (((in_a, in_b), in_c), in_d)) in tables.iter().zip(rows) {
                let mut window = words.window();
                *in_a = table.pop(&mut a);
                *in_b = table.pop(&mut b);
                *in_c = table.pop(&mut c);
                *in_d = table.pop(&mut d);
                words.refill(&mut window, &mut a);
                words.refill(&mut window, &mut b);
                words.refill(&mut window, &mut c);
                words.refill(&mut window, &mut d);
            }
            if words.taken > words.bytes.len() {
                return Err("its words run out");
            }
        }
        let mut states = [a, b, c, d];
        let group = groups.into_remainder();
        let lanes = group.len() / p;
        for (position, table) in tables.iter().enumerate() {
            for (state, row) in states.iter_mut().zip(group.chunks_exact_mut(p)).take(lanes) {
                row[position] = table.pop(state);
                words.refill(&mut words.window(), state);
            }
        }
        match words.bytes.get(words.taken..) {
            None => Err("its words run out"),
            // The padding.
            Some([] | [0, 0]) if block.len().is_multiple_of(4) => match states {
                [STATE_LOW, STATE_LOW, STATE_LOW, STATE_LOW] => Ok(()),
                _ => Err("its last states are wrong"),
            },
            Some(_) => Err("it has words left over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_code_are_refused() {
        let mut counts = [0; 256];
        counts[1..3].copy_from_slice(&[2, 1]);
        let table = FrequencyTable::from_counts(&counts);
        let tables = [table.clone(), table.clone()];
        let code = |tables: &[FrequencyTable], rows: &[u8]| {
            encode_block(tables, rows).map_err(|error| error.code())
        };
        assert!(code(&tables, &[1, 2]).is_ok());
        assert_eq!(code(&tables, &[1, 3]), Err("invalid-argument"));
        assert_eq!(code(&tables, &[1, 2, 1]), Err("invalid-argument"));
        assert_eq!(code(&[], &[]), Err("invalid-argument"));
        let mut short = table;
        short.frequencies[1] -= 1;
        assert_eq!(code(&[short], &[1]), Err("invalid-argument"));
    }

    #[test]
    fn a_long_block_takes_the_bits_of_its_entropy() {
        let mut counts = [0; 256];
        let symbols: Vec<u8> = (0..40_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 20).trailing_zeros() as u8)
            .inspect(|symbol| counts[usize::from(*symbol)] += 1)
            .collect();
        let tables = [FrequencyTable::from_counts(&counts)];
        let block = encode_block(&tables, &symbols).unwrap();
        let cost = |count: &u64| *count as f64 * (40_000.0 / (*count).max(1) as f64).log2();
        let entropy: f64 = counts.iter().map(cost).sum();
        let bits = 8.0 * (block.len() - STATES_BYTES) as f64;
        let expected = entropy - 64.0..entropy * 1.002 + 64.0;
        assert!(expected.contains(&bits), "{bits}, not in {expected:?}");
        let mut back = vec![0; symbols.len()];
        let decoder = Decoder::new(&tables, 1);
        decoder.decode(0, &block, &mut back).unwrap();
        assert_eq!(back, symbols);
    }
}
