"""Where a training's examples come from: the lab's own images, drawn ones, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from training import loop, mixture, shards
from training.run import Run

#: Examples to draw beside a lab's images for a network that has learnt already.
DRAWN_FROM = 10_000

Parts = tuple[shards.Arrays, shards.Arrays]


def mix(
    told: Run,
    draw: Callable[[shards.Arrays, np.random.Generator, int], loop.Batch],
    validate: Callable[[shards.Arrays, Any], dict[str, float]],
    own: Parts | None,
    drawn: Parts | None,
) -> tuple[loop.Draw, loop.Validate]:
    """Batches and held-out figures of the lab's own examples, of drawn ones, or of both."""
    if own and drawn:
        batches = mixture.Mixed(partial(draw, own[0]), partial(draw, drawn[0]), told.data_share)
        return batches, mixture.Both(partial(validate, own[1]), partial(validate, drawn[1]))
    training, held_out = own or drawn or ({}, {})
    return partial(draw, training), partial(validate, held_out)


def count(*sources: Parts | None) -> int:
    """Training examples of all sources."""
    return sum(len(part[0]["pixels"]) for part in sources if part)


def record(own: Parts | None, drawn: Parts | None, told: Run) -> dict[str, Any]:
    """How many examples of which kind, for ``model.toml``."""
    painters: Sequence[str] = [str(version) for version in drawn[0]["painter"]] if drawn else []
    found: dict[str, Any] = {"examples": count(own, drawn), "drawn": count(drawn), "painter": painters}
    return found | ({"data_share": told.data_share} if own and drawn else {})
