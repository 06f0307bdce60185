//! The rows of one centroid in slices, and a slice: divided into leaves, coded, and cut into clusters.
//!
//! Few centroids have more than one slice. Slices are what is packed at a time, so that many rows of one centroid take no more
//! memory than few, and as many threads; those of a centroid have like signs along the leading axes. Invariants: what is
//! made depends on the plan and the set of rows alone; a cluster has whole leaves of one slice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::encode::RowEncoder;
use super::leaves::{self, LEAF_ROWS};
use super::part::PackedCluster;
use super::plan_folder::OpenPlan;
use super::residuals::Residuals;
use crate::error::{Error, Result};
use crate::format::clustered::fine::{encode_body, rows_digest};
use crate::format::clustered::{BlockCodes, encode_block};

/// Rows that are divided into leaves together, at most.
pub(super) const SLICE_ROWS: usize = 8192;
/// Most bytes of codes in a cluster: keeps its block well below the size of a coarse file.
const CLUSTER_CODE_BYTES: usize = 2 << 20;
/// Rows whose values are held at a time.
const VALUES_AT_ONCE: usize = 1 << 10;

/// Rows of one centroid that are packed together.
pub(super) struct Slice {
    pub centroid: u32,
    /// Places of the rows in the spill, by their numbers.
    pub rows: Vec<u32>,
}

/// The slices of all `rows` of `centroid`, places in the file `values`, by number.
///
/// # Errors
/// [`Error::Io`]; those of encoding.
pub(super) fn slices(
    plan: &OpenPlan,
    values: &Path,
    centroid: u32,
    rows: &[u32],
) -> Result<Vec<Slice>> {
    if rows.len() <= SLICE_ROWS {
        let rows = rows.to_vec();
        return Ok(vec![Slice { centroid, rows }]);
    }
    let mut values = Values::open(values, plan.plan.dimension)?;
    let mut keyed: Vec<(u64, u32)> = Vec::with_capacity(rows.len());
    let mut units = Vec::new();
    for rows in rows.chunks(VALUES_AT_ONCE) {
        values.gather(rows, &mut units)?;
        let mut residuals = Residuals::default();
        plan.encoder
            .turn(centroid as usize, &units, &mut residuals)?;
        let keys = plan.encoder.order_keys(&residuals);
        let first = keyed.len() as u32;
        keyed.extend(keys.into_iter().zip(first..));
    }
    keyed.sort_unstable();
    let count = rows.len().div_ceil(SLICE_ROWS);
    let slices = (0..count).map(|at| {
        let slice = &keyed[at * rows.len() / count..(at + 1) * rows.len() / count];
        let mut places: Vec<u32> = slice.iter().map(|(_, at)| *at).collect();
        places.sort_unstable();
        Slice {
            centroid,
            rows: places.iter().map(|at| rows[*at as usize]).collect(),
        }
    });
    Ok(slices.collect())
}

/// A slice, coded.
#[derive(Default)]
pub(super) struct PackedSlice {
    /// Places of the rows in the spill, in the order in which they are packed.
    pub rows: Vec<u32>,
    /// [n, P].
    pub codes: Vec<u8>,
    /// [leaves, 1 + V].
    pub leaves: Vec<u8>,
    /// [n, 4 + S].
    pub fine: Vec<u8>,
    pub blocks: Vec<(PackedCluster, Vec<u8>)>,
}

impl PackedSlice {
    /// Packs `slice` of the file `values`.
    ///
    /// # Errors
    /// [`Error::Io`]; those of encoding.
    pub fn pack(plan: &OpenPlan, values: &Path, slice: &Slice) -> Result<Self> {
        let Slice { centroid, rows } = slice;
        let mut values = Values::open(values, plan.plan.dimension)?;
        let (encoder, number) = (&plan.encoder, *centroid as usize);
        let (dimension, body) = (plan.plan.dimension, 4 + plan.plan.stride());
        let mut center = vec![0.0; dimension];
        plan.plan.centroid(number, &mut center);
        let (mut residuals, mut bodies) = (Residuals::default(), Vec::new());
        let mut units = Vec::new();
        for rows in rows.chunks(VALUES_AT_ONCE) {
            values.gather(rows, &mut units)?;
            encoder.turn(number, &units, &mut residuals)?;
            for unit in units.chunks_exact(dimension) {
                encode_body(&center, unit, &mut bodies)?;
            }
        }
        let divided = Divided::of(encoder, number, residuals);
        let order = divided.order.iter().map(|at| *at as usize);
        let mut packed = Self {
            rows: order.clone().map(|at| rows[at]).collect(),
            fine: Vec::with_capacity(bodies.len()),
            ..Self::default()
        };
        for at in order {
            let bytes = &bodies[at * body..(at + 1) * body];
            packed.fine.extend_from_slice(bytes);
        }
        let bodies = &packed.fine;
        let class = encoder.class_of(&divided.residuals);
        let row_bytes = plan.plan.widths.row_bytes();
        let mut codes = Vec::with_capacity(rows.len() * row_bytes);
        encoder.encode_residuals((class, number), &divided.residuals, &mut codes);
        let leaf_bytes = plan.plan.leaf_tables.len();
        let (mut row, mut leaf) = (0, 0);
        for sizes in clusters(&divided.sizes, CLUSTER_CODE_BYTES / row_bytes) {
            let (end, last) = (row + sizes.iter().sum::<usize>(), leaf + sizes.len());
            let block = BlockCodes {
                class,
                leaves: &divided.leaves[leaf * leaf_bytes..last * leaf_bytes],
                rows: &codes[row * row_bytes..end * row_bytes],
            };
            let block = encode_block(&plan.plan, block)?;
            let cluster = PackedCluster {
                centroid: *centroid,
                rows: (end - row) as u32,
                bytes: block.len() as u32,
                leaves: if leaf_bytes == 0 {
                    1
                } else {
                    sizes.len() as u32
                },
                digest: rows_digest(bodies[row * body..end * body].chunks_exact(body)),
            };
            packed.blocks.push((cluster, block));
            (row, leaf) = (end, last);
        }
        packed.codes = codes;
        packed.leaves = divided.leaves;
        Ok(packed)
    }
}

/// Rows in leaves.
struct Divided {
    /// Places of the rows, leaf after leaf.
    order: Vec<u32>,
    /// Rows of each leaf.
    sizes: Vec<usize>,
    /// [leaves, 1 + V]; empty where V is 0.
    leaves: Vec<u8>,
    /// In that order, less the leaves.
    residuals: Residuals,
}

impl Divided {
    fn of(encoder: &RowEncoder, centroid: usize, residuals: Residuals) -> Self {
        let axes = encoder.leaf_axes();
        if axes == 0 {
            let keys = encoder.order_keys(&residuals);
            let mut order: Vec<u32> = (0..keys.len() as u32).collect();
            order.sort_by_key(|at| keys[*at as usize]);
            return Self {
                sizes: leaves::pieces(&order).map(<[u32]>::len).collect(),
                residuals: residuals.in_order(&order),
                order,
                leaves: Vec::new(),
            };
        }
        let divided = leaves::divide(&residuals.leading(axes), axes, LEAF_ROWS);
        let mut residuals = residuals.in_order(&divided.order);
        let (mut coded, mut row) = (Vec::new(), 0);
        for (size, mean) in divided.sizes.iter().zip(divided.means.chunks_exact(axes)) {
            let code = encoder.leaf_code(mean);
            coded.push((*size - 1) as u8);
            coded.extend_from_slice(bytemuck::cast_slice(&code));
            encoder.less_leaf_of(centroid, &code, &mut residuals, row..row + size);
            row += size;
        }
        Self {
            order: divided.order,
            sizes: divided.sizes,
            leaves: coded,
            residuals,
        }
    }
}

/// Leaves of `sizes` together up to `most` rows, or one where it alone has more.
fn clusters(mut sizes: &[usize], most: usize) -> impl Iterator<Item = &[usize]> {
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |size: &&usize| {
            rows += **size;
            rows <= most
        };
        let count = sizes.iter().take_while(fits).count().max(1);
        let (cluster, rest) = sizes.split_at_checked(count)?;
        sizes = rest;
        Some(cluster)
    })
}

/// Rows of values in a file.
struct Values<'a> {
    path: &'a Path,
    file: File,
    dimension: usize,
}

impl<'a> Values<'a> {
    fn open(path: &'a Path, dimension: usize) -> Result<Self> {
        Ok(Self {
            file: File::open(path).map_err(|e| Error::io(path, e))?,
            path,
            dimension,
        })
    }

    /// Reads the rows at the places `rows`, in this order, into `units`.
    fn gather(&mut self, rows: &[u32], units: &mut Vec<f32>) -> Result<()> {
        units.clear();
        units.resize(rows.len() * self.dimension, 0.0);
        let row_bytes = 4 * self.dimension;
        let mut bytes: &mut [u8] = bytemuck::cast_slice_mut(units);
        for run in rows.chunk_by(|a, b| a + 1 == *b) {
            let (part, rest) = bytes.split_at_mut(run.len() * row_bytes);
            bytes = rest;
            let start = u64::from(run[0]) * row_bytes as u64;
            let read = self.file.seek(SeekFrom::Start(start));
            read.and_then(|_| self.file.read_exact(part))
                .map_err(|e| Error::io(self.path, e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_whole_leaves_and_no_more_rows_than_they_can() {
        let sizes = [5, 5, 1, 9, 10, 30, 2, 2];
        let found: Vec<&[usize]> = clusters(&sizes, 10).collect();
        assert_eq!(found, [&[5, 5][..], &[1, 9], &[10], &[30], &[2, 2]]);
        assert_eq!(clusters(&[], 10).count(), 0);
        assert_eq!(clusters(&[3], 1).count(), 1);
    }
}
