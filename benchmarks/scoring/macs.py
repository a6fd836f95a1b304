"""How many multiplications a network needs, from its ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from crystal_search.errors import SettingsError

Shape = tuple[int, ...]


def conv_macs(network: bytes, shape: Shape) -> int:
    """Multiplications with addition (MACs) of all convolutions of an ONNX network whose one input has ``shape``.

    A convolution needs, for each number that it puts out, kernel height x kernel width x input channels of its group. What else a
    network does (pooling, ReLU) is left out. Needs the package onnx. Raises ``SettingsError`` for a network whose shapes do not follow
    from its input's.
    """
    import onnx

    model = onnx.load_model_from_string(network)
    for extent, value in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        extent.dim_value = value
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    kernels = {kernel.name: tuple(kernel.dims) for kernel in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        # The kernels of a quantised network come out of a node, too.
        kernel, answer = kernels.get(node.input[1]) or shapes.get(node.input[1], ()), shapes.get(node.output[0], ())
        if not kernel or not answer or not all(answer):
            raise SettingsError(f"the shapes of the network do not follow from an input of {shape}: its MACs can not be counted")
        total += math.prod(answer) * math.prod(kernel[1:])
    return total


def _shape(value: Any) -> Shape:
    """A tensor's shape; 0 stands for an extent that is not known."""
    return tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)


def macs_of_runs(network: bytes, shapes: Iterable[Sequence[int]]) -> list[int]:
    """``conv_macs`` of each run of a network with these inputs; each different shape is worked out once."""
    known: dict[Shape, int] = {}
    return [known[s] if (s := tuple(shape)) in known else known.setdefault(s, conv_macs(network, s)) for shape in shapes]
