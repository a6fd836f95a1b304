"""Batches of two sources: a lab's own images and drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.loop import Batch, Draw


@dataclass(frozen=True, slots=True)
class Mixed:
    """Draws batches of which ``share`` (0 to 1) comes from ``first``, on average over batches, the rest from ``second``."""

    first: Draw
    second: Draw
    share: float

    def __call__(self, rng: np.random.Generator, size: int) -> Batch:
        """``size`` examples, those of ``first`` first."""
        count = min(int(size * self.share + rng.random()), size)
        parts = [draw(rng, number) for draw, number in ((self.first, count), (self.second, size - count)) if number]
        return np.concatenate([inputs for inputs, _ in parts]), np.concatenate([targets for _, targets in parts])


@dataclass(frozen=True, slots=True)
class Both:
    """The figures of ``first``, and those of ``second`` under names that begin with ``prefix``."""

    first: Callable[[Any], dict[str, float]]
    second: Callable[[Any], dict[str, float]]
    prefix: str = "drawn_"

    def __call__(self, model: Any) -> dict[str, float]:
        return self.first(model) | {self.prefix + name: value for name, value in self.second(model).items()}
