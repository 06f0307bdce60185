#![no_main]

use data_attribution_fuzz::format::clustered::decode_row;
use data_attribution_fuzz::format::clustered::fine::check;
use data_attribution_fuzz::format::index;
use data_attribution_fuzz::known::KnownRows;
use libfuzzer_sys::fuzz_target;

// An entry of the cache as it comes and as what follows a right header; then a fine row, with a check that is right
// in every second case.
fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    let (head, _) = index(false);
    let row_bytes = head.plan.fine_row_bytes();
    let mut entry = content.to_vec();
    if kind & 1 == 1 {
        let header = KnownRows::default().encode(row_bytes);
        entry.splice(..entry.len().min(12), header[..12].iter().copied());
    }
    if let Some(known) = KnownRows::parse(&entry, row_bytes) {
        assert_eq!(KnownRows::parse(&known.encode(row_bytes), row_bytes), Some(known));
    }
    let mut row = content.to_vec();
    if let Some((stated, body)) = row.split_first_chunk_mut::<8>()
        && kind & 2 == 2
    {
        *stated = check(&head.row_salt, 7, body);
    }
    if let Ok(fine) = decode_row("row", &head.row_salt, 7, head.plan.dimension, &row) {
        assert_eq!(12 + fine.codes.len(), row_bytes);
        assert!(fine.scale.is_finite() && fine.scale >= 0.0);
    }
});
