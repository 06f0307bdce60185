//! The few header fields that Pillow's conversion depends on and the decoders do not tell.
//!
//! Every function reads a file that may be anything: it bounds each access and gives `None` or
//! `false` where the field is not there.

/// Width and height as the first chunk of a PNG states them; `None` for anything else.
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let start = bytes.get(..24)?;
    if !start.starts_with(b"\x89PNG\r\n\x1a\n") || &start[12..16] != b"IHDR" {
        return None;
    }
    let word =
        |at: usize| u32::from_be_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    Some((word(16), word(20)))
}

/// Whether a JPEG's end marker follows its scans.
///
/// Walks the markers, so that an end marker inside a segment (a thumbnail in the EXIF data) does
/// not count. Within a scan, a byte 0xFF of data is followed by 0.
pub(super) fn jpeg_has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut in_scan = false;
    loop {
        let Some(at) = rest.iter().position(|&byte| byte == 0xFF) else {
            return false;
        };
        let Some((&marker, after)) = rest[at + 1..].split_first() else {
            return false;
        };
        rest = match marker {
            0xD9 => return in_scan,
            // A fill byte: the next 0xFF may start the marker.
            0xFF => &rest[at + 1..],
            // Stuffing, TEM, restarts and the start marker have no length.
            0x00 | 0x01 | 0xD0..=0xD8 => after,
            _ => {
                in_scan |= marker == 0xDA;
                let [high, low, ..] = *after else {
                    return false;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                match after.get(length.max(2)..) {
                    Some(rest) => rest,
                    None => return false,
                }
            }
        };
    }
}

/// The first frame's palette entry that is transparent, or entry 0; `None` where there is no such entry.
///
/// Reads the blocks before the first image, of a file that the decoder has accepted.
pub(super) fn gif_fill(bytes: &[u8]) -> Option<[u8; 3]> {
    /// The colour table that the flags announce, and what follows it.
    fn table(flags: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let length = if flags & 0x80 == 0 {
            0
        } else {
            6 << (flags & 7)
        };
        bytes.split_at_checked(length)
    }
    let (global, mut rest) = table(*bytes.get(10)?, bytes.get(13..)?)?;
    let mut entry = 0;
    loop {
        match *rest.first()? {
            b'!' => {
                // Graphic control: label, block size, flags, two bytes of delay, transparent entry.
                if let [_, 0xF9, _, flags, _, _, index, ..] = *rest
                    && flags & 1 == 1
                {
                    entry = usize::from(index);
                }
                rest = rest.get(2..)?;
                while let Some(length @ 1..) = rest.first().copied() {
                    rest = rest.get(usize::from(length) + 1..)?;
                }
                rest = rest.get(1..)?;
            }
            b',' => {
                let (local, _) = table(*rest.get(9)?, rest.get(10..)?)?;
                let table = if local.is_empty() { global } else { local };
                return table.get(entry * 3..)?.first_chunk().copied();
            }
            _ => return None,
        }
    }
}

/// The largest sample value that a plain or raw PGM or PPM states (its fourth header field).
pub(super) fn pnm_maximum(bytes: &[u8]) -> Option<u16> {
    if !matches!(bytes, [b'P', b'2' | b'3' | b'5' | b'6', ..]) {
        return None;
    }
    let mut fields = 0;
    let mut at = 0;
    loop {
        // Blanks separate the fields; a comment runs to the end of its line.
        match *bytes.get(at)? {
            b'#' => {
                at += bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b'\n' | b'\r'))?
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                let field = &bytes[at..];
                let length = field
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace() || *byte == b'#')?;
                fields += 1;
                if fields == 4 {
                    return std::str::from_utf8(&field[..length]).ok()?.parse().ok();
                }
                at += length;
            }
        }
    }
}

/// Bits per red, green and blue of a BMP with 16 bits per pixel.
pub(super) fn bmp16_depths(bytes: &[u8]) -> Option<[u32; 3]> {
    const BIT_FIELDS: u32 = 3;
    const SIX_BITS_OF_GREEN: u32 = 0x7E0;
    let word = |at: usize| {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)
    };
    // Header size; planes and bits per pixel share the next word read.
    if word(14)? < 40 || word(26)? >> 16 != 16 {
        return None;
    }
    let six = word(30)? == BIT_FIELDS && word(58)? == SIX_BITS_OF_GREEN;
    Some([5, if six { 6 } else { 5 }, 5])
}

/// Whether a WebP is as long as its container states.
pub(super) fn webp_is_whole(bytes: &[u8]) -> bool {
    let stated = bytes.get(4..).and_then(|size| size.first_chunk().copied());
    stated.is_some_and(|size| u64::from(u32::from_le_bytes(size)) + 8 <= bytes.len() as u64)
}

/// Whether a TIFF's alpha is associated: its colours are multiplied by it (tag ExtraSamples is 1).
pub(super) fn tiff_is_premultiplied(bytes: &[u8]) -> bool {
    const EXTRA_SAMPLES: u64 = 338;
    let tiff = Tiff(bytes);
    tiff.entries()
        .find(|at| tiff.number(*at, 2) == Some(EXTRA_SAMPLES))
        .and_then(|at| tiff.number(at.checked_add(8)?, 2))
        == Some(1)
}

/// Whether no tag of a TIFF states more values than the file has bytes.
///
/// The decoder would make room for them before it reads them.
pub(super) fn tiff_counts_fit(bytes: &[u8]) -> bool {
    let tiff = Tiff(bytes);
    tiff.entries().all(|at| {
        let count = at.checked_add(4).and_then(|at| tiff.number(at, 4));
        count.is_some_and(|count| count <= bytes.len() as u64)
    })
}

/// The first directory of a classic TIFF.
struct Tiff<'a>(&'a [u8]);

impl Tiff<'_> {
    /// An unsigned number of `length` bytes in the file's byte order.
    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let field = self.0.get(at..at.checked_add(length)?)?;
        let push = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.0.starts_with(b"II") {
            field.iter().rev().fold(0, push)
        } else {
            field.iter().fold(0, push)
        })
    }

    /// Where the entries start: of 12 bytes, namely tag, type, number of values, and value or its place.
    fn entries(&self) -> impl Iterator<Item = usize> {
        let directory = self.number(4, 4).and_then(|at| usize::try_from(at).ok());
        let count = directory.and_then(|at| self.number(at, 2)).unwrap_or(0);
        (0..count as usize).map_while(move |entry| directory?.checked_add(2 + entry * 12))
    }
}
