"""The paper's four networks (P12), and what is known of each.

They are padded and, but for SqueezeNet, end in layers that see the whole chop, so a client classifies chop by chop. All take normalised
brightness (N, side, side, channels) and answer with logits (N, 1, 1, outputs). ``training/networks.py`` has the network that ships.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.zoo.alexnet import alexnet
from training.zoo.resnet import resnet50
from training.zoo.squeezenet import squeezenet_1_0, squeezenet_1_1
from training.zoo.vggnet import vggnet16


@dataclass(frozen=True, slots=True)
class PaperNetwork:
    """``build(outputs, side, channels)`` makes it with random weights.

    ``layers`` with weights lie on the longest way through it; ``parameters`` (trained ones) are those with 13 outputs, three channels
    and chops of 224 px, ``megabytes`` (2 ** 20 bytes of float32) the size that the paper states for it, None where it states none.
    """

    title: str
    build: Callable[[int, int, int], Any]
    layers: int
    parameters: int
    megabytes: float | None
    rate: float  #: first learning rate of Adam at which it learns at all


ZOO = {
    "alexnet": PaperNetwork("AlexNet", alexnet, 8, 58_334_605, 223, 1e-4),
    "vggnet-16": PaperNetwork("VggNet-16", vggnet16, 16, 134_313_805, 513, 1e-4),
    "resnet-50": PaperNetwork("ResNet-50", resnet50, 50, 23_534_669, 90, 1e-3),
    "squeezenet-1.0": PaperNetwork("SqueezeNet 1.0", squeezenet_1_0, 18, 742_093, 2.9, 3e-4),
    "squeezenet-1.1": PaperNetwork("SqueezeNet 1.1", squeezenet_1_1, 18, 729_165, None, 3e-4),
}


def weight_layers(model: Any) -> int:
    """The layers with kernels on the longest way through a Keras network: how depth is counted (P12).

    Shortcuts of ResNet and the second branch of a fire module lie beside that way and do not count.
    """
    depths: dict[int, int] = {}

    def depth(tensor: Any) -> int:
        if id(tensor) not in depths:
            layer = tensor._keras_history.operation
            inputs = layer._inbound_nodes[tensor._keras_history.node_index].input_tensors
            own = int(getattr(layer, "kernel", None) is not None)
            depths[id(tensor)] = own + max((depth(one) for one in inputs), default=0)
        return depths[id(tensor)]

    return max(depth(tensor) for tensor in model.outputs)
