//! The files of a clustered index: rows ordered by cluster, as short coarse codes that all queries read
//! and as fine rows of which a query reads the best candidates.
//!
//! FORMAT.md, "A clustered index", is the specification. No I/O here. Invariants: whatever
//! parses is whole (sections cover the file exactly, every value is one that the format has), and no
//! count is believed before the bytes that it asks for are there.

pub mod blocks;
pub mod coarse;
pub mod control;
pub mod entries;
mod fields;
pub mod fine;
mod frequencies;
pub mod head;
pub mod plan;
mod plan_limits;
pub mod rans;
pub mod widths;

pub use blocks::{BlockCodes, encode_block};
pub use coarse::{CoarseDecoder, CodeRows, encode_file};
pub use control::Control;
pub use entries::{Clusters, CoarseShard};
pub use fine::{FineRow, decode_row, encode_row};
pub use frequencies::FrequencyTable;
pub use head::{Cluster, FineFile, Head, ItemsName};
pub use plan::Plan;
pub use widths::Widths;

/// Version of the binary files of clustered indexes; 1, which had no leaves, is not read any more.
pub const VERSION: u32 = 2;

/// First 16 bytes of a SHA-256: of a plan, which stands in all files that were made after it, or of all fine rows.
pub type Salt = [u8; 16];
/// First 16 bytes of the SHA-256 of a file: its name is their hex digits.
pub type FileName = [u8; 16];
