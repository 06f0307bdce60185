//! Tensors out of layouts, against what the layouts' own definitions compute.

use super::memory::{Memory, assert_says, open, reason, small};
use super::{Naming, Tensors};
use crate::backbone::generated::{generated_tensor, normal};
use crate::format::{Architecture, VitConfig};

/// Softmax attention of one head: queries, keys and values [tokens][head width].
fn head_output(q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    q.iter()
        .map(|query| {
            let scores: Vec<f64> = k.iter().map(|key| dot(query, key).exp()).collect();
            let sum: f64 = scores.iter().sum();
            (0..v[0].len())
                .map(|d| scores.iter().zip(v).map(|(s, v)| s / sum * v[d]).sum())
                .collect()
        })
        .collect()
}

#[test]
fn attention_and_mlp_through_jax_arrays_equal_those_through_the_canonical_tensors() {
    let vit = small();
    let (width, heads, depth) = (vit.width, vit.heads, vit.width / vit.heads);
    let architecture = Architecture::Vit(vit.clone());
    let mut jax = Memory::default();
    let attention =
        |n: usize| format!("Transformer/encoderblock_{n}/MultiHeadDotProductAttention_1");
    for n in 0..2 {
        let block = format!("Transformer/encoderblock_{n}");
        for norm in ["LayerNorm_0", "LayerNorm_2"] {
            jax.add(&format!("{block}/{norm}/scale"), &[width]);
            jax.add(&format!("{block}/{norm}/bias"), &[width]);
        }
        for part in ["query", "key", "value"] {
            jax.add(
                &format!("{}/{part}/kernel", attention(n)),
                &[width, heads, depth],
            );
            jax.add(&format!("{}/{part}/bias", attention(n)), &[heads, depth]);
        }
        jax.add(
            &format!("{}/out/kernel", attention(n)),
            &[heads, depth, width],
        );
        jax.add(&format!("{}/out/bias", attention(n)), &[width]);
        for (dense, inputs, outputs) in [("Dense_0", width, vit.mlp), ("Dense_1", vit.mlp, width)] {
            jax.add(
                &format!("{block}/MlpBlock_3/{dense}/kernel"),
                &[inputs, outputs],
            );
            jax.add(&format!("{block}/MlpBlock_3/{dense}/bias"), &[outputs]);
        }
    }
    jax.add("cls", &[1, 1, width]);
    jax.add("Transformer/posembed_input/pos_embedding", &[1, 5, width]);
    jax.add("embedding/kernel", &[4, 4, 3, width]);
    jax.add("embedding/bias", &[width]);
    jax.add("Transformer/encoder_norm/scale", &[width]);
    jax.add("Transformer/encoder_norm/bias", &[width]);
    jax.add("head/kernel", &[width, 10]);
    let opened = open(&architecture, "vit", jax.clone()).unwrap();
    assert_eq!(opened.surplus(), ["heads (1 tensor)"]);
    let read = |name: &str, shape: &[usize]| opened.read(name, shape).unwrap();
    let input = |t: usize, i: usize| normal("input", (t * width + i) as u64);

    // JAX's definition, over kernels [D, H, d] and [H, d, D].
    let array = |path: &str| jax.values(&format!("{}/{path}", attention(1))).unwrap();
    let project = |part: &str, t: usize, h: usize| -> Vec<f64> {
        let (kernel, bias) = (
            array(&format!("{part}/kernel")),
            array(&format!("{part}/bias")),
        );
        (0..depth)
            .map(|d| {
                let products = (0..width)
                    .map(|i| input(t, i) * f64::from(kernel[(i * heads + h) * depth + d]));
                products.sum::<f64>() + f64::from(bias[h * depth + d])
            })
            .collect()
    };
    let (kernel, bias) = (array("out/kernel"), array("out/bias"));
    let mut wanted = vec![vec![0.0; width]; 3];
    for h in 0..heads {
        let all = |part: &str| (0..3).map(|t| project(part, t, h)).collect::<Vec<_>>();
        for (t, output) in head_output(&all("query"), &all("key"), &all("value"))
            .iter()
            .enumerate()
        {
            for (d, value) in output.iter().enumerate() {
                for i in 0..width {
                    wanted[t][i] += value * f64::from(kernel[(h * depth + d) * width + i]);
                }
            }
        }
    }
    // The canonical one: rows of q, then k, then v, each head by head; then a matrix [out, in].
    let weights = read("blocks.1.attn.qkv.weight", &[3 * width, width]);
    let biases = read("blocks.1.attn.qkv.bias", &[3 * width]);
    let out = read("blocks.1.attn.proj.weight", &[width, width]);
    let out_bias = read("blocks.1.attn.proj.bias", &[width]);
    let row = |t: usize, r: usize| -> f64 {
        let products = (0..width).map(|i| input(t, i) * f64::from(weights[r * width + i]));
        products.sum::<f64>() + f64::from(biases[r])
    };
    let mut joined = vec![Vec::new(); 3];
    for h in 0..heads {
        let all = |part: usize| -> Vec<Vec<f64>> {
            let first = part * width + h * depth;
            (0..3)
                .map(|t| (first..first + depth).map(|r| row(t, r)).collect())
                .collect()
        };
        for (t, output) in head_output(&all(0), &all(1), &all(2))
            .into_iter()
            .enumerate()
        {
            joined[t].extend(output);
        }
    }
    for t in 0..3 {
        for i in 0..width {
            let products = joined[t].iter().zip(&out[i * width..]);
            let found =
                products.map(|(v, w)| v * f64::from(*w)).sum::<f64>() + f64::from(out_bias[i]);
            let wanted = wanted[t][i] + f64::from(bias[i]);
            assert!((found - wanted).abs() < 1e-9, "{t} {i}: {found} {wanted}");
        }
    }
    // A dense kernel [in, out] and the patches' kernel [y, x, in, out].
    let dense = jax
        .values("Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel")
        .unwrap();
    let matrix = read("blocks.0.mlp.fc1.weight", &[vit.mlp, width]);
    assert_eq!(matrix[7 * width + 5], dense[5 * vit.mlp + 7]);
    let kernel = jax.values("embedding/kernel").unwrap();
    let patch = read("patch_embed.proj.weight", &[width, 3, 4, 4]);
    assert_eq!(
        patch[((9 * 3 + 2) * 4 + 1) * 4 + 3],
        kernel[((4 + 3) * 3 + 2) * width + 9]
    );
}

#[test]
fn dinov2_in_the_transformers_librarys_names() {
    let vit = VitConfig {
        layer_scale: true,
        depth: 1,
        ..small()
    };
    let (w, m) = (vit.width, vit.mlp);
    let architecture = Architecture::Vit(vit);
    let names: [(&str, &str, &[usize]); 14] = [
        ("cls_token", "embeddings.cls_token", &[1, 1, w]),
        ("pos_embed", "embeddings.position_embeddings", &[1, 5, w]),
        (
            "patch_embed.proj.weight",
            "embeddings.patch_embeddings.projection.weight",
            &[w, 3, 4, 4],
        ),
        (
            "patch_embed.proj.bias",
            "embeddings.patch_embeddings.projection.bias",
            &[w],
        ),
        (
            "blocks.0.norm1.weight",
            "encoder.layer.0.norm1.weight",
            &[w],
        ),
        (
            "blocks.0.attn.proj.weight",
            "encoder.layer.0.attention.output.dense.weight",
            &[w, w],
        ),
        (
            "blocks.0.attn.proj.bias",
            "encoder.layer.0.attention.output.dense.bias",
            &[w],
        ),
        (
            "blocks.0.ls1.gamma",
            "encoder.layer.0.layer_scale1.lambda1",
            &[w],
        ),
        ("blocks.0.norm2.bias", "encoder.layer.0.norm2.bias", &[w]),
        (
            "blocks.0.mlp.fc1.weight",
            "encoder.layer.0.mlp.fc1.weight",
            &[m, w],
        ),
        (
            "blocks.0.mlp.fc2.bias",
            "encoder.layer.0.mlp.fc2.bias",
            &[w],
        ),
        (
            "blocks.0.ls2.gamma",
            "encoder.layer.0.layer_scale2.lambda1",
            &[w],
        ),
        ("norm.weight", "layernorm.weight", &[w]),
        ("norm.bias", "layernorm.bias", &[w]),
    ];
    let mut source = Memory::default();
    names
        .iter()
        .for_each(|(_, name, shape)| source.add(name, shape));
    for (name, shape) in [("norm1.bias", vec![w]), ("norm2.weight", vec![w])] {
        source.add(&format!("encoder.layer.0.{name}"), &shape);
    }
    source.add("encoder.layer.0.mlp.fc1.bias", &[m]);
    source.add("encoder.layer.0.mlp.fc2.weight", &[w, m]);
    let parts =
        ["query", "key", "value"].map(|p| format!("encoder.layer.0.attention.attention.{p}"));
    for part in &parts {
        source.add(&format!("{part}.weight"), &[w, w]);
        source.add(&format!("{part}.bias"), &[w]);
    }
    source.add("embeddings.mask_token", &[1, w]);
    let opened = open(&architecture, "dinov2", source.clone()).unwrap();
    assert_eq!(opened.layout().naming, Naming::TransformersDinov2);
    assert_eq!(opened.surplus(), ["embeddings.mask_token"]);
    for (canonical, name, shape) in names {
        assert_eq!(
            opened.read(canonical, shape).unwrap(),
            generated_tensor(name, shape)
        );
    }
    let joined = parts
        .map(|p| generated_tensor(&format!("{p}.weight"), &[w, w]))
        .concat();
    assert_eq!(
        opened
            .read("blocks.0.attn.qkv.weight", &[3 * w, w])
            .unwrap(),
        joined
    );
    source.add("embeddings.register_tokens", &[1, 4, w]);
    assert_says(
        &reason(&architecture, "dinov2", source),
        &["another network than dinov2", "embeddings.register_tokens"],
    );
}
