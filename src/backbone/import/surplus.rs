//! What a checkpoint holds beside the backbone, in few words.

/// Kinds of tensors that are expected beside a backbone, and the parts of names that tell them. The
/// first kind that fits counts.
const KINDS: [(&str, &[&str]); 6] = [
    ("momentum encoder", &["momentum_encoder"]),
    (
        "optimizer state",
        &[
            "optimizer",
            "optimizers",
            "optimizer_state_dict",
            "optimizer_states",
            "opt",
        ],
    ),
    ("student", &["student"]),
    (
        "counters and constants",
        &[
            "num_batches_tracked",
            "position_ids",
            "logit_scale",
            "logit_bias",
            "input_resolution",
            "context_length",
            "vocab_size",
        ],
    ),
    (
        "text tower",
        &[
            "text",
            "text_model",
            "text_projection",
            "token_embedding",
            "ln_final",
            "resblocks",
            "positional_embedding",
        ],
    ),
    (
        "heads",
        &[
            "head",
            "head_dist",
            "fc",
            "classifier",
            "pooler",
            "pre_logits",
            "predictor",
            "projector",
            "dino_head",
            "ibot_head",
            "lm_head",
            "decoder",
        ],
    ),
];

/// Tensors of the expected kinds as `text tower (149 tensors)`, then the others by name.
pub(super) fn summarise<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut counts = [0usize; KINDS.len()];
    let mut others = Vec::new();
    for name in names {
        let has = |part: &&str| name.split(['.', '/']).any(|segment| segment == *part);
        let kind = KINDS.iter().zip(&mut counts);
        let fits = kind
            .into_iter()
            .find(|((_, parts), _)| parts.iter().any(has));
        match fits {
            Some((_, count)) => *count += 1,
            None => others.push(name.to_string()),
        }
    }
    let kinds = KINDS.iter().zip(counts).filter(|(_, count)| *count > 0);
    kinds
        .map(|((kind, _), count)| match count {
            1 => format!("{kind} (1 tensor)"),
            n => format!("{kind} ({n} tensors)"),
        })
        .chain(others)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_kinds_are_counted_and_others_named() {
        let names = [
            "transformer.resblocks.0.ln_1.weight",
            "token_embedding.weight",
            "logit_scale",
            "mask_token",
            "state_dict.module.momentum_encoder.head.0.weight",
            "state_dict.module.base_encoder.head.0.weight",
            "optimizer.state.0.exp_avg",
            "student.module.head.mlp.0.weight",
            "head/kernel",
            "overhead",
        ];
        assert_eq!(
            summarise(names),
            [
                "momentum encoder (1 tensor)",
                "optimizer state (1 tensor)",
                "student (1 tensor)",
                "counters and constants (1 tensor)",
                "text tower (2 tensors)",
                "heads (2 tensors)",
                "mask_token",
                "overhead",
            ]
        );
    }
}
