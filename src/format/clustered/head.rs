//! The head of a clustered index: the plan, the clusters, and the names of fine and items files.
//!
//! Rows count through the clusters in order. Invariant after [`Head::parse`]: the clusters' rows sum to N,
//! each cluster has a centroid of the plan, and there are names for exactly N fine rows and items.

use super::fields::{Fields, padding};
use super::plan::Plan;
use super::{FileName, Salt, VERSION};
use crate::error::{Error, Result};

use crate::format::shard::{COUNT_MAX, SHARD_BYTES_MAX};

/// Most rows of a cluster; a larger one is split.
pub const CLUSTER_ROWS_MAX: u32 = 65536;
/// Largest head that a reader accepts, in bytes.
pub const HEAD_BYTES_MAX: u64 = 256 << 20;

const MAGIC: &[u8; 8] = b"DATTRHD1";

/// Rows that lie together; they share a centroid, perhaps with other clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub centroid: u32,
    /// 1 to 65536.
    pub rows: u32,
}

/// An items file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemsName {
    pub name: FileName,
    pub bytes: u32,
}

/// A fine file, its path relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FineFile {
    pub path: String,
    pub first_row: u64,
    pub rows: usize,
    pub bytes: u64,
    pub name: FileName,
}

/// A parsed head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    pub plan: Plan,
    pub salt: Salt,
    /// Salt of the fine rows' checks, see [`super::fine::row_salt`].
    pub row_salt: Salt,
    /// N.
    pub rows: u64,
    /// [L].
    pub clusters: Vec<Cluster>,
    /// [L + 1]: the first row of each cluster, then N.
    pub first_rows: Vec<u64>,
    pub fine: Vec<FileName>,
    pub items: Vec<ItemsName>,
}

impl Head {
    /// The file for an encoded `plan`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] or [`Error::Format`] where [`Head::parse`] would refuse it.
    pub fn encode(
        plan: &[u8],
        row_salt: &Salt,
        clusters: &[Cluster],
        fine: &[FileName],
        items: &[ItemsName],
    ) -> Result<Vec<u8>> {
        let count = u32::try_from(clusters.len())
            .map_err(|_| Error::invalid(format!("{} clusters", clusters.len())))?;
        let rows: u64 = clusters.iter().map(|cluster| u64::from(cluster.rows)).sum();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&rows.to_le_bytes());
        bytes.extend_from_slice(&(plan.len() as u64).to_le_bytes());
        bytes.extend_from_slice(row_salt);
        bytes.extend_from_slice(plan);
        bytes.resize(bytes.len() + padding(plan.len()), 0);
        for cluster in clusters {
            bytes.extend_from_slice(&cluster.centroid.to_le_bytes());
            bytes.extend_from_slice(&cluster.rows.to_le_bytes());
        }
        bytes.extend_from_slice(fine.as_flattened());
        for item in items {
            bytes.extend_from_slice(&item.name);
            bytes.extend_from_slice(&item.bytes.to_le_bytes());
        }
        Self::parse("head", &bytes)?;
        Ok(bytes)
    }

    /// Parses and checks a head; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Format`] for anything but a whole head, [`Error::NewerVersion`] for a later version.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::open(file, bytes, MAGIC)?;
        let count = fields.u32("clusters")? as usize;
        let rows = fields.u64("rows")?;
        if rows > COUNT_MAX {
            return Err(fields.bad(format!("{rows} rows, the limit is {COUNT_MAX}")));
        }
        let plan_bytes = usize::try_from(fields.u64("bytes of the plan")?)
            .map_err(|_| fields.bad("the plan is too large"))?;
        let mut row_salt = Salt::default();
        row_salt.copy_from_slice(fields.take(16, "salt of the fine rows")?);
        let plan_bytes = fields.take(plan_bytes, "plan")?;
        let plan = Plan::parse(file, plan_bytes)?;
        fields.zeros(padding(plan_bytes.len()), "plan")?;
        let clusters: Vec<Cluster> = fields
            .elements(count, 8, "clusters")?
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&[a, b, c, d, e, f, g, h]| Cluster {
                centroid: u32::from_le_bytes([a, b, c, d]),
                rows: u32::from_le_bytes([e, f, g, h]),
            })
            .collect();
        let mut first_rows = Vec::with_capacity(clusters.len() + 1);
        let mut next = 0u64;
        for (number, cluster) in clusters.iter().enumerate() {
            if cluster.centroid as usize >= plan.centroid_count()
                || !(1..=CLUSTER_ROWS_MAX).contains(&cluster.rows)
            {
                return Err(fields.bad(format!("cluster {number} is impossible: {cluster:?}")));
            }
            first_rows.push(next);
            // At most 2^32 clusters of 2^16 rows: no overflow.
            next += u64::from(cluster.rows);
        }
        first_rows.push(next);
        if next != rows {
            return Err(fields.bad(format!("the clusters have {next} rows of {rows}")));
        }
        let files = |per_file: usize| rows.div_ceil(per_file as u64) as usize;
        let fine = fields.elements(files(plan.fine_rows), 16, "names of fine files")?;
        let items = fields.elements(files(plan.items_per_file), 20, "names of items files")?;
        fields.finish()?;
        let items: Vec<ItemsName> = items
            .as_chunks::<20>()
            .0
            .iter()
            .map(|entry| {
                let (mut name, mut bytes) = (FileName::default(), [0; 4]);
                name.copy_from_slice(&entry[..16]);
                bytes.copy_from_slice(&entry[16..]);
                ItemsName {
                    name,
                    bytes: u32::from_le_bytes(bytes),
                }
            })
            .collect();
        if let Some(at) = items
            .iter()
            .position(|item| !(1..=SHARD_BYTES_MAX).contains(&u64::from(item.bytes)))
        {
            let bytes = items[at].bytes;
            return Err(fields.bad(format!("items file {at} states {bytes} bytes")));
        }
        Ok(Self {
            salt: Plan::salt(plan_bytes),
            row_salt,
            plan,
            rows,
            clusters,
            first_rows,
            fine: fine.as_chunks::<16>().0.to_vec(),
            items,
        })
    }

    /// The cluster of row `row`, which is below N.
    pub fn cluster_of(&self, row: u64) -> usize {
        self.first_rows
            .partition_point(|first| *first <= row)
            .saturating_sub(1)
    }

    /// Fine file `index`: it holds the rows `index * fine_rows ..`.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn fine_file(&self, index: usize) -> FineFile {
        let name = self.fine[index];
        let (first_row, rows) = self.share(index, self.plan.fine_rows);
        FineFile {
            path: path("fine", &name, "bin"),
            first_row,
            rows,
            bytes: rows as u64 * self.plan.fine_row_bytes() as u64,
            name,
        }
    }

    /// Items file `index`: its path, its first item, its number of items, its bytes, its name.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn items_file(&self, index: usize) -> (String, u64, usize, u64, FileName) {
        let ItemsName { name, bytes } = self.items[index];
        let (first, items) = self.share(index, self.plan.items_per_file);
        (
            path("items", &name, "json"),
            first,
            items,
            bytes.into(),
            name,
        )
    }

    /// Paths of all fine and items files, relative to the manifest.
    pub fn file_names(&self) -> impl Iterator<Item = String> {
        let fine = self.fine.iter().map(|name| path("fine", name, "bin"));
        let items = self
            .items
            .iter()
            .map(|item| path("items", &item.name, "json"));
        fine.chain(items)
    }

    fn share(&self, index: usize, per_file: usize) -> (u64, usize) {
        let first = index as u64 * per_file as u64;
        let rest = self.rows.saturating_sub(first);
        (first, rest.min(per_file as u64) as usize)
    }
}

fn path(folder: &str, name: &FileName, extension: &str) -> String {
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{folder}/{}/{hex}.{extension}", &hex[..2])
}
