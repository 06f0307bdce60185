//! Ranges of a file's bytes: which are asked for, and which answers of a host are believed.
//!
//! Hosts differ: some ignore a Range, some compress the part or the whole, some have another file
//! under the name. An answer counts only if it can be nothing but the bytes asked for; what it holds
//! is checked by whoever asked.

use crate::error::{Error, Result};

/// Bytes `first .. first + bytes` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// First byte.
    pub first: u64,
    /// Number of bytes, at least 1.
    pub bytes: u64,
}

impl RowRange {
    /// The byte behind the last; `None` where that overflows or the range is empty.
    pub fn end(self) -> Option<u64> {
        self.first
            .checked_add(self.bytes)
            .filter(|_| self.bytes > 0)
    }

    /// Whether a file of `file_bytes` bytes has these.
    pub fn lies_in(self, file_bytes: u64) -> bool {
        self.end().is_some_and(|end| end <= file_bytes)
    }

    /// Refuses a range that `file`, of `file_bytes` bytes, does not have.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub fn check(self, file: &str, file_bytes: u64) -> Result<()> {
        let Self { first, bytes } = self;
        match self.lies_in(file_bytes) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{file} has {file_bytes} bytes: there are no {bytes} from byte {first}"
            ))),
        }
    }

    /// First and last byte as the headers say them: `5-9`.
    fn inclusive(self) -> String {
        // Ranges were checked before; saturating keeps this total.
        let last = self.first.saturating_add(self.bytes).saturating_sub(1);
        format!("{}-{last}", self.first)
    }

    /// The value of the request's Range header.
    pub fn header(self) -> String {
        format!("bytes={}", self.inclusive())
    }

    /// Whether an answer with these headers can be this range of a file of `file_bytes` bytes.
    ///
    /// From another origin a host shows only the headers that it exposes, so an absent Content-Range says
    /// nothing: then only the length of the body tells.
    pub fn answered_by(
        self,
        file_bytes: u64,
        status: u16,
        content_range: Option<&str>,
        content_encoding: Option<&str>,
    ) -> bool {
        let as_asked =
            |found: &str| found.trim() == format!("bytes {}/{file_bytes}", self.inclusive());
        let plain = |found: &str| matches!(found.trim(), "" | "identity");
        status == 206 && content_range.is_none_or(as_asked) && content_encoding.is_none_or(plain)
    }
}

/// The ranges that hold `rows` (ascending) of a file with `row_bytes` bytes a row; rows with at most
/// `gap_bytes` bytes between them share one.
pub fn coalesce(rows: &[u32], row_bytes: u64, gap_bytes: u64) -> Vec<RowRange> {
    let mut ranges: Vec<RowRange> = Vec::new();
    for row in rows {
        let first = u64::from(*row) * row_bytes;
        match ranges.last_mut() {
            Some(last) if first.saturating_sub(last.first + last.bytes) <= gap_bytes => {
                last.bytes = first + row_bytes - last.first;
            }
            _ => ranges.push(RowRange {
                first,
                bytes: row_bytes,
            }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: RowRange = RowRange {
        first: 20,
        bytes: 10,
    };

    #[test]
    fn only_the_asked_part_of_the_asked_file_is_believed() {
        assert_eq!(RANGE.header(), "bytes=20-29");
        let right = Some("bytes 20-29/100");
        for (status, range, encoding, believed) in [
            (206, right, None, true),
            (206, None, None, true),
            (206, right, Some("identity"), true),
            (200, None, None, false),
            (200, right, None, false),
            (416, Some("bytes */25"), None, false),
            (206, right, Some("gzip"), false),
            (206, Some("bytes 20-29/101"), None, false),
            (206, Some("bytes 20-29/*"), None, false),
            (206, Some("bytes 20-28/100"), None, false),
            (206, Some("bytes 0-9/100"), None, false),
            (206, Some(""), None, false),
        ] {
            assert_eq!(
                RANGE.answered_by(100, status, range, encoding),
                believed,
                "{status} {range:?} {encoding:?}"
            );
        }
    }

    #[test]
    fn ranges_outside_of_the_file_are_known() {
        assert!(RANGE.lies_in(30) && !RANGE.lies_in(29));
        for (first, bytes) in [(0, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(!RowRange { first, bytes }.lies_in(u64::MAX));
        }
    }

    #[test]
    fn near_rows_share_a_range_and_far_ones_do_not() {
        let ranges = |rows: &[u32], gap| -> Vec<(u64, u64)> {
            let ranges = coalesce(rows, 10, gap);
            ranges.iter().map(|r| (r.first, r.bytes)).collect()
        };
        assert_eq!(ranges(&[], 5), []);
        assert_eq!(ranges(&[3], 0), [(30, 10)]);
        assert_eq!(ranges(&[3, 4], 0), [(30, 20)]);
        assert_eq!(ranges(&[3, 5], 9), [(30, 10), (50, 10)]);
        assert_eq!(ranges(&[3, 5, 9], 10), [(30, 30), (90, 10)]);
        assert_eq!(ranges(&[0, 65535], u64::MAX), [(0, 655_360)]);
    }
}
