"""A checkpoint of MXNet as one ONNX network that a model folder can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystal_search.classes import NAMES
from crystal_search.errors import UsageError
from training.from_mxnet.operators import ENDS, OPERATORS, Graph
from training.from_mxnet.params import read_params
from training.from_mxnet.symbol import INPUT, Symbol, read_symbol
from training.outputs import SHUT_OUT

_OPSET, _IR = 17, 9


@dataclass(frozen=True, slots=True)
class View:
    """What the network was trained to see: brightness 1 (the 92nd percentile of an image) is ``white`` there, of which ``mean`` is
    taken off, and the rest multiplied by ``scale`` and divided by ``std``: one number for each channel, or one for all."""

    white: float
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network and its weights; ``files`` are those that it was read from."""

    symbol: Symbol
    weights: dict[str, npt.NDArray[Any]]
    files: tuple[Path, Path]


def read_checkpoint(prefix: str, epoch: int) -> Checkpoint:
    """``PREFIX-symbol.json`` and ``PREFIX-0007.params``. Raises ``UsageError`` with one line where a file is not one of MXNet,
    weights that the network names are missing, or weights are no numbers."""
    files = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-{epoch:04d}.params")
    symbol, weights = read_symbol(files[0]), read_params(files[1])
    given = [node.name for node in symbol.nodes if node.op == INPUT and node.name not in weights and not node.name.endswith("label")]
    lacking = [name for name in given if name != "data"] if "data" in given else given[1:]
    if lacking:
        some = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
        raise UsageError(f"{files[1]} lacks {len(lacking)} of the weights that {files[0].name} names: {some}")
    if broken := [name for name, array in weights.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]:
        raise UsageError(f"{files[1]}: {broken[0]} holds values that are no numbers, the training went astray: take an earlier epoch")
    if not given:
        raise UsageError(f"{files[0]} takes no input: it is no classifier of images")
    return Checkpoint(symbol, weights, files)


def to_onnx(checkpoint: Checkpoint, window: int, view: View, classes: Sequence[str]) -> bytes:
    """The network as ONNX: brightness (N, window, window, 1) -> logits (N, 1, 1, 13) of the table's classes.

    ``classes`` are the names of its outputs in order; classes that are none of them get a logit that shuts them out. Raises
    ``UsageError`` with one line for a layer that is not known and for another number of outputs.
    """
    graph = Graph({name: np.asarray(value, np.float32) for name, value in checkpoint.weights.items()})
    logits = _answer(checkpoint, graph, _seen(graph, _channels(checkpoint), view))
    outputs = _outputs(checkpoint, _model(graph, window, logits, None), window)
    if outputs != len(classes):
        raise UsageError(
            f"{checkpoint.files[0]}: the network has {outputs} outputs, {len(classes)} classes are named: say with --classes which they are"
        )
    chosen, places = np.zeros((len(classes), len(NAMES)), np.float32), [NAMES.index(name) for name in classes]
    chosen[np.arange(len(classes)), places] = 1
    bias = np.full(len(NAMES), SHUT_OUT, np.float32)
    bias[places] = 0
    flat = graph.add("Flatten", [logits], "output/flat")
    ordered = graph.add("Gemm", [flat, graph.constant("output/places", chosen), graph.constant("output/shut_out", bias)], "output/table")
    answer = graph.add("Reshape", [ordered, graph.constant("output/shape", (-1, 1, 1, len(NAMES)), np.int64)], "class_map")
    return bytes(_model(graph, window, answer, ["n", 1, 1, len(NAMES)]).SerializeToString())


def _model(graph: Graph, window: int, answer: str, shape: list[str | int] | None) -> Any:
    """What was added so far as an ONNX model with one output."""
    from onnx import TensorProto, helper, numpy_helper

    used = {name for node in graph.nodes for name in node.input}
    arrays = {name: value for name, value in (graph.weights | graph.constants).items() if name in used}
    made = helper.make_graph(
        graph.nodes,
        "mxnet",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", window, window, 1])],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in arrays.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


def _channels(checkpoint: Checkpoint) -> int:
    """How many channels the first convolution sees."""
    for node in checkpoint.symbol.nodes:
        if node.op == "Convolution":
            weight = checkpoint.weights[checkpoint.symbol.nodes[node.inputs[1][0]].name]
            return int(weight.shape[1]) * int(node.value("num_group", 1))
    raise UsageError(f"{checkpoint.files[0]} has no convolution: it is no classifier of images")


def _seen(graph: Graph, channels: int, view: View) -> str:
    """Brightness as the network was trained to see it, (N, channels, window, window)."""
    first = graph.add("Transpose", ["pixels"], "input/channels_first", perm=[0, 3, 1, 2])
    if channels > 1:
        first = graph.add("Concat", [first] * channels, "input/channels", axis=1)
    factors = []
    for name, numbers in (("mean", view.mean), ("std", view.std)):
        if len(numbers) not in (1, channels):
            raise UsageError(f"--{name} has {len(numbers)} numbers, the network sees {channels} channels")
        factors.append(np.array(numbers, np.float32).reshape(1, -1, 1, 1))
    bright = graph.add("Mul", [first, graph.constant("input/white", view.white)], "input/bytes")
    centred = graph.add("Sub", [bright, graph.constant("input/mean", factors[0])], "input/centred")
    return graph.add("Mul", [centred, graph.constant("input/scale", np.float32(view.scale) / factors[1])], "input/seen")


def _answer(checkpoint: Checkpoint, graph: Graph, seen: str) -> str:
    """Adds every layer and returns the name of the logits."""
    names: dict[int, str] = {}
    nodes = checkpoint.symbol.nodes
    for number, node in enumerate(nodes):
        if node.op == INPUT:
            names[number] = node.name if node.name in graph.weights else seen
        elif node.op in ENDS:
            if number != checkpoint.symbol.answer:
                raise UsageError(f"{checkpoint.files[0]}: {node.name}, a {node.op}, is not the last layer")
            names[number] = names[node.inputs[0][0]]
        elif node.op not in OPERATORS:
            raise UsageError(f"{checkpoint.files[0]}: unknown layer {node.op} ({node.name}); known are {', '.join(sorted(OPERATORS))}")
        else:
            names[number] = OPERATORS[node.op](graph, node, [names[source] for source, _ in node.inputs])
    return names[checkpoint.symbol.answer]


def _outputs(checkpoint: Checkpoint, model: Any, window: int) -> int:
    """How many logits there are for one chop. Raises ``UsageError`` where the layers do not fit together."""
    from onnx import shape_inference

    try:
        (answer,) = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
    except Exception as error:  # onnx raises kinds of its own
        reason = " ".join(str(error).split())[:160]
        raise UsageError(
            f"{checkpoint.files[0]}: its layers do not fit chops of {window} px (--window), or not the weights in "
            f"{checkpoint.files[1].name} ({reason})"
        ) from error
    return math.prod(extent.dim_value for extent in answer.type.tensor_type.shape.dim[1:])
