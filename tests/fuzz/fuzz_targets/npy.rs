#![no_main]

use data_attribution_fuzz::checkpoint::NpyFile;
use data_attribution_fuzz::file_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = NpyFile::open(file_of(bytes)) {
        let [rows, columns] = file.shape();
        let values = file.read_rows_f32(0, rows).expect("the rows that it has");
        assert_eq!(values.len(), rows * columns);
        let values = file.read_rows_f32(rows / 2, rows - rows / 2);
        assert!(values.expect("the last half").len() <= rows * columns);
    }
});
