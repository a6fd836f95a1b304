"""What a threshold gives: the success rates of the four groups, by the class rule of the client and by a rule of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from client_app.model import CalibrationSpec
from crystal_search.archives import Status
from crystal_search.errors import UsageError
from training.calibration.fit import GROUP_OF_CLASS, Images, largest
from training.evaluation.measures import Bools, Floats, Ints
from training.evaluation.measures.success import balanced_mean, success_rates
from training.evaluation.sample import CLEAR, CRYSTAL, GROUPS, NO_CLASS, NO_DROP

#: The share of clear drops and empty wells that a threshold may call crystals.
MOST_FALSE_CRYSTALS = 0.05
#: Means of success rates that differ by less count as equal.
NEARLY = 0.01
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
FINE_THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))
_UNSURE = len(GROUPS) + NO_CLASS.index(Status.UNSURE)


@dataclass(frozen=True, slots=True)
class Answers:
    """n images under a calibration: true group and emptiness, whether a drop was found, and the largest probability in any window of
    each class, (n, 13), and of each group, (n, 4)."""

    truth: Ints
    empty: Bools
    found: Bools
    classes: Floats
    groups: Floats


Rule = Callable[[Answers, float], Ints]


@dataclass(frozen=True, slots=True)
class Row:
    """What a threshold gives: ``success`` (4,) of the groups (P19; unsure is a miss, NaN: no image), share of clear drops and empty wells
    called crystals."""

    threshold: float
    success: tuple[float, ...]
    false_crystals: float

    @property
    def mean(self) -> float:
        """Plain mean of the success rates."""
        return balanced_mean(np.array(self.success))


def answers(images: Images, calibration: CalibrationSpec) -> Answers:
    """What the images' windows say under a calibration."""
    return Answers(images.truth, images.empty, images.found, *largest(images, calibration))


def class_rule(given: Answers, threshold: float) -> Ints:
    """The client's rule (P16, P17), as groups: the first class of the table that any window reaches scores the image.

    Numbers (n,) are positions in ``GROUPS + NO_CLASS``.
    """
    return _first_reached(given, given.classes, threshold, GROUP_OF_CLASS)


def group_rule(given: Answers, threshold: float) -> Ints:
    """The same with a window's probabilities summed over each group; for comparison only, the client does not work so."""
    return _first_reached(given, given.groups, threshold, np.arange(len(GROUPS)))


def _first_reached(given: Answers, probability: Floats, threshold: float, group_of_column: Ints) -> Ints:
    reached = probability > threshold
    named = np.where(reached.max(axis=1), group_of_column[reached.argmax(axis=1)], _UNSURE)
    return np.where(given.found, named, NO_DROP).astype(np.int64)


def table(given: Answers, rule: Rule, thresholds: Sequence[float] = THRESHOLDS) -> list[Row]:
    """One row a threshold; no drop is right for a well that is empty in truth, as in an evaluation."""
    return [_row(given, threshold, rule(given, threshold)) for threshold in thresholds]


def _row(given: Answers, threshold: float, outcome: Ints) -> Row:
    right = (outcome == given.truth) | (given.empty & (outcome == NO_DROP))
    clear = given.truth == CLEAR
    false = float(np.mean(outcome[clear] == CRYSTAL)) if clear.any() else float("nan")
    return Row(threshold, tuple(map(float, success_rates(given.truth, right, len(GROUPS)))), false)


def choose(rows: Sequence[Row]) -> Row:
    """Of the rows with few false crystals whose mean of success rates is the best or nearly so, the middle one by threshold.

    A hundred images do not tell thresholds apart that differ by a point; the middle of them is least a matter of luck. Where none has
    few false crystals, the row with the fewest.
    """
    few = sorted((row for row in rows if row.false_crystals <= MOST_FALSE_CRYSTALS), key=lambda row: row.threshold)
    if not few:
        return min(rows, key=lambda row: row.false_crystals)
    best = max(row.mean for row in few)
    near = [row for row in few if row.mean >= best - NEARLY]
    return near[(len(near) - 1) // 2]


def choose_by_recall(rows: Sequence[Row], recall: float) -> Row:
    """The row with the largest threshold that finds at least ``recall`` (0..1] of the crystals. Raises ``UsageError`` for none."""
    enough = [row for row in rows if row.success[CRYSTAL] >= recall]
    if not enough:
        most = max(row.success[CRYSTAL] for row in rows)
        raise UsageError(f"no threshold finds {recall:.0%} of the crystals: the lowest finds {most:.0%}")
    return max(enough, key=lambda row: row.threshold)
