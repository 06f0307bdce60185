//! Mappers: from backbone features to the space in which they are compared.
//!
//! Training features go through the `real` side before they are packed, a query through the `synth` side
//! of the same pair (*Evaluating Data Attribution for Text-to-Image Models*, ICCV 2023). Lengths are not
//! normalised here. The arithmetic is that of the [`product`] module: the same bits natively and in the
//! browser, whatever the number of threads.

#[cfg(feature = "cli")]
pub mod calibrator;
#[cfg(feature = "cli")]
pub mod folder;
#[cfg(feature = "cli")]
pub mod import;
#[cfg(feature = "cli")]
mod pair;
mod product;

#[cfg(feature = "cli")]
pub use folder::MapperFolder;
#[cfg(feature = "cli")]
pub use pair::{open_mappers, open_named_mappers};

#[cfg(not(target_arch = "wasm32"))]
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::format::{MapperHead, MapperLayer};
use crate::source::Source;
use product::{Matrix, Width};

/// Rows that one thread takes through all layers at a time.
const GROUP_ROWS: usize = 64;

/// One side of a mapper with its weights.
pub struct Mapper {
    head: MapperHead,
    layers: Vec<Layer>,
}

enum Layer {
    Linear(Matrix),
    /// Factors [channels].
    Scale(Vec<f32>),
}

impl Mapper {
    /// Loads the weights of `head`, whose file lies beside `head_file`.
    ///
    /// `on_bytes(bytes, cached)` hears of each arriving piece.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`Error::Format`] for a head that contradicts itself and for weights
    /// that are not finite.
    pub async fn load(
        source: &impl Source,
        head_file: &str,
        head: MapperHead,
        on_bytes: &dyn Fn(u64, bool),
    ) -> Result<Self> {
        head.validate(head_file)?;
        let file = head.file.beside(head_file);
        let fetched = source.read(&file, &|bytes| on_bytes(bytes, false)).await?;
        if fetched.cached {
            on_bytes(fetched.bytes.len() as u64, true);
        }
        Self::from_bytes(&file.file, head, &fetched.bytes)
    }

    /// A valid head and the content of its weight file.
    fn from_bytes(file: &str, head: MapperHead, bytes: &[u8]) -> Result<Self> {
        let mut values = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let mut layers = Vec::with_capacity(head.layers.len());
        for (i, layer) in head.layers.iter().enumerate() {
            let count = layer.values().unwrap_or(usize::MAX);
            let values: Vec<f32> = values.by_ref().take(count).collect();
            if values.len() != count {
                return Err(Error::format(file, format!("ends within layer {i}")));
            }
            if values.iter().any(|value| !value.is_finite()) {
                let reason = format!("layer {i} has weights that are not finite");
                return Err(Error::format(file, reason));
            }
            layers.push(match *layer {
                MapperLayer::Scale { .. } => Layer::Scale(values),
                MapperLayer::Linear {
                    inputs,
                    outputs,
                    relu,
                    ..
                } => {
                    let (weight, bias) = values.split_at(outputs * inputs);
                    Layer::Linear(Matrix::new(inputs, weight, bias, relu, Width::fastest()))
                }
            });
        }
        Ok(Self { head, layers })
    }

    /// The head that describes this side.
    pub fn head(&self) -> &MapperHead {
        &self.head
    }

    /// Maps `features` [n, input], row-major, to [n, output]; in parallel over the rows natively.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an input that is no whole number of rows; [`Error::NotFinite`]
    /// naming the first row whose result is not finite.
    pub fn apply(&self, features: &[f32]) -> Result<Vec<f32>> {
        let mapped = self.apply_rows(features)?;
        match mapped.iter().position(|value| !value.is_finite()) {
            None => Ok(mapped),
            Some(at) => Err(Error::NotFinite {
                what: format!(
                    "mapper {}: the mapped feature of row {}",
                    self.head.name,
                    at / self.head.output
                ),
            }),
        }
    }

    /// As [`Mapper::apply`], but a row without a finite result is no error: it holds a value that is not
    /// finite, and so has no direction ([`crate::score::query::normalised`] refuses it).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an input that is no whole number of rows.
    pub fn apply_rows(&self, features: &[f32]) -> Result<Vec<f32>> {
        let (input, output) = (self.head.input, self.head.output);
        if !features.len().is_multiple_of(input) {
            return Err(Error::invalid(format!(
                "{} values for the mapper {}, which takes rows of {input}",
                features.len(),
                self.head.name
            )));
        }
        let mut mapped = vec![0.0; features.len() / input * output];
        let map = |(out, rows): (&mut [f32], &[f32])| self.map_group(rows, out);
        #[cfg(not(target_arch = "wasm32"))]
        mapped
            .par_chunks_mut(GROUP_ROWS * output)
            .zip(features.par_chunks(GROUP_ROWS * input))
            .for_each(map);
        #[cfg(target_arch = "wasm32")]
        mapped
            .chunks_mut(GROUP_ROWS * output)
            .zip(features.chunks(GROUP_ROWS * input))
            .for_each(map);
        Ok(mapped)
    }

    fn map_group(&self, rows: &[f32], out: &mut [f32]) {
        let count = rows.len() / self.head.input;
        let mut values = rows.to_vec();
        for (layer, described) in self.layers.iter().zip(&self.head.layers) {
            match layer {
                Layer::Linear(matrix) => {
                    let mut next = vec![0.0; count * described.outputs()];
                    matrix.apply(&values, &mut next);
                    values = next;
                }
                Layer::Scale(factors) => {
                    for row in values.chunks_exact_mut(factors.len()) {
                        for (value, factor) in row.iter_mut().zip(factors) {
                            *value *= factor;
                        }
                    }
                }
            }
        }
        out.copy_from_slice(&values);
    }
}
