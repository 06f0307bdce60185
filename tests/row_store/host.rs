//! A host that misbehaves, and a small clustered index on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use data_attribution::format::FileRef;
use data_attribution::format::clustered::fine::{encode_body, row_salt, rows_digest};
use data_attribution::format::clustered::{Cluster, Head, ItemsName, Plan, Widths, encode_row};
use data_attribution::source::memory::Memory;
use data_attribution::source::{Fetched, RowRange, Source};
use data_attribution::{Error, Result};

pub const DIMENSION: usize = 10;
pub const ROW_BYTES: u64 = 24;
pub const ROWS: u64 = 300;
pub const FILE_ROWS: u64 = 64;
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Gives no ranges.
    NoRanges,
    /// One bit of every answer is wrong, for so many range requests.
    Flipped(u32),
    /// Answers with the bytes behind those asked for.
    Shifted,
    /// Leaves out the last byte of every answer.
    Cut,
    /// Answers with more than was asked for.
    Longer,
    /// No answer any more after so many requests.
    Offline(u32),
}

/// An index in memory behind a host with a fault and a cache.
pub struct Host {
    pub memory: Memory,
    pub ranges: Cell<Option<Fault>>,
    /// A request costs so many bytes, which shows after so many.
    pub request_bytes: Cell<Option<(u32, u64)>>,
    requests: Cell<u32>,
    log: RefCell<Vec<String>>,
    pub cache: RefCell<HashMap<String, Vec<u8>>>,
}

impl Host {
    fn ask(&self, what: String, file: &str) -> Result<u32> {
        self.log.borrow_mut().push(what);
        self.requests.set(self.requests.get() + 1);
        match self.ranges.get() {
            Some(Fault::Offline(after)) if self.requests.get() > after => Err(Error::Network {
                file: file.into(),
                reason: "offline".into(),
            }),
            _ => Ok(self.requests.get()),
        }
    }

    pub fn take_log(&self) -> Vec<String> {
        self.log.take()
    }
}

impl Source for Host {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched> {
        self.ask(format!("{} whole", file.file), &file.file)?;
        self.memory.read(file, on_bytes).await
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>> {
        self.memory.read_manifest(name).await
    }

    async fn read_ranges(
        &self,
        file: &str,
        file_bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let asked: Vec<String> = ranges.iter().map(|range| range.header()).collect();
        let number = self.ask(format!("{file} {}", asked.join(" ")), file)?;
        let fault = self.ranges.get();
        let mut ranges = ranges.to_vec();
        if fault == Some(Fault::Shifted) {
            for range in &mut ranges {
                range.first = (range.first + ROW_BYTES) % (file_bytes - range.bytes + 1);
            }
        }
        let parts = self.memory.read_ranges(file, file_bytes, &ranges).await?;
        Ok(parts
            .filter(|_| fault != Some(Fault::NoRanges))
            .map(|mut parts| {
                for part in &mut parts {
                    match fault {
                        Some(Fault::Flipped(times)) if number <= times => part[9] ^= 16,
                        Some(Fault::Cut) => drop(part.pop()),
                        Some(Fault::Longer) => part.insert(0, 7),
                        _ => {}
                    }
                }
                parts
            }))
    }

    fn request_bytes(&self) -> Option<u64> {
        let (after, bytes) = self.request_bytes.get()?;
        (self.requests.get() >= after).then_some(bytes)
    }

    async fn kept_rows(&self, file: &str) -> Option<Vec<u8>> {
        self.cache.borrow().get(file).cloned()
    }

    async fn keep_rows(&self, file: &str, entry: Option<&[u8]>) {
        let mut cache = self.cache.borrow_mut();
        match entry {
            Some(entry) => drop(cache.insert(file.into(), entry.to_vec())),
            None => drop(cache.remove(file)),
        }
    }
}

/// An index of [`ROWS`] rows; `seed` tells one from another.
pub fn index(seed: u32) -> (Head, Host) {
    index_of(seed, seed)
}

/// An index after the plan `plan` with the rows `seed`.
pub fn index_of(plan: u32, seed: u32) -> (Head, Host) {
    let widths = Widths {
        eight: 4,
        four: 0,
        two: 0,
    };
    let plan = Plan {
        dimension: DIMENSION,
        widths,
        classes: 0,
        fine_rows: FILE_ROWS as usize,
        items_per_file: 1000,
        const_step: 0.01,
        gain_step: 0.01,
        rest_variance: 0.0,
        steps: vec![0.01; 4],
        zeros: vec![0.0; 4],
        variances: vec![0.1; 4],
        leaf_steps: Vec::new(),
        transform: vec![0.25; 4 * DIMENSION],
        centroid_scales: vec![0.0],
        spreads: vec![1.0 + plan as f32 / 64.0],
        centroids: vec![0; 12],
        tables: Vec::new(),
        leaf_tables: Vec::new(),
    };
    let plan = plan.encode().unwrap();
    let mut memory = Memory::default();
    let mut names = Vec::new();
    let all: Vec<u64> = (0..ROWS).collect();
    let cluster = Cluster {
        centroid: 0,
        rows: ROWS as u32,
    };
    let unit = |row: u64| -> Vec<f32> {
        let value = |j| ((row * 31 + j * 17 + u64::from(seed)) % 13) as f32 - 6.1;
        let raw: Vec<f32> = (0..DIMENSION as u64).map(value).collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / norm).collect()
    };
    let mut bodies = Vec::new();
    for row in &all {
        encode_body(&[0.0; DIMENSION], &unit(*row), &mut bodies).unwrap();
    }
    let digest = rows_digest([&bodies[..]]);
    let salt = row_salt(&Plan::salt(&plan), [(cluster, digest)]);
    for rows in all.chunks(FILE_ROWS as usize) {
        let mut bytes = Vec::new();
        for row in rows {
            let unit = unit(*row);
            encode_row(&salt, *row, &[0.0; DIMENSION], &unit, &mut bytes).unwrap();
        }
        let digest = FileRef::of("fine", "bin", &bytes).sha256;
        let digits = digest.as_bytes()[..32].chunks(2);
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let name: Vec<u8> = digits.map(byte).collect();
        names.push(name.try_into().unwrap());
        let path = format!("fine/{}/{}.bin", &digest[..2], &digest[..32]);
        memory.files.insert(path, bytes);
    }
    let items = ItemsName {
        name: [0; 16],
        bytes: 2,
    };
    let head = Head::encode(&plan, &salt, &[cluster], &names, &[items]).unwrap();
    let host = Host {
        memory,
        ranges: Cell::new(None),
        request_bytes: Cell::new(None),
        requests: Cell::new(0),
        log: RefCell::default(),
        cache: RefCell::default(),
    };
    (Head::parse("head", &head).unwrap(), host)
}
