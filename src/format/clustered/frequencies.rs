//! Tables of symbol frequencies, 12 bits, for the entropy coder.
//!
//! Invariant of those made here or parsed: the frequencies sum to 4096.

/// Frequencies of a table sum to 2 to this power.
pub const PROBABILITY_BITS: u32 = 12;
/// Sum of the frequencies of a table.
pub const PROBABILITY_SUM: u32 = 1 << PROBABILITY_BITS;

/// Frequencies of the 256 symbols of one byte position; they sum to 4096, a symbol of frequency 0 cannot
/// be coded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrequencyTable {
    pub frequencies: Box<[u16; 256]>,
}

impl FrequencyTable {
    /// The table for symbols that were counted so often. Each counted symbol gets 1 at least; the rest
    /// goes where it saves most bits. Without any count symbol 0 gets all.
    pub fn from_counts(counts: &[u64; 256]) -> Self {
        let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
        let mut frequencies = Box::new([0u16; 256]);
        if total == 0 {
            frequencies[0] = PROBABILITY_SUM as u16;
            return Self { frequencies };
        }
        let mut sum = 0u32;
        for (frequency, count) in frequencies.iter_mut().zip(counts) {
            if *count > 0 {
                let share = u128::from(*count) * u128::from(PROBABILITY_SUM) / total;
                *frequency = (share as u16).max(1);
                sum += u32::from(*frequency);
            }
        }
        // One more for a symbol of frequency f saves count * log((f + 1) / f), near 2 count / (2 f + 1); in
        // integers, so that every machine makes the same table.
        let savings = |(a, f): (usize, u16), (b, g): (usize, u16)| {
            let saved_by_a = u128::from(counts[a]) * (2 * u128::from(g) + 1);
            let saved_by_b = u128::from(counts[b]) * (2 * u128::from(f) + 1);
            saved_by_a.cmp(&saved_by_b).then(b.cmp(&a))
        };
        while sum < PROBABILITY_SUM {
            let f = &frequencies;
            let best = (0..256)
                .filter(|s| counts[*s] > 0)
                .max_by(|a, b| savings((*a, f[*a]), (*b, f[*b])));
            let Some(best) = best else { break };
            frequencies[best] += 1;
            sum += 1;
        }
        while sum > PROBABILITY_SUM {
            let f = &frequencies;
            let least = (0..256)
                .filter(|s| f[*s] > 1)
                .min_by(|a, b| savings((*a, f[*a] - 1), (*b, f[*b] - 1)));
            let Some(least) = least else { break };
            frequencies[least] -= 1;
            sum -= 1;
        }
        Self { frequencies }
    }

    /// Whether the frequencies sum to 4096.
    pub fn is_whole(&self) -> bool {
        let sum: u32 = self.frequencies.iter().map(|f| u32::from(*f)).sum();
        sum == PROBABILITY_SUM
    }

    /// Whether `symbol` can be coded.
    pub fn has(&self, symbol: u8) -> bool {
        self.frequencies[usize::from(symbol)] > 0
    }

    /// Bits that `symbol` takes on average; infinite for one that cannot be coded.
    pub fn cost_bits(&self, symbol: u8) -> f32 {
        PROBABILITY_BITS as f32 - f32::from(self.frequencies[usize::from(symbol)]).log2()
    }

    /// The first slot of each symbol.
    pub(super) fn starts(&self) -> [u32; 256] {
        let mut next = 0u32;
        let mut starts = [0; 256];
        for (start, frequency) in starts.iter_mut().zip(self.frequencies.iter()) {
            *start = next;
            next = next.wrapping_add(u32::from(*frequency));
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pairs: &[(usize, u64)]) -> [u64; 256] {
        let mut counts = [0; 256];
        for (symbol, count) in pairs {
            counts[*symbol] = *count;
        }
        counts
    }

    #[test]
    fn tables_are_whole_and_no_exchange_of_two_frequencies_saves_bits() {
        let geometric: Vec<(usize, u64)> = (0..40).map(|i| (i, 1u64 << i)).collect();
        let flat: Vec<(usize, u64)> = (0..256).map(|i| (i, 3)).collect();
        let rare: Vec<(usize, u64)> = (0..256).map(|i| (i, [1, 1 << 40][i / 255])).collect();
        let halves = [(0, 1), (255, 1)];
        let huge = [(1, u64::MAX), (2, u64::MAX), (9, 1)];
        for pairs in [&geometric[..], &flat, &rare, &halves, &huge] {
            let counts = counted(pairs);
            let table = FrequencyTable::from_counts(&counts);
            assert!(table.is_whole());
            for (symbol, count) in (0u8..=255).zip(&counts) {
                assert_eq!(table.has(symbol), *count > 0);
            }
            let bits = |count: u64, f: u16| -(count as f64) * f64::from(f).log2();
            for (i, a) in pairs {
                for (j, b) in pairs {
                    let (f, g) = (table.frequencies[*i], table.frequencies[*j]);
                    if i == j || f == 1 {
                        continue;
                    }
                    let now = bits(*a, f) + bits(*b, g);
                    let then = bits(*a, f - 1) + bits(*b, g + 1);
                    // The choice is by a close bound of the logarithm.
                    assert!(then > now - 1e-4 * now.abs(), "{i} {j}: {now} {then}");
                }
            }
        }
    }

    #[test]
    fn a_table_without_counts_and_one_of_one_symbol_are_certain() {
        let none = FrequencyTable::from_counts(&[0; 256]);
        assert_eq!((none.frequencies[0], none.cost_bits(0)), (4096, 0.0));
        let one = FrequencyTable::from_counts(&counted(&[(77, 3)]));
        assert_eq!((one.frequencies[77], one.cost_bits(77)), (4096, 0.0));
        assert_eq!(one.cost_bits(76), f32::INFINITY);
        let three = FrequencyTable::from_counts(&counted(&[(4, 3), (5, 1)]));
        assert_eq!((three.cost_bits(5), three.frequencies[4]), (2.0, 3072));
    }
}
