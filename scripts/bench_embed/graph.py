"""A builder of ONNX graphs: what the graphs of scripts/bench-embed have in common."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: The input of every graph, by the name that transformers.js gives it.
INPUT = "pixel_values"


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

    def model(self, spec, feature):
        """The checked model: input [1, 3, image, image], output `feature` [1, D]."""
        side = spec["architecture"]["image"]
        image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, side, side])
        output = helper.make_tensor_value_info(feature, TensorProto.FLOAT, [1, spec["dimension"]])
        whole = helper.make_graph(self.nodes, spec["name"], [image], [output], self.initializers)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(whole, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        return model
