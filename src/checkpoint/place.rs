//! Where the values of a tensor lie, and how they come into row-major order.
//!
//! A [`Place`] is checked once, when a checkpoint is opened: every element is then known to be inside
//! the file, and the sums and products of reading cannot overflow.

use super::{TensorInfo, ValueFile};
use crate::error::{Error, Result};

/// Tensors whose strides repeat elements may have at most this many elements more than are stored.
const MAX_REPEATED_ELEMENTS: u64 = 1 << 24;

/// What holds the bytes of one or more tensors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// The file itself, from this byte on.
    File { start: u64 },
    /// A deflated member of the zip archive, from this byte of its content on.
    Deflated { member: usize, start: u64 },
}

/// A range of bytes that hold one or more tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub source: Source,
    pub bytes: u64,
}

/// Where a tensor's elements lie. Invariant: every one of them is inside the extent, and an extent of the
/// file inside the file.
#[derive(Debug)]
pub(super) struct Place {
    pub source: Source,
    /// Elements of the extent before the tensor's first.
    pub offset: u64,
    /// Elements from one index to the next, per axis; 0 for an axis of size 1.
    pub strides: Vec<u64>,
}

impl Place {
    /// Checks that a tensor lies within `extent`, and this in the file.
    pub fn new(
        values: &ValueFile,
        info: &TensorInfo,
        extent: Extent,
        offset: u64,
        strides: &[u64],
    ) -> Result<Self> {
        let outside = || {
            let reason = format!("tensor {} reaches past its data", info.name);
            Error::checkpoint(&values.name, reason)
        };
        if info.shape.len() != strides.len() {
            let reason = format!("tensor {} has strides for another shape", info.name);
            return Err(Error::checkpoint(&values.name, reason));
        }
        let source = extent.source;
        if let Source::File { start } = source
            && start
                .checked_add(extent.bytes)
                .is_none_or(|end| end > values.bytes)
        {
            return Err(outside());
        }
        // Also of a tensor without elements, so that nobody's product of the sizes overflows.
        let sizes = info.shape.iter().map(|&size| size.max(1));
        let product = sizes.into_iter().try_fold(1usize, usize::checked_mul);
        product.ok_or_else(outside)?;
        let place = |strides| Self {
            source,
            offset,
            strides,
        };
        if info.shape.contains(&0) {
            return Ok(place(vec![0; strides.len()]));
        }
        let stored = extent.bytes / info.dtype.size() as u64;
        let (mut count, mut last) = (1u64, offset);
        for (&size, &stride) in info.shape.iter().zip(strides) {
            let reach = (size as u64 - 1).checked_mul(stride).ok_or_else(outside)?;
            last = last.checked_add(reach).ok_or_else(outside)?;
            count = count.checked_mul(size as u64).ok_or_else(outside)?;
        }
        if last >= stored || count > stored.saturating_add(MAX_REPEATED_ELEMENTS) {
            return Err(outside());
        }
        let axes = info.shape.iter().zip(strides);
        Ok(place(
            axes.map(|(&size, &stride)| if size == 1 { 0 } else { stride })
                .collect(),
        ))
    }

    /// Elements of the extent from row `first` of the tensor on.
    pub fn row_offset(&self, first: usize) -> u64 {
        // Inside the checked extent of the tensor unless there is nothing to read.
        let rows = self
            .strides
            .first()
            .map_or(0, |stride| stride.saturating_mul(first as u64));
        self.offset.saturating_add(rows)
    }

    /// Elements from the first to the last of a part of the tensor with `shape`, which is not empty.
    pub fn span(&self, shape: &[usize]) -> u64 {
        // `new` has checked these sums and products for the whole tensor.
        let steps = shape.iter().zip(&self.strides);
        steps
            .map(|(&size, stride)| (size as u64 - 1) * stride)
            .sum::<u64>()
            + 1
    }

    /// The values of such a part in row-major order, from its span; `None` if there is no memory for them.
    pub fn arrange(&self, shape: &[usize], span: Vec<f32>) -> Option<Vec<f32>> {
        if is_row_major(shape, &self.strides) {
            return Some(span);
        }
        let count = shape.iter().product();
        let mut values = Vec::new();
        values.try_reserve_exact(count).ok()?;
        let (mut index, mut at) = (vec![0; shape.len()], 0);
        for _ in 0..count {
            values.push(*span.get(at as usize)?);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= self.strides[axis] * shape[axis] as u64;
                index[axis] = 0;
            }
        }
        Some(values)
    }
}

/// The strides, in elements, of a row-major tensor of `shape`; `None` if they overflow.
pub(super) fn row_major_strides(shape: &[usize]) -> Option<Vec<u64>> {
    let mut strides = vec![1u64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis].max(1) as u64)?;
    }
    Some(strides)
}

/// The same for a column-major tensor, which NumPy says is in Fortran order.
pub(super) fn column_major_strides(shape: &[usize]) -> Option<Vec<u64>> {
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let mut strides = row_major_strides(&reversed)?;
    strides.reverse();
    Some(strides)
}

fn is_row_major(shape: &[usize], strides: &[u64]) -> bool {
    row_major_strides(shape).is_some_and(|expected| {
        let axes = shape.iter().zip(strides).zip(&expected);
        axes.into_iter()
            .all(|((&size, stride), expected)| size == 1 || stride == expected)
    })
}
