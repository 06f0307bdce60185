#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| data_attribution_fuzz::read_checkpoint(bytes));
