//! Features in a torch file: {"feats": [N, D], "paths": list of N names}.

use std::path::Path;

use super::RowSource;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

const FEATURES: &str = "feats";
const PATHS: &str = "paths";
/// What a file that is one bare tensor calls it.
const BARE: &str = "tensor";
/// Tensors that an error names.
const NAMED: usize = 5;

/// The matrix `feats` of a checkpoint.
pub(super) struct TorchRows {
    file: Checkpoint,
    tensor: &'static str,
    shape: [usize; 2],
    label: String,
}

impl TorchRows {
    /// Opens the file. With `needs_paths` it must hold the names too; without it must not, and may be a
    /// bare tensor.
    pub fn open(path: &Path, needs_paths: bool) -> Result<Self> {
        let label = path.display().to_string();
        let file = Checkpoint::open(path)?;
        let found = [FEATURES, BARE]
            .into_iter()
            .find_map(|name| Some((name, file.info(name)?)));
        let Some((tensor, info)) = found else {
            let reason = format!("has no tensor `{FEATURES}`; it has {}", listed(&file));
            return Err(Error::checkpoint(label, reason));
        };
        let shape = match *info.shape.as_slice() {
            [rows, columns] if info.dtype.is_float() => [rows, columns],
            _ => {
                let reason = format!(
                    "`{tensor}` is {:?} {:?}, where floating-point rows [N, D] are read",
                    info.dtype, info.shape
                );
                return Err(Error::checkpoint(label, reason));
            }
        };
        match (needs_paths, file.strings(PATHS).is_some()) {
            (true, false) => {
                let what = format!(
                    "{label}: has no list of strings `{PATHS}`; give the names, one a line, with --names"
                );
                return Err(Error::invalid(what));
            }
            (false, true) => {
                let what = format!("{label}: brings its own names, so --names has no place");
                return Err(Error::invalid(what));
            }
            _ => {}
        }
        Ok(Self {
            file,
            tensor,
            shape,
            label,
        })
    }

    /// The names of the rows, if the file holds them.
    pub fn paths(&self) -> &[String] {
        self.file.strings(PATHS).unwrap_or_default()
    }
}

impl RowSource for TorchRows {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn read_rows_f32(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        self.file.read_rows_f32(self.tensor, first, count)
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

fn listed(file: &Checkpoint) -> String {
    let all = file.tensors();
    let some: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|info| format!("{:?} {:?}", info.name, info.shape))
        .collect();
    match all.len() {
        0 => "none".into(),
        count if count > NAMED => format!("{} and {} more", some.join(", "), count - NAMED),
        _ => some.join(", "),
    }
}
