//! Entropy classes: centroids whose rows have like codes share the tables of the entropy coder.

use rayon::prelude::*;

use crate::format::clustered::FrequencyTable;

/// Rounds of assigning centroids to classes.
const ROUNDS: usize = 4;
/// Numbers of classes that are tried.
const TRIED: [usize; 4] = [1, 2, 4, 8];
/// Rows of the index that a symbol must stand in to earn its 3 bytes in a table; rarer ones are coded as a
/// neighbour.
const ROWS_OF_A_SYMBOL: f64 = 16.0;
/// What a symbol that a class has not counted is taken to have been.
const UNSEEN: f32 = 0.02;

/// Classes of the centroids [K], tables [E, P], and what they come to.
pub(super) struct Classes {
    pub count: usize,
    pub of_centroid: Vec<u8>,
    pub tables: Vec<FrequencyTable>,
    /// Mean bits of a row of the sample.
    pub bits: f64,
    /// Bytes of the tables in the plan.
    pub table_bytes: usize,
}

/// The sample's codes [n, P] and centroids [n].
#[derive(Clone, Copy)]
pub(super) struct CodedSample<'a> {
    pub positions: usize,
    pub codes: &'a [u8],
    pub centroids: &'a [u32],
    /// [K]: ranks centroids for a start.
    pub spreads: &'a [f32],
    /// N: rows of the index.
    pub rows: usize,
}

type Counts = Vec<[u64; 256]>;

impl CodedSample<'_> {
    /// The classes, in the number with the fewest bytes in all.
    pub fn classify(&self) -> Classes {
        let tried = TRIED.iter().map(|count| self.into_classes(*count));
        let bytes = |c: &Classes| c.bits / 8.0 * self.rows as f64 + c.table_bytes as f64;
        tried
            .min_by(|a, b| bytes(a).total_cmp(&bytes(b)))
            .unwrap_or_else(|| self.into_classes(1))
    }

    pub fn into_classes(self, count: usize) -> Classes {
        let mut ranked: Vec<usize> = (0..self.spreads.len()).collect();
        ranked.sort_by(|a, b| self.spreads[*a].total_cmp(&self.spreads[*b]));
        let mut of_centroid = vec![0u8; ranked.len()];
        for (rank, k) in ranked.iter().enumerate() {
            of_centroid[*k] = (rank * count / ranked.len()) as u8;
        }
        let mut counts = self.count(&of_centroid, count);
        if count > 1 {
            for _ in 0..ROUNDS {
                of_centroid = self.reassign(&counts, &of_centroid);
                counts = self.count(&of_centroid, count);
            }
        }
        let tables: Vec<FrequencyTable> = counts.par_iter().map(|c| self.table(c)).collect();
        let table_bytes = tables.iter().map(|t| 2 + 3 * symbols(t)).sum();
        let bits: f64 = counts
            .par_iter()
            .zip(&tables)
            .map(|(counts, table)| {
                let bits = (0u8..=255)
                    .zip(counts)
                    .filter(|(s, c)| **c > 0 && table.has(*s));
                let price = bits.map(|(s, c)| *c as f64 * f64::from(table.cost_bits(s)));
                price.sum::<f64>()
            })
            .collect::<Vec<f64>>()
            .into_iter()
            .sum();
        Classes {
            count,
            of_centroid,
            tables,
            bits: bits / self.centroids.len().max(1) as f64,
            table_bytes,
        }
    }

    /// Counts of symbols [E, P].
    fn count(&self, classes: &[u8], count: usize) -> Counts {
        let positions = self.positions;
        // Position by position, each on a thread of its own.
        let by_position: Vec<Counts> = (0..positions)
            .into_par_iter()
            .map(|position| {
                let mut counts = vec![[0u64; 256]; count];
                let symbols = self.codes.iter().skip(position).step_by(positions);
                for (symbol, k) in symbols.zip(self.centroids) {
                    counts[usize::from(classes[*k as usize])][usize::from(*symbol)] += 1;
                }
                counts
            })
            .collect();
        (0..count)
            .flat_map(|class| by_position.iter().map(move |counts| counts[class]))
            .collect()
    }

    /// The class of each centroid under whose counts its rows take fewest bits; the old one for centroids
    /// without rows.
    fn reassign(&self, counts: &Counts, before: &[u8]) -> Vec<u8> {
        let (positions, classes) = (self.positions, counts.len() / self.positions);
        let prices: Vec<[f32; 256]> = counts
            .par_iter()
            .map(|counts| {
                let total = counts.iter().sum::<u64>() as f32 + 256.0 * UNSEEN;
                counts.map(|count| (total / (count as f32 + UNSEEN)).log2())
            })
            .collect();
        let members = super::clustering::members(self.centroids, before.len());
        let best = members.par_iter().zip(before).map(|(members, before)| {
            let mut costs = vec![0f64; classes];
            for row in members {
                let codes = &self.codes[*row as usize * positions..][..positions];
                for (cost, prices) in costs.iter_mut().zip(prices.chunks_exact(positions)) {
                    let bits = codes.iter().zip(prices).map(|(s, p)| p[usize::from(*s)]);
                    *cost += f64::from(bits.sum::<f32>());
                }
            }
            let best = (0..classes).min_by(|a, b| costs[*a].total_cmp(&costs[*b]));
            match (members.is_empty(), best) {
                (false, Some(best)) => best as u8,
                _ => *before,
            }
        });
        best.collect()
    }

    /// The table of `counts`, without the symbols that are not worth their place.
    fn table(&self, counts: &[u64; 256]) -> FrequencyTable {
        let rows = self.rows as f64 / self.centroids.len().max(1) as f64;
        let mut kept = *counts;
        let most = counts.iter().copied().max().unwrap_or(0);
        for count in &mut kept {
            if (*count as f64) * rows < ROWS_OF_A_SYMBOL && *count < most {
                *count = 0;
            }
        }
        FrequencyTable::from_counts(&kept)
    }
}

fn symbols(table: &FrequencyTable) -> usize {
    table.frequencies.iter().filter(|f| **f > 0).count()
}
