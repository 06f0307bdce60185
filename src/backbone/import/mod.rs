//! From a checkpoint of upstream's to a model pack on disk.
//!
//! The same backbone is published in several layouts: other names, other axes, under prefixes, beside
//! networks that are not wanted. [`Layout`] says which it is, [`Recipe`] how each canonical tensor comes
//! out of it, and [`Opened`] is a checkpoint in which every tensor was found with its shape. What is
//! left over is reported, unless it takes part in the computation: then the file holds another network,
//! and is refused. The pack becomes readable only when it is whole: the head is written last.
//!
//! Layouts and recipes know no files: they also make generated weights, in the browser too.

#[cfg(feature = "cli")]
mod detect;
#[cfg(all(test, feature = "cli"))]
mod detect_tests;
#[cfg(feature = "cli")]
mod from_file;
mod layout;
#[cfg(all(test, feature = "cli"))]
mod layout_tests;
#[cfg(all(test, feature = "cli"))]
mod memory;
mod names;
#[cfg(feature = "cli")]
mod opened;
#[cfg(feature = "cli")]
mod positions;
mod recipe;
mod resnet_names;
#[cfg(feature = "cli")]
mod surplus;

#[cfg(feature = "cli")]
pub use detect::Tensors;
#[cfg(feature = "cli")]
pub use from_file::{HEAD_FILE, Imported, import};
pub use layout::{Layout, Naming};
#[cfg(feature = "cli")]
pub use opened::Opened;
#[cfg(feature = "cli")]
pub use positions::resize_positions;
pub use recipe::{Recipe, SourceTensor, Step};

/// The first names of a list, and how many more there are.
#[cfg(feature = "cli")]
fn list(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match names.len() {
        0..=5 => shown,
        n => format!("{shown} and {} more", n - 5),
    }
}
