"""Which network classifies chops: the padding-free one that ships, or one of the paper's four (P12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crystal_search.classes import NAMES
from crystal_search.errors import UsageError
from training import export
from training.outputs import SHUT_OUT, Outputs

PADDING_FREE = "padding-free"
CHOICES = (PADDING_FREE, "alexnet", "vggnet-16", "resnet-50", "squeezenet-1.0", "squeezenet-1.1")
#: The smallest chop from which AlexNet and VggNet have a map left after their last pool.
LEAST_WINDOW = 64


@dataclass(frozen=True, slots=True)
class ChopNetwork:
    """``build`` makes it with random weights, ``settings`` is the table ``[chops]`` of a folder with it; ``any_size``: it takes images
    of any size."""

    key: str
    build: Callable[[], Any]
    settings: Callable[[Path, int], dict[str, Any]]
    any_size: bool
    rate: float | None


def chop_network(key: str, window: int, outputs: Outputs) -> ChopNetwork:
    """The network called ``key`` for chops of ``window`` px. Raises ``UsageError`` for a window that is too small for it."""
    from training import networks
    from training.zoo import ZOO

    least = networks.RECEPTIVE_FIELD if key == PADDING_FREE else LEAST_WINDOW
    if window < least:
        raise UsageError(f"--window {window}: the network {key} needs chops of at least {least} px")
    if key == PADDING_FREE:
        return ChopNetwork(key, lambda: networks.chop_squeezenet(len(outputs)), export.chop_settings, True, None)
    known = ZOO[key]
    return ChopNetwork(key, lambda: known.build(len(outputs), window, 1), export.padded_chop_settings, False, known.rate)


def answering_as_table(model: Any, outputs: Outputs) -> Any:
    """The network as a model folder has it: one that answers with the table's thirteen classes, whatever it was trained with."""
    if outputs.names == NAMES:
        return model
    import keras
    from keras import layers

    table = layers.Conv2D(len(NAMES), 1, dtype="float32", name="table_of_classes")
    wrapped = keras.Model(model.input, table(model.output), name=model.name)
    kernel, bias = np.zeros((1, 1, len(outputs), len(NAMES)), np.float32), np.full(len(NAMES), SHUT_OUT, np.float32)
    kernel[0, 0, np.arange(len(outputs)), outputs.places] = 1
    bias[outputs.places] = 0
    table.set_weights([kernel, bias])
    return wrapped
