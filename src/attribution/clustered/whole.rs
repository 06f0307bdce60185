//! Quality `exact`: every fine row is read, so ranking and influences are those of brute force on them. What is left to an
//! interval is the rounding of those rows.

use futures_util::{StreamExt, stream};

use super::ClusteredIndex;
use super::rounding::Rounding;
use crate::attribution::estimate::{Curve, Mass, Share};
use crate::attribution::event::{Completeness, Event, Host};
use crate::attribution::tally::Tally;
use crate::attribution::{Ask, Attribution, Attributor, Timings};
use crate::error::{Error, Result};
use crate::format::FileRef;
use crate::format::clustered::decode_row;
use crate::score::{CodeQuery, FineQuery, Hit, TopK, normaliser};
use crate::source::Source;

/// Fine files that are fetched at the same time; they are small.
const FILES_AT_ONCE: usize = 8;
/// Rows whose rounding counts each for itself; of a million others it evens out.
const ROUNDED_ROWS: usize = 16_384;
/// Files between two reports.
const FILES_PER_REPORT: usize = 64;

impl<S: Source> Attributor<S> {
    /// Ranks by the unit query `unit` [D] and all fine rows.
    pub(in crate::attribution) async fn search_all(
        &self,
        index: &ClusteredIndex,
        unit: &[f32],
        ask: Ask,
        host: &impl Host,
    ) -> Result<Attribution> {
        let (head, plan) = (&index.head, &index.head.plan);
        let query = FineQuery::new(unit)?;
        let codes = CodeQuery::new(plan, unit)?;
        let bases: Vec<f64> = (0..plan.centroid_count()).map(|k| codes.base(k)).collect();
        let (count, row_bytes) = (self.manifest.count, plan.fine_row_bytes());
        let (mut scores, mut steps) = (zeros(count)?, zeros(count)?);
        let tally = Tally::new(index.opening.take());
        let total_bytes = count * row_bytes as u64;
        let (mut rows, mut loaded_bytes, mut cached_bytes) = (0u64, 0u64, 0u64);
        let counted = &tally;
        let mut arriving = stream::iter(0..head.fine.len())
            .map(async |number| {
                let fine = head.fine_file(number);
                let file = FileRef::named(&fine.path, fine.bytes, &fine.name);
                let read = counted.read(&self.source, &file).await?;
                Ok::<_, crate::Error>((number, fine, read))
            })
            .buffer_unordered(FILES_AT_ONCE);
        while let Some(arrived) = arriving.next().await {
            let (number, fine, file) = arrived?;
            loaded_bytes += fine.bytes;
            cached_bytes += if file.cached { fine.bytes } else { 0 };
            let mut cluster = head.cluster_of(fine.first_row);
            for (row, bytes) in (fine.first_row..).zip(file.bytes.chunks_exact(row_bytes)) {
                while row >= head.first_rows[cluster + 1] {
                    cluster += 1;
                }
                let base = bases[head.clusters[cluster].centroid as usize];
                let fine_row = decode_row(&fine.path, &head.row_salt, row, plan.dimension, bytes)?;
                scores[row as usize] = query.score(base, fine_row.scale, fine_row.codes);
                steps[row as usize] = fine_row.scale;
            }
            rows += fine.rows as u64;
            if number % FILES_PER_REPORT == 0 || rows == count {
                host.event(Event::Index {
                    loaded_bytes,
                    total_bytes,
                    cached_bytes,
                    rows,
                    total_rows: count,
                });
            }
            host.breathe().await?;
        }
        drop(arriving);
        let k = ask.top_k.min(scores.len());
        let mut top = TopK::new(k.max(ROUNDED_ROWS).min(scores.len()));
        top.extend(0, &scores);
        let listed: Vec<Hit> = top.hits();
        let best = &listed[..k];
        let mut hits = self
            .items
            .resolve(&self.source, &tally, &self.manifest, Some(head), best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let mut remaining = Share::default();
        if let Some(first) = listed.first() {
            let sum = normaliser(calibrator, &scores, first.score);
            let rows = listed
                .iter()
                .map(|hit| (hit.id, hit.score, steps[hit.id as usize]));
            let others = count - listed.len() as u64;
            let curve = Curve::new(calibrator, first.score);
            let rounding = Rounding::new(curve, sum, rows, others);
            remaining = rounding.share_out(&mut hits, &Mass::known(sum));
        }
        let traffic = tally.traffic();
        Ok(Attribution {
            hits,
            remaining_influence: remaining.value,
            remaining_low: remaining.low,
            remaining_high: remaining.high,
            count,
            completeness: Completeness::of_fine_rows(count, count),
            timings: Timings::default(),
            fetched_bytes: traffic.fetched_bytes,
            cached_bytes: traffic.cached_bytes,
            requests: traffic.requests,
        })
    }
}

/// A score for each of `count` rows; the count is the manifest's.
fn zeros(count: u64) -> Result<Vec<f32>> {
    let mut scores = Vec::new();
    let room = usize::try_from(count).ok();
    let room = room.filter(|count| scores.try_reserve_exact(*count).is_ok());
    let count =
        room.ok_or_else(|| Error::device(format!("{count} scores do not fit into memory")))?;
    scores.resize(count, 0.0f32);
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_scores_than_memory_are_an_error() {
        assert_eq!(zeros(3).unwrap(), [0.0; 3]);
        for count in [1 << 61, u64::MAX] {
            assert_eq!(zeros(count).unwrap_err().code(), "device");
        }
    }
}
