"""The moving average of a network's weights: smoother than the last step's, and usually a little better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = Sequence[npt.NDArray[np.float32]]


class Average:
    """Exponential moving average of all weights, batch statistics included.

    The first updates count for more, so that the random beginning is soon forgotten: update n (from 1) keeps
    ``min(decay, (1 + n) / (10 + n))`` of what was there.
    """

    def __init__(self, decay: float, weights: Weights, updates: int = 0) -> None:
        self.decay = decay
        self.reset(weights, updates)

    def reset(self, weights: Weights, updates: int = 0) -> None:
        """Begins anew, or where a checkpoint left off."""
        self.updates = updates
        self.weights = [np.array(weight, dtype=np.float32) for weight in weights]

    def update(self, weights: Weights) -> None:
        """Takes in the weights after another step."""
        self.updates += 1
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, weight in zip(self.weights, weights, strict=True):
            mean += np.float32(1 - kept) * (weight - mean)


@contextmanager
def averaged(model: Any, average: Average | None) -> Iterator[None]:
    """The model has the average's weights within the block; nothing changes where there is none."""
    if average is None:
        yield
        return
    own = model.get_weights()
    model.set_weights(average.weights)
    try:
        yield
    finally:
        model.set_weights(own)
