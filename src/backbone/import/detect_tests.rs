//! Which network of a file is taken, and what is said where none is.

use super::memory::{Memory, assert_says, of, open, reason, small};
use super::{Naming, resize_positions};
use crate::backbone::generated::generated_tensor;
use crate::format::{Architecture, VitConfig};

#[test]
fn of_several_networks_the_documented_one_is_taken_or_none() {
    let architecture = Architecture::Vit(small());
    let network = |prefix: &str| Memory::timm(&architecture, prefix);
    for (taken, other, kind) in [
        (
            "teacher.backbone.",
            "student.module.backbone.",
            "student (30 tensors)",
        ),
        (
            "state_dict.module.base_encoder.",
            "state_dict.module.momentum_encoder.",
            "momentum encoder (30 tensors)",
        ),
    ] {
        let opened = open(&architecture, "dino", network(taken).with(network(other))).unwrap();
        assert_eq!(opened.layout().prefix, taken);
        assert_eq!(opened.surplus(), [kind]);
    }
    let message = reason(
        &architecture,
        "dino",
        network("ema.").with(network("model.")),
    );
    assert_says(
        &message,
        &["several networks", "under ema.", "under model."],
    );
    let message = reason(&architecture, "moco", network("momentum_encoder."));
    assert_says(&message, &["no moco", "patch_embed.proj.weight"]);
    // Shapes decide too.
    let wider = Architecture::Vit(VitConfig {
        width: 24,
        ..small()
    });
    let both = network("a.").with(Memory::timm(&wider, "b."));
    assert_eq!(open(&wider, "dino", both).unwrap().layout().prefix, "b.");
}

#[test]
fn what_is_wrong_is_named() {
    let architecture = Architecture::Vit(small());
    let whole = || Memory::timm(&architecture, "model.");
    let mut source = whole();
    source
        .shapes
        .retain(|name, _| !name.starts_with("model.blocks.1."));
    assert_says(
        &reason(&architecture, "dino", source),
        &[
            "w.pth: ",
            "12 of 30 tensors are missing",
            "model.blocks.1.norm1.weight",
            "and 7 more",
        ],
    );
    let mut source = whole();
    source.add("model.blocks.1.mlp.fc1.weight", &[12, 20]);
    assert_says(
        &reason(&architecture, "dino", source),
        &["model.blocks.1.mlp.fc1.weight", "[12, 20]", "[20, 12]"],
    );
    let mut source = whole();
    source
        .set
        .insert("model.norm.weight".into(), vec![f32::NAN; 12]);
    let opened = open(&architecture, "dino", source).unwrap();
    let message = opened.read("norm.weight", &[12]).unwrap_err().to_string();
    assert_says(&message, &["w.pth: tensor model.norm.weight", "not finite"]);
    for name in [
        "model.blocks.2.norm1.weight",
        "model.blocks.0.ls1.gamma",
        "model.norm_pre.bias",
    ] {
        let mut source = whole();
        source.add(name, &[12]);
        assert_says(
            &reason(&architecture, "dino", source),
            &["another network than dino", name],
        );
    }
    assert_says(
        &reason(&architecture, "dino", Memory::default()),
        &["patch_embed.proj.weight", "embedding/kernel"],
    );
}

#[test]
fn a_known_backbone_under_another_name_is_recognised() {
    let resnet = || {
        let mut source = Memory::default();
        for (name, shape) in of("sscd").tensors() {
            let recipe = Naming::Torchvision
                .recipe(&of("sscd"), &name, &shape)
                .unwrap();
            for tensor in recipe.sources {
                source.add(&format!("backbone.{}", tensor.name), &tensor.shape);
            }
        }
        source
    };
    open(&of("sscd"), "sscd", resnet()).unwrap();
    assert_says(
        &reason(&of("dino"), "dino", resnet()),
        &[
            "a ResNet in torchvision's names under backbone.",
            "the file fits sscd",
        ],
    );
    let mut deeper = resnet();
    deeper.add("backbone.layer3.6.conv1.weight", &[256, 1024, 1, 1]);
    assert_says(
        &reason(&of("sscd"), "sscd", deeper),
        &["another network", "layer3.6"],
    );
    let file = |name: &str| Memory::timm(&of(name), "");
    assert_says(
        &reason(&of("dino"), "dino", file("vit")),
        &[
            "pos_embed has shape [1, 577, 768], dino needs [1, 197, 768]",
            "fits vit",
        ],
    );
    assert_says(
        &reason(&of("dinov2-s14"), "dinov2-s14", file("dinov2-b14")),
        &["cls_token has shape [1, 1, 768]", "fits dinov2-b14"],
    );
    assert_says(
        &reason(&of("clip"), "clip", file("dino")),
        &["no clip", "fits dino, moco"],
    );
    let large = VitConfig {
        width: 1024,
        heads: 16,
        depth: 24,
        mlp: 4096,
        ..small()
    };
    let message = reason(
        &of("dino"),
        "dino",
        Memory::timm(&Architecture::Vit(large), ""),
    );
    assert_says(&message, &["[1, 1, 1024]", "[1, 1, 768]"]);
    assert!(!message.contains("fits"), "{message}");
}

#[test]
fn only_dinov2s_positions_are_resized() {
    let mut source = Memory::timm(&of("toy-p14"), "");
    source.add("pos_embed", &[1, 1 + 37 * 37, 32]);
    let opened = open(&of("toy-p14"), "toy-p14", source.clone()).unwrap();
    let found = opened.read("pos_embed", &[1, 17, 32]).unwrap();
    let trained = generated_tensor("pos_embed", &[1, 1 + 37 * 37, 32]);
    assert_eq!(Some(found), resize_positions(&trained, 32, 4));
    source.add("pos_embed", &[1, 18, 32]);
    assert_says(
        &reason(&of("toy-p14"), "toy-p14", source),
        &["pos_embed", "[1, 18, 32]"],
    );
}
