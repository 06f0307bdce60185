"""The reference's models: generated weights and images, the original architectures, and JSON helpers.

hash(name) is FNV-1a, 64 bits, of the name. word(name, i) is SplitMix64's finaliser of
hash(name) + (i + 1) * 0x9E3779B97F4A7C15, modulo 2^64. With a, b, c, d the 16-bit parts of the word,

    normal(name, i) = ((a + b + c + d) / 65536 - 2 + 2 / 65536) * sqrt(3)
    value(name, i)  = float32(base + spread * normal(name, i))

in float64 with one rounding at the end; i counts the tensor's elements in row-major order. The name is the
one in the original state_dict without a prefix such as `visual.` or `backbone.`. `base_and_spread` says
base and spread. Tensors that a reader must not pick (a student, a momentum encoder, a text tower) have
values of their own: a prefix is put before the name that is hashed.

Image k of 3 is (300, 431), (517, 288), (384, 384) wide and high; `generated_image` is its formula.
"""

import collections
import functools
import hashlib
import json
import math
import pathlib

import clip.model
import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
MASK = (1 << 64) - 1
GOLDEN_RATIO = 0x9E3779B97F4A7C15

# ---- the generator -----------------------------------------------------------------------------


def name_hash(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def words(name, indices):
    """word(name, i) of an array of uint64 indices."""
    z = (indices + np.uint64(1)) * np.uint64(GOLDEN_RATIO) + np.uint64(name_hash(name))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def normal(name, count):
    word = words(name, np.arange(count, dtype=np.uint64))
    total = sum((word >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return (total.astype(np.float64) / 65536 - 2 + 2 / 65536) * math.sqrt(3)


def base_and_spread(name, shape, resnet):
    """Of a tensor by its name and shape; the first rule that fits counts."""
    scale = name.endswith(".weight")
    if name.endswith("running_var"):
        return 1, 0.1
    if name.endswith("running_mean"):
        return 0, 0.1
    if resnet and scale and name.startswith("layer") and ".bn3." in name:
        return 0.5, 0.05
    if scale and ("norm" in name or "ln_" in name or resnet and ("bn" in name or "downsample.1" in name)):
        return 1, 0.1
    if name.split(".")[-1] in ("cls_token", "class_embedding", "pos_embed", "positional_embedding"):
        return 0, 0.3
    if name.endswith(".gamma"):
        return 0.5, 0.1
    if len(shape) >= 2:
        fan_in = shape[0] if name == "proj" else math.prod(shape[1:])
        gain = 2 if resnet and len(shape) == 4 else 1
        return 0, math.sqrt(gain / fan_in)
    return 0, 0.1


@functools.cache
def generated(name, shape, resnet=False, stem=""):
    """The tensor `name`; `stem` makes another one of the same kind."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    base, spread = base_and_spread(name, shape, resnet)
    values = base + spread * normal(stem + name, math.prod(shape))
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def filled(model, resnet=False, prefix="", stem=""):
    """The model's state_dict, generated; `prefix` is dropped from the names that are hashed."""
    return collections.OrderedDict(
        (name, generated(name.removeprefix(prefix), tuple(tensor.shape), resnet, stem))
        for name, tensor in model.state_dict().items()
    )


IMAGE_SIZES = [(300, 431), (517, 288), (384, 384)]


def generated_image(k):
    """Integers throughout; `//` and `%` round down."""
    width, height = IMAGE_SIZES[k]
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")

    def triangle(t):
        return np.abs(t % 256 - 128) * 2 - 128

    waves = (
        60 * triangle(x * (3 + k) + 40 * c)
        + 50 * triangle(y * (5 - k) + 70 * c + x)
        + 30 * triangle(x * y // 97 * (1 + c))
    )
    index = ((k * 1024 + y) * 1024 + x) * 4 + c
    noise = (words("image", index.astype(np.uint64)) % np.uint64(31)).astype(np.int64) - 15
    return Image.fromarray(np.clip(128 + waves // 128 + noise, 0, 255).astype(np.uint8))


# ---- the architectures -------------------------------------------------------------------------


class Vit:
    """A timm vision transformer's sizes; `layer_scale` makes it DINOv2's."""

    def __init__(self, image, patch, width, heads, depth, mlp, layer_scale=False):
        self.image, self.patch, self.width, self.heads = image, patch, width, heads
        self.depth, self.mlp, self.layer_scale = depth, mlp, layer_scale

    @functools.cache
    def model(self, classes=0):
        """Made once, because timm's initialisation takes longer than the generator."""
        model = VisionTransformer(
            img_size=self.image,
            patch_size=self.patch,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            mlp_ratio=self.mlp / self.width,
            num_classes=classes,
        )
        if self.layer_scale:
            model.blocks = nn.Sequential(*(LayerScaleBlock(model.blocks[i], self.width) for i in range(self.depth)))
        return model.eval()

    def state(self, classes=0, stem=""):
        return filled(self.model(classes), stem=stem)

    def architecture(self):
        return vit_architecture(self, pre_norm=False, projection=None, epsilon=1e-6, activation="gelu")


class LayerScale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.gamma


class LayerScaleBlock(nn.Module):
    """DINOv2's block: timm's with a learned scale on each branch."""

    def __init__(self, block: Block, width):
        super().__init__()
        self.norm1, self.attn, self.ls1 = block.norm1, block.attn, LayerScale(width)
        self.norm2, self.mlp, self.ls2 = block.norm2, block.mlp, LayerScale(width)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Clip:
    """CLIP's sizes; `text` is (context length, vocabulary, width, heads, depth)."""

    layer_scale = False

    def __init__(self, image, patch, width, heads, depth, projection, text):
        self.image, self.patch, self.width, self.heads, self.depth = image, patch, width, heads, depth
        self.mlp, self.projection, self.text = 4 * width, projection, text

    def visual(self):
        sizes = (self.image, self.patch, self.width, self.depth, self.heads, self.projection)
        return clip.model.VisionTransformer(*sizes).eval()

    def whole(self):
        """With the text tower, and the three numbers that the official archive holds as buffers."""
        # The class derives the heads from a width of at least 64, so it gets its image tower afterwards.
        model = clip.model.CLIP(self.projection, self.image, 1, 64, self.patch, *self.text).eval()
        model.visual = self.visual()
        numbers = {"input_resolution": self.image, "context_length": self.text[0], "vocab_size": self.text[1]}
        for name in numbers:
            if hasattr(model, name):
                delattr(model, name)
        visual = filled(model.visual)
        state = {
            name: generated(name, tuple(tensor.shape), stem="text.")
            for name, tensor in model.state_dict().items()
            if not name.startswith("visual.")
        }
        state.update((f"visual.{name}", tensor) for name, tensor in visual.items())
        state["logit_scale"] = torch.tensor(math.log(100.0))
        model.load_state_dict(state)
        for name, number in numbers.items():
            model.register_buffer(name, torch.tensor(number))
        return model

    def architecture(self):
        return vit_architecture(
            self, pre_norm=True, projection=self.projection, epsilon=1e-5, activation="quick-gelu"
        )


def vit_architecture(sizes, **rest):
    fields = ("image", "patch", "width", "heads", "depth", "mlp", "layer_scale")
    return {"family": "vit", **{field: getattr(sizes, field) for field in fields}, **rest}


class GlobalGeM(nn.Module):
    """Generalised mean over all positions."""

    def __init__(self, power: float):
        super().__init__()
        self.power = power

    def forward(self, x):
        return x.flatten(2).clamp(min=1e-6).pow(self.power).mean(dim=2).pow(1.0 / self.power)


class SscdModel(nn.Module):
    """The trunk under SSCD's name for it, then L2 normalisation."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return nn.functional.normalize(self.backbone(x))


class Sscd:
    def __init__(self, image, width, layers, projection):
        self.image, self.width, self.layers, self.projection = image, width, layers, projection

    def model(self):
        trunk = ResNet(Bottleneck, list(self.layers), num_classes=self.projection)
        if self.width != 64:
            # torchvision has no option for this, but its builder of layers does it.
            width = trunk.inplanes = self.width
            trunk.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            trunk.bn1 = nn.BatchNorm2d(width)
            for level, blocks in enumerate(self.layers):
                layer = trunk._make_layer(Bottleneck, width << level, blocks, stride=1 if level == 0 else 2)
                setattr(trunk, f"layer{level + 1}", layer)
            trunk.fc = nn.Linear(32 * width, self.projection)
        trunk.avgpool = GlobalGeM(3.0)
        return SscdModel(trunk).eval()

    def state(self):
        return filled(self.model(), resnet=True, prefix="backbone.")

    def architecture(self):
        return {
            "family": "resnet",
            "image": self.image,
            "width": self.width,
            "layers": list(self.layers),
            "projection": self.projection,
            "gem_power": 3.0,
            "gem_min": 1e-6,
        }


VIT_B16 = Vit(224, 16, 768, 12, 12, 3072)
FULL = {
    "clip": Clip(224, 32, 768, 12, 12, 512, (77, 49408, 512, 8, 2)),
    "dino": VIT_B16,
    "moco": VIT_B16,
    "vit": Vit(384, 16, 768, 12, 12, 3072),
    "sscd": Sscd(288, 64, (3, 4, 6, 3), 512),
    "dinov2-s14": Vit(224, 14, 384, 6, 12, 1536, layer_scale=True),
    "dinov2-b14": Vit(224, 14, 768, 12, 12, 3072, layer_scale=True),
}
SMALL = {
    "clip": Clip(16, 8, 16, 2, 2, 8, (5, 12, 8, 2, 1)),
    "dino": Vit(16, 8, 16, 2, 2, 64),
    "moco": Vit(16, 8, 16, 2, 2, 64),
    "vit": Vit(24, 8, 16, 2, 2, 64),
    "sscd": Sscd(64, 4, (1, 2, 1, 1), 8),
    "dinov2-s14": Vit(16, 8, 16, 2, 2, 64, layer_scale=True),
}

# ---- JSON -------------------------------------------------------------------------------------


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def shortest(array):
    """Decimals that read back to the float32 values."""
    values = [float(str(value)) for value in np.asarray(array, np.float32).ravel()]
    assert np.array_equal(np.array(values, np.float32), np.ravel(array))
    return values


def write_json(path, content):
    """JSON with a line for each list of numbers and each small object."""

    def text(value, indent):
        flat = json.dumps(value)
        simple = not isinstance(value, (dict, list)) or len(flat) < 100
        if simple or isinstance(value, list) and not isinstance(value[0], (dict, list)):
            return flat
        pad = "\n" + " " * (indent + 1)
        if isinstance(value, dict):
            inner = ("," + pad).join(f"{json.dumps(k)}: {text(v, indent + 1)}" for k, v in value.items())
            return "{" + pad + inner + "\n" + " " * indent + "}"
        return "[" + pad + ("," + pad).join(text(v, indent + 1) for v in value) + "\n" + " " * indent + "]"

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(content, 0) + "\n")
