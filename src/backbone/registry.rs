//! The backbones by name: architecture and preprocessing of each.

use crate::format::{Activation, VitConfig};
use crate::preprocess::{Filter, Preprocess};

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A backbone that `import` knows.
#[derive(Clone, Debug)]
pub struct BackboneSpec {
    pub name: &'static str,
    pub about: &'static str,
    pub architecture: VitConfig,
    pub preprocess: Preprocess,
}

/// All backbones, in the order in which they are listed to users.
pub fn backbones() -> Vec<BackboneSpec> {
    let dinov2 = |width, heads, depth| VitConfig {
        image: 224,
        patch: 14,
        width,
        heads,
        depth,
        mlp: 4 * width,
        layer_scale: true,
        epsilon: 1e-6,
        activation: Activation::Gelu,
    };
    let imagenet = |resize, crop, filter| Preprocess {
        resize,
        filter,
        crop,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
    };
    vec![
        BackboneSpec {
            name: "dinov2-s14",
            about: "DINOv2 ViT-S/14, 22 M parameters, features of 384",
            architecture: dinov2(384, 6, 12),
            preprocess: imagenet(256, 224, Filter::Bicubic),
        },
        BackboneSpec {
            name: "dinov2-b14",
            about: "DINOv2 ViT-B/14, 86 M parameters, features of 768",
            architecture: dinov2(768, 12, 12),
            preprocess: imagenet(256, 224, Filter::Bicubic),
        },
        BackboneSpec {
            name: "toy-p14",
            about: "a transformer of two narrow blocks, for tests of your own pages",
            architecture: VitConfig {
                image: 56,
                ..dinov2(32, 2, 2)
            },
            preprocess: imagenet(64, 56, Filter::Bicubic),
        },
    ]
}

/// The backbone called `name`.
pub fn find(name: &str) -> Option<BackboneSpec> {
    backbones().into_iter().find(|spec| spec.name == name)
}
