"""Bootstrap intervals: how much a figure would move with other plates of the same kind (Efron & Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.evaluation.measures import Floats, Ints


def resamples(unit: Ints, count: int, seed: int) -> Iterator[Ints]:
    """``count`` samples, each as positions into the data. ``unit`` (n,) numbers from 0 what is drawn as a whole: each image's plate, or the
    image itself. As many units are drawn, with replacement, as there are; the same seed and units give the same samples.
    """
    rng = np.random.default_rng(seed)
    units = int(unit.max()) + 1
    places = np.arange(unit.size)
    for _ in range(count):
        times = np.bincount(rng.integers(units, size=units), minlength=units)
        yield np.repeat(places, times[unit]).astype(np.int64)


def percentile_interval(draws: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval that holds ``level`` of ``draws``; draws in which the figure does not exist (NaN) do not count.

    (NaN, NaN) where fewer than half of them exist: an interval of the rest would mislead.
    """
    known = draws[~np.isnan(draws)]
    if not draws.size or 2 * known.size < draws.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
