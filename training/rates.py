"""The learning rate: it falls stepwise (P13), either as planned or whenever the held-out loss stagnates."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: The plan where no last rate is given: share of the epochs from which on, factor.
FALLS = ((0.0, 1.0), (0.5, 0.3), (0.75, 0.1), (0.9, 0.02))


def levels(first: float, last: float | None = None) -> tuple[float, ...]:
    """The learning rates from ``first`` to ``last``, in the fewest steps of one factor that is at most ten.

    Without ``last`` they are those of :data:`FALLS`. Raises ``ValueError`` where ``last`` is above ``first`` or not above 0.

    >>> levels(1e-2, 1e-5)
    (0.01, 0.001, 0.0001, 1e-05)
    >>> levels(0.5)
    (0.5, 0.15, 0.05, 0.01)
    """
    if last is None:
        return tuple(first * factor for _, factor in FALLS)
    if not 0 < last <= first:
        raise ValueError(f"the last rate {last:g} is not above 0 and at most the first, {first:g}")
    steps = math.ceil(round(math.log10(first / last), 6))
    return tuple(float(f"{first * (last / first) ** (step / max(steps, 1)):.6g}") for step in range(steps + 1))


def planned_level(epoch: int, epochs: int, count: int, *, equal: bool) -> int:
    """Which of ``count`` rates epoch ``epoch`` of ``epochs`` (from 0) has: in equal parts, or as :data:`FALLS` says."""
    if equal:
        return min(epoch * count // max(epochs, 1), count - 1)
    return max(level for level, (share, _) in enumerate(FALLS) if epoch >= share * epochs)


def stagnation_level(losses: Sequence[float], patience: int) -> int:
    """How often ``patience`` epochs in a row brought no smaller loss: that many times the rate has been lowered.

    A loss that is no number is never better.

    >>> stagnation_level([3.0, 2.0, 2.5, 2.1, 1.9], 2)
    1
    """
    level, waited, best = 0, 0, math.inf
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            level, waited = level + 1, 0
    return level
