//! Quality `exact`: every fine row is read, so ranking and influences are those of brute force on them.

use futures_util::{StreamExt, stream};

use super::ClusteredIndex;
use crate::attribution::event::{Completeness, Event, Host};
use crate::attribution::tally::Tally;
use crate::attribution::{Ask, Attribution, Attributor, Timings};
use crate::error::{Error, Result};
use crate::format::FileRef;
use crate::format::clustered::decode_row;
use crate::score::{CodeQuery, FineQuery, Hit, TopK, influence, normaliser};
use crate::source::Source;

/// Fine files that are fetched at the same time; they are small.
const FILES_AT_ONCE: usize = 8;
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
        let mut scores = zeros(count)?;
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
        let mut top = TopK::new(ask.top_k.min(scores.len()));
        top.extend(0, &scores);
        let best: Vec<Hit> = top.hits();
        let mut hits = self
            .items
            .resolve(&self.source, &tally, &self.manifest, Some(head), &best)
            .await?;
        let calibrator = &self.manifest.calibrator;
        let mut remaining = 0.0;
        if let Some(first) = best.first() {
            let sum = normaliser(calibrator, &scores, first.score);
            remaining = 1.0;
            for hit in &mut hits {
                let share = influence(calibrator, hit.score, first.score, sum);
                hit.influence = Some(share);
                hit.influence_low = Some(share);
                hit.influence_high = Some(share);
                remaining -= share;
            }
        }
        remaining = remaining.clamp(0.0, 1.0);
        let traffic = tally.traffic();
        Ok(Attribution {
            hits,
            remaining_influence: remaining,
            remaining_low: remaining,
            remaining_high: remaining,
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
