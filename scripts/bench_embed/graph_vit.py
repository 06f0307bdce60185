"""The ONNX graph of a vision transformer in timm's names.

Positions are resized once, while the graph is made, by DINOv2's formula, as our import does; so no graph pays for it.
"""

import numpy as np

from graph import INPUT, Graph


def cubic_taps(i, side, grid):
    """Cells and weights of output cell i: a = -0.75, no antialias, DINOv2's scale with its 0.1."""
    source = (i + 0.5) / ((side + 0.1) / grid) - 0.5
    floor = int(np.floor(source))
    t = source - floor

    def near(d):
        return (1.25 * d - 2.25) * d * d + 1

    def far(d):
        return ((-0.75 * d + 3.75) * d - 6) * d + 3

    cells = [min(max(floor + k, 0), grid - 1) for k in (-1, 0, 1, 2)]
    return cells, [far(t + 1), near(t), near(1 - t), far(2 - t)]


def positions(values, side):
    """Position embeddings [1, 1 + n*n, w] for a grid of side x side."""
    grid = int(np.sqrt(values.shape[1] - 1))
    if grid == side:
        return values
    mix = np.zeros((side, grid))
    for i in range(side):
        np.add.at(mix[i], *cubic_taps(i, side, grid))
    cells = values[0, 1:].astype(np.float64).reshape(grid, grid, -1)
    resized = np.einsum("yr,xc,rcw->yxw", mix, mix, cells).reshape(1, side * side, -1)
    return np.concatenate([values[:, :1], resized], axis=1).astype(np.float32)


def attention(graph, x, qkv, tokens, width, heads, fused):
    x = graph.linear(x, *qkv)
    if fused:
        parts = graph.node("Split", x, graph.constant([width] * 3, np.int64), outputs=3, axis=2)
        return graph.node("MultiHeadAttention", *parts, domain="com.microsoft", num_heads=heads)
    size = width // heads
    x = graph.node("Transpose", graph.reshape(x, 1, tokens, 3, heads, size), perm=[2, 0, 3, 1, 4])
    query, key, value = (
        graph.node("Gather", x, graph.constant(i, np.int64), axis=0) for i in range(3)
    )
    key = graph.node("Transpose", key, perm=[0, 1, 3, 2])
    scores = graph.node("Mul", graph.node("MatMul", query, key), graph.constant(size**-0.5))
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    return graph.reshape(graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), 1, tokens, width)


def activation(graph, x, kind):
    if kind == "quick-gelu":
        return graph.node("Mul", x, graph.node("Sigmoid", graph.node("Mul", x, graph.constant(1.702))))
    erf = graph.node("Erf", graph.node("Div", x, graph.constant(np.sqrt(2))))
    product = graph.node("Mul", x, graph.node("Add", erf, graph.constant(1)))
    return graph.node("Mul", product, graph.constant(0.5))


def build(spec, tensors, fused):
    """The f32 model: input [1, 3, image, image], output the feature [1, D]."""
    sizes = spec["architecture"]
    width, heads, epsilon = sizes["width"], sizes["heads"], sizes["epsilon"]
    side = sizes["image"] // sizes["patch"]
    tokens = side * side + 1
    graph = Graph()

    def norm(x, name):
        scale, bias = (graph.constant(tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return graph.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def linear(x, name):
        return graph.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def residual(x, branch, scale):
        if sizes["layer_scale"]:
            branch = graph.node("Mul", branch, graph.constant(tensors[f"{scale}.gamma"]))
        return graph.node("Add", x, branch)

    kernel, bias = (graph.constant(tensors[f"patch_embed.proj.{part}"]) for part in ("weight", "bias"))
    x = graph.node("Conv", INPUT, kernel, bias, strides=[sizes["patch"]] * 2)
    x = graph.node("Transpose", graph.reshape(x, 1, width, tokens - 1), perm=[0, 2, 1])
    x = graph.node("Concat", graph.constant(tensors["cls_token"].reshape(1, 1, width)), x, axis=1)
    x = graph.node("Add", x, graph.constant(positions(tensors["pos_embed"].reshape(1, -1, width), side)))
    if sizes["pre_norm"]:
        x = norm(x, "norm_pre")
    for i in range(sizes["depth"]):
        block = f"blocks.{i}"
        qkv = [tensors[f"{block}.attn.qkv.{part}"] for part in ("weight", "bias")]
        mixed = attention(graph, norm(x, f"{block}.norm1"), qkv, tokens, width, heads, fused)
        x = residual(x, linear(mixed, f"{block}.attn.proj"), f"{block}.ls1")
        hidden = activation(graph, linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"), sizes["activation"])
        x = residual(x, linear(hidden, f"{block}.mlp.fc2"), f"{block}.ls2")
    x = graph.node("Gather", norm(x, "norm"), graph.constant(0, np.int64), axis=1)
    if sizes["projection"]:
        x = graph.linear(x, tensors["head.weight"])
    return graph.model(spec, x)
