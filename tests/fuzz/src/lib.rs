//! The checkpoint reader, manifests and the files of clustered indexes, for fuzzing: their modules are included by path, so
//! nothing of Burn is built.
//!
//!     cargo install cargo-fuzz
//!     cd tests/fuzz
//!     mkdir -p corpus/checkpoint
//!     cargo +nightly fuzz run --fuzz-dir . checkpoint corpus/checkpoint ../golden/checkpoints
//!
//! Targets: `checkpoint` (the bytes are a file), `npy` (the same for rows of features), `member` (the
//! bytes are one member of a zip archive, whose checksum would hide most changes from the reader); `head`,
//! `coarse` and `control` (files of a clustered index, the last two of [`format::index`]'s), `manifest`, and `rows` (a
//! fine row and an entry of the cache for such).
//! `-rss_limit_mb=1024 -malloc_limit_mb=512` bounds the memory; no input may need more.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

#[path = "../../../src/checkpoint/mod.rs"]
pub mod checkpoint;
#[allow(dead_code)]
#[path = "../../../src/error.rs"]
pub mod error;
pub mod format;
#[allow(dead_code)]
#[path = "../../../src/source/row_store/known.rs"]
pub mod known;

/// In place of the real one, which brings image decoders along: whatever a model head states.
pub mod preprocess {
    use serde::{Deserialize, Serialize};

    use crate::error::Result;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Preprocess {
        pub crop: u32,
        #[serde(flatten)]
        rest: serde_json::Value,
    }

    impl Preprocess {
        pub fn check(&self) -> Result<()> {
            Ok(())
        }
    }
}

use checkpoint::Checkpoint;

/// Writes the file that the reader opens, in memory where the machine has such a folder.
pub fn file_of(bytes: &[u8]) -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = Some(memory).filter(|folder| folder.is_dir());
        let name = format!("data-attribution-fuzz-{}", std::process::id());
        folder.unwrap_or_else(std::env::temp_dir).join(name)
    });
    fs::write(path, bytes).expect("the fuzzer cannot write its file");
    path
}

/// Opens the bytes as a checkpoint and reads every tensor.
pub fn read_checkpoint(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::open(file_of(bytes)) else {
        return;
    };
    for tensor in checkpoint.tensors() {
        let count = tensor.shape.iter().product::<usize>();
        if let Ok(values) = checkpoint.read_f32(&tensor.name) {
            assert_eq!(values.len(), count, "{}", tensor.name);
        }
        let rows = tensor.shape.first().copied().unwrap_or(0);
        if let Ok(values) = checkpoint.read_rows_f32(&tensor.name, rows / 2, rows - rows / 2) {
            assert!(values.len() <= count, "{}", tensor.name);
        }
    }
}
