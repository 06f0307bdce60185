//! A checkpoint matched with an architecture: known to be whole before a value is read.

use std::collections::HashSet;

use super::detect::{Tensors, found_in};
use super::layout::{Layout, Naming};
use super::{list, positions, surplus};
use crate::backbone::registry;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::Architecture;

/// A checkpoint in which every tensor of an architecture was found, with its shape.
#[derive(Debug)]
pub struct Opened<S = Checkpoint> {
    source: S,
    file: String,
    architecture: Architecture,
    layout: Layout,
    surplus: Vec<String>,
}

impl<S: Tensors> Opened<S> {
    /// Finds the tensors of `architecture`, a backbone called `name`, in `source`, which messages call
    /// `file`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] saying what was looked for, or which tensors are missing, of another shape
    /// or too many, or which networks there are to choose from; and which backbone the file holds
    /// instead, if it is a known one.
    pub fn matched(architecture: &Architecture, name: &str, file: &str, source: S) -> Result<Self> {
        let found = found_in(&source);
        let chosen = choose(architecture, name, &found, &source).map_err(|reason| {
            let fits: Vec<&str> = registry::backbones()
                .iter()
                .filter(|spec| spec.name != name && spec.architecture != *architecture)
                .filter(|spec| choose(&spec.architecture, spec.name, &found, &source).is_ok())
                .map(|spec| spec.name)
                .collect();
            let hint = match fits.as_slice() {
                [] => String::new(),
                names => format!("; the file fits {}", names.join(", ")),
            };
            Error::checkpoint(file, format!("{reason}{hint}"))
        })?;
        let used = used(architecture, &chosen);
        let surplus = source.names().filter(|n| !used.contains(*n));
        let surplus = surplus::summarise(surplus);
        Ok(Self {
            file: file.to_string(),
            architecture: architecture.clone(),
            layout: chosen,
            surplus,
            source,
        })
    }

    /// Whose names the checkpoint uses, and under which prefix.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The tensor `canonical` of `shape`, as [`Architecture::tensors`] lists them: row-major, finite.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming a tensor with NaN or infinity, or one that cannot be folded;
    /// [`Error::Io`].
    pub fn read(&self, canonical: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let recipe = self.layout.recipe(&self.architecture, canonical, shape);
        let recipe = recipe.ok_or_else(|| {
            Error::checkpoint(&self.file, format!("has no tensor for {canonical}"))
        })?;
        recipe.apply(&self.file, shape, |name, wanted| {
            let values = self.source.values(name)?;
            match (self.source.shape(name), &self.architecture) {
                (Some(found), Architecture::Vit(vit))
                    if found != wanted
                        && resizable(&self.architecture, canonical, wanted, found) =>
                {
                    positions::resize_positions(&values, vit.width, vit.image / vit.patch)
                        .ok_or_else(|| {
                            let reason = format!("tensor {name} has no square grid of positions");
                            Error::checkpoint(&self.file, reason)
                        })
                }
                _ => Ok(values),
            }
        })
    }

    /// What the checkpoint holds beside the backbone: kinds with counts, then names.
    pub fn surplus(&self) -> Vec<String> {
        self.surplus.clone()
    }
}

/// The one layout in which the checkpoint holds the architecture, or why there is none.
fn choose(
    architecture: &Architecture,
    name: &str,
    found: &[Layout],
    source: &impl Tensors,
) -> Result<Layout, String> {
    let serving: Vec<&Layout> = found
        .iter()
        .filter(|layout| layout.naming.serves(architecture))
        .collect();
    let whole: Vec<&Layout> = serving
        .iter()
        .copied()
        .filter(|layout| fault(architecture, name, layout, source).is_none())
        .collect();
    match (whole.as_slice(), serving.as_slice()) {
        (&[layout], _) => Ok(layout.clone()),
        ([], &[layout]) => Err(fault(architecture, name, layout, source).unwrap_or_default()),
        ([], []) => Err(nothing(architecture, name, found)),
        ([], several) | (several, _) => Err(format!(
            "holds several networks that could be {name}: {}; save the one that is meant by itself",
            join(several)
        )),
    }
}

fn join(layouts: &[&Layout]) -> String {
    let words: Vec<String> = layouts.iter().map(|layout| layout.to_string()).collect();
    words.join(", ")
}

/// Why there is no network of the architecture's kind.
fn nothing(architecture: &Architecture, name: &str, found: &[Layout]) -> String {
    let looked_for: Vec<&str> = Naming::ALL
        .into_iter()
        .filter(|naming| naming.serves(architecture))
        .flat_map(|naming| naming.anchors().iter().take(1).copied())
        .collect();
    let looked_for = looked_for.join(", ");
    let holds = match found {
        [] => String::new(),
        found => format!(
            "; the file holds {}",
            join(&found.iter().collect::<Vec<_>>())
        ),
    };
    format!("no {name}: no tensor is named {looked_for}, with or without a prefix{holds}")
}

/// What keeps `layout` from holding the architecture, or `None`.
fn fault(
    architecture: &Architecture,
    name: &str,
    layout: &Layout,
    source: &impl Tensors,
) -> Option<String> {
    let (mut missing, mut misshapen) = (Vec::new(), None);
    // A BatchNorm serves two canonical tensors.
    let mut seen = HashSet::new();
    for (canonical, shape) in architecture.tensors() {
        let Some(recipe) = layout.recipe(architecture, &canonical, &shape) else {
            return Some(format!("{layout} has no place for {canonical} of {name}"));
        };
        for wanted in recipe.sources {
            if !seen.insert(wanted.name.clone()) {
                continue;
            }
            match source.shape(&wanted.name) {
                None => missing.push(wanted.name),
                Some(found)
                    if found != wanted.shape
                        && !resizable(architecture, &canonical, &wanted.shape, found) =>
                {
                    let (tensor, wanted) = (wanted.name, wanted.shape);
                    misshapen.get_or_insert_with(|| {
                        format!("tensor {tensor} has shape {found:?}, {name} needs {wanted:?}")
                    });
                }
                Some(_) => {}
            }
        }
    }
    if !missing.is_empty() {
        let (count, total, names) = (missing.len(), seen.len(), list(&missing));
        let misshapen = misshapen.map_or_else(String::new, |reason| format!("; {reason}"));
        return Some(format!(
            "no {name}: {count} of {total} tensors are missing: {names}{misshapen}"
        ));
    }
    if misshapen.is_some() {
        return misshapen;
    }
    let beyond: Vec<&str> = source
        .names()
        .filter(|n| layout.computes(n) && !seen.contains(*n))
        .collect();
    if beyond.is_empty() {
        return None;
    }
    Some(format!(
        "another network than {name}, which has no {}",
        list(&beyond)
    ))
}

/// Names of the tensors that the architecture is made of.
fn used(architecture: &Architecture, layout: &Layout) -> HashSet<String> {
    let tensors = architecture.tensors().into_iter();
    tensors
        .filter_map(|(canonical, shape)| layout.recipe(architecture, &canonical, &shape))
        .flat_map(|recipe| recipe.sources)
        .map(|source| source.name)
        .collect()
}

/// Whether positions of shape `found` are resized to `wanted`. Only DINOv2 (the architectures with
/// LayerScale) is used so; elsewhere another grid means another network.
fn resizable(
    architecture: &Architecture,
    canonical: &str,
    wanted: &[usize],
    found: &[usize],
) -> bool {
    let Architecture::Vit(vit) = architecture else {
        return false;
    };
    let (&[1, _, width], &[1, count, found_width]) = (wanted, found) else {
        return false;
    };
    let cells = count.saturating_sub(1);
    vit.layer_scale
        && canonical == "pos_embed"
        && width == found_width
        && cells > 0
        && cells.isqrt().pow(2) == cells
}
