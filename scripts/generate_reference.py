#!/usr/bin/env python3
"""Golden features and checkpoint files of the backbones, made by the packages that the originals run on.

    sudo apt-get install python3-torch python3-torchvision libopenblas0     # Debian 12
    /usr/bin/python3 -m venv --system-site-packages venv
    venv/bin/pip install timm==0.4.12 openai-clip==1.0.1 'setuptools<70' safetensors 'numpy<2'
    venv/bin/python scripts/generate_reference.py                 # tests/golden/backbones/features.json
    venv/bin/python scripts/generate_reference.py --small         # tests/golden/import/
    venv/bin/python scripts/generate_reference.py --checkpoints DIR [NAME ...]

The weights of no backbone can be committed, so they come from a generator that is exact in any language
(reference_models.py says how it works), and only the features are: clip (openai-clip's model), dino, moco
and vit (timm 0.4.12), sscd (torchvision's ResNet-50) and dinov2 (timm's blocks with LayerScale), at full
size, on the CPU, in float32. libopenblas0 is not required, but without it all takes ten times as long.

features.json
-------------
"images": size, SHA-256 of the RGB bytes, a few pixels. "backbones": per name
  "weights"   a few values {"name", "shape", "index", "value"}, printed as float64, so exact
  "inputs"    per image: SHA-256 of the cropped RGB bytes and of the preprocessed little-endian float32
              [3, crop, crop]; "first" is its row 0 of channel 0, columns 0 to 7; "middle" channel 2, row
              crop / 2, columns crop / 2 to crop / 2 + 7
  "features"  [3][D], unmapped, not normalised but for sscd, whose model does it; decimals that read back to
              the float32
  "clip-half" is clip with weights rounded to float16, as the official archive holds them, computed in float32

tests/golden/import
-------------------
Written by reference_checkpoints.py, which describes it. `--checkpoints DIR` writes the same forms at full
size.
"""

import argparse
import pathlib
import sys

import clip.model
import numpy as np
import PIL
import timm
import torch
import torchvision
from reference_checkpoints import write_full, write_small
from reference_models import (
    FULL,
    GOLDEN,
    Clip,
    Sscd,
    base_and_spread,
    filled,
    generated_image,
    sha256,
    shortest,
    write_json,
)
from torch import nn
from torchvision import transforms

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP_COLOURS = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
BILINEAR, BICUBIC = transforms.InterpolationMode.BILINEAR, transforms.InterpolationMode.BICUBIC
# Resize, crop, filter, (mean, standard deviation).
PREPROCESS = {
    "clip": (224, 224, BICUBIC, CLIP_COLOURS),
    "dino": (256, 224, BICUBIC, IMAGENET),
    "moco": (256, 224, BILINEAR, IMAGENET),
    "vit": (384, 384, BILINEAR, HALF),
    "sscd": (288, 288, BILINEAR, IMAGENET),
    "dinov2-s14": (256, 224, BICUBIC, IMAGENET),
    "dinov2-b14": (256, 224, BICUBIC, IMAGENET),
}
def preprocessed(name, image):
    """The tensor [3, crop, crop] and what features.json says of it."""
    resize, crop, interpolation, colours = PREPROCESS[name]
    geometry = transforms.Compose([transforms.Resize(resize, interpolation), transforms.CenterCrop(crop)])
    colour = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*colours)])
    cropped = geometry(image)
    tensor = colour(cropped)
    values = tensor.numpy()
    half = crop // 2
    return tensor, {
        "rgb_sha256": sha256(np.asarray(cropped)),
        "sha256": sha256(values.astype("<f4")),
        "first": shortest(values[0, 0, :8]),
        "middle": shortest(values[2, half, half : half + 8]),
    }


def weight_samples(state, prefix):
    """The first, middle and last value of the first tensor of each rule."""
    seen, samples = set(), []
    for name, tensor in state.items():
        name = name.removeprefix(prefix)
        rule = base_and_spread(name, tuple(tensor.shape), prefix == "backbone.")
        if rule in seen or not tensor.is_floating_point():
            continue
        seen.add(rule)
        flat = tensor.reshape(-1)
        for index in (0, len(flat) // 2, len(flat) - 1):
            sample = {"name": name, "shape": list(tensor.shape), "index": index, "value": float(flat[index])}
            samples.append(sample)
    return samples


def backbone_entry(name, images):
    sizes = FULL[name.removesuffix("-half")]
    prefix = ""
    if isinstance(sizes, Clip):
        model = sizes.visual()
        state = filled(model)
        if name == "clip-half":
            model.load_state_dict(state)
            clip.model.convert_weights(model)
            state = model.float().state_dict()
    else:
        model, state = sizes.model(), sizes.state()
        prefix = "backbone." if isinstance(sizes, Sscd) else ""
    model.load_state_dict(state)
    tensors, inputs = zip(*(preprocessed(name.removesuffix("-half"), image) for image in images))
    features = model(torch.stack(tensors)).numpy()
    report(name, features)
    return {
        "weights": [] if name == "clip-half" else weight_samples(state, prefix),
        "inputs": list(inputs),
        "features": [shortest(feature) for feature in features],
    }


def report(name, features):
    """Prints what tells a reference worth comparing with: norms, cosines between images."""
    unit = [feature / np.linalg.norm(feature) for feature in np.asarray(features, np.float64)]
    cosines = [float(unit[i] @ unit[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    norms = ", ".join(f"{np.linalg.norm(feature):.3f}" for feature in features)
    print(f"{name:11} norms {norms}  cosines {', '.join(f'{c:.5f}' for c in cosines)}", flush=True)
    if not np.isfinite(features).all() or max(cosines) > 0.9999:
        sys.exit(f"generate_reference: the features of {name} do not depend enough on the image")


def write_features():
    images = [generated_image(k) for k in range(3)]
    places = [(0, 0), (1, 0), (0, 1), (100, 200), (287, 131)]
    content = {
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
            "openai-clip": "1.0.1",
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
        "images": [
            {
                "width": image.width,
                "height": image.height,
                "sha256": sha256(np.asarray(image)),
                "pixels": [{"x": x, "y": y, "rgb": list(image.getpixel((x, y)))} for x, y in places],
            }
            for image in images
        ],
        "backbones": {name: backbone_entry(name, images) for name in [*FULL, "clip-half"]},
    }
    write_json(GOLDEN / "backbones" / "features.json", content)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="write tests/golden/import/")
    parser.add_argument("--checkpoints", metavar="DIR", type=pathlib.Path, help="write full-size files to DIR")
    parser.add_argument("names", nargs="*", help="with --checkpoints, only these backbones")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    if arguments.small:
        write_small()
    elif arguments.checkpoints:
        write_full(arguments.names, arguments.checkpoints)
    else:
        write_features()


if __name__ == "__main__":
    main()
