#!/usr/bin/env python3
"""Make tests/golden/checkpoints/: small files as torch, safetensors and numpy write them.

    pip install torch numpy
    python3 scripts/generate_checkpoints.py tests/golden/checkpoints

Every tensor's values are small integers or halves that a reader must return exactly; expected.json
states them per file and tensor: {"file": {"tensor": {"shape": [...], "dtype": "...", "values": [...]}}},
the values in row-major order whatever the strides in the file. Files in hostile/ must be refused.
The checked-in files were made with torch 1.13; torch 2 adds `.format_version`, `.storage_alignment`
and `byteorder` entries to the archive, and the file torch2_layout.pth imitates that.
"""

import argparse
import collections
import io
import json
import os
import struct
import sys
import zipfile

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


def rewrite(source, changes):
    """A torch archive with other entries; `changes` maps the name after the prefix to bytes or None."""
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        prefix = old.namelist()[0].split("/")[0]
        entries = {name: old.read(name) for name in old.namelist()}
        for name, content in changes.items():
            entries[f"{prefix}/{name}"] = content
        for name, content in entries.items():
            if content is not None:
                new.writestr(zipfile.ZipInfo(name, FIXED_DATE), content)
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

    torch.save({"w": ramp(2), "x": RunsCommand()}, os.path.join(out, "hostile/os_system.pth"))
    torch.save({"w": ramp(2), "x": Namespace()}, os.path.join(out, "hostile/own_class.pth"))
    torch.save(state, os.path.join(out, "hostile/legacy.pth"), _use_new_zipfile_serialization=False)
    put("hostile/big_endian.pth", rewrite(plain, {"byteorder": b"big"}))
    put("hostile/short_storage.pth", rewrite(plain, {"data/0": b"\0" * 23}))
    put("hostile/missing_storage.pth", rewrite(plain, {"data/1": None}))
    scripted = torch.jit.script(torch.nn.Linear(1, 1))
    torch.jit.save(scripted, os.path.join(out, "hostile/torchscript.pt"))

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
    np.savez(os.path.join(out, "hostile/arrays.npz"), a=rows)

    with open(os.path.join(out, "expected.json"), "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
