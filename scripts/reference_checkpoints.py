"""Checkpoint files in the forms that users have, and the tensors that an import must make of them.

tests/golden/import holds tiny architectures. Its expected.json is {"torch", "files": {file: {"backbone",
"architecture", "tensors": {name: {"shape", "sha256"}}}}}, where names and shapes are those of a model pack
(but for a ResNet's kernels: [out, in, y, x] here, [out, y, x, in] in a pack)
and the digest is over the little-endian float32 values. BatchNorm is folded in float64 and then rounded,
and another order of operations differs in the last bits: tensors made so state the first 4 values, the
"sum" and the "weighted_sum", that of value_i * (i mod 31 + 1), instead of a digest.

Every file also holds what an import must leave alone: heads, a text tower, optimizer states, and for dino
and moco a student and a momentum encoder with the same names and other values. The files of one backbone
hold the same weights, except that ViT-B-32.pt has most of them rounded to float16. At full size the text
tower of CLIP has 2 blocks.
"""

import argparse
import collections
import io
import zipfile

import clip.model
import numpy as np
import safetensors.torch
import torch
from reference_models import FULL, GOLDEN, SMALL, generated, sha256, shortest, write_json

# ---- canonical tensors -------------------------------------------------------------------------


def canonical_vit(state):
    return {name: tensor.float() for name, tensor in state.items() if not name.startswith("head")}


def canonical_clip(visual):
    """Of the image tower's state_dict."""
    v = {name: tensor.float() for name, tensor in visual.items()}
    out = {
        "cls_token": v["class_embedding"][None, None],
        "pos_embed": v["positional_embedding"][None],
        "patch_embed.proj.weight": v["conv1.weight"],
        "patch_embed.proj.bias": torch.zeros(len(v["class_embedding"])),
    }
    renamed = {
        "ln_1": "norm1", "ln_2": "norm2", "attn.in_proj_": "attn.qkv.", "attn.out_proj": "attn.proj",
        "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2", "transformer.resblocks": "blocks",
        "ln_pre": "norm_pre", "ln_post": "norm",
    }  # fmt: skip
    for name, tensor in v.items():
        new = name
        for theirs, ours in renamed.items():
            new = new.replace(theirs, ours)
        if new.split(".")[0] in ("blocks", "norm_pre", "norm"):
            out[new] = tensor
    out["head.weight"] = v["proj"].T
    return out


def canonical_resnet(state):
    """The tensors, and the names of those that BatchNorm was folded into."""
    state = {name.removeprefix("backbone."): tensor.double() for name, tensor in state.items()}
    out, folded = {}, set()
    for name in state:
        stem, dot, _ = name.rpartition(".running_var")
        if not dot:
            continue
        if stem.endswith("downsample.1"):
            convolution, new = stem[:-1] + "0", stem[:-2]
        else:
            convolution = new = stem.replace("bn", "conv")
        scale = state[f"{stem}.weight"] / (state[f"{stem}.running_var"] + 1e-5).sqrt()
        out[f"{new}.weight"] = (state[f"{convolution}.weight"] * scale[:, None, None, None]).float()
        out[f"{new}.bias"] = (state[f"{stem}.bias"] - state[f"{stem}.running_mean"] * scale).float()
        folded |= {f"{new}.weight", f"{new}.bias"}
    out["fc.weight"], out["fc.bias"] = state["fc.weight"].float(), state["fc.bias"].float()
    return out, folded


def described(tensors, folded=()):
    out = {}
    for name, tensor in tensors.items():
        values = tensor.contiguous().numpy().astype("<f4")
        out[name] = {"shape": list(values.shape)}
        if name in folded:
            flat = values.ravel().astype(np.float64)
            out[name]["first"] = shortest(values.ravel()[:4])
            out[name]["sum"] = float(flat.sum())
            out[name]["weighted_sum"] = float((flat * (np.arange(len(flat)) % 31 + 1)).sum())
        else:
            out[name]["sha256"] = sha256(values)
    return out


# ---- the forms of checkpoints ------------------------------------------------------------------


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def module_state(state):
    """As Module.state_dict returns it: with the versions of the modules as an attribute."""
    state = collections.OrderedDict(state)
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return state


def projection_head(prefix, width):
    """Two layers of MoCo v3's projector: Linear and BatchNorm."""
    shapes = {
        "0.weight": (2 * width, width),
        "1.weight": (2 * width,),
        "1.bias": (2 * width,),
        "1.running_mean": (2 * width,),
        "1.running_var": (2 * width,),
        "1.num_batches_tracked": (),
        "3.weight": (width // 2, 2 * width),
    }
    return {prefix + name: generated(prefix + name, shape) for name, shape in shapes.items()}


def dino_full(sizes):
    """What DINO's training saves: the student under DistributedDataParallel's prefix."""

    def network(prefix, state, stem):
        head = {f"head.mlp.0.{kind}": shape for kind, shape in (("weight", (32, sizes.width)), ("bias", (32,)))}
        head = {name: generated(name, shape, stem=stem) for name, shape in head.items()}
        return module_state(prefixed(prefix, {**prefixed("backbone.", state), **head}))

    return {
        "student": network("module.", sizes.state(stem="student."), "student."),
        "teacher": network("", sizes.state(), "teacher."),
        "optimizer": optimizer_state(sizes),
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_base", patch_size=sizes.patch, lr=0.0005, use_fp16=False),
        "dino_loss": module_state({"center": generated("center", (1, 32))}),
    }


def optimizer_state(sizes):
    moments = {name: generated(name, (1, 1, sizes.width), stem="optimizer.") for name in ("exp_avg", "exp_avg_sq")}
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "amsgrad": False, "params": [0]}
    return {"state": {0: {"step": 1000, **moments}}, "param_groups": [group]}


def moco_full(sizes):
    base, momentum = "module.base_encoder.", "module.momentum_encoder."
    state = {
        **prefixed(base, sizes.state()),
        **projection_head(f"{base}head.", sizes.width),
        **prefixed(momentum, sizes.state(stem="momentum.")),
        **projection_head(f"{momentum}head.", sizes.width),
        **projection_head("module.predictor.", sizes.width),
    }
    return {
        "epoch": 300,
        "arch": "vit_base",
        "state_dict": module_state(state),
        "optimizer": optimizer_state(sizes),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "_growth_tracker": 7},
    }


def transformers_vit(state, prefix, surplus):
    """The names of the transformers library; it keeps query, key and value apart."""
    p = f"{prefix}embeddings."
    out = {
        f"{p}cls_token": state["cls_token"],
        f"{p}position_embeddings": state["pos_embed"],
        f"{p}patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        f"{p}patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
    }
    for kind in ("weight", "bias"):
        for n in range(blocks_of(state, "blocks.")):
            ours, theirs = f"blocks.{n}.", f"{prefix}encoder.layer.{n}."
            parts = state[f"{ours}attn.qkv.{kind}"].chunk(3)
            for part, tensor in zip(("query", "key", "value"), parts):
                out[f"{theirs}attention.attention.{part}.{kind}"] = tensor
            for a, b in (
                ("attn.proj", "attention.output.dense"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
                ("norm1", "layernorm_before"),
                ("norm2", "layernorm_after"),
            ):
                out[f"{theirs}{b}.{kind}"] = state[f"{ours}{a}.{kind}"]
        out[f"{prefix}layernorm.{kind}"] = state[f"norm.{kind}"]
    width = state["cls_token"].shape[-1]
    for name, rows in surplus.items():
        out[f"{name}.weight"] = generated(f"{name}.weight", (rows, width))
        out[f"{name}.bias"] = generated(f"{name}.bias", (rows,))
    return out


def blocks_of(state, prefix):
    return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in state if name.startswith(prefix))


def transformers_clip(state):
    out = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T,
        "visual_projection.weight": state["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
    }
    for tower in ("text_model", "vision_model"):
        positions = len(out[f"{tower}.embeddings.position_embedding.weight"])
        out[f"{tower}.embeddings.position_ids"] = torch.arange(positions)[None]
    for kind in ("weight", "bias"):
        for ours, theirs in (("", "text_model."), ("visual.", "vision_model.")):
            for n in range(blocks_of(state, f"{ours}transformer.resblocks.")):
                a, b = f"{ours}transformer.resblocks.{n}.", f"{theirs}encoder.layers.{n}."
                for part, tensor in zip("qkv", state[f"{a}attn.in_proj_{kind}"].chunk(3)):
                    out[f"{b}self_attn.{part}_proj.{kind}"] = tensor
                for x, y in (
                    ("attn.out_proj", "self_attn.out_proj"),
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                ):
                    out[f"{b}{y}.{kind}"] = state[f"{a}{x}.{kind}"]
        out[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        # Misspelt in the library, so in every file.
        out[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        out[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
    return out


def jax_arrays(state, heads):
    """The augreg originals: kernels [in, out], attention split by head, images last in channels."""
    s = {name: tensor.numpy() for name, tensor in state.items()}
    width = s["cls_token"].shape[-1]
    head_width = width // heads
    out = {
        "cls": s["cls_token"],
        "embedding/kernel": s["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": s["patch_embed.proj.bias"],
        "head/kernel": s["head.weight"].T,
        "head/bias": s["head.bias"],
        "Transformer/posembed_input/pos_embedding": s["pos_embed"],
        "Transformer/encoder_norm/scale": s["norm.weight"],
        "Transformer/encoder_norm/bias": s["norm.bias"],
    }
    for n in range(blocks_of(state, "blocks.")):
        ours, theirs = f"blocks.{n}.", f"Transformer/encoderblock_{n}/"
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        weights, biases = s[f"{ours}attn.qkv.weight"], s[f"{ours}attn.qkv.bias"]
        for i, part in enumerate(("query", "key", "value")):
            rows = slice(i * width, (i + 1) * width)
            out[f"{attention}{part}/kernel"] = weights[rows].T.reshape(width, heads, head_width)
            out[f"{attention}{part}/bias"] = biases[rows].reshape(heads, head_width)
        out[f"{attention}out/kernel"] = s[f"{ours}attn.proj.weight"].T.reshape(heads, head_width, width)
        out[f"{attention}out/bias"] = s[f"{ours}attn.proj.bias"]
        for a, b in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            out[f"{theirs}{b}/scale"] = s[f"{ours}{a}.weight"]
            out[f"{theirs}{b}/bias"] = s[f"{ours}{a}.bias"]
        for a, b in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            out[f"{theirs}MlpBlock_3/{b}/kernel"] = s[f"{ours}mlp.{a}.weight"].T
            out[f"{theirs}MlpBlock_3/{b}/bias"] = s[f"{ours}mlp.{a}.bias"]
    return {name: np.ascontiguousarray(array) for name, array in out.items()}


def clip_archive(sizes, path):
    """As the official ViT-B-32.pt: the whole model traced, then half precision where CLIP has it."""
    model = sizes.whole()
    image = torch.zeros(1, 3, sizes.image, sizes.image)
    text = torch.zeros(1, sizes.text[0], dtype=torch.int64)
    traced = torch.jit.trace(model, (image, text), check_trace=False)
    clip.model.convert_weights(model)
    for name, tensor in model.state_dict().items():
        target = traced
        *modules, last = name.split(".")
        for module in modules:
            target = getattr(target, module)
        getattr(target, last).data = tensor
    traced.save(str(path))
    return model.state_dict()


def without_debug_files(path):
    """TorchScript archives list the sources they came from, with their paths on the machine."""
    source = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0)), old.read(entry))


def save_safetensors(tensors, path):
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o644)


def clip_files(sizes, out, classes):
    half = clip_archive(sizes, out / "ViT-B-32.pt")
    whole = sizes.whole().state_dict()
    plain = {name: tensor for name, tensor in whole.items() if tensor.dim() > 0 or name == "logit_scale"}
    torch.save(module_state(plain), out / "clip_state_dict.pt")
    save_safetensors(transformers_clip(whole), out / "clip_transformers.safetensors")

    def visual(state):
        return {name.removeprefix("visual."): t for name, t in state.items() if name.startswith("visual.")}

    exact = canonical_clip(visual(whole))
    return {
        "ViT-B-32.pt": canonical_clip(visual(half)),
        "clip_state_dict.pt": exact,
        "clip_transformers.safetensors": exact,
    }


def dino_files(sizes, out, classes):
    state = sizes.state()
    torch.save(state, out / "dino_vitbase16_pretrain.pth")
    torch.save(dino_full(sizes), out / "dino_vitbase16_pretrain_full_checkpoint.pth")
    save_safetensors(transformers_vit(state, "", {"pooler.dense": sizes.width}), out / "dino_transformers.safetensors")
    names = (
        "dino_vitbase16_pretrain.pth",
        "dino_vitbase16_pretrain_full_checkpoint.pth",
        "dino_transformers.safetensors",
    )
    return dict.fromkeys(names, canonical_vit(state))


def moco_files(sizes, out, classes):
    torch.save(moco_full(sizes), out / "moco-vit-b-300ep.pth.tar")
    return {"moco-vit-b-300ep.pth.tar": canonical_vit(sizes.state())}


def vit_files(sizes, out, classes):
    state = sizes.state(classes)
    torch.save(state, out / "vit_timm.pth")
    save_safetensors(state, out / "vit_timm.safetensors")
    save_safetensors(transformers_vit(state, "vit.", {"classifier": classes}), out / "vit_transformers.safetensors")
    np.savez(out / "vit_augreg.npz", **jax_arrays(state, sizes.heads))
    check = sizes.model(classes)
    check.load_pretrained(str(out / "vit_augreg.npz"))
    for name, tensor in check.state_dict().items():
        assert torch.equal(tensor, state[name]), f"timm reads {name} of the .npz differently"
    names = ("vit_timm.pth", "vit_timm.safetensors", "vit_transformers.safetensors", "vit_augreg.npz")
    return dict.fromkeys(names, canonical_vit(state))


def sscd_files(sizes, out, classes):
    state = sizes.state()
    torch.save(state, out / "sscd_disc_mixup.torchvision.pt")
    model = sizes.model()
    model.load_state_dict(state)
    torch.jit.script(model).save(str(out / "sscd_disc_mixup.torchscript.pt"))
    names = ("sscd_disc_mixup.torchvision.pt", "sscd_disc_mixup.torchscript.pt")
    return dict.fromkeys(names, canonical_resnet(state))


def dinov2_files(sizes, out, classes):
    state = {**sizes.state(), "mask_token": generated("mask_token", (1, sizes.width))}
    torch.save(collections.OrderedDict(state), out / "dinov2_224.pth")
    del state["mask_token"]
    return {"dinov2_224.pth": canonical_vit(state)}


WRITERS = {
    "clip": clip_files,
    "dino": dino_files,
    "moco": moco_files,
    "vit": vit_files,
    "sscd": sscd_files,
    "dinov2-s14": dinov2_files,
}


def write_full(names, out):
    out.mkdir(parents=True, exist_ok=True)
    for name in names or WRITERS:
        WRITERS[name](FULL[name], out, 1000)


def write_small():
    out = GOLDEN / "import"
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for backbone, sizes in SMALL.items():
        for file, tensors in WRITERS[backbone](sizes, out, 10).items():
            tensors, folded = tensors if isinstance(tensors, tuple) else (tensors, ())
            entry = {"backbone": backbone, "architecture": sizes.architecture()}
            files[file] = {**entry, "tensors": described(tensors, folded)}
    for file in ("ViT-B-32.pt", "sscd_disc_mixup.torchscript.pt"):
        without_debug_files(out / file)
    write_json(out / "expected.json", {"torch": torch.__version__, "files": files})
