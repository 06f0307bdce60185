"""The ONNX graph of a ResNet of bottleneck blocks in torchvision's names, with SSCD's pooling and unit length.

BatchNorms are folded into the convolutions before them while the graph is made, as onnxruntime does when it loads one.
"""

import numpy as np

from graph import INPUT, Graph

#: torchvision's BatchNorm2d.
EPSILON = 1e-5


def norm_of(convolution):
    """The name of the BatchNorm after a convolution."""
    if convolution.endswith("downsample.0"):
        return convolution[:-1] + "1"
    path, _, part = convolution.rpartition("conv")
    return f"{path}bn{part}"


def folded(tensors, convolution):
    """Kernel [out, in, y, x] and bias [out] of a convolution and its BatchNorm."""
    scale, shift, mean, variance = (
        tensors[f"{norm_of(convolution)}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + EPSILON)
    kernel = tensors[f"{convolution}.weight"] * factor[:, None, None, None]
    return kernel.astype(np.float32), (shift - mean * factor).astype(np.float32)


def build(spec, tensors):
    """The f32 model: input [1, 3, image, image], output the feature [1, D] of unit length."""
    sizes = spec["architecture"]
    graph = Graph()

    def convolve(x, name, stride=1):
        kernel, bias = folded(tensors, name)
        edge = kernel.shape[2] // 2
        return graph.node(
            "Conv", x, graph.constant(kernel), graph.constant(bias),
            kernel_shape=list(kernel.shape[2:]), strides=[stride] * 2, pads=[edge] * 4,
        )  # fmt: skip

    x = graph.node("Relu", convolve(INPUT, "conv1", 2))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, blocks in enumerate(sizes["layers"]):
        for number in range(blocks):
            block = f"layer{stage + 1}.{number}"
            stride = 2 if stage > 0 and number == 0 else 1
            y = graph.node("Relu", convolve(x, f"{block}.conv1"))
            y = graph.node("Relu", convolve(y, f"{block}.conv2", stride))
            y = convolve(y, f"{block}.conv3")
            if number == 0:
                x = convolve(x, f"{block}.downsample.0", stride)
            x = graph.node("Relu", graph.node("Add", x, y))
    x = graph.node("Max", x, graph.constant(sizes["gem_min"]))
    x = graph.node("GlobalAveragePool", graph.node("Pow", x, graph.constant(sizes["gem_power"])))
    x = graph.node("Pow", graph.reshape(x, 1, -1), graph.constant(1 / sizes["gem_power"]))
    x = graph.linear(x, tensors["fc.weight"], tensors["fc.bias"])
    return graph.model(spec, graph.node("LpNormalization", x, axis=-1, p=2))
