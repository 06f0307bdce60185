#!/usr/bin/env python3
"""Forward passes on a real GPU beside PyTorch's on the same GPU, in one run: one image, f32 without TF32, and 8 and 4 bit weights.

    bench_gpu.py [--tool target/release/data-attribution]

Wants torch with CUDA, and a Vulkan driver for the tool, which prints a JSON object for the device and one for each backbone and form:

    data-attribution bench-kernels --json dino dinov2-s14

PyTorch computes a transformer of the same sizes (nn.Linear, LayerNorm, GELU, scaled_dot_product_attention), eagerly and replayed as
a CUDA graph; both sides are the best of several. `device` is time on the device alone, `whole` has the upload of an image and the readback
of its feature in it. `ratio` is ours beside the CUDA graph.
"""

import argparse
import json
import subprocess
import time

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

# Tokens, inputs of a patch, width, heads, blocks.
SIZES = {"dino": (197, 768, 768, 12, 12), "dinov2-s14": (257, 588, 384, 6, 12)}
REPEATS = 20


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, tokens, inputs, width, heads, depth):
        super().__init__()
        self.patches = nn.Linear(inputs, width)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        x = torch.cat([self.first, self.patches(x)], 1) + self.positions
        return self.norm(self.blocks(x)[:, 0])


def best(run):
    def timed():
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    return min(timed() for _ in range(REPEATS))


@torch.no_grad()
def rival(sizes):
    """Milliseconds with upload and readback, and of the replayed graph alone."""
    model = Vit(*sizes).eval().cuda()
    host = torch.randn(1, sizes[0] - 1, sizes[1])
    x = host.cuda()
    for _ in range(3):
        model(x)
    whole = best(lambda: model(host.cuda()).cpu())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model(x)
    return whole, best(lambda: [graph.replay() for _ in range(10)]) / 10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default="target/release/data-attribution")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rivals = {name: rival(sizes) for name, sizes in SIZES.items()}
    done = subprocess.run([options.tool, "bench-kernels", "--json", *SIZES], check=True, stdout=subprocess.PIPE, text=True)
    device, *lines = map(json.loads, done.stdout.splitlines())
    print(f"{device['device']}: {device['teraflops']:.1f} TFLOP/s in f32, copies at {device['copied'] / 1e9:.0f} GB/s; auto took {device['auto']} in {device['auto_ms']:.0f} ms")
    print("| backbone | weights | device, ms | whole, ms | linear layers, share of the f32 peak | cosine | ratio |\n|---|---|--:|--:|--:|--:|--:|")
    for name, (whole, graph) in rivals.items():
        print(f"| {name} | PyTorch {torch.__version__}, f32 | {graph:.2f} | {whole:.2f} | | | |")
        for line in (line for line in lines if line["backbone"] == name):
            ms = 1e3 * line["device_seconds"]
            print(f"| {name} | {line['form']} | {ms:.2f} | {1e3 * line['whole_seconds']:.2f} | {line['share']:.2f} | {line['cosine']:.6f} | {ms / graph:.2f} |")


if __name__ == "__main__":
    main()
