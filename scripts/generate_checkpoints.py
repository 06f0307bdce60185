#!/usr/bin/env python3
"""Make tests/golden/checkpoints/: small files as torch, TorchScript, safetensors and numpy write them.

    pip install torch numpy
    python3 scripts/generate_checkpoints.py tests/golden/checkpoints

Every tensor's values are small integers or halves that a reader must return exactly; expected.json
states them per file and tensor: {"file": {"tensor": {"shape": [...], "dtype": "...", "values": [...]}}},
the values in row-major order whatever the strides in the file. Files in hostile/ must be refused.
The checked-in files were made with torch 1.13; torch 2 adds `.format_version`, `.storage_alignment`
and `byteorder` entries to the archive, and the files torch2_layout.pth and script_torch2.pt imitate that.
"""

import argparse
import collections
import enum
import io
import json
import os
import struct
import sys
import zipfile
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch

DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
}
FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def describe(tensor):
    # Integer tensors are listed but not converted, so their values are not stated.
    values = tensor.detach().double().reshape(-1).tolist() if tensor.is_floating_point() else None
    return {"shape": list(tensor.shape), "dtype": DTYPES[tensor.dtype], "values": values}


def ramp(*shape, dtype=torch.float32, start=0.0):
    count = int(np.prod(shape, dtype=np.int64))
    return (torch.arange(count, dtype=torch.float32) * 0.5 + start).reshape(shape).to(dtype)


class Namespace:
    """Stands in for argparse.Namespace, whose pickle has the same form."""


class RunsCommand:
    """Unpickling this with Python would call os.system."""

    def __reduce__(self):
        return os.system, ("true",)


def torch_files():
    """{file name: (object to save, {flattened tensor name: tensor})}."""
    files = {}

    linear = torch.nn.Linear(3, 2)
    linear.weight.data = ramp(2, 3, start=-1.0)
    linear.bias.data = ramp(2, start=7.0)
    # A module's state_dict is an OrderedDict with a `_metadata` attribute.
    files["state_dict.pth"] = linear.state_dict(), dict(linear.state_dict())

    weight, bias = ramp(4, 2), ramp(4, dtype=torch.float64, start=-2.0)
    files["nested.pth"] = (
        {
            "epoch": 3,
            "arch": "vit_base",
            "best": -1.5,
            "big": 1 << 70,
            "done": True,
            "nothing": None,
            "args": argparse.Namespace(lr=0.1, name="x"),
            "dtype": torch.float16,
            "state_dict": collections.OrderedDict([("module.weight", weight), ("module.bias", bias)]),
            "optimizer": {"state": {0: {"exp_avg": ramp(2, 2)}}, "param_groups": [{"params": [0, 1]}]},
        },
        {
            "state_dict.module.weight": weight,
            "state_dict.module.bias": bias,
            "optimizer.state.0.exp_avg": ramp(2, 2),
        },
    )

    mixed = {
        "half": ramp(3, dtype=torch.float16, start=-0.5),
        "brain": ramp(3, dtype=torch.bfloat16, start=-1.0),
        "steps": torch.tensor([1, 2, 3]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    files["dtypes.pth"] = mixed, mixed

    base = ramp(4, 3)
    views = {
        "base": base,
        "transposed": base.t(),
        "row": base[2],
        "column": base[:, 1],
        "window": base[1:3, 1:],
        "permuted": ramp(2, 3, 2).permute(2, 0, 1),
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
    }
    files["views.pth"] = views, views

    parameter = torch.nn.Parameter(ramp(2, 2, start=3.0))
    files["parameter.pth"] = {"p": parameter}, {"p": parameter}

    tensor = ramp(5)
    files["bare_tensor.pth"] = tensor, {"tensor": tensor}

    features = {"feats": ramp(3, 4), "paths": ["a/0.jpg", "b/ü.jpg", "c/2.jpg"]}
    files["features.pth"] = features, {"feats": features["feats"]}
    return files


class Attention(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.in_proj_weight = torch.nn.Parameter(ramp(3 * width, width, start=-4.0))
        self.in_proj_bias = torch.nn.Parameter(ramp(3 * width, start=1.0))
        self.out_proj = linear(width, width, -2.0)

    def forward(self, x):
        qkv = torch.nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.chunk(3, dim=-1)
        return self.out_proj((q @ k.transpose(-1, -2)).softmax(-1) @ v)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = torch.nn.LayerNorm(width)

    def forward(self, x):
        return x + self.attn(self.ln_1(x))


class Visual(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.input_resolution = 4
        self.conv1 = torch.nn.Conv2d(3, width, kernel_size=2, stride=2, bias=False)
        self.conv1.weight.data = ramp(width, 3, 2, 2, start=-8.0)
        self.class_embedding = torch.nn.Parameter(ramp(width, start=0.5))
        self.resblocks = torch.nn.Sequential(Block(width), Block(width))
        self.adapters = torch.nn.ModuleList([linear(width, width, 3.0)])
        self.proj = torch.nn.Parameter(ramp(width, 2).t())
        # The same tensor under a second name.
        self.tied = self.adapters[0].weight
        self.register_buffer("mask", ramp(2, 2, start=-3.0).t())
        self.register_buffer("steps", torch.tensor([1, 2]))

    def forward(self, image):
        x = self.conv1(image).flatten(2).transpose(1, 2) + self.class_embedding
        x = self.resblocks(x)
        for adapter in self.adapters:
            x = adapter(x)
        # A tensor that a trace keeps as a constant.
        return x @ self.proj.t() + torch.tensor([1.0, 2.0])


class Clip(torch.nn.Module):
    """Modules nested as in CLIP's image encoder."""

    def __init__(self, width=4):
        super().__init__()
        self.visual = Visual(width)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))

    def forward(self, image):
        return self.visual(image) * self.logit_scale


class Color(enum.Enum):
    RED = 1


class Attributes(torch.nn.Module):
    """What else than parameters and modules an attribute can be."""

    sizes: List[int]
    rates: List[float]
    names: List[str]
    flags: List[bool]
    tensors: List[torch.Tensor]
    pair: Tuple[torch.Tensor, int]
    table: Dict[str, torch.Tensor]
    numbered: Dict[int, torch.Tensor]
    nothing: Optional[torch.Tensor]

    def __init__(self):
        super().__init__()
        self.sizes, self.rates, self.flags = [1, 2], [0.5, 1.5], [True, False]
        self.names = ["a", "b"]
        self.tensors = [ramp(2), ramp(3, dtype=torch.float64, start=1.0)]
        self.pair = (ramp(1, start=7.0), 3)
        self.table = {"k": ramp(2, start=5.0), "l": ramp(0, 2)}
        self.numbered = {4: ramp(2, dtype=torch.bfloat16)}
        self.nothing = None
        self.device = torch.device("cpu")
        self.color = Color.RED
        self.scale, self.text = 1.5, "text"

    def forward(self, x):
        if self.color == Color.RED:
            x = x.to(self.device) * self.scale * self.pair[1] * self.sizes[0] * self.rates[0]
        if self.nothing is None and self.flags[0] and self.text in self.names:
            x = x + self.tensors[0] + self.table["k"] + self.numbered[4] + self.pair[0]
        return x


def linear(inputs, outputs, start):
    layer = torch.nn.Linear(inputs, outputs)
    layer.weight.data = ramp(outputs, inputs, start=start)
    layer.bias.data = ramp(outputs, start=-start)
    return layer


def script_files():
    """The same for modules to save with torch.jit.save."""
    files = {}
    scripted = torch.jit.script(Clip().half())
    files["script_half.pt"] = scripted, dict(scripted.state_dict())
    # Half-precision products do not exist on the CPU, so the trace comes first.
    traced = torch.jit.trace(Clip().eval(), ramp(1, 3, 4, 4)).half()
    files["script_traced.pt"] = traced, dict(traced.state_dict())
    attributes = Attributes()
    files["script_attributes.pt"] = (
        torch.jit.script(attributes),
        {
            "tensors.0": attributes.tensors[0],
            "tensors.1": attributes.tensors[1],
            "pair.0": attributes.pair[0],
            "table.k": attributes.table["k"],
            "table.l": attributes.table["l"],
            "numbered.4": attributes.numbered[4],
        },
    )
    return files


def save_script(module, path):
    """Leaves out the places of the source that each operation of the code came from."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as archive:
        names = [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        prefix = archive.namelist()[0].split("/")[0]
    with open(path, "wb") as file:
        file.write(rewrite(buffer, {name[len(prefix) + 1 :]: None for name in names}))


def npz_arrays():
    """Arrays named as those of a JAX model."""
    block = "Transformer/encoderblock_0/"
    rows = ramp(3, 4, start=-1.0).numpy()
    return {
        "cls": np.zeros((1, 1, 4), np.float32),
        "embedding/kernel": ramp(2, 2, 3, 4).numpy(),
        block + "LayerNorm_0/scale": ramp(4, dtype=torch.float16).numpy(),
        block + "MlpBlock_3/Dense_0/kernel": rows,
        block + "MlpBlock_3/Dense_1/kernel": np.asfortranarray(rows.astype(np.float64)),
        block + "MultiHeadDotProductAttention_1/query/kernel": np.asfortranarray(ramp(2, 3, 4).numpy()),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(2.5, np.float32),
        "step": np.array([1, 2], np.int64),
    }


def rewrite(source, changes):
    """A torch archive with other entries; `changes` maps the name after the prefix to bytes or None."""
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        prefix = old.namelist()[0].split("/")[0]
        entries = {name: old.read(name) for name in old.namelist()}
        methods = {entry.filename: entry.compress_type for entry in old.infolist()}
        for name, content in changes.items():
            entries[f"{prefix}/{name}"] = content
        for name, content in entries.items():
            if content is not None:
                new.writestr(zipfile.ZipInfo(name, FIXED_DATE), content, methods.get(name))
    return out.getvalue()


def safetensors(tensors):
    kinds = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8"}
    header, data = {}, b""
    for name, tensor in tensors.items():
        dtype = DTYPES[tensor.dtype]
        if dtype == "BF16":
            raw = tensor.view(torch.int16).numpy().astype("<i2").tobytes()
        else:
            raw = tensor.numpy().astype(kinds[dtype]).tobytes()
        span = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": span}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    out = sys.argv[1]
    os.makedirs(os.path.join(out, "hostile"), exist_ok=True)

    def put(name, content):
        with open(os.path.join(out, name), "wb") as file:
            file.write(content)

    expected = {}
    for name, (content, tensors) in torch_files().items():
        torch.save(content, os.path.join(out, name))
        expected[name] = {key: describe(tensor) for key, tensor in tensors.items()}

    plain = os.path.join(out, "state_dict.pth")
    extra = {"byteorder": b"little", ".format_version": b"1", ".data/serialization_id": b"0"}
    put("torch2_layout.pth", rewrite(plain, extra))
    expected["torch2_layout.pth"] = expected["state_dict.pth"]
    state = {"weight": ramp(2, 3), "bias": ramp(3)}
    torch.save(state, os.path.join(out, "protocol4.pth"), pickle_protocol=4)
    expected["protocol4.pth"] = {key: describe(tensor) for key, tensor in state.items()}

    mixed = torch_files()["dtypes.pth"][1]
    put("mixed.safetensors", safetensors(mixed))
    expected["mixed.safetensors"] = {key: describe(tensor) for key, tensor in mixed.items()}

    nested = torch_files()["nested.pth"]
    torch.save(nested[0], os.path.join(out, "nested.pth.tar"))
    expected["nested.pth.tar"] = expected["nested.pth"]

    # As torch.jit.save writes it, with everything. Before other modules, so that its class has no number.
    torch.jit.save(torch.jit.script(linear(1, 1, 0.5)), os.path.join(out, "script_linear.pt"))
    layer = {key: describe(tensor) for key, tensor in linear(1, 1, 0.5).state_dict().items()}
    expected["script_linear.pt"] = layer
    whole = os.path.join(out, "script_linear.pt")
    put("script_torch2.pt", rewrite(whole, extra))
    expected["script_torch2.pt"] = layer
    with zipfile.ZipFile(whole) as archive:
        pickled = archive.read("script_linear/data.pkl")
    # A pickle without the member that says it is of TorchScript, and one that mentions a function.
    put("hostile/script_class.pth", rewrite(whole, {"constants.pkl": None}))
    called = pickled.replace(b"__torch__.torch.nn.modules.linear\nLinear\n", b"posix\nsystem\n")
    assert called != pickled
    put("hostile/script_system.pt", rewrite(whole, {"data.pkl": called}))

    for name, (module, tensors) in script_files().items():
        save_script(module, os.path.join(out, name))
        expected[name] = {key: describe(tensor) for key, tensor in tensors.items()}

    arrays = npz_arrays()
    np.savez(os.path.join(out, "jax.npz"), **arrays)
    np.savez_compressed(os.path.join(out, "jax_deflated.npz"), **arrays)
    tensors = {key: describe(torch.from_numpy(array)) for key, array in arrays.items()}
    expected["jax.npz"] = expected["jax_deflated.npz"] = tensors

    torch.save({"w": ramp(2), "x": RunsCommand()}, os.path.join(out, "hostile/os_system.pth"))
    torch.save({"w": ramp(2), "x": Namespace()}, os.path.join(out, "hostile/own_class.pth"))
    torch.save(state, os.path.join(out, "hostile/legacy.pth"), _use_new_zipfile_serialization=False)
    put("hostile/big_endian.pth", rewrite(plain, {"byteorder": b"big"}))
    put("hostile/short_storage.pth", rewrite(plain, {"data/0": b"\0" * 23}))
    put("hostile/missing_storage.pth", rewrite(plain, {"data/1": None}))
    rows = np.arange(12, dtype=np.float32).reshape(4, 3) * 0.5 - 1
    for name, array in {
        "rows_f32.npy": rows,
        "rows_f16.npy": rows.astype(np.float16),
        "rows_f64.npy": rows.astype(np.float64),
        "hostile/fortran.npy": np.asfortranarray(rows),
        "hostile/big_endian.npy": rows.astype(">f4"),
        "hostile/int.npy": rows.astype(np.int32),
        "hostile/vector.npy": rows[0],
        "hostile/object.npy": np.array([[{"a": 1}]], dtype=object),
        "hostile/record.npy": np.zeros((2, 2), dtype=[("a", "<f4")]),
    }.items():
        np.save(os.path.join(out, name), array)
    for version in ((2, 0), (3, 0)):
        with open(os.path.join(out, f"rows_v{version[0]}.npy"), "wb") as file:
            np.lib.format.write_array(file, rows, version=version)
    for name, array in {
        "object": np.array([{"a": 1}], dtype=object),
        "big_endian": rows.astype(">f4"),
        "text": np.array(["a", "b"]),
    }.items():
        np.savez(os.path.join(out, f"hostile/{name}.npz"), rows=rows, other=array)

    with open(os.path.join(out, "expected.json"), "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
