//! The texts of all kernels that backbones may be given on a GPU, for compilers other than the adapter's at hand to check:
//! `data-attribution bench-kernels --texts`.

use std::collections::{BTreeSet, HashMap};

use super::arithmetic::{self, ALL};
use super::graph_of;
use super::kernel::{Arithmetic, Family};
use super::linear::{Encoding, Matrix};
use crate::backbone::registry::backbones;
use crate::error::Result;
use crate::format::TensorEncoding;
use crate::format::model::is_matrix;

const FAMILIES: [Family; 4] = [
    Family::Registers,
    Family::Quads,
    Family::Tiles,
    Family::Subgroups,
];
const FORMS: [(TensorEncoding, Encoding); 3] = [
    (TensorEncoding::F32, Encoding::F32),
    (TensorEncoding::Int8, Encoding::Int8),
    (TensorEncoding::Int4, Encoding::Int4),
];

/// Of every backbone in every family, form of its weights and way to multiply.
///
/// # Errors
/// [`crate::Error::InvalidArgument`] for a backbone that the kernels do not serve.
pub fn texts() -> Result<BTreeSet<String>> {
    let mut texts: BTreeSet<String> = ALL.map(arithmetic::text).into();
    for spec in backbones() {
        for (stored, suited) in FORMS {
            for [halves, bytes] in [[false, false], [true, false], [false, true]] {
                let arithmetic = Arithmetic { halves, bytes };
                let tensors = spec.architecture.tensors().into_iter();
                let matrices = tensors.filter(|(_, shape)| is_matrix(shape));
                let matrices: HashMap<_, _> = matrices
                    .map(|(name, shape)| {
                        let encoding = if stored.suits(&shape) {
                            suited
                        } else {
                            Encoding::F32
                        };
                        (
                            name,
                            Matrix {
                                encoding,
                                arithmetic,
                            },
                        )
                    })
                    .collect();
                for family in FAMILIES {
                    let graph = graph_of(&spec.architecture, matrices.clone(), family)?;
                    texts.extend(graph.calls.into_iter().map(|call| call.kernel.text));
                }
            }
        }
    }
    Ok(texts)
}
