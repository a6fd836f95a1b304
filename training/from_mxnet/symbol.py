"""MXNet's ``-symbol.json``: the layers of a network, in the order in which they compute."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crystal_search.errors import UsageError

INPUT = "null"


@dataclass(frozen=True, slots=True)
class Node:
    """One layer, or an array that is given (``op`` is ``null``). ``inputs`` are (number of a node, number of its output)."""

    op: str
    name: str
    inputs: tuple[tuple[int, int], ...]
    attributes: Mapping[str, str]

    def value(self, name: str, default: Any = None) -> Any:
        """An attribute as number, tuple, truth or word.

        >>> Node("Pooling", "p", (), {"kernel": "(3, 3)", "global_pool": "True", "pool_type": "max"}).value("kernel")
        (3, 3)
        """
        text = self.attributes.get(name)
        if text is None:
            return default
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    def pair(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        """An attribute of two numbers, such as a kernel; an empty one counts as not given."""
        value = self.value(name, default) or default
        if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value)):
            raise UsageError(f"layer {self.name}: {name} {self.attributes.get(name)} is not a pair of numbers, as images have")
        return value

    def truth(self, name: str, default: bool) -> bool:
        return self.value(name, default) in (True, 1, "true")


@dataclass(frozen=True, slots=True)
class Symbol:
    """``nodes`` in order, and the one whose output is the network's answer."""

    nodes: tuple[Node, ...]
    answer: int


def read_symbol(path: Path) -> Symbol:
    """The network of a ``-symbol.json``. Raises ``UsageError`` with one line for a file that is none, or has several answers."""
    try:
        content = json.loads(path.read_bytes())
        nodes = tuple(_node(each) for each in content["nodes"])
        heads = [(int(head[0]), int(head[1])) for head in content["heads"]]
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(f"{path} is no network of MXNet ({type(error).__name__}): a checkpoint has a -symbol.json beside it") from error
    if len(heads) != 1:
        raise UsageError(f"{path}: the network has {len(heads)} answers, a classifier has one")
    for place, node in enumerate(nodes):
        if any(not 0 <= source < place for source, _ in node.inputs):
            raise UsageError(f"{path} is no network of MXNet: {node.name} comes before what it needs")
    if not 0 <= heads[0][0] < len(nodes):
        raise UsageError(f"{path} is no network of MXNet: it has no node {heads[0][0]}")
    return Symbol(nodes, heads[0][0])


def _node(each: Mapping[str, Any]) -> Node:
    # Older versions call the attributes param or attr.
    attributes: Mapping[str, Any] = next((each[key] for key in ("attrs", "attr", "param") if each.get(key)), {})
    inputs = tuple((int(source[0]), int(source[1])) for source in each["inputs"])
    return Node(str(each["op"]), str(each["name"]), inputs, {str(name): str(value) for name, value in attributes.items()})
