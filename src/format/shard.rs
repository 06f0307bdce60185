//! The binary shard of the `fine` layer: int8 rows with one scale each.
//!
//! ```text
//! offset  size          field
//! 0       8             magic "DATTRFN1"
//! 8       4             u32 format version (1)
//! 12      4             u32 dimension D
//! 16      4             u32 rows n
//! 20      4             u32 row stride S = D rounded up to a multiple of 4
//! 24      8             u64 id of the first row
//! 32      4*n           f32 scale of each row
//! 32+4n   S*n           i8 codes, row after row, each padded with zeros to S
//! ```
//!
//! All little-endian. Row i stands for the unit vector `scale[i] * code[i]`; a shard is valid only if
//! every scale is one that a unit vector can have, so no score can be NaN or far outside of -1..1.

use crate::error::{Error, Result};

/// The version of the shard and manifest formats that this build writes and reads.
pub const VERSION: u32 = 1;
/// Largest dimension for which an integer dot product with a 13-bit query cannot overflow 32 bits.
pub const DIMENSION_MAX: usize = 2048;
/// Most rows of an index; keeps row ids within 32 bits.
pub const COUNT_MAX: u64 = 1 << 31;
/// Largest shard that a reader accepts, in bytes.
pub const SHARD_BYTES_MAX: u64 = 24 << 20;

/// Largest scale of a row: unit vectors need at most 1/127.
pub const SCALE_MAX: f32 = 1.01 / 127.0;

const MAGIC: &[u8; 8] = b"DATTRFN1";
const HEADER_BYTES: usize = 32;

/// Number of bytes that a row of dimension `dimension` takes: rounded up to whole 32-bit words.
pub fn row_stride(dimension: usize) -> usize {
    dimension.div_ceil(4) * 4
}

/// Bytes of a shard of `rows` rows, or `None` when that overflows.
pub fn shard_bytes(rows: u64, dimension: usize) -> Option<u64> {
    rows.checked_mul(4 + row_stride(dimension) as u64)?
        .checked_add(HEADER_BYTES as u64)
}

/// Quantizes one row of any norm to int8: `scale = max|x| / 127`, `code = round(x / scale)`.
///
/// The row [0, …] gives scale 0. Ties round away from zero (`f32::round`).
///
/// # Errors
/// [`Error::NotFinite`] when an element is NaN or infinite.
pub fn quantize_row(row: &[f32], codes: &mut Vec<i8>) -> Result<f32> {
    if row.iter().any(|x| !x.is_finite()) {
        return Err(Error::NotFinite {
            what: "a feature".into(),
        });
    }
    let peak = row.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    let scale = peak / 127.0;
    if scale == 0.0 {
        codes.extend(row.iter().map(|_| 0));
    } else {
        codes.extend(row.iter().map(|x| rounded(x / scale)));
    }
    codes.resize(codes.len() + row_stride(row.len()) - row.len(), 0);
    Ok(scale)
}

/// `x.round() as i8`: nearest, halves away from zero, saturating. On processors without a rounding
/// instruction in their baseline `f32::round` is a call for each value; this is a few operations that
/// run on many at a time.
#[inline]
fn rounded(x: f32) -> i8 {
    let whole = x as i32;
    // Exact where |x| < 2^23; beyond, `x` is whole.
    let rest = x - whole as f32;
    let code = whole.saturating_add(i32::from(rest >= 0.5) - i32::from(rest <= -0.5));
    code.clamp(-128, 127) as i8
}

/// Encodes `rows` (row-major [n, dimension], normally unit vectors) as one shard.
///
/// # Errors
/// [`Error::InvalidArgument`] for a dimension of 0 or above [`DIMENSION_MAX`] or a ragged input;
/// [`Error::NotFinite`] for NaN or infinite values.
pub fn encode(first_row: u64, dimension: usize, rows: &[f32]) -> Result<Vec<u8>> {
    if dimension == 0 || dimension > DIMENSION_MAX || !rows.len().is_multiple_of(dimension) {
        return Err(Error::invalid(format!(
            "{} values cannot be rows of dimension {dimension} (1 to {DIMENSION_MAX})",
            rows.len()
        )));
    }
    let count = rows.len() / dimension;
    let stride = row_stride(dimension);
    let mut codes = Vec::with_capacity(count * stride);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + count * (4 + stride));
    bytes.extend_from_slice(MAGIC);
    for word in [VERSION, dimension as u32, count as u32, stride as u32] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&first_row.to_le_bytes());
    for row in rows.chunks_exact(dimension) {
        bytes.extend_from_slice(&quantize_row(row, &mut codes)?.to_le_bytes());
    }
    bytes.extend_from_slice(bytemuck::cast_slice(&codes));
    Ok(bytes)
}

/// A decoded shard: `scales` [n] and `codes` [n, stride].
#[derive(Clone, Debug, PartialEq)]
pub struct FineShard {
    pub first_row: u64,
    pub dimension: usize,
    pub stride: usize,
    pub scales: Vec<f32>,
    pub codes: Vec<i8>,
}

impl FineShard {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }
}

/// Decodes a shard; `file` names it in errors.
///
/// # Errors
/// [`Error::Format`] for anything but a whole shard of this version, [`Error::NewerVersion`] for a
/// later one.
pub fn decode(file: &str, bytes: &[u8]) -> Result<FineShard> {
    let bad = |reason: String| Error::format(file, reason);
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| {
        bad(format!(
            "{} bytes are too few for a shard header",
            bytes.len()
        ))
    })?;
    if &header[..8] != MAGIC {
        return Err(bad("not a fine shard (wrong magic)".into()));
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let version = word(8);
    if version > VERSION {
        return Err(Error::NewerVersion {
            file: file.into(),
            found: version,
            supported: VERSION,
        });
    }
    let (dimension, rows, stride) = (word(12) as usize, word(16) as usize, word(20) as usize);
    if version == 0
        || dimension == 0
        || dimension > DIMENSION_MAX
        || stride != row_stride(dimension)
    {
        return Err(bad(format!(
            "impossible header: version {version}, dimension {dimension}, stride {stride}"
        )));
    }
    if shard_bytes(rows as u64, dimension) != Some(bytes.len() as u64) {
        return Err(bad(format!(
            "{rows} rows of dimension {dimension} do not take {} bytes",
            bytes.len()
        )));
    }
    let first_row = u64::from(word(24)) | u64::from(word(28)) << 32;
    let (scale_bytes, code_bytes) = bytes[HEADER_BYTES..].split_at(rows * 4);
    let scales: Vec<f32> = scale_bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    if let Some(row) = scales.iter().position(|s| !(0.0..=SCALE_MAX).contains(s)) {
        return Err(bad(format!("row {row} has the scale {}", scales[row])));
    }
    Ok(FineShard {
        first_row,
        dimension,
        stride,
        scales,
        codes: bytemuck::cast_slice(code_bytes).to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, dimension: usize) -> Vec<f32> {
        (0..count * dimension)
            .map(|i| ((i as u32).wrapping_mul(2654435761) >> 8) as f32 / (1 << 24) as f32 - 0.5)
            .collect()
    }

    #[test]
    fn a_round_trip_keeps_each_value_within_half_a_step() {
        for (count, dimension) in [(1, 1), (3, 5), (7, 384), (2, 513), (0, 16)] {
            let values = rows(count, dimension);
            let shard = decode("s", &encode(9, dimension, &values).unwrap()).unwrap();
            assert_eq!((shard.rows(), shard.first_row), (count, 9));
            for (i, row) in values.chunks_exact(dimension).enumerate() {
                for (j, x) in row.iter().enumerate() {
                    let back = f32::from(shard.codes[i * shard.stride + j]) * shard.scales[i];
                    assert!((back - x).abs() <= shard.scales[i] * 0.5001);
                }
                assert!(
                    shard.codes[i * shard.stride + dimension..(i + 1) * shard.stride]
                        .iter()
                        .all(|c| *c == 0)
                );
            }
        }
    }

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        let halves = (-260..=260).map(|i| i as f32 * 0.5);
        let around = halves.flat_map(|x| [x.next_down(), x, x.next_up()]);
        let far = [
            0.499_999_97,
            8_388_609.0,
            3e9,
            f32::MAX,
            f32::INFINITY,
            -0.0,
            1e-40,
        ];
        for x in around.chain(far).flat_map(|x| [x, -x]) {
            assert_eq!(rounded(x), x.round() as i8, "{x}");
        }
    }

    #[test]
    fn every_truncation_and_every_hostile_header_is_an_error() {
        let good = encode(0, 6, &rows(4, 6)).unwrap();
        for end in 0..good.len() {
            assert!(decode("s", &good[..end]).is_err(), "cut at {end}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(decode("s", &longer).is_err());
        for (at, value) in [
            (12, 0u32),
            (12, 4096),
            (12, u32::MAX),
            (16, u32::MAX),
            (20, 7),
            (0, 0),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(decode("s", &bytes).is_err(), "{at} = {value}");
        }
        let mut newer = good.clone();
        newer[8] = 2;
        assert_eq!(decode("s", &newer).unwrap_err().code(), "newer-version");
        for scale in [f32::NAN, f32::INFINITY, -1.0, 0.008] {
            let mut bytes = good.clone();
            bytes[32..36].copy_from_slice(&scale.to_le_bytes());
            assert_eq!(decode("s", &bytes).unwrap_err().code(), "format");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_never_packed() {
        assert_eq!(
            encode(0, 2, &[0.0, f32::NAN]).unwrap_err().code(),
            "not-finite"
        );
        assert!(encode(0, 3, &[0.0; 4]).is_err());
        assert!(encode(0, 0, &[]).is_err());
    }
}
