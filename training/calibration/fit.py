"""A temperature and a bias for each group, so that an image's group probabilities come true as often as they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from client_app.classify import calibrated
from client_app.model import CalibrationSpec, FloatArray
from crystal_search.classes import CLASSES
from crystal_search.errors import UsageError
from training.calibration.looked import Looked
from training.evaluation.measures import Bools, Floats, Ints
from training.evaluation.sample import CLEAR, GROUPS

#: The groups that get a bias; clear, with its rim, is what they are measured against and has 0.
BIASED = tuple(number for number in range(len(GROUPS)) if number != CLEAR)
#: A probability is taken to be at least so far from 0 and 1: one sure mistake must not outweigh all other images.
CLIP = 1e-4
#: Of the biases' squares in the loss: enough to hold a bias that the images say nothing about, too little to move another.
RIDGE = 1e-3
_TEMPERATURES = (0.05, 20.0)
_LARGEST_BIAS = 20.0
#: Each class's group (13,), as a place in ``GROUPS``.
GROUP_OF_CLASS: Ints = np.array([GROUPS.index(c.group) for c in CLASSES], dtype=np.int64)
_MEMBERS = np.eye(len(GROUPS))[GROUP_OF_CLASS]


@dataclass(frozen=True, slots=True)
class Images:
    """n images of known group: ``truth`` (n,) numbers it in ``GROUPS``, ``empty`` (n,) has no drop in truth.

    ``windows`` (m, 13) are the logits of all windows, one image after the other; ``found`` (n,) says which images have any (a drop was
    found), ``first`` where those begin.
    """

    truth: Ints
    empty: Bools
    windows: FloatArray
    found: Bools
    first: Ints

    @classmethod
    def of(cls, looked: Sequence[Looked]) -> Images:
        """The images of ``looked``, at least one with a drop. Raises ``UsageError`` where there is none."""
        logits = [one.logits for one in looked if one.logits is not None]
        if not logits:
            raise UsageError("no drop was found in any of the images: there is nothing to calibrate on")
        return cls(
            truth=np.array([GROUPS.index(one.group) for one in looked], dtype=np.int64),
            empty=np.array([one.empty for one in looked], dtype=np.bool_),
            windows=np.concatenate(logits),
            found=np.array([one.logits is not None for one in looked], dtype=np.bool_),
            first=np.cumsum([0, *(len(one) for one in logits[:-1])], dtype=np.int64),
        )


def largest(images: Images, calibration: CalibrationSpec) -> tuple[Floats, Floats]:
    """Over each image's windows the largest probability of each class, (n, 13), and of each group, (n, 4); 0 without a drop."""
    classes = calibrated(images.windows, calibration)
    return _most(images, classes), _most(images, classes @ _MEMBERS)


def _most(images: Images, values: Floats) -> Floats:
    most = np.zeros((images.truth.size, values.shape[1]))
    most[images.found] = np.maximum.reduceat(values, images.first, axis=0)
    return most


def log_loss(groups: Floats, truth: Ints) -> float:
    """Mean of -log p over the images of each group that has a bias, and of -log(1 - p) over those of lower priority.

    ``groups`` (n, 4) are the images' group probabilities. An image of higher priority says nothing about a lower group: a drop scored
    as crystals may well hold precipitate too.
    """
    losses = []
    for number in BIASED:
        probability = np.clip(groups[truth >= number, number], CLIP, 1 - CLIP)
        losses.append(-np.log(np.where(truth[truth >= number] == number, probability, 1 - probability)))
    return float(np.concatenate(losses).mean())


def spec_of(temperature: float, biases: Sequence[float]) -> CalibrationSpec:
    """The calibration with one bias for each group in ``BIASED``, shared by its classes."""
    of_group = dict(zip(BIASED, map(float, biases), strict=True))
    return CalibrationSpec(temperature=float(temperature), bias=tuple(of_group.get(int(group), 0.0) for group in GROUP_OF_CLASS))


def rounded(calibration: CalibrationSpec) -> CalibrationSpec:
    """As ``model.toml`` keeps it, with four decimals."""
    return CalibrationSpec(temperature=round(calibration.temperature, 4), bias=tuple(round(number, 4) for number in calibration.bias))


def bias_of_groups(calibration: CalibrationSpec) -> dict[str, float]:
    """The bias of each group; of classes that differ, as a hand may have written them, the first one's."""
    first = GROUP_OF_CLASS.tolist().index
    return {GROUPS[number]: calibration.bias[first(number)] if calibration.bias else 0.0 for number in BIASED}


def fit(images: Images) -> CalibrationSpec:
    """The calibration with the smallest ``log_loss`` of ``images``; a group that none of them has keeps the bias 0.

    A simplex search (Nelder & Mead 1965): the largest of many windows makes the loss not smooth, and there are four numbers to find.
    """
    from scipy.optimize import minimize  # comes with the training extra

    wanted = [place for place, number in enumerate(BIASED) if (images.truth == number).any()]

    def calibration_at(point: Floats) -> CalibrationSpec:
        biases = np.zeros(len(BIASED))
        biases[wanted] = point[1:]
        return spec_of(np.exp(point[0]), biases.tolist())

    def loss(point: Floats) -> float:
        _, groups = largest(images, calibration_at(point))
        return log_loss(groups, images.truth) + RIDGE * float(np.square(point[1:]).sum())

    start = np.zeros(1 + len(wanted))
    simplex = np.vstack([start, start + 0.7 * np.eye(start.size)])
    low, high = np.log(_TEMPERATURES)
    found = minimize(
        loss,
        start,
        method="Nelder-Mead",
        bounds=[(low, high), *[(-_LARGEST_BIAS, _LARGEST_BIAS)] * len(wanted)],
        options={"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-6, "maxfev": 1000},
    )
    return rounded(calibration_at(found.x))
