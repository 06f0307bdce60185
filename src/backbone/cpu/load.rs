//! From tensors by name to a network for the CPU.

use std::collections::HashMap;

use super::{CpuLinear, CpuMatrix, CpuNorm, CpuResnet, CpuVit};
use crate::backbone::assembly::Layers;
use crate::backbone::cpu_kernels::{DensePanels, Inputs, QuantizedPanels};
use crate::backbone::load::{Decoded, bad};
use crate::error::Result;
use crate::format::{Architecture, ModelHead, TensorEncoding, VitConfig};

/// Tensors that have arrived.
pub struct CpuLoaded {
    /// What is known of the inputs of matrices, by name.
    known: HashMap<String, Inputs>,
    matrices: HashMap<String, CpuMatrix>,
    values: HashMap<String, Vec<f32>>,
}

/// A network for the CPU.
#[derive(Clone, Debug)]
pub enum CpuNetwork {
    Vit(Box<CpuVit>),
    Resnet(Box<CpuResnet>),
}

impl CpuLoaded {
    /// None yet of the network of `head`. The matrices of a ResNet's blocks stand behind a ReLU.
    pub fn new(head: &ModelHead) -> Self {
        let blocks = match &head.architecture {
            Architecture::Resnet(config) => config.blocks(),
            Architecture::Vit(_) => Vec::new(),
        };
        let convolutions = blocks
            .into_iter()
            .flat_map(|block| block.convolutions.into_iter().chain(block.downsample));
        let behind_relu =
            convolutions.map(|conv| (format!("{}.weight", conv.name), Inputs::NeverNegative));
        let marked = head.tensors.iter().filter(|t| t.activations.is_some());
        let eight_bits = marked.map(|tensor| (tensor.name.clone(), Inputs::Tokens));
        Self {
            known: eight_bits.chain(behind_relu).collect(),
            matrices: HashMap::new(),
            values: HashMap::new(),
        }
    }

    /// Takes a tensor; a matrix is laid out for the kernels.
    pub fn take(&mut self, name: &str, tensor: Decoded) {
        let matrix = match tensor {
            Decoded::Values(values) => {
                self.values.insert(name.into(), values);
                return;
            }
            Decoded::Dense { values, inputs, .. } => {
                CpuMatrix::Dense(DensePanels::new(&values, inputs))
            }
            Decoded::Quantized(matrix) => {
                let known = self.known.get(name).copied().unwrap_or(Inputs::Any);
                CpuMatrix::Quantized(match matrix.encoding {
                    TensorEncoding::Int4 => {
                        QuantizedPanels::int4(&matrix.scales, &matrix.codes, matrix.inputs, known)
                    }
                    _ => QuantizedPanels::int8(&matrix.scales, &matrix.codes, matrix.inputs, known),
                })
            }
        };
        self.matrices.insert(name.into(), matrix);
    }

    /// The network of these tensors; `file` names their origin in errors.
    ///
    /// # Errors
    /// [`crate::Error::Format`] for a tensor that is missing.
    pub fn network(self, file: &str, architecture: &Architecture) -> Result<CpuNetwork> {
        let mut parts = Parts { file, loaded: self };
        Ok(match architecture {
            Architecture::Vit(config) => CpuNetwork::Vit(Box::new(parts.whole_vit(config)?)),
            Architecture::Resnet(config) => CpuNetwork::Resnet(Box::new(CpuResnet {
                layers: parts.resnet(config)?,
                config: config.clone(),
            })),
        })
    }
}

struct Parts<'a> {
    file: &'a str,
    loaded: CpuLoaded,
}

impl Parts<'_> {
    fn matrix(&mut self, name: &str) -> Result<CpuMatrix> {
        let matrix = self.loaded.matrices.remove(&format!("{name}.weight"));
        matrix.ok_or_else(|| bad(self.file, name, "is missing"))
    }

    fn whole_vit(&mut self, config: &VitConfig) -> Result<CpuVit> {
        let blocks = (0..config.depth).map(|i| self.vit_block(config, i));
        Ok(CpuVit {
            blocks: blocks.collect::<Result<_>>()?,
            positions: self.positions(config)?,
            frame: self.vit_frame(config)?,
            config: config.clone(),
        })
    }
}

impl Layers for Parts<'_> {
    type Linear = CpuLinear;
    type Norm = CpuNorm;
    type Vector = Vec<f32>;

    fn file(&self) -> &str {
        self.file
    }

    fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        let values = self.loaded.values.remove(name);
        values.ok_or_else(|| bad(self.file, name, "is missing"))
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>> {
        self.values(name)
    }

    fn norm(&mut self, name: &str, epsilon: f32) -> Result<CpuNorm> {
        Ok(CpuNorm {
            weight: self.values(&format!("{name}.weight"))?,
            bias: self.values(&format!("{name}.bias"))?,
            epsilon,
        })
    }

    fn linear(&mut self, name: &str) -> Result<CpuLinear> {
        Ok(CpuLinear {
            matrix: self.matrix(name)?,
            bias: self.values(&format!("{name}.bias"))?,
        })
    }

    fn projection(&mut self, name: &str, outputs: usize) -> Result<CpuLinear> {
        Ok(CpuLinear {
            matrix: self.matrix(name)?,
            bias: vec![0.0; outputs],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::pack::Precision;
    use crate::backbone::parity::generated_pack_of;
    use crate::format::model::EIGHT_BITS;

    /// What is known of a matrix once it is laid out, with `name` marked.
    fn known(backbone: &str, name: &str) -> HashMap<String, Inputs> {
        let (_, mut head) = generated_pack_of(backbone, Precision::Int8).unwrap();
        for tensor in head.tensors.iter_mut().filter(|t| t.name == name) {
            tensor.activations = Some(EIGHT_BITS);
        }
        CpuLoaded::new(&head).known
    }

    #[test]
    fn marked_matrices_take_tokens_and_those_behind_a_relu_stay_so() {
        let name = "blocks.1.mlp.fc2.weight";
        let of_vit = known("toy-p14", name);
        assert_eq!(of_vit, HashMap::from([(name.into(), Inputs::Tokens)]));
        let name = "layer1.0.conv1.weight";
        let of_resnet = known("toy-resnet", name);
        assert_eq!(of_resnet[name], Inputs::NeverNegative);
        assert!(!of_resnet.contains_key("conv1.weight"));
        assert!(
            of_resnet
                .values()
                .all(|known| *known == Inputs::NeverNegative)
        );
    }
}
