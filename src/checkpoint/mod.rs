//! Reading the weights and features that others publish: torch zip archives (of `torch.save` and
//! TorchScript), safetensors, `.npz`, `.npy`.
//!
//! A checkpoint comes from outside and may be damaged or hostile. Nothing in it is ever run: a torch
//! archive holds a pickle, which elsewhere is a program, and here builds only containers, strings and
//! descriptions of tensors. Files are up to several GB, so opening reads only the
//! description of the tensors and checks that each lies inside the file; the values are read one
//! tensor, or some rows of one, at a time.
//!
//! Each container reduces to the same `Contents`: names, shapes and places in the file. A further
//! container is a further module that returns them, and a branch in [`Checkpoint::open`].

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};

mod npy;
mod npy_header;
mod npy_writer;
mod npz;
mod pickle;
mod pickle_bytes;
mod place;
mod safetensors_file;
mod torch_names;
mod torch_objects;
mod torch_script;
mod torch_zip;
mod value_file;
mod zip_archive;

pub use npy::NpyFile;
pub use npy_writer::NpyWriter;
use place::{Extent, Place, Source, column_major_strides, row_major_strides};
use value_file::ValueFile;
use zip_archive::Archive;

/// The type of a tensor's elements in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    BF16,
    F64,
    I64,
    I32,
    U8,
    Bool,
    I8,
    I16,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::U8 | Self::Bool | Self::I8 => 1,
        }
    }

    /// Whether the elements are floating-point numbers, which are the ones that can be read.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64)
    }
}

/// Name, shape and element type of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The keys on the way to the tensor, joined with `.`: `state_dict.module.weight`. Items of a list
    /// count as keys 0, 1, …, attributes of a TorchScript module by their names. A torch file that is one
    /// bare tensor names it `tensor`. An `.npz` file names its arrays as it likes.
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

/// An opened checkpoint, whatever its container.
#[derive(Debug)]
pub struct Checkpoint {
    values: ValueFile,
    tensors: Vec<TensorInfo>,
    places: Vec<Place>,
    by_name: HashMap<String, usize>,
    strings: HashMap<String, Vec<String>>,
    /// The zip archive that deflated tensors are read from.
    archive: Option<Archive>,
}

impl Checkpoint {
    /// Opens a checkpoint and reads the description of its tensors, not their values. The container is
    /// recognised by content, not by file name (`.pth.tar` files are zip archives).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for an unknown or damaged container or a tensor that is not
    /// inside the file; [`Error::Refused`] for a pickle that asks for anything but tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let values = ValueFile::open(path.as_ref())?;
        let name = values.name.as_str();
        let head = values.head(512)?;
        let contents = match head.as_slice() {
            [b'P', b'K', 3, 4, ..] => zip_archive::read(&values)?,
            head if safetensors_file::is_one(head) => safetensors_file::read(&values)?,
            head => {
                let what = describe(head);
                let reason = format!(
                    "{what}, where a safetensors file, a torch zip archive or an .npz file is read"
                );
                return Err(Error::checkpoint(name, reason));
            }
        };
        let mut by_name = HashMap::with_capacity(contents.tensors.len());
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for (info, place) in contents.tensors {
            if by_name.insert(info.name.clone(), tensors.len()).is_some() {
                return Err(Error::checkpoint(
                    name,
                    format!("two tensors are named {}", info.name),
                ));
            }
            tensors.push(info);
            places.push(place);
        }
        Ok(Self {
            strings: contents.strings.into_iter().collect(),
            archive: contents.archive,
            values,
            tensors,
            places,
            by_name,
        })
    }

    /// Every tensor, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The description of the tensor `name`.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.by_name.get(name)?)
    }

    /// The list of strings `name`, named as tensors are; torch archives have such beside features.
    pub fn strings(&self, name: &str) -> Option<&[String]> {
        self.strings.get(name).map(Vec::as_slice)
    }

    /// All values of a floating-point tensor in row-major order, converted to f32 (f64 is rounded).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such tensor or its elements are not floating-point;
    /// [`Error::Io`].
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let (info, place) = self.find(name)?;
        self.gather(info, place, &info.shape, place.offset)
    }

    /// Rows `first .. first + count` of a floating-point tensor along its first axis, as
    /// [`read_f32`](Self::read_f32) gives them; for features too large to hold at once.
    ///
    /// # Errors
    /// As `read_f32`; also [`Error::InvalidArgument`] for rows that the tensor does not have.
    pub fn read_rows_f32(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>> {
        let (info, place) = self.find(name)?;
        let rows = info.shape.first().copied().unwrap_or(0);
        check_rows(&info.name, rows, first, count)?;
        let mut shape = info.shape.clone();
        if let Some(axis) = shape.first_mut() {
            *axis = count;
        }
        self.gather(info, place, &shape, place.row_offset(first))
    }

    fn find(&self, name: &str) -> Result<(&TensorInfo, &Place)> {
        self.by_name
            .get(name)
            .and_then(|&index| Some((self.tensors.get(index)?, self.places.get(index)?)))
            .ok_or_else(|| {
                Error::checkpoint(&self.values.name, format!("has no tensor named {name}"))
            })
    }

    /// The values of the part of a tensor with `shape` at `offset` elements into its extent.
    fn gather(
        &self,
        info: &TensorInfo,
        place: &Place,
        shape: &[usize],
        offset: u64,
    ) -> Result<Vec<f32>> {
        if !info.dtype.is_float() {
            let reason = format!(
                "tensor {} holds {:?}, not floating-point numbers",
                info.name, info.dtype
            );
            return Err(Error::checkpoint(&self.values.name, reason));
        }
        if shape.contains(&0) {
            return Ok(Vec::new());
        }
        let span = place.span(shape);
        let skipped = offset * info.dtype.size() as u64;
        let stored = match (place.source, &self.archive) {
            (Source::Deflated { member, start }, Some(archive)) => {
                archive.read_deflated(member, start + skipped, span, info.dtype)?
            }
            (Source::Deflated { .. }, None) => return Err(self.values.too_large()),
            (Source::File { start }, _) => self.values.read(start + skipped, span, info.dtype)?,
        };
        let values = place.arrange(shape, stored);
        values.ok_or_else(|| self.values.too_large())
    }
}

/// What a container module finds in a file.
struct Contents {
    tensors: Vec<(TensorInfo, Place)>,
    strings: Vec<(String, Vec<String>)>,
    /// Kept if any of the tensors is deflated.
    archive: Option<Archive>,
}

/// Checks a range of rows given by a caller.
fn check_rows(name: &str, rows: usize, first: usize, count: usize) -> Result<()> {
    if first.checked_add(count).is_none_or(|end| end > rows) {
        let what = format!("{count} rows from row {first} of {name}, which has {rows}");
        return Err(Error::invalid(what));
    }
    Ok(())
}

/// What a file that is no checkpoint of ours seems to be, by its first bytes.
fn describe(head: &[u8]) -> &'static str {
    // Protocol 2, then the integer 0x1950a86a20f9469cfc6c that torch wrote first until release 1.6.
    const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    match head {
        [] => "an empty file",
        _ if head.starts_with(LEGACY_TORCH) => "a legacy (pre-1.6) torch file",
        _ if head.get(257..262) == Some(b"ustar") => "a tar archive (perhaps a legacy torch file)",
        [0x80, 2..=5, ..] => "a bare pickle",
        [b'P', b'K', 5, 6, ..] => "an empty zip archive",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "a NumPy .npy array",
        [b'P', b'A', b'R', b'1', ..] => "a Parquet table",
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file",
        [0x1f, 0x8b, ..] => "a gzip file",
        [b'<', ..] => "a web page (perhaps of a failed download)",
        _ if head.starts_with(b"version https://git-lfs") => {
            "a Git LFS pointer, not the file it stands for"
        }
        _ => "a file of unknown format",
    }
}
