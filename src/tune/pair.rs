//! The mapper pair that tuning makes: a linear mapper for training images and one for queries.

use crate::error::Result;
use crate::evaluate::{Mappers, RowMap};
use crate::format::{MapperKind, MapperLayer};
use crate::mapper::folder::MapperWeights;

/// Rows that go through the matrix together; it is read from memory once for so many.
const ROWS: usize = 8;
/// Sums of a dot product that are kept apart, for the compiler to compute side by side.
const LANES: usize = 8;

/// `x W^T + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWeights {
    /// W, `[D, D]` row-major.
    pub weight: Vec<f32>,
    /// b, `[D]`.
    pub bias: Vec<f32>,
}

/// Two linear mappers that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct MapperPair {
    pub name: String,
    /// Name of the backbone that the features are of, if it is known.
    pub backbone: Option<String>,
    /// D, before and after.
    pub dimension: usize,
    /// Of training images.
    pub real: LinearWeights,
    /// Of queries.
    pub synth: LinearWeights,
}

impl MapperPair {
    /// The pair as a mapper file holds it.
    pub fn weights(&self) -> MapperWeights {
        let values = |side: &LinearWeights| [side.weight.as_slice(), &side.bias].concat();
        MapperWeights {
            kind: MapperKind::Linear,
            layers: vec![MapperLayer::Linear {
                inputs: self.dimension,
                outputs: self.dimension,
                bias: true,
                relu: false,
            }],
            real: values(&self.real),
            synth: values(&self.synth),
        }
    }

    /// The mappers, to evaluate with.
    pub fn mappers(&self) -> Mappers {
        Mappers {
            real: Box::new(self.real.clone()),
            synth: Box::new(self.synth.clone()),
        }
    }
}

impl RowMap for LinearWeights {
    fn dimensions(&self) -> [usize; 2] {
        [self.bias.len(); 2]
    }

    fn map(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let dimension = self.bias.len();
        let mut mapped = vec![0.0; rows.len()];
        mapped
            .chunks_mut(ROWS * dimension)
            .zip(rows.chunks(ROWS * dimension))
            .for_each(|(mapped, rows)| {
                let weights = self.weight.chunks_exact(dimension).zip(&self.bias);
                for (at, (weight, bias)) in weights.enumerate() {
                    let to = mapped.iter_mut().skip(at).step_by(dimension);
                    for (to, row) in to.zip(rows.chunks_exact(dimension)) {
                        *to = dot(weight, row) + bias;
                    }
                }
            });
        Ok(mapped)
    }
}

/// The dot product, summed in [`LANES`] parts, whatever the machine.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn rows_are_mapped_as_the_formula_says() {
        let dimension = 19;
        let mut chance = Sequence::new(1, 1);
        let mut values = |count| -> Vec<f32> { (0..count).map(|_| chance.unit() - 0.5).collect() };
        let side = LinearWeights {
            weight: values(dimension * dimension),
            bias: values(dimension),
        };
        let rows = values(21 * dimension);
        let mapped = side.map(&rows).unwrap();
        assert_eq!(mapped.len(), rows.len());
        for (at, y) in mapped.iter().enumerate() {
            let (row, output) = (at / dimension, at % dimension);
            let x = &rows[row * dimension..][..dimension];
            let w = &side.weight[output * dimension..][..dimension];
            let products = x.iter().zip(w).map(|(x, w)| f64::from(x * w));
            let expected = products.sum::<f64>() + f64::from(side.bias[output]);
            assert!((f64::from(*y) - expected).abs() < 1e-5);
        }
    }
}
