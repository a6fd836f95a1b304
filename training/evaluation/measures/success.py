"""Success rates of the groups and their mean, as the paper's Table 3 has them (P19, P20)."""

from __future__ import annotations

import numpy as np

from training.evaluation.measures import Bools, Floats, Ints, ratio


def success_rates(truth: Ints, right: Bools, groups: int) -> Floats:
    """Success rate (recall) of each group (groups,): r_g = right images of g / images that people call g; NaN where there is none.

    ``truth`` (n,) numbers each image's group from 0, ``right`` (n,) says where the program named it. An image for which it named no
    group is not right: ``unsure`` and ``no_drop`` are misses (P19).

    >>> success_rates(np.array([0, 0, 1]), np.array([True, False, True]), 3)
    array([0.5, 1. , nan])
    """
    total = np.bincount(truth, minlength=groups)
    found = np.bincount(truth[right], minlength=groups)
    return ratio(found, total)


def frequencies(truth: Ints, groups: int) -> Floats:
    """Share of each group in the human labels (groups,): f_g = n_g / n (P19). Raises ``ValueError`` where there is no image."""
    if truth.size == 0:
        raise ValueError("no image")
    return np.asarray(np.bincount(truth, minlength=groups) / truth.size, dtype=np.float64)


def weighted_mean(rates: Floats, weights: Floats) -> float:
    """Mean of ``rates`` weighed by ``weights``: sum f_g r_g / sum f_g (P19). A group of weight 0 does not count; its rate may be NaN.

    >>> weighted_mean(np.array([0.5, 1.0, np.nan]), np.array([0.25, 0.75, 0.0]))
    0.875
    """
    counted = weights > 0
    return float(np.sum(rates[counted] * weights[counted]) / np.sum(weights[counted]))


def balanced_mean(rates: Floats) -> float:
    """Plain mean of the rates of those groups that occur. Unlike the weighted mean it does not depend on a test's mix of images."""
    known = rates[~np.isnan(rates)]
    return float(known.mean()) if known.size else float("nan")
