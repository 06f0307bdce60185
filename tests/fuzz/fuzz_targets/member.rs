#![no_main]

use std::io::{Cursor, Write};

use data_attribution_fuzz::read_checkpoint;
use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An archive of these members; writing to memory does not fail.
fn archive(method: CompressionMethod, members: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, options).expect("a new member");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("the directory").into_inner()
}

// The first byte says what the others are: a pickle of torch or TorchScript, or an array.
fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    let (stored, deflated) = (CompressionMethod::Stored, CompressionMethod::Deflated);
    let storage = ("a/data/0", &[0; 64][..]);
    let pickle = ("a/data.pkl", content);
    read_checkpoint(&match kind % 4 {
        0 => archive(stored, &[pickle, storage]),
        1 => archive(stored, &[pickle, storage, ("a/constants.pkl", &[])]),
        2 => archive(stored, &[("a/kernel.npy", content)]),
        _ => archive(deflated, &[("a/kernel.npy", content)]),
    });
});
