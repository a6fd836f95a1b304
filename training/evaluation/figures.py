"""The figures by which a model is judged, each a function of a sample, so that all of them get bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.evaluation.measures import Bools, Floats
from training.evaluation.measures.calibration import Reliability, expected_calibration_error, reliability
from training.evaluation.measures.curves import Counts, average_precision, count_by_threshold, recall_at_false_rate, roc_area
from training.evaluation.measures.success import balanced_mean, frequencies, success_rates, weighted_mean
from training.evaluation.sample import CLEAR, CRYSTAL, GROUPS, Sample

#: The share of clear drops and empty wells that may be taken for crystals in ``recall_at_5_percent_false``.
FALSE_LIMIT = 0.05


@dataclass(frozen=True, slots=True)
class Figure:
    """``percent``: shown as such. ``of`` returns NaN where the sample does not define the figure."""

    name: str
    title: str
    percent: bool
    of: Callable[[Sample], float]


def group_rates(sample: Sample) -> Floats:
    """Success rate of each of the four groups (P19)."""
    return success_rates(sample.truth, sample.right, len(GROUPS))


def crystal_counts(sample: Sample) -> Counts | None:
    """Crystals against everything else, by the crystal probability."""
    return count_by_threshold(sample.crystal, sample.is_crystal)


def crystal_counts_against_clear(sample: Sample) -> Counts | None:
    """Crystals against clear drops and empty wells, by the crystal probability."""
    return crystal_counts(sample.take(sample.against_clear))


def _share(of: Bools, among: Bools) -> float:
    return float(np.mean(of[among])) if among.any() else float("nan")


def _group_rate(index: int) -> Callable[[Sample], float]:
    return lambda sample: float(group_rates(sample)[index])


FIGURES: tuple[Figure, ...] = (
    *(Figure(f"success_{name}", name.capitalize(), True, _group_rate(index)) for index, name in enumerate(GROUPS)),
    Figure("weighted_mean", "Weighted mean", True, lambda s: weighted_mean(group_rates(s), frequencies(s.truth, len(GROUPS)))),
    Figure("balanced_mean", "Plain mean", True, lambda s: balanced_mean(group_rates(s))),
    Figure("crystal_precision", "Right among those scored as crystals", True, lambda s: _share(s.is_crystal, s.outcome == CRYSTAL)),
    Figure(
        "false_crystals_clear",
        "Clear drops and empty wells scored as crystals",
        True,
        lambda s: _share(s.outcome == CRYSTAL, s.truth == CLEAR),
    ),
    Figure("roc_area", "ROC area, against all", False, lambda s: roc_area(crystal_counts(s))),
    Figure("roc_area_clear", "ROC area, against clear and empty", False, lambda s: roc_area(crystal_counts_against_clear(s))),
    Figure("average_precision", "Average precision", False, lambda s: average_precision(crystal_counts(s))),
    Figure(
        "recall_at_5_percent_false",
        "Crystals found at 5 % false among clear and empty",
        True,
        lambda s: recall_at_false_rate(crystal_counts_against_clear(s), FALSE_LIMIT),
    ),
    Figure(
        "calibration_error_crystal",
        "ECE, crystal probability",
        False,
        lambda s: expected_calibration_error(reliability(s.crystal, s.is_crystal)),
    ),
    Figure("calibration_error_scored", "ECE, probability of the score", False, lambda s: expected_calibration_error(scored_reliability(s))),
)


def scored_reliability(sample: Sample, bins: int = 10) -> Reliability:
    """The reliability of the score's own probability: whether the group that it names is right. Images without a score do not count."""
    scored = sample.take(~np.isnan(sample.probability))
    return reliability(scored.probability, scored.right, bins)
