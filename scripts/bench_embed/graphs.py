"""The ONNX graphs that scripts/bench-embed gives to onnxruntime-web.

What: of a vision transformer in timm's names, `write` makes the graph in two forms and four precisions.

    plain    standard operators of opset 17 alone, as an export would write them; GELU by Erf
    fused    attention as com.microsoft.MultiHeadAttention, as onnxruntime's own optimizer would write it

    f32      as it is
    int8     quantize_dynamic: weights by channel, activations when it runs
    nbits8   MatMulNBits with 8 bits in blocks of 32, computed in int8 where the provider can
    int4     MatMulNBits with 4 bits, likewise

Why two forms: which one is faster differs by provider, and the comparison is with the better one. onnxruntime fuses
GELU, LayerNormalization and biases itself when it loads a graph. Positions are resized once,
while the graph is made, by DINOv2's formula, as our import does; so no graph pays for it.
"""

import logging
import os
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

logging.disable(logging.WARNING)

FORMS = ("plain", "fused")


class Graph:
    """Collects nodes and initializers; each method returns the name of its output."""

    def __init__(self):
        self.nodes, self.initializers, self.count = [], [], 0

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(array, dtype, order="C"), name))
        return name

    def node(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"t{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}_{names[0]}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, x, *shape):
        return self.node("Reshape", x, self.constant(shape, np.int64))

    def linear(self, x, weight, bias=None):
        x = self.node("MatMul", x, self.constant(weight.T))
        return x if bias is None else self.node("Add", x, self.constant(bias))


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
    x = graph.node("Conv", "image", kernel, bias, strides=[sizes["patch"]] * 2)
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
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, sizes["image"], sizes["image"]])
    feature = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, spec["dimension"]])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    whole = helper.make_graph(graph.nodes, spec["name"], [image], [feature], graph.initializers)
    model = helper.make_model(whole, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model


def blocked(source, bits, out):
    """MatMulNBits in blocks of 32, symmetric, as accurate as int8 arithmetic."""
    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), block_size=32, is_symmetric=True, accuracy_level=4, bits=bits
    )
    quantizer.process()
    onnx.save(quantizer.model.model, out)


def write(folder: pathlib.Path, spec, read):
    """ort-PRECISION-FORM.onnx of all kinds; `read` gives the tensors, and is called only if it is needed."""
    tensors = None
    for form in FORMS:
        plain = folder / f"ort-f32-{form}.onnx"
        for precision in ("f32", "int8", "nbits8", "int4"):
            out = folder / f"ort-{precision}-{form}.onnx"
            if out.exists():
                continue
            print(f"{spec['name']}: ONNX graph, {precision}, {form}", flush=True)
            part = out.with_suffix(".part")
            if precision == "f32":
                tensors = tensors or read()
                onnx.save(build(spec, tensors, form == "fused"), part)
            elif precision == "int8":
                quantize_dynamic(
                    plain, part, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8,
                    extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
                )  # fmt: skip
            else:
                blocked(plain, {"nbits8": 8, "int4": 4}[precision], part)
            os.replace(part, out)
