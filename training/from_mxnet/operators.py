"""MXNet's layers in ONNX, those that classifiers of images are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from crystal_search.errors import UsageError
from training.from_mxnet.symbol import Node


class Graph:
    """ONNX nodes and constants as they are added; ``weights`` are the checkpoint's."""

    def __init__(self, weights: dict[str, npt.NDArray[Any]]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node and returns ``output``, its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: npt.ArrayLike, dtype: Any = np.float32) -> str:
        self.constants[name] = np.asarray(value, dtype=dtype)
        return name


Convert = Callable[[Graph, Node, list[str]], str]


def _convolution(graph: Graph, node: Node, inputs: list[str]) -> str:
    kernel, stride, pad = node.pair("kernel", (1, 1)), node.pair("stride", (1, 1)), node.pair("pad", (0, 0))
    dilation = node.pair("dilate", (1, 1))
    if node.value("layout") not in (None, "None", "NCHW"):
        raise UsageError(f"layer {node.name}: layout {node.value('layout')} is not known, only NCHW is")
    options = {"kernel_shape": kernel, "strides": stride, "pads": (*pad, *pad), "dilations": dilation}
    return graph.add("Conv", inputs, node.name, group=node.value("num_group", 1), **options)


def _fully_connected(graph: Graph, node: Node, inputs: list[str]) -> str:
    flat = graph.add("Flatten", inputs[:1], f"{node.name}/flat") if node.truth("flatten", True) else inputs[0]
    return graph.add("Gemm", [flat, *inputs[1:]], node.name, transB=1)


def _batch_norm(graph: Graph, node: Node, inputs: list[str]) -> str:
    if node.value("axis", 1) != 1:
        raise UsageError(f"layer {node.name}: axis {node.value('axis')} is not known, only 1 is")
    if node.truth("fix_gamma", True):  # whatever the checkpoint holds, MXNet takes 1
        inputs[1] = graph.constant(f"{node.name}/ones", np.ones_like(graph.weights[inputs[1]]))
    return graph.add("BatchNormalization", inputs, node.name, epsilon=float(node.value("eps", 1e-3)))


def _pooling(graph: Graph, node: Node, inputs: list[str]) -> str:
    kind = {"max": "MaxPool", "avg": "AveragePool"}.get(node.value("pool_type", "max"))
    if kind is None:
        raise UsageError(f"layer {node.name}: pooling by {node.value('pool_type')} is not known, max and avg are")
    if node.truth("global_pool", False):
        return graph.add(f"Global{kind}", inputs, node.name)
    kernel, stride, pad = node.pair("kernel", (1, 1)), node.pair("stride", (1, 1)), node.pair("pad", (0, 0))
    convention = node.value("pooling_convention", "valid")
    options: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": (*pad, *pad)}
    if convention == "full":
        options["ceil_mode"] = 1
    if convention not in ("valid", "full") or (convention == "full" and (kind == "AveragePool" or max(stride) > min(kernel))):
        raise UsageError(f"layer {node.name}: {kind} with pooling_convention {convention} is not known")
    if kind == "AveragePool":
        options["count_include_pad"] = int(node.truth("count_include_pad", True))
    return graph.add(kind, inputs, node.name, **options)


def _activation(graph: Graph, node: Node, inputs: list[str]) -> str:
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
    kind = kinds.get(node.value("act_type", ""))
    if kind is None:
        raise UsageError(f"layer {node.name}: activation {node.value('act_type')} is not known, {', '.join(kinds)} are")
    return graph.add(kind, inputs, node.name)


def _leaky(graph: Graph, node: Node, inputs: list[str]) -> str:
    kind = {"leaky": "LeakyRelu", "elu": "Elu"}.get(node.value("act_type", "leaky"))
    if kind is None:
        raise UsageError(f"layer {node.name}: activation {node.value('act_type')} is not known, leaky and elu are")
    return graph.add(kind, inputs[:1], node.name, alpha=float(node.value("slope", 0.25)))


def _response(graph: Graph, node: Node, inputs: list[str]) -> str:
    numbers = {"alpha": node.value("alpha", 1e-4), "beta": node.value("beta", 0.75), "bias": node.value("knorm", 2.0)}
    return graph.add("LRN", inputs, node.name, size=int(node.value("nsize")), **{name: float(value) for name, value in numbers.items()})


def _concat(graph: Graph, node: Node, inputs: list[str]) -> str:
    return graph.add("Concat", inputs, node.name, axis=int(node.value("dim", 1)))


def _reshape(graph: Graph, node: Node, inputs: list[str]) -> str:
    shape = node.value("shape")
    if not isinstance(shape, tuple) or any(extent < -1 for extent in shape) or node.truth("reverse", False):
        raise UsageError(f"layer {node.name}: shape {node.value('shape')} is not known, only numbers from -1 on are")
    return graph.add("Reshape", [inputs[0], graph.constant(f"{node.name}/shape", shape, np.int64)], node.name)


def _plain(op: str, **attributes: Any) -> Convert:
    return lambda graph, node, inputs: graph.add(op, inputs, node.name, **attributes)


def _same(graph: Graph, node: Node, inputs: list[str]) -> str:
    """What changes nothing once a network is trained."""
    return inputs[0]


def _scalar(op: str) -> Convert:
    def convert(graph: Graph, node: Node, inputs: list[str]) -> str:
        return graph.add(op, [inputs[0], graph.constant(f"{node.name}/scalar", float(node.value("scalar")))], node.name)

    return convert


OPERATORS: dict[str, Convert] = {
    "Convolution": _convolution,
    "FullyConnected": _fully_connected,
    "BatchNorm": _batch_norm,
    "Pooling": _pooling,
    "Activation": _activation,
    "LeakyReLU": _leaky,
    "LRN": _response,
    "Concat": _concat,
    "concat": _concat,
    "Flatten": _plain("Flatten"),
    "flatten": _plain("Flatten"),
    "Reshape": _reshape,
    "reshape": _reshape,
    **dict.fromkeys(("Dropout", "_copy", "identity", "BlockGrad"), _same),
    **dict.fromkeys(("elemwise_add", "broadcast_add", "_Plus", "_plus", "_add", "ElementWiseSum", "add_n"), _plain("Sum")),
    **dict.fromkeys(("elemwise_mul", "broadcast_mul", "_Mul", "_mul"), _plain("Mul")),
    **{f"_{name}_scalar": _scalar(op) for name, op in (("plus", "Add"), ("minus", "Sub"), ("mul", "Mul"), ("div", "Div"))},
    "relu": _plain("Relu"),
    "sigmoid": _plain("Sigmoid"),
}
#: Layers that make probabilities of logits: a client does that itself, after the calibration.
ENDS = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation", "log_softmax")
