"""Where the crystals of a drop are: windows that show crystals, put together where they touch (P32)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client_app.artscore import Chop
from client_app.classify import Windows
from client_app.model import ChopsSpec
from crystal_search.classes import CLASSES, Group
from crystal_search.geometry import Box

_CRYSTAL = [index for index, c in enumerate(CLASSES) if c.group is Group.CRYSTAL]


@dataclass(frozen=True, slots=True)
class _Spots:
    """The middles of windows that show crystals: corners (n, 4) as x0, y0, x1, y1, and crystal probability (n,)."""

    corners: npt.NDArray[np.float64]
    crystal: npt.NDArray[np.float64]


def crystal_regions(windows: Windows, chops: ChopsSpec, threshold: float) -> list[Chop]:
    """One box, class and crystal probability for each connected region whose crystal probability exceeds ``threshold``.

    A window speaks for its middle, ``margin`` px inside of its edges, which is what its network was taught by. The class of a region is the
    likeliest crystal class of its most probable window. The most probable region comes first.
    """
    crystal = windows.probabilities[:, _CRYSTAL].sum(axis=1)
    shown = np.flatnonzero(crystal > threshold)
    if not shown.size:
        return []
    corners = np.array([windows.boxes[place].as_tuple() for place in shown], dtype=np.float64)
    inset = (corners[:, 2:] - corners[:, :2]) * (chops.margin / chops.window)
    corners += np.concatenate([inset, -inset], axis=1)
    spots = _Spots(corners, crystal[shown])
    regions = []
    for members in _connected(spots.corners):
        best = members[int(spots.crystal[members].argmax())]
        name = CLASSES[_CRYSTAL[int(windows.probabilities[shown[best], _CRYSTAL].argmax())]].name
        regions.append(Chop(_around(spots.corners[members]), name, min(float(spots.crystal[best]), 1.0)))
    return sorted(regions, key=lambda region: -region.probability)


def _around(corners: npt.NDArray[np.float64]) -> Box:
    (x0, y0), (x1, y1) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return Box(int(x0), int(y0), max(int(np.ceil(x1)), int(x0) + 1), max(int(np.ceil(y1)), int(y0) + 1))


def _connected(corners: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    """The boxes (n, 4) in sets that hang together by touching, each as numbers of its members."""
    left = np.ones(len(corners), dtype=np.bool_)
    sets = []
    while left.any():
        members = np.zeros(len(corners), dtype=np.bool_)
        fresh = [int(left.argmax())]
        members[fresh] = True
        while fresh:
            box = corners[fresh.pop()]
            touching = (corners[:, :2] <= box[2:]).all(axis=1) & (corners[:, 2:] >= box[:2]).all(axis=1) & ~members
            members |= touching
            fresh += [int(place) for place in np.flatnonzero(touching)]
        left &= ~members
        sets.append(np.flatnonzero(members))
    return sets
