//! Fine rows: what remains of a row beyond its centroid, as int8 with one scale.
//!
//! Each row carries a check, so that a row that came by a Range request, out of a file that was never
//! hashed whole, is known to be the right row of the right index: its salt is made of all rows of the index, so
//! a row of an earlier pack does not pass, even after the same plan.

use sha2::{Digest, Sha256};

use super::{Cluster, Salt};
use crate::error::{Error, Result};
use crate::format::shard::{quantize_row, row_stride};

/// Largest scale: a unit row and a centroid of unit rows are at most 2 apart.
pub const FINE_SCALE_MAX: f32 = 2.02 / 127.0;

/// Largest norm of a fine row. With [`super::plan::CENTROID_NORM_MAX`] it keeps the integer score of a fine row
/// within 32 bits: (2.25 + 1.1) * 1.006 < 4, where 1.006 is the most that rounding adds to the query.
pub const FINE_NORM_MAX: f64 = 2.25;

/// Whether the vector `scale * codes` has at most this norm.
pub(super) fn norm_is_at_most(limit: f64, scale: f32, codes: &[i8]) -> bool {
    let squares: u64 = codes
        .iter()
        .map(|code| u64::from(code.unsigned_abs()).pow(2))
        .sum();
    squares as f64 * f64::from(scale).powi(2) <= limit * limit
}

/// Whether a fine row can have this scale and these codes.
pub(super) fn is_possible(scale: f32, codes: &[i8]) -> bool {
    (0.0..=FINE_SCALE_MAX).contains(&scale) && norm_is_at_most(FINE_NORM_MAX, scale, codes)
}

/// A digest of the fine rows of a cluster.
pub type RowsDigest = [u8; 16];

/// The [`RowsDigest`] of a cluster whose fine rows without their checks are `bodies`, in order.
pub fn rows_digest<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> RowsDigest {
    let mut digest = Sha256::new();
    for body in bodies {
        digest.update(body);
    }
    first_bytes(digest)
}

/// The salt of the checks of an index's fine rows, of the plan's salt and of all `clusters` in order.
pub fn row_salt(plan: &Salt, clusters: impl IntoIterator<Item = (Cluster, RowsDigest)>) -> Salt {
    let mut digest = Sha256::new().chain_update(plan);
    for (cluster, rows) in clusters {
        digest.update(cluster.centroid.to_le_bytes());
        digest.update(cluster.rows.to_le_bytes());
        digest.update(rows);
    }
    first_bytes(digest)
}

fn first_bytes<const N: usize>(digest: Sha256) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&digest.finalize()[..N]);
    first
}

/// Appends the fine row of `unit` [D], which belongs to `centroid` [D].
///
/// # Errors
/// As [`encode_body`].
pub fn encode_row(
    salt: &Salt,
    row: u64,
    centroid: &[f32],
    unit: &[f32],
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut body = Vec::with_capacity(4 + row_stride(unit.len()));
    encode_body(centroid, unit, &mut body)?;
    out.extend_from_slice(&check(salt, row, &body));
    out.extend_from_slice(&body);
    Ok(())
}

/// Appends the fine row of `unit` [D] without its check: scale and codes, 4 + S bytes, which do not depend
/// on the row's number.
///
/// # Errors
/// [`Error::InvalidArgument`] for different lengths or rows that are not of unit length;
/// [`Error::NotFinite`] for NaN or infinite values.
pub fn encode_body(centroid: &[f32], unit: &[f32], out: &mut Vec<u8>) -> Result<()> {
    if centroid.len() != unit.len() {
        return Err(Error::invalid(format!(
            "a row of {} values and a centroid of {}",
            unit.len(),
            centroid.len()
        )));
    }
    let residual: Vec<f32> = unit.iter().zip(centroid).map(|(x, c)| x - c).collect();
    let mut codes = Vec::with_capacity(row_stride(unit.len()));
    let scale = quantize_row(&residual, &mut codes)?;
    if !is_possible(scale, &codes) {
        return Err(Error::invalid(
            "a row is too far from its centroid: not of unit length",
        ));
    }
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend_from_slice(bytemuck::cast_slice(&codes));
    Ok(())
}

/// A fine row: `c + scale * code`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineRow<'a> {
    pub scale: f32,
    /// [S].
    pub codes: &'a [i8],
}

/// Decodes the `12 + S` bytes of row `row`; `file` names it in errors.
///
/// # Errors
/// [`Error::Format`] for another length or an impossible values, [`Error::Integrity`] where the check is
/// not that of this row of this index.
pub fn decode_row<'a>(
    file: &str,
    salt: &Salt,
    row: u64,
    dimension: usize,
    bytes: &'a [u8],
) -> Result<FineRow<'a>> {
    let stride = row_stride(dimension);
    let parts = bytes
        .split_first_chunk::<8>()
        .and_then(|(check, body)| Some((check, body, body.split_first_chunk::<4>()?)))
        .filter(|(_, _, (_, codes))| codes.len() == stride);
    let Some((stated, body, (scale, codes))) = parts else {
        return Err(Error::format(
            file,
            format!("row {row} has {} bytes, not {}", bytes.len(), 12 + stride),
        ));
    };
    let found = check(salt, row, body);
    if found != *stated {
        let hex = |bytes: &[u8; 8]| format!("{:016x} for row {row}", u64::from_be_bytes(*bytes));
        return Err(Error::Integrity {
            file: file.into(),
            expected: hex(stated),
            found: hex(&found),
        });
    }
    let (scale, codes) = (f32::from_le_bytes(*scale), bytemuck::cast_slice(codes));
    if !is_possible(scale, codes) {
        let reason = format!("row {row} with the scale {scale} is no difference of unit rows");
        return Err(Error::format(file, reason));
    }
    Ok(FineRow { scale, codes })
}

/// The check of the row whose scale and codes are `body`: the first 8 bytes of SHA-256 over the index's
/// [`row_salt`], row number and `body`.
pub fn check(salt: &Salt, row: u64, body: &[u8]) -> [u8; 8] {
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update(row.to_le_bytes())
        .chain_update(body);
    first_bytes(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = [7; 16];

    /// A unit row, a centroid near it, and the encoded row 5.
    fn sample() -> (Vec<f32>, Vec<f32>, Vec<u8>) {
        let unit = [0.6, -0.64, 0.48, 0.0, 0.0];
        let centroid = [0.5, -0.5, 0.25, 0.125, 0.0];
        let mut bytes = vec![9];
        encode_row(&SALT, 5, &centroid, &unit, &mut bytes).unwrap();
        (unit.to_vec(), centroid.to_vec(), bytes.split_off(1))
    }

    #[test]
    fn centroid_and_fine_row_give_the_row_within_half_a_step() {
        let (unit, centroid, bytes) = sample();
        assert_eq!(bytes.len(), 12 + 8);
        let row = decode_row("f", &SALT, 5, 5, &bytes).unwrap();
        assert_eq!(row.codes[5..], [0; 3]);
        for ((x, c), code) in unit.iter().zip(&centroid).zip(row.codes) {
            assert!((c + row.scale * f32::from(*code) - x).abs() <= row.scale * 0.5001);
        }
    }

    #[test]
    fn only_this_row_of_this_index_passes_the_check() {
        let (_, _, bytes) = sample();
        let code = |salt: &Salt, row, bytes: &[u8]| match decode_row("f", salt, row, 5, bytes) {
            Ok(_) => "none",
            Err(error) => error.code(),
        };
        assert_eq!(code(&SALT, 5, &bytes), "none");
        assert_eq!(code(&SALT, 6, &bytes), "integrity");
        assert_eq!(code(&[8; 16], 5, &bytes), "integrity");
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(code(&SALT, 5, &flipped), "integrity", "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(code(&SALT, 5, &bytes[..length]), "format", "{length} bytes");
        }
        assert_eq!(code(&SALT, 5, &[&bytes[..], &[0]].concat()), "format");
    }

    #[test]
    fn every_row_and_its_cluster_are_in_the_salt() {
        let cluster = |centroid, rows| Cluster { centroid, rows };
        let digest = |bodies: &[&[u8]]| rows_digest(bodies.iter().copied());
        let (a, b) = (digest(&[&[1, 2], &[3]]), digest(&[&[1, 2], &[4]]));
        assert_eq!(a, digest(&[&[1], &[2, 3]]));
        let of = |clusters: &[(Cluster, RowsDigest)]| row_salt(&SALT, clusters.iter().copied());
        let usual = of(&[(cluster(0, 2), a), (cluster(1, 2), b)]);
        for other in [
            of(&[(cluster(0, 2), a), (cluster(1, 2), a)]),
            of(&[(cluster(0, 2), b), (cluster(1, 2), a)]),
            of(&[(cluster(0, 2), a), (cluster(2, 2), b)]),
            of(&[(cluster(0, 1), a), (cluster(1, 2), b)]),
            of(&[(cluster(0, 2), a)]),
            row_salt(&[8; 16], [(cluster(0, 2), a), (cluster(1, 2), b)]),
        ] {
            assert_ne!(usual, other);
        }
        // By hashlib: sha256(b"\x07" * 16 + pack("<II", 0, 2) + sha256(b"\1\2\3").digest()[:16]).
        assert_eq!(
            of(&[(cluster(0, 2), a)]),
            0x3805b9c8a2a34c2f0b0c253d5e024a0f_u128.to_be_bytes()
        );
    }

    #[test]
    fn rows_that_no_difference_of_unit_rows_gives_are_refused() {
        let forged = |scale: f32, codes: [u8; 4]| {
            let body = [scale.to_le_bytes(), codes].concat();
            let bytes = [&check(&SALT, 0, &body)[..], &body].concat();
            decode_row("f", &SALT, 0, 4, &bytes).map(|row| row.scale)
        };
        assert_eq!(forged(2.0 / 127.0, [127, 0, 0, 0]).unwrap(), 2.0 / 127.0);
        for scale in [f32::NAN, f32::INFINITY, -0.001, 2.03 / 127.0] {
            assert!(forged(scale, [1, 0, 0, 0]).is_err(), "{scale}");
        }
        assert!(forged(2.0 / 127.0, [127, 129, 0, 0]).is_err());
        let long = encode_row(&SALT, 0, &[0.0; 4], &[1.5; 4], &mut Vec::new());
        assert_eq!(long.unwrap_err().code(), "invalid-argument");
        let short = encode_row(&SALT, 0, &[0.0; 3], &[0.5; 4], &mut Vec::new());
        assert_eq!(short.unwrap_err().code(), "invalid-argument");
        let nan = encode_row(&SALT, 0, &[0.0; 2], &[f32::NAN; 2], &mut Vec::new());
        assert_eq!(nan.unwrap_err().code(), "not-finite");
    }
}
