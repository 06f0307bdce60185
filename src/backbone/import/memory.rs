//! Networks in memory for the tests of this module; files are in tests/import.rs.

use std::collections::BTreeMap;

use super::{Opened, Tensors};
use crate::backbone::generated::generated_tensor;
use crate::backbone::registry;
use crate::error::{Error, Result};
use crate::format::{Activation, Architecture, VitConfig};

/// Tensors of stated shapes with generated values, but where others are set.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub shapes: BTreeMap<String, Vec<usize>>,
    pub set: BTreeMap<String, Vec<f32>>,
}

impl Memory {
    /// The network as it is published in timm's names.
    pub fn timm(architecture: &Architecture, prefix: &str) -> Self {
        let mut memory = Self::default();
        for (name, shape) in architecture.tensors() {
            memory.add(&format!("{prefix}{name}"), &shape);
        }
        memory
    }

    pub fn add(&mut self, name: &str, shape: &[usize]) {
        self.shapes.insert(name.to_string(), shape.to_vec());
    }

    pub fn with(mut self, other: Self) -> Self {
        self.shapes.extend(other.shapes);
        self
    }
}

impl Tensors for Memory {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        let shape = self.shapes.get(name);
        let shape = shape.ok_or_else(|| Error::checkpoint("memory", name))?;
        let set = self.set.get(name).cloned();
        Ok(set.unwrap_or_else(|| generated_tensor(name, shape)))
    }
}

pub(super) fn small() -> VitConfig {
    VitConfig {
        image: 8,
        patch: 4,
        width: 12,
        heads: 3,
        depth: 2,
        mlp: 20,
        layer_scale: false,
        pre_norm: false,
        projection: None,
        epsilon: 1e-6,
        activation: Activation::Gelu,
    }
}

pub(super) fn of(name: &str) -> Architecture {
    registry::find(name).unwrap().architecture
}

pub(super) fn open(
    architecture: &Architecture,
    name: &str,
    source: Memory,
) -> Result<Opened<Memory>> {
    Opened::matched(architecture, name, "w.pth", source)
}

pub(super) fn reason(architecture: &Architecture, name: &str, source: Memory) -> String {
    open(architecture, name, source).unwrap_err().to_string()
}

/// Asserts that the message has all `parts`.
pub(super) fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}
