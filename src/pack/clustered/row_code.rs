//! Which codes the bytes of a row's words get.
//!
//! A byte holds one dimension of 8 bits, two of 4 or four of 2 (FORMAT.md), and the entropy coder has one
//! table a byte. So the choice is made byte by byte, over the combinations of a few codes of each of its
//! dimensions.

use crate::format::clustered::{FrequencyTable, Widths};

/// Squared error, in squared steps, that a bit is worth. At high rates a bit takes a quarter of the error's
/// energy, 1/12 of a squared step: 2 ln 2 / 12 = 0.116.
pub(super) const BIT_PRICE: f32 = 0.116;

/// What symbols cost in each byte position of one entropy class.
pub(super) struct Symbols {
    /// [P]: price of each symbol, infinite for those that the table does not have.
    prices: Vec<[f32; 256]>,
}

impl Symbols {
    /// Every symbol, for nothing.
    pub fn any(positions: usize) -> Self {
        Self {
            prices: vec![[0.0; 256]; positions],
        }
    }

    /// The symbols of `tables` [P], a bit at `bit_price`.
    pub fn new(tables: &[FrequencyTable], bit_price: f32) -> Self {
        let price = |table: &FrequencyTable| {
            let mut prices = [0.0; 256];
            for (symbol, price) in (0u8..=255).zip(prices.iter_mut()) {
                *price = match table.has(symbol) {
                    true => bit_price * table.cost_bits(symbol),
                    false => f32::INFINITY,
                };
            }
            prices
        };
        Self {
            prices: tables.iter().map(price).collect(),
        }
    }

    /// The code of byte `position` with the least squared distance from `value` plus price.
    pub fn cheapest_signed(&self, position: usize, value: f32) -> i8 {
        let prices = &self.prices[position];
        let cost = |code: i8| {
            let distance = value - f32::from(code);
            distance * distance + prices[usize::from(code as u8)]
        };
        let nearest = value.round().clamp(-128.0, 127.0) as i8;
        let near = nearest.saturating_sub(2)..=nearest.saturating_add(2);
        // Codes between the value and 0 are cheaper; where none of these has a place, any code that has.
        let cheapest = |codes: &mut dyn Iterator<Item = i8>| {
            codes.min_by(|a, b| cost(*a).total_cmp(&cost(*b)).then(a.abs().cmp(&b.abs())))
        };
        let best = cheapest(&mut near.clone()).filter(|best| cost(*best).is_finite());
        best.or_else(|| cheapest(&mut (-128..=127))).unwrap_or(0)
    }

    /// The code of a leaf with `mean`, byte by byte, in `steps`.
    pub fn leaf_code(&self, mean: &[f32], steps: &[f32]) -> impl Iterator<Item = i8> {
        let values = mean.iter().zip(steps).enumerate();
        values.map(|(j, (mean, step))| self.cheapest_signed(j, mean / step))
    }

    /// The symbol of byte `position` that is nearest to `value` as an unsigned number; the smaller of two.
    pub fn nearest_unsigned(&self, position: usize, value: u8) -> u8 {
        let has = |symbol: &u8| self.prices[position][usize::from(*symbol)].is_finite();
        (0..=255)
            .filter(has)
            .min_by_key(|symbol| symbol.abs_diff(value))
            .unwrap_or(value)
    }

    /// The same for signed numbers.
    pub fn nearest_signed(&self, position: usize, value: i8) -> i8 {
        let has = |code: &i8| self.prices[position][usize::from(*code as u8)].is_finite();
        (-128..=127)
            .filter(has)
            .min_by_key(|code| code.abs_diff(value))
            .unwrap_or(value)
    }
}

/// The dimensions of each byte of the words.
pub(super) struct Fields {
    /// Of each byte of the words: its width and its dimensions, from the low end.
    bytes: Vec<(u32, Vec<usize>)>,
}

impl Fields {
    pub fn new(widths: Widths) -> Self {
        let mut bytes = vec![(8, Vec::new()); 4 * widths.words()];
        for j in 0..widths.dimensions() {
            let (word, shift) = widths.place(j);
            let byte = 4 * word + (shift / 8) as usize;
            bytes[byte].0 = widths.bits(j);
            bytes[byte].1.push(j);
        }
        Self { bytes }
    }

    /// Chooses `codes` [M] for `scaled` [M], values in steps from code 0 on, appends their bytes, and says what they cost:
    /// squared errors and prices.
    pub fn choose(
        &self,
        scaled: &[f32],
        zeros: &[f32],
        symbols: &Symbols,
        codes: &mut [i16],
        out: &mut Vec<u8>,
    ) -> f32 {
        let mut total = 0f32;
        for ((width, dimensions), prices) in self.bytes.iter().zip(&symbols.prices[2..]) {
            let (low, high) = match width {
                8 => (-128.0, 127.0),
                width => (0.0, f32::from((1u8 << width) - 1)),
            };
            // Of each dimension the nearest code and the next one towards zero.
            let mut choices = [[(0i16, 0f32); 2]; 4];
            let mut counts = [1usize; 4];
            for (at, j) in dimensions.iter().enumerate() {
                let (value, zero) = (scaled[*j], zeros[*j]);
                let nearest = value.round().clamp(low, high);
                let error = |code: f32| (value - code) * (value - code);
                choices[at][0] = (nearest as i16, error(nearest));
                let inner = nearest - (nearest - zero).signum();
                if (nearest - zero).abs() > 0.75 {
                    choices[at][1] = (inner as i16, error(inner));
                    counts[at] = 2;
                }
            }
            let mut best = (f32::INFINITY, 0u8, [0usize; 4]);
            let combinations: usize = counts.iter().product();
            for combination in 0..combinations {
                let (mut rest, mut error, mut symbol) = (combination, 0f32, 0u8);
                let mut picks = [0; 4];
                for at in 0..dimensions.len() {
                    picks[at] = rest % counts[at];
                    rest /= counts[at];
                    let (code, cost) = choices[at][picks[at]];
                    error += cost;
                    symbol |= (code as u8 & mask(*width)) << (at as u32 * *width % 8);
                }
                let cost = error + prices[usize::from(symbol)];
                if cost < best.0 {
                    best = (cost, symbol, picks);
                }
            }
            if best.0.is_finite() {
                total += best.0;
                for (at, j) in dimensions.iter().enumerate() {
                    codes[*j] = choices[at][best.2[at]].0;
                }
            } else {
                (best.1, best.0) = self.nearest_allowed(*width, dimensions, scaled, prices);
                total += best.0;
                for (at, j) in dimensions.iter().enumerate() {
                    let field = best.1 >> (at as u32 * *width % 8) & mask(*width);
                    codes[*j] = match width {
                        8 => i16::from(field as i8),
                        _ => i16::from(field),
                    };
                }
            }
            out.push(best.1);
        }
        total
    }

    /// The cheapest of all symbols that the table has and its cost, where it has none of those that come first to mind.
    fn nearest_allowed(
        &self,
        width: u32,
        dimensions: &[usize],
        scaled: &[f32],
        prices: &[f32; 256],
    ) -> (u8, f32) {
        let cost = |symbol: u8| {
            let errors = dimensions.iter().enumerate().map(|(at, j)| {
                let field = symbol >> (at as u32 * width % 8) & mask(width);
                let code = match width {
                    8 => f32::from(field as i8),
                    _ => f32::from(field),
                };
                (scaled[*j] - code) * (scaled[*j] - code)
            });
            errors.sum::<f32>() + prices[usize::from(symbol)]
        };
        let best = (0..=255u8).min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
        let best = best.unwrap_or(0);
        (best, cost(best))
    }
}

fn mask(width: u32) -> u8 {
    ((1u16 << width) - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_code_has_the_least_error_plus_price() {
        let mut counts = [0; 256];
        for (code, count) in [(0i8, 900), (1, 80), (-1, 80), (2, 12), (-9, 1)] {
            counts[usize::from(code as u8)] = count;
        }
        let table = FrequencyTable::from_counts(&counts);
        for price in [0.0, 0.05, 1.0] {
            let symbols = Symbols::new(std::slice::from_ref(&table), price);
            for value in [
                -200.0f32, -9.2, -4.0, -0.6, -0.5, 0.0, 0.4, 0.7, 1.6, 3.1, 99.0,
            ] {
                let cost = |code: i8| {
                    let bits = table.cost_bits(code as u8);
                    (value - f32::from(code)).powi(2) + price * bits
                };
                let found = symbols.cheapest_signed(0, value);
                // Near the value; far from all codes, whichever of them is nearest.
                let near = |code: &i8| (f32::from(*code) - value.round()).abs() <= 2.0;
                let codes = || (-128..=127i8).filter(|code| table.has(*code as u8));
                let least =
                    |codes: &mut dyn Iterator<Item = i8>| codes.map(cost).min_by(f32::total_cmp);
                let wanted = least(&mut codes().filter(near)).or(least(&mut codes()));
                assert!(table.has(found as u8), "{value} {price}");
                assert_eq!(Some(cost(found)), wanted, "{value} {price}: {found}");
            }
        }
        assert_eq!(Symbols::any(1).cheapest_signed(0, 300.0), 127);
        assert_eq!(Symbols::any(1).cheapest_signed(0, -3.4), -3);
    }
}
