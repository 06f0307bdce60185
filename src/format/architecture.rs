//! The architectures that a model head can describe, and the tensors that each needs.
//!
//! Invariant after [`Architecture::validate`]: every size is bounded, so that products of them fit in
//! memory arithmetic, and every matrix but the first of an image has a number of inputs and outputs that
//! is a multiple of 4, as the kernels need.

use serde::{Deserialize, Serialize};

use super::shard::DIMENSION_MAX;
use crate::error::{Error, Result};

/// What a backbone computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum Architecture {
    Vit(VitConfig),
    Resnet(ResnetConfig),
}

/// Shape of a vision transformer; serves CLIP, DINO, MoCo v3, timm and DINOv2 checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VitConfig {
    /// Side of the square input in pixels; a multiple of `patch`.
    pub image: usize,
    pub patch: usize,
    pub width: usize,
    pub heads: usize,
    pub depth: usize,
    /// Hidden width of the MLP.
    pub mlp: usize,
    /// A learned factor per channel after each half of a block (DINOv2).
    pub layer_scale: bool,
    /// A LayerNorm before the first block (CLIP).
    pub pre_norm: bool,
    /// Length of the feature where a matrix without bias follows the final LayerNorm (CLIP).
    pub projection: Option<usize>,
    /// Epsilon of every LayerNorm.
    pub epsilon: f32,
    pub activation: Activation,
}

/// Nonlinearity of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Exact, by the error function.
    Gelu,
    /// `x * sigmoid(1.702 x)`, of the original CLIP.
    QuickGelu,
}

/// Shape of a ResNet of bottleneck blocks (the stride on the 3x3 convolution) whose BatchNorms are
/// folded, with generalised-mean pooling, a linear layer, and L2 normalisation; serves SSCD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResnetConfig {
    /// Side of the square input in pixels, a multiple of 32.
    pub image: usize,
    /// Channels of the first stage's 3x3 convolutions; doubles with each stage.
    pub width: usize,
    /// Blocks of each stage.
    pub layers: [usize; 4],
    /// Length of the feature.
    pub projection: usize,
    /// `p` of the pooling `(mean x^p)^(1/p)`.
    pub gem_power: f32,
    /// Smallest value that the pooling sees.
    pub gem_min: f32,
}

type Tensors = Vec<(String, Vec<usize>)>;

impl Architecture {
    /// Side of the square input in pixels.
    pub fn image(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.image,
            Self::Resnet(resnet) => resnet.image,
        }
    }

    /// Length D of a feature.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.projection.unwrap_or(vit.width),
            Self::Resnet(resnet) => resnet.projection,
        }
    }

    /// Every tensor with its shape, in the order of a model pack.
    pub fn tensors(&self) -> Tensors {
        match self {
            Self::Vit(vit) => vit.tensors(),
            Self::Resnet(resnet) => resnet.tensors(),
        }
    }

    /// Checks that the architecture is one that this build can run.
    ///
    /// # Errors
    /// [`Error::Format`] naming `file`.
    pub fn validate(&self, file: &str) -> Result<()> {
        let sane = match self {
            Self::Vit(vit) => vit.is_sane(),
            Self::Resnet(resnet) => resnet.is_sane(),
        };
        if !sane {
            let reason = format!("impossible architecture {self:?}");
            return Err(Error::format(file, reason));
        }
        Ok(())
    }
}

fn dimension_is_sane(dimension: usize) -> bool {
    (1..=DIMENSION_MAX).contains(&dimension) && dimension.is_multiple_of(4)
}

impl VitConfig {
    /// Number of tokens: the class token and one per patch.
    pub fn tokens(&self) -> usize {
        1 + (self.image / self.patch).pow(2)
    }

    /// Under timm's names; `norm_pre` and `head` are CLIP's `ln_pre` and transposed `proj`.
    fn tensors(&self) -> Tensors {
        let (w, m, p) = (self.width, self.mlp, self.patch);
        let mut list: Tensors = vec![
            ("cls_token".into(), vec![1, 1, w]),
            ("pos_embed".into(), vec![1, self.tokens(), w]),
            ("patch_embed.proj.weight".into(), vec![w, 3, p, p]),
            ("patch_embed.proj.bias".into(), vec![w]),
        ];
        if self.pre_norm {
            list.push(("norm_pre.weight".into(), vec![w]));
            list.push(("norm_pre.bias".into(), vec![w]));
        }
        for block in 0..self.depth {
            let mut add = |name: &str, shape: &[usize]| {
                list.push((format!("blocks.{block}.{name}"), shape.to_vec()));
            };
            add("norm1.weight", &[w]);
            add("norm1.bias", &[w]);
            add("attn.qkv.weight", &[3 * w, w]);
            add("attn.qkv.bias", &[3 * w]);
            add("attn.proj.weight", &[w, w]);
            add("attn.proj.bias", &[w]);
            if self.layer_scale {
                add("ls1.gamma", &[w]);
            }
            add("norm2.weight", &[w]);
            add("norm2.bias", &[w]);
            add("mlp.fc1.weight", &[m, w]);
            add("mlp.fc1.bias", &[m]);
            add("mlp.fc2.weight", &[w, m]);
            add("mlp.fc2.bias", &[w]);
            if self.layer_scale {
                add("ls2.gamma", &[w]);
            }
        }
        list.push(("norm.weight".into(), vec![w]));
        list.push(("norm.bias".into(), vec![w]));
        if let Some(projection) = self.projection {
            list.push(("head.weight".into(), vec![projection, w]));
        }
        list
    }

    fn is_sane(&self) -> bool {
        (1..=64).contains(&self.patch)
            && (1..=1024).contains(&self.image)
            && self.image.is_multiple_of(self.patch)
            && dimension_is_sane(self.width)
            && self.projection.is_none_or(dimension_is_sane)
            && (1..=64).contains(&self.heads)
            && self.width.is_multiple_of(4 * self.heads)
            && (1..=64).contains(&self.depth)
            && (1..=16384).contains(&self.mlp)
            && self.mlp.is_multiple_of(4)
            && self.epsilon > 0.0
            && self.epsilon < 1.0
            // What the attention scores of one image take stays below 256 MB.
            && self.heads * self.tokens().pow(2) <= 64 << 20
    }
}

/// A convolution of a [`ResnetConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Prefix of the names of its weight and bias.
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    pub stride: usize,
}

/// A bottleneck block of a [`ResnetConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// 1x1, 3x3 and 1x1.
    pub convolutions: [Convolution; 3],
    /// Of the shortcut, where shapes change.
    pub downsample: Option<Convolution>,
}

impl ResnetConfig {
    /// The first convolution, 7x7 with stride 2.
    pub fn stem(&self) -> Convolution {
        convolution("conv1".into(), 3, self.width, 7, 2)
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> Vec<Bottleneck> {
        let mut blocks = Vec::new();
        let mut inputs = self.width;
        for (stage, count) in self.layers.iter().enumerate() {
            let middle = self.width << stage;
            for block in 0..*count {
                let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let outputs = 4 * middle;
                blocks.push(Bottleneck {
                    convolutions: [
                        convolution(name("conv1"), inputs, middle, 1, 1),
                        convolution(name("conv2"), middle, middle, 3, stride),
                        convolution(name("conv3"), middle, outputs, 1, 1),
                    ],
                    downsample: (block == 0)
                        .then(|| convolution(name("downsample"), inputs, outputs, 1, stride)),
                });
                inputs = outputs;
            }
        }
        blocks
    }

    /// Channels of the last stage.
    pub fn channels(&self) -> usize {
        32 * self.width
    }

    /// Under torchvision's names; a kernel is stored [out, y, x, in], so that it is a matrix for
    /// pixels whose channels lie side by side.
    fn tensors(&self) -> Tensors {
        let mut list = Tensors::new();
        let mut add = |c: &Convolution| {
            let kernel = vec![c.outputs, c.kernel, c.kernel, c.inputs];
            list.push((format!("{}.weight", c.name), kernel));
            list.push((format!("{}.bias", c.name), vec![c.outputs]));
        };
        add(&self.stem());
        for block in self.blocks() {
            block.convolutions.iter().for_each(&mut add);
            block.downsample.iter().for_each(&mut add);
        }
        list.push(("fc.weight".into(), vec![self.projection, self.channels()]));
        list.push(("fc.bias".into(), vec![self.projection]));
        list
    }

    fn is_sane(&self) -> bool {
        (32..=1024).contains(&self.image)
            && self.image.is_multiple_of(32)
            && (4..=256).contains(&self.width)
            && self.width.is_multiple_of(4)
            && self.layers.iter().all(|blocks| (1..=64).contains(blocks))
            && dimension_is_sane(self.projection)
            && self.gem_power >= 1.0
            && self.gem_power <= 16.0
            && self.gem_min > 0.0
            && self.gem_min < 1.0
    }
}

fn convolution(
    name: String,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Convolution {
    Convolution {
        name,
        inputs,
        outputs,
        kernel,
        stride,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sscd() -> ResnetConfig {
        ResnetConfig {
            image: 288,
            width: 64,
            layers: [3, 4, 6, 3],
            projection: 512,
            gem_power: 3.0,
            gem_min: 1e-6,
        }
    }

    #[test]
    fn a_resnet_50_has_its_known_number_of_weights() {
        let tensors = Architecture::Resnet(sscd()).tensors();
        let weights = |end: &str| -> usize {
            let matching = tensors.iter().filter(|(name, _)| name.ends_with(end));
            matching
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum()
        };
        // torchvision's ResNet-50: 23,454,912 in convolutions; 2048 x 512 in the last layer.
        assert_eq!(weights(".weight"), 23_454_912 + 2048 * 512);
        // One bias a channel in place of each BatchNorm's two parameters: 53,120 / 2.
        assert_eq!(weights(".bias"), 26_560 + 512);
    }

    #[test]
    fn impossible_architectures_are_refused() {
        type Break = fn(&mut ResnetConfig);
        let breaks: [Break; 6] = [
            |r| r.image = 300,
            |r| r.width = 6,
            |r| r.layers[2] = 0,
            |r| r.projection = usize::MAX,
            |r| r.gem_power = f32::NAN,
            |r| r.gem_min = 0.0,
        ];
        assert!(Architecture::Resnet(sscd()).validate("h").is_ok());
        for (i, damage) in breaks.iter().enumerate() {
            let mut resnet = sscd();
            damage(&mut resnet);
            assert!(
                Architecture::Resnet(resnet).validate("h").is_err(),
                "break {i}"
            );
        }
    }
}
