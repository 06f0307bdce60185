//! Which images are wanted: of a folder, of a list, or of test cases.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::evaluate::parse_cases;
use crate::features::DATABASE;
use crate::pack::list_images;

/// File name endings that the evaluation takes for images in a folder: fewer than the packer does.
const ENDINGS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];

/// Where the images are named.
#[derive(Clone, Debug)]
pub enum Input {
    /// Every image below a folder, sorted by path: the database.
    Folder(PathBuf),
    /// A file with one path a line, relative to `root`: the database.
    List { list: PathBuf, root: PathBuf },
    /// Test-case files, whose paths are relative to `root`: exemplars and queries.
    Cases { cases: Vec<PathBuf>, root: PathBuf },
}

/// The images of one matrix, each once, in order.
pub(super) struct Wanted {
    /// File name of the matrix without ending.
    pub stem: &'static str,
    pub names: Vec<String>,
}

/// The matrices to make, and how often an image was named again.
pub(super) struct Inputs {
    pub wanted: Vec<Wanted>,
    pub repeated: usize,
    /// What names are relative to.
    pub root: PathBuf,
}

impl Inputs {
    /// Reads the names; no image is opened. Images below `out` do not count.
    ///
    /// # Errors
    /// [`Error::Io`]; those of [`parse_cases`]; [`Error::InvalidArgument`] for a name that a list cannot
    /// hold, and where no image is named.
    pub fn read(input: &Input, out: &Path) -> Result<Self> {
        let mut repeated = 0;
        let mut once = |names: &mut dyn Iterator<Item = String>| -> Vec<String> {
            let mut seen = HashSet::new();
            let names = names.filter(|name| {
                let new = seen.insert(name.clone());
                repeated += usize::from(!new);
                new
            });
            names.collect()
        };
        let (wanted, root) = match input {
            Input::Folder(folder) => {
                let found = list_images(folder, Some(out))?;
                let names = found.into_iter().map(|(_, name)| name);
                let names = once(&mut names.filter(|name| has_ending(name)));
                (vec![(DATABASE, names)], folder)
            }
            Input::List { list, root } => {
                let text = std::fs::read_to_string(list).map_err(|e| Error::io(list, e))?;
                let lines = text.lines().filter(|line| !line.is_empty());
                let names = once(&mut lines.map(str::to_owned));
                (vec![(DATABASE, names)], root)
            }
            Input::Cases { cases, root } => {
                let cases = cases.iter().map(|path| parse_cases(path));
                let cases = cases.collect::<Result<Vec<_>>>()?;
                let entries = || cases.iter().flat_map(|case| &case.entries);
                let exemplars = entries().flat_map(|entry| &entry.exemplar);
                let synth = entries().flat_map(|entry| entry.synth.values().flatten());
                let exemplars = once(&mut exemplars.cloned());
                let synth = once(&mut synth.cloned());
                (vec![("exemplar", exemplars), ("synth", synth)], root)
            }
        };
        for (_, names) in &wanted {
            if let Some(name) = names.iter().find(|name| name.contains(['\n', '\r'])) {
                let what = format!("{name:?}: a name with a line break cannot stand in a list");
                return Err(Error::invalid(what));
            }
        }
        if wanted.iter().all(|(_, names)| names.is_empty()) {
            let what = format!("no image is named{}", at(input));
            return Err(Error::invalid(what));
        }
        let wanted = wanted.into_iter();
        Ok(Self {
            wanted: wanted.map(|(stem, names)| Wanted { stem, names }).collect(),
            repeated,
            root: root.clone(),
        })
    }
}

fn has_ending(name: &str) -> bool {
    let ending = Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

fn at(input: &Input) -> String {
    match input {
        Input::Folder(path) | Input::List { list: path, .. } => format!(" in {}", path.display()),
        Input::Cases { .. } => " in the test cases".into(),
    }
}
