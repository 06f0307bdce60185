//! A vision transformer as a graph: see `backbone::reference::vit`, whose configurations and names of weights it shares.
//!
//! The input is patches [patches, 3 * patch * patch], the result [D]. The last block computes the class token alone,
//! since nothing else of it is used.

use std::collections::HashMap;

use super::graph::{After, Graph, Slot};
use super::kernel::Family;
use super::linear::{Activation, Matrix};
use super::parts::Attention;
use crate::error::Result;
use crate::format::{self, VitConfig};

/// Weights that `pos_embed` and `cls_token` are loaded as: the class token with its position, the other positions.
pub const CLASS_TOKEN: &str = "class_token";
pub const POSITIONS: &str = "positions";

/// The forward pass of one image.
///
/// # Errors
/// [`crate::Error::InvalidArgument`] for a shape that the kernels do not serve.
pub fn vit(config: &VitConfig, matrices: HashMap<String, Matrix>, family: Family) -> Result<Graph> {
    let (tokens, width, epsilon) = (config.tokens(), config.width, config.epsilon);
    let patches = tokens - 1;
    let inputs = 3 * config.patch * config.patch;
    let mut graph = Graph::new(family, matrices, patches * inputs);
    let sides = [patches, inputs, width];
    let x = graph.linear(
        graph.input(),
        "patch_embed.proj",
        sides,
        None,
        After::default(),
    )?;
    let mut x = graph.tokens(x, [CLASS_TOKEN, POSITIONS], [tokens, width])?;
    if config.pre_norm {
        x = graph.norm(x, "norm_pre", [tokens, 1, width], epsilon, None)?;
    }
    for i in 0..config.depth {
        graph.step();
        x = block(&mut graph, x, config, i)?;
    }
    graph
        .norm(x, "norm", [1, 1, width], epsilon, None)
        .and_then(|x| match config.projection {
            Some(outputs) => graph.linear(x, "head", [1, width, outputs], None, After::default()),
            None => Ok(x),
        })?;
    Ok(graph)
}

/// Block `i`; the last one computes the first row.
fn block(graph: &mut Graph, x: Slot, config: &VitConfig, i: usize) -> Result<Slot> {
    let (tokens, width, heads) = (config.tokens(), config.width, config.heads);
    let name = |part: &str| format!("blocks.{i}.{part}");
    let queries = if i + 1 == config.depth { 1 } else { tokens };
    let (rows, enters) = ([tokens, 1, width], name("attn.qkv"));
    let normed = graph.norm(x, &name("norm1"), rows, config.epsilon, Some(&enters))?;
    let sides = [tokens, width, 3 * width];
    let qkv = graph.linear(normed, &enters, sides, None, After::default())?;
    let shape = Attention {
        tokens,
        queries,
        heads,
        head: width / heads.max(1),
    };
    let mixed = graph.attention(qkv, shape)?;
    let add = |slot, gamma: &str| After {
        residual: Some((slot, 1)),
        gamma: config.layer_scale.then(|| name(gamma)),
        ..After::default()
    };
    let sides = [queries, width, width];
    let x = graph.linear(mixed, &name("attn.proj"), sides, None, add(x, "ls1.gamma"))?;
    let (rows, enters) = ([queries, 1, width], name("mlp.fc1"));
    let normed = graph.norm(x, &name("norm2"), rows, config.epsilon, Some(&enters))?;
    let after = After {
        activation: match config.activation {
            format::Activation::Gelu => Activation::Gelu,
            format::Activation::QuickGelu => Activation::QuickGelu,
        },
        ..After::default()
    };
    let sides = [queries, width, config.mlp];
    let hidden = graph.linear(normed, &enters, sides, None, after)?;
    let sides = [queries, config.mlp, width];
    graph.linear(hidden, &name("mlp.fc2"), sides, None, add(x, "ls2.gamma"))
}
