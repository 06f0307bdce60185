//! A ResNet of bottleneck blocks as a graph: see `backbone::reference::resnet`, whose configurations and names it shares.
//!
//! Channels of a pixel lie side by side. The input is pixels [side, side, 4], the fourth channel 0
//! ([`pixels_of`]), and the first convolution's matrix has the same form ([`with_fourth_channel`]). The result is
//! [D] of unit length.

use std::collections::HashMap;

use super::graph::{After, Graph, Slot};
use super::kernel::Family;
use super::linear::{Activation, Matrix, Window};
use super::parts;
use crate::error::{Error, Result};
use crate::format::ResnetConfig;
use crate::format::architecture::{Bottleneck, Convolution};

/// Channels of the first convolution's pixels, with the one that is 0.
const STEM_CHANNELS: usize = 4;

/// A pixel grid within the graph: [side, side, channels].
#[derive(Clone, Copy)]
struct Grid {
    slot: Slot,
    side: usize,
    channels: usize,
}

/// [3, side, side] as [side, side, 4].
pub fn pixels_of(image: &[f32]) -> Vec<f32> {
    let plane = image.len() / 3;
    let pixels = (0..plane).flat_map(|i| [image[i], image[plane + i], image[2 * plane + i], 0.0]);
    pixels.collect()
}

/// The matrix of the first convolution, [.., 3], as [.., 4].
pub fn with_fourth_channel(values: &[f32]) -> Vec<f32> {
    let pixels = values.as_chunks::<3>().0.iter();
    pixels.flat_map(|[r, g, b]| [*r, *g, *b, 0.0]).collect()
}

/// The forward pass of one image.
///
/// # Errors
/// [`Error::InvalidArgument`] for a shape that the kernels do not serve.
pub fn resnet(
    config: &ResnetConfig,
    matrices: HashMap<String, Matrix>,
    family: Family,
) -> Result<Graph> {
    let side = config.image;
    let mut graph = Graph::new(family, matrices, side * side * STEM_CHANNELS);
    let x = Grid {
        slot: graph.input(),
        side,
        channels: STEM_CHANNELS,
    };
    let mut x = convolution(&mut graph, x, &config.stem(), relu())?;
    let kernel = parts::max_pool(x.side, x.channels)?;
    x.side /= 2;
    x.slot = graph.apply(x.slot, kernel, x.side * x.side * x.channels);
    for shape in config.blocks() {
        graph.step();
        x = block(&mut graph, x, &shape)?;
    }
    let pixels = x.side * x.side;
    let kernel = parts::mean_pool(pixels, x.channels, config.gem_power, config.gem_min)?;
    let pooled = graph.apply(x.slot, kernel, x.channels);
    let dimension = config.projection;
    let y = graph.linear(
        pooled,
        "fc",
        [1, x.channels, dimension],
        None,
        After::default(),
    )?;
    graph.apply(y, parts::unit(dimension)?, dimension);
    Ok(graph)
}

fn relu() -> After {
    After {
        activation: Activation::Relu,
        ..After::default()
    }
}

fn convolution(graph: &mut Graph, x: Grid, shape: &Convolution, after: After) -> Result<Grid> {
    let Convolution {
        kernel,
        stride,
        outputs,
        ..
    } = *shape;
    let side = x.side / stride.max(1);
    let sides = [side * side, x.channels, outputs];
    // A pixel by itself is a plain row.
    let window = (kernel > 1 || stride > 1).then_some(Window {
        side: x.side,
        kernel,
        stride,
    });
    Ok(Grid {
        slot: graph.linear(x.slot, &shape.name, sides, window, after)?,
        side,
        channels: outputs,
    })
}

fn block(graph: &mut Graph, x: Grid, shape: &Bottleneck) -> Result<Grid> {
    let [first, second, third] = &shape.convolutions;
    let y = convolution(graph, x, first, relu())?;
    let y = convolution(graph, y, second, relu())?;
    let shortcut = match &shape.downsample {
        Some(shape) => convolution(graph, x, shape, After::default())?,
        None => x,
    };
    if shortcut.channels != third.outputs || shortcut.side != y.side {
        return Err(Error::invalid(format!(
            "the shortcut of {} has another shape than its block",
            third.name
        )));
    }
    let after = After {
        residual: Some((shortcut.slot, 1)),
        ..relu()
    };
    convolution(graph, y, third, after)
}
