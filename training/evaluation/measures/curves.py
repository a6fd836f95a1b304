"""ROC and precision-recall for one class against others, by a probability, and thresholds read from them.

An image is called positive where its probability is at least the threshold; images of equal probability are always called together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluation.measures import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Counts:
    """For each threshold, falling: how many positives (``found``) and negatives (``false``) have at least that probability."""

    thresholds: Floats
    found: Ints
    false: Ints

    @property
    def recall(self) -> Floats:
        """found / positives."""
        return np.asarray(self.found / self.found[-1], dtype=np.float64)

    @property
    def false_rate(self) -> Floats:
        """false / negatives."""
        return np.asarray(self.false / self.false[-1], dtype=np.float64)

    @property
    def precision(self) -> Floats:
        """found / all that are called."""
        return np.asarray(self.found / (self.found + self.false), dtype=np.float64)


def count_by_threshold(probability: Floats, positive: Bools) -> Counts | None:
    """The counts at each distinct probability; None where there is no positive or no negative, so that no curve exists."""
    if not positive.any() or positive.all():
        return None
    order = np.argsort(-probability, kind="stable")
    falling, found = probability[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)
    return Counts(falling[last], found[last].astype(np.int64), (last + 1 - found[last]).astype(np.int64))


def roc_curve(counts: Counts) -> tuple[Floats, Floats]:
    """False positive rate and recall from (0, 0) to (1, 1)."""
    return np.append(0.0, counts.false_rate), np.append(0.0, counts.recall)


def roc_area(counts: Counts | None) -> float:
    """Area under the ROC: the chance that a positive outranks a negative, ties counting half; NaN where there is no curve.

    By the trapezoid rule: sum (x_i - x_(i-1)) (y_i + y_(i-1)) / 2.
    """
    if counts is None:
        return float("nan")
    false_rate, recall = roc_curve(counts)
    return float(np.sum(np.diff(false_rate) * (recall[1:] + recall[:-1])) / 2)


def average_precision(counts: Counts | None) -> float:
    """Average precision: sum over thresholds of (R_i - R_(i-1)) P_i, without interpolation; NaN where there is no curve."""
    return float(np.sum(np.diff(counts.recall, prepend=0.0) * counts.precision)) if counts else float("nan")


def recall_at_false_rate(counts: Counts | None, limit: float) -> float:
    """The largest recall among thresholds that call at most ``limit`` of the negatives (0..1); NaN where there is no curve."""
    if counts is None:
        return float("nan")
    return float(np.max(counts.recall, where=counts.false_rate <= limit, initial=0.0))


def threshold_for_recall(counts: Counts, recall: float) -> int:
    """The position in ``counts`` of the highest threshold that finds at least ``recall`` (0..1] of the positives."""
    return int(np.argmax(counts.recall >= recall - 1e-12))
