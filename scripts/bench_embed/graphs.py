"""The ONNX graphs that scripts/bench-embed gives to onnxruntime-web and transformers.js.

What: of a backbone's tensors, `write` makes the graph in the forms and precisions that suit its family.

    plain    standard operators of opset 17 alone, as an export would write them; GELU by Erf
    fused    attention as com.microsoft.MultiHeadAttention, as onnxruntime's own optimizer would write it

    f32      as it is
    int8     quantize_dynamic: weights by channel (those of convolutions as a whole), activations when it runs
    nbits8   MatMulNBits with 8 bits in blocks of 32, computed in int8 where the provider can
    int4     MatMulNBits with 4 bits, likewise
    static8  quantize_static: QLinearConv, activations scaled by what one image gives; ResNets alone, as is usual for them

Why two forms: which one is faster differs by provider, and the comparison is with the better one. onnxruntime fuses
GELU, LayerNormalization, biases and ReLU itself when it loads a graph. A ResNet has no attention and one form; MatMulNBits
has no convolutions, so it has no such graph either.
"""

import logging
import os
import pathlib

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

import graph_resnet
import graph_vit
from graph import INPUT

logging.disable(logging.WARNING)

#: By family: forms and precisions.
KINDS = {
    "vit": (("plain", "fused"), ("f32", "int8", "nbits8", "int4")),
    "resnet": (("plain",), ("f32", "int8", "static8")),
}


def build(spec, tensors, form):
    if spec["architecture"]["family"] == "resnet":
        return graph_resnet.build(spec, tensors)
    return graph_vit.build(spec, tensors, form == "fused")


def blocked(source, bits, out):
    """MatMulNBits in blocks of 32, symmetric, as accurate as int8 arithmetic."""
    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), block_size=32, is_symmetric=True, accuracy_level=4, bits=bits
    )
    quantizer.process()
    onnx.save(quantizer.model.model, out)


class OneImage(CalibrationDataReader):
    """input.f32 of `folder`, once."""

    def __init__(self, folder, side):
        pixels = np.fromfile(folder / "input.f32", "<f4").reshape(1, 3, side, side)
        self.left = iter([{INPUT: pixels}])

    def get_next(self):
        return next(self.left, None)


def quantize(precision, spec, folder, source, out):
    if precision == "int8":
        kinds = ["Conv", "MatMul"] if spec["architecture"]["family"] == "resnet" else ["MatMul"]
        quantize_dynamic(
            source, out, op_types_to_quantize=kinds, per_channel=True,
            # ConvInteger has no signed weights on the CPU.
            weight_type=QuantType.QUInt8 if "Conv" in kinds else QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )  # fmt: skip
    elif precision == "static8":
        quantize_static(
            source, out, OneImage(folder, spec["architecture"]["image"]), quant_format=QuantFormat.QOperator,
            op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool"], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    else:
        blocked(source, {"nbits8": 8, "int4": 4}[precision], out)


def write(folder: pathlib.Path, spec, read):
    """ort-PRECISION-FORM.onnx of all kinds; `read` gives the tensors, and is called only if it is needed."""
    forms, precisions = KINDS[spec["architecture"]["family"]]
    tensors = None
    for form in forms:
        plain = folder / f"ort-f32-{form}.onnx"
        for precision in precisions:
            out = folder / f"ort-{precision}-{form}.onnx"
            if not out.exists():
                print(f"{spec['name']}: ONNX graph, {precision}, {form}", flush=True)
                part = out.with_suffix(".part")
                if precision == "f32":
                    tensors = tensors or read()
                    onnx.save(build(spec, tensors, form), part)
                else:
                    quantize(precision, spec, folder, plain, part)
                os.replace(part, out)
            for_transformers(folder, spec, out)


def for_transformers(folder, spec, graph):
    """The same graph where transformers.js looks for it: tjs-PRECISION-FORM/onnx/model.onnx, with a config.json."""
    place = folder / graph.stem.replace("ort-", "tjs-") / "onnx"
    place.mkdir(parents=True, exist_ok=True)
    (place.parent / "config.json").write_text(f'{{"model_type": "{spec["architecture"]["family"]}"}}')
    link = place / "model.onnx"
    if not link.exists():
        link.symlink_to(f"../../{graph.name}")
