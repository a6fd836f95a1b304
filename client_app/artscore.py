"""The ARTscore rule (P16, P17): from the probabilities of a drop's windows to one score, and the chops to show (P18)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client_app.classify import Probabilities, Windows
from crystal_search.classes import CLASSES, Group
from crystal_search.geometry import Box

#: The crystal probability from which on its window is drawn.
WORTH_A_LOOK = 0.1
_CRYSTAL = [index for index, c in enumerate(CLASSES) if c.group is Group.CRYSTAL]
_CLEAR = [c.group is Group.CLEAR for c in CLASSES]
_NAME_OF_CODE = {c.code: c.name for c in reversed(CLASSES)}  # reversed: of two classes with one code the table's first names it


@dataclass(frozen=True, slots=True)
class Artscore:
    """What the windows say. ``class_name`` and ``probability`` are None where no window reaches the threshold (unsure).

    ``window`` is the number of the chop that scored the image, ``reached`` the class that it reached: ``rim`` scores as clear
    (P2), so there ``class_name`` is ``clear``, the class that people know for score 01. ``crystal_window`` gives the crystal probability.
    """

    class_name: str | None
    probability: float | None
    crystal_probability: float
    window: int | None = None
    reached: int | None = None
    crystal_window: int | None = None


@dataclass(frozen=True, slots=True)
class Chop:
    """A window worth showing: its box in px of the original image, a class and that class's probability."""

    box: Box
    class_name: str
    probability: float


def artscore(probabilities: Probabilities, threshold: float) -> Artscore:
    """The ARTscore of a drop from its windows' calibrated ``probabilities`` (n, 13), classes in the table's order.

    The first class of the table that any window reaches with a probability strictly greater than ``threshold`` scores the drop;
    the window where that class is most probable gives the probability. The crystal probability is the largest sum of the three
    crystal classes in any window. Raises ``ValueError`` for another shape or no window.
    """
    if probabilities.ndim != 2 or probabilities.shape[0] < 1 or probabilities.shape[1] != len(CLASSES):
        raise ValueError(f"probabilities must be (n, {len(CLASSES)}) with at least one window, not {probabilities.shape}")
    crystals = probabilities[:, _CRYSTAL].sum(axis=1)
    where = int(crystals.argmax())
    crystal = min(float(crystals[where]), 1.0)  # a sum of floats may end a hair above 1
    reached = np.flatnonzero(probabilities.max(axis=0) > threshold)
    if reached.size == 0:
        return Artscore(None, None, crystal, crystal_window=where)
    winner = int(reached[0])
    window = int(probabilities[:, winner].argmax())
    return Artscore(_NAME_OF_CODE[CLASSES[winner].code], float(probabilities[window, winner]), crystal, window, winner, where)


def class_probabilities(windows: Windows) -> dict[str, float]:
    """The largest probability of each class in any window, to six digits; those of 0 are left out, so those that a model does not know."""
    largest = windows.probabilities.max(axis=0)
    rounded = ((row.name, round(float(value), 6)) for row, value in zip(CLASSES, largest, strict=True))
    return {name: value for name, value in rounded if value > 0}


def best_chops(windows: Windows, score: Artscore, count: int) -> list[Chop]:
    """The ``count`` most probable windows, each under its most probable class, those of the clear group and rim last (P18).

    Three additions make the boxes useful: a window that overlaps one already chosen of the same class by more than half is left
    out; the window that scored the drop, under the class that it reached, is always among them; and so is, under its most probable
    crystal class, the one that a crystal probability of at least 0.1 comes from, which is why somebody looks at the picture.
    """
    if count < 1:
        return []
    classes = windows.probabilities.argmax(axis=1)
    best = windows.probabilities.max(axis=1)
    if score.crystal_window is not None and score.crystal_probability >= WORTH_A_LOOK:
        crystal = _CRYSTAL[int(windows.probabilities[score.crystal_window, _CRYSTAL].argmax())]
        classes[score.crystal_window], best[score.crystal_window] = crystal, windows.probabilities[score.crystal_window, crystal]
    if score.window is not None and score.reached is not None:
        classes[score.window], best[score.window] = score.reached, windows.probabilities[score.window, score.reached]
    clear = np.array(_CLEAR)[classes]
    order = [int(index) for index in np.lexsort((-best, clear))]
    wanted = [] if score.window is None else [score.window]
    if score.crystal_window is not None and score.crystal_probability >= WORTH_A_LOOK:
        wanted.append(score.crystal_window)
    chosen = wanted[:1]
    for index in [*wanted[1:], *order]:
        if len(chosen) >= count:
            break
        if not any(classes[index] == classes[other] and _overlap(windows.boxes[index], windows.boxes[other]) > 0.5 for other in chosen):
            chosen.append(index)
    chosen.sort(key=order.index)
    return [Chop(windows.boxes[i], CLASSES[int(classes[i])].name, float(best[i])) for i in chosen]


def _overlap(one: Box, other: Box) -> float:
    """The shared area of two boxes as a share of the smaller one."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(one.width * one.height, other.width * other.height)
