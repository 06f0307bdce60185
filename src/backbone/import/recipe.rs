//! How one canonical tensor is made of the tensors that a checkpoint holds.
//!
//! A [`Recipe`] names its sources with the shape that each must have, so that a checkpoint can be
//! checked before a value is read, and generated weights can be made without a checkpoint at all. The
//! values come through a closure `read(name, shape)`; only the sources of one tensor are held.

use crate::error::{Error, Result};

/// Epsilon of torchvision's BatchNorm.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// A tensor of a checkpoint, and the shape that it must have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTensor {
    pub name: String,
    pub shape: Vec<usize>,
}

/// What is done with the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The values stay in their order; sources follow one another along the outputs.
    AsIs,
    /// Each [inputs, outputs] becomes [outputs, inputs]; sources follow one another along the outputs.
    /// Either side may be several axes, such as heads and their width.
    Transposed,
    /// A convolution [height, width, in, out] becomes [out, in, height, width].
    ImageKernel,
    /// A convolution's weight [out, in, height, width] and the weight and running variance of the
    /// BatchNorm after it become [out, height, width, in].
    FoldedWeight,
    /// The BatchNorm's weight, bias, running mean and running variance, as the convolution's bias.
    FoldedBias,
    /// No source: the layout has no such parameter, which acts as 0.
    Zeros,
}

/// How one canonical tensor is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub sources: Vec<SourceTensor>,
    pub step: Step,
}

impl Recipe {
    /// A recipe of one source.
    pub(super) fn one(step: Step, name: impl Into<String>, shape: &[usize]) -> Self {
        Self::of(step, [(name.into(), shape.to_vec())])
    }

    pub(super) fn of(step: Step, sources: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let sources = sources.into_iter();
        Self {
            sources: sources
                .map(|(name, shape)| SourceTensor { name, shape })
                .collect(),
            step,
        }
    }

    /// The canonical tensor of `shape`, row-major, from `read(name, shape)` of its sources, which are in
    /// `file`.
    ///
    /// # Errors
    /// Those of `read`; [`Error::Checkpoint`] naming a source that is not finite or of another length
    /// than its shape, and a BatchNorm that cannot be folded.
    pub fn apply(
        &self,
        file: &str,
        shape: &[usize],
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let refuse = |name: &str, reason: &str| {
            Err(Error::checkpoint(file, format!("tensor {name} {reason}")))
        };
        let mut parts = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let values = read(&source.name, &source.shape)?;
            if values.len() != source.shape.iter().product::<usize>() {
                return refuse(&source.name, "has another length than its shape");
            }
            if values.iter().any(|v| !v.is_finite()) {
                return refuse(&source.name, "has values that are not finite");
            }
            parts.push(values);
        }
        let outputs = shape.first().copied().unwrap_or(1).max(1);
        let count: usize = shape.iter().product();
        let values = match (self.step, parts.as_mut_slice()) {
            (Step::AsIs, [one]) => std::mem::take(one),
            (Step::AsIs, parts) => parts.concat(),
            (Step::Transposed, parts) => {
                let each = outputs / parts.len().max(1);
                parts.iter().flat_map(|p| transposed(p, each)).collect()
            }
            (Step::ImageKernel, [kernel]) => {
                let inputs = shape.get(1).copied().unwrap_or(1).max(1);
                // [height * width * in, out], then each [height * width, in].
                let rows = transposed(kernel, outputs);
                rows.chunks_exact((count / outputs).max(1))
                    .flat_map(|row| transposed(row, inputs))
                    .collect()
            }
            (Step::FoldedWeight, [kernel, weight, variance]) => {
                let scales = batch_norm_scales(weight, variance);
                let inputs = shape.last().copied().unwrap_or(1).max(1);
                let window = count / outputs / inputs;
                let mut folded = Vec::with_capacity(count);
                for (row, scale) in kernel.chunks_exact(window * inputs).zip(scales) {
                    let row = transposed(row, window).into_iter();
                    folded.extend(row.map(|v| (f64::from(v) * scale) as f32));
                }
                folded
            }
            (Step::FoldedBias, [weight, bias, mean, variance]) => {
                let scales = batch_norm_scales(weight, variance);
                let channels = bias.iter().zip(&*mean).zip(scales);
                channels
                    .map(|((bias, mean), scale)| {
                        (f64::from(*bias) - f64::from(*mean) * scale) as f32
                    })
                    .collect()
            }
            (Step::Zeros, _) => vec![0.0; count],
            _ => Vec::new(),
        };
        let first = self.sources.first().map_or("", |s| s.name.as_str());
        if values.len() != count {
            return refuse(first, "does not fill its place");
        }
        if values.iter().any(|v| !v.is_finite()) {
            return refuse(first, "folded with its BatchNorm is not finite");
        }
        Ok(values)
    }
}

/// [inputs, outputs] to [outputs, inputs].
fn transposed(values: &[f32], outputs: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for output in 0..outputs {
        out.extend(values.iter().skip(output).step_by(outputs.max(1)));
    }
    out
}

/// `weight / sqrt(variance + epsilon)` per channel.
fn batch_norm_scales(weight: &[f32], variance: &[f32]) -> Vec<f64> {
    weight
        .iter()
        .zip(variance)
        .map(|(w, v)| f64::from(*w) / (f64::from(*v) + BATCH_NORM_EPSILON).sqrt())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(shape: &[usize]) -> Vec<f32> {
        (0..shape.iter().product()).map(|i| i as f32).collect()
    }

    fn apply(recipe: &Recipe, shape: &[usize]) -> Vec<f32> {
        recipe.apply("f", shape, |_, s| Ok(numbered(s))).unwrap()
    }

    #[test]
    fn transposition_and_image_kernels_move_each_value_to_its_place() {
        let turned = apply(&Recipe::one(Step::Transposed, "a", &[2, 3]), &[3, 2]);
        assert_eq!(turned, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let two = Recipe::of(
            Step::Transposed,
            ["a", "b"].map(|n| (n.to_string(), vec![2, 3])),
        );
        assert_eq!(apply(&two, &[6, 2]), [turned.clone(), turned].concat());
        let (height, width, inputs, outputs) = (2, 3, 4, 5);
        let recipe = Recipe::one(Step::ImageKernel, "k", &[height, width, inputs, outputs]);
        let kernel = apply(&recipe, &[outputs, inputs, height, width]);
        for o in 0..outputs {
            for i in 0..inputs {
                for y in 0..height {
                    for x in 0..width {
                        let wanted = ((y * width + x) * inputs + i) * outputs + o;
                        let found = kernel[((o * inputs + i) * height + y) * width + x];
                        assert_eq!(found, wanted as f32);
                    }
                }
            }
        }
    }

    #[test]
    fn bad_sources_are_named() {
        let recipe = Recipe::one(Step::AsIs, "the.tensor", &[2]);
        let cases = [
            (vec![1.0, f32::NAN], "not finite"),
            (vec![f32::INFINITY, 0.0], "not finite"),
            (vec![1.0], "another length"),
        ];
        for (values, reason) in cases {
            let error = recipe
                .apply("f", &[2], |_, _| Ok(values.clone()))
                .unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("the.tensor") && text.contains(reason),
                "{text}"
            );
        }
        // A negative variance has no square root.
        let sources = ["w", "v", "m", "variance"].map(|n| (n.to_string(), vec![1]));
        let folded = Recipe::of(Step::FoldedBias, sources);
        let error = folded.apply("f", &[1], |_, _| Ok(vec![-1.0])).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}
