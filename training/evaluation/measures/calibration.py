"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluation.measures import Bools, Floats, Ints, ratio


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram: for each bin [i/k, (i+1)/k) the count, the mean probability and the share that came true (NaN: empty)."""

    count: Ints
    probability: Floats
    share: Floats


def reliability(probability: Floats, true: Bools, bins: int = 10) -> Reliability:
    """The reliability diagram of ``probability`` (n,) for what is ``true`` (n,), in bins of equal width; 1 belongs to the last."""
    place = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.int64)

    def mean(values: Floats) -> Floats:
        return ratio(np.bincount(place, weights=values, minlength=bins), count)

    return Reliability(count, mean(probability), mean(true.astype(np.float64)))


def expected_calibration_error(diagram: Reliability) -> float:
    """Expected calibration error: sum over bins of n_b / n |share_b - probability_b|, 0 (perfect) to 1; NaN without images."""
    total = diagram.count.sum()
    gaps = np.abs(diagram.share - diagram.probability)
    return float(np.sum(diagram.count * np.nan_to_num(gaps)) / total) if total else float("nan")
