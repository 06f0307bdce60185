//! The backbones by name: architecture and preprocessing of each.

use crate::format::{Activation, Architecture, ResnetConfig, VitConfig};
use crate::preprocess::{Filter, Preprocess};

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// A backbone that `import` knows.
#[derive(Clone, Debug)]
pub struct BackboneSpec {
    pub name: &'static str,
    pub about: &'static str,
    pub architecture: Architecture,
    pub preprocess: Preprocess,
}

/// All backbones, in the order in which they are listed to users.
pub fn backbones() -> Vec<BackboneSpec> {
    let imagenet = |resize, crop, filter| Preprocess {
        resize,
        filter,
        crop,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
    };
    vec![
        BackboneSpec {
            name: "clip",
            about: "CLIP ViT-B/32, the image tower, 88 M parameters, features of 512",
            architecture: Architecture::Vit(VitConfig {
                pre_norm: true,
                projection: Some(512),
                epsilon: 1e-5,
                activation: Activation::QuickGelu,
                ..vit(224, 32, 768)
            }),
            preprocess: Preprocess {
                mean: CLIP_MEAN,
                std: CLIP_STD,
                ..imagenet(224, 224, Filter::Bicubic)
            },
        },
        BackboneSpec {
            name: "dino",
            about: "DINO ViT-B/16, 86 M parameters, features of 768",
            architecture: Architecture::Vit(vit(224, 16, 768)),
            preprocess: imagenet(256, 224, Filter::Bicubic),
        },
        BackboneSpec {
            name: "moco",
            about: "MoCo v3 ViT-B/16, 86 M parameters, features of 768",
            architecture: Architecture::Vit(vit(224, 16, 768)),
            preprocess: imagenet(256, 224, Filter::Bilinear),
        },
        BackboneSpec {
            name: "vit",
            about: "ViT-B/16 on 384 pixels, trained with labels, 86 M parameters, features of 768",
            architecture: Architecture::Vit(vit(384, 16, 768)),
            preprocess: Preprocess {
                mean: [0.5; 3],
                std: [0.5; 3],
                ..imagenet(384, 384, Filter::Bilinear)
            },
        },
        BackboneSpec {
            name: "sscd",
            about: "SSCD ResNet-50 for copy detection, 25 M parameters, features of 512",
            architecture: Architecture::Resnet(ResnetConfig {
                image: 288,
                width: 64,
                layers: [3, 4, 6, 3],
                projection: 512,
                gem_power: 3.0,
                gem_min: 1e-6,
            }),
            preprocess: imagenet(288, 288, Filter::Bilinear),
        },
        BackboneSpec {
            name: "dinov2-s14",
            about: "DINOv2 ViT-S/14, 22 M parameters, features of 384",
            architecture: Architecture::Vit(dinov2(384)),
            preprocess: imagenet(256, 224, Filter::Bicubic),
        },
        BackboneSpec {
            name: "dinov2-b14",
            about: "DINOv2 ViT-B/14, 86 M parameters, features of 768",
            architecture: Architecture::Vit(dinov2(768)),
            preprocess: imagenet(256, 224, Filter::Bicubic),
        },
        BackboneSpec {
            name: "toy-p14",
            about: "a transformer of two narrow blocks, for tests of your own pages",
            architecture: Architecture::Vit(VitConfig {
                image: 56,
                heads: 2,
                depth: 2,
                ..dinov2(32)
            }),
            preprocess: imagenet(64, 56, Filter::Bicubic),
        },
        BackboneSpec {
            name: "toy-clip",
            about: "CLIP's kind of transformer with two narrow blocks, for tests",
            architecture: Architecture::Vit(VitConfig {
                heads: 2,
                depth: 2,
                pre_norm: true,
                projection: Some(24),
                epsilon: 1e-5,
                activation: Activation::QuickGelu,
                ..vit(64, 32, 32)
            }),
            preprocess: imagenet(64, 64, Filter::Bicubic),
        },
        BackboneSpec {
            name: "toy-resnet",
            about: "SSCD's kind of ResNet with four narrow blocks, for tests",
            architecture: Architecture::Resnet(ResnetConfig {
                image: 64,
                width: 8,
                layers: [1, 1, 1, 1],
                projection: 24,
                gem_power: 3.0,
                gem_min: 1e-6,
            }),
            preprocess: imagenet(64, 64, Filter::Bilinear),
        },
    ]
}

/// The backbone called `name`.
pub fn find(name: &str) -> Option<BackboneSpec> {
    backbones().into_iter().find(|spec| spec.name == name)
}

/// The usual transformer of 12 blocks and heads of 64.
fn vit(image: usize, patch: usize, width: usize) -> VitConfig {
    VitConfig {
        image,
        patch,
        width,
        heads: width / 64,
        depth: 12,
        mlp: 4 * width,
        layer_scale: false,
        pre_norm: false,
        projection: None,
        epsilon: 1e-6,
        activation: Activation::Gelu,
    }
}

fn dinov2(width: usize) -> VitConfig {
    VitConfig {
        layer_scale: true,
        ..vit(224, 14, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_feature_lengths_are_those_published() {
        // CLIP's zero patch bias is not counted. ResNet-50 has another head here, and one bias in place
        // of the two parameters of each BatchNorm channel. DINOv2's are published with 37x37 positions
        // and a mask token.
        let wanted = [
            ("clip", 87_849_216, 512),
            ("dino", 85_798_656, 768),
            ("moco", 85_798_656, 768),
            ("vit", 86_090_496, 768),
            ("sscd", 25_557_032 - 2_049_000 - 26_560 + 512 * 2049, 512),
            ("dinov2-s14", 22_056_576 - (1369 - 256) * 384 - 384, 384),
            ("dinov2-b14", 86_580_480 - (1369 - 256) * 768 - 768, 768),
        ];
        for (name, parameters, dimension) in wanted {
            let spec = find(name).unwrap();
            let tensors = spec.architecture.tensors();
            let count: usize = tensors.iter().map(|t| t.1.iter().product::<usize>()).sum();
            let bias = if name == "clip" { 768 } else { 0 };
            assert_eq!(count - bias, parameters, "{name}");
            assert_eq!(spec.architecture.dimension(), dimension, "{name}");
            assert_eq!(spec.architecture.image(), spec.preprocess.crop as usize);
            assert!(spec.preprocess.check().is_ok(), "{name}");
        }
    }
}
