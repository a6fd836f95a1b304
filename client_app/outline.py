"""The edge of a drop as a polygon that a viewer can draw, a few hundred bytes instead of a mask."""

from __future__ import annotations

import numpy as np

from client_app.drop import BoolMask
from crystal_search.archives import MAX_OUTLINE, Point
from crystal_search.geometry import Box

Corner = tuple[int, int]
#: Where the four neighbours of a corner lie, clockwise on the screen: right, down, left, up (x, y).
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def outline(mask: BoolMask, width: int, height: int, inside: Box) -> list[Point]:
    """The outer edge of ``mask``, one piece whose pixels touch along their sides, as at most 64 corners of a closed polygon.

    Corners go clockwise and are px of an image of ``width`` x ``height`` px that the mask shows whole; none lies outside of the box
    ``inside``. They are middles of the edges of mask pixels, evenly spaced along them, so that a round drop looks round.
    """
    edge = outer_edge(mask)
    middles = (edge + np.roll(edge, -1, axis=0)) / 2
    few = middles[:: -(-len(middles) // MAX_OUTLINE)]
    points = np.rint(few * (width / mask.shape[1], height / mask.shape[0])).astype(np.int64)
    points = np.clip(points, (inside.x0, inside.y0), (inside.x1, inside.y1))
    return [(int(x), int(y)) for x, y in points]


def outer_edge(mask: BoolMask) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The corners (n, 2), as x and y in px of ``mask``, that one passes walking clockwise around its piece, one px a step."""
    padded = np.pad(mask, 1)
    first_row = int(np.flatnonzero(mask.any(axis=1))[0])
    start = (int(np.flatnonzero(mask[first_row])[0]), first_row)
    at, direction = start, 0
    corners: list[Corner] = []
    while True:
        corners.append(at)
        at = (at[0] + _STEPS[direction][0], at[1] + _STEPS[direction][1])
        # The piece lies to the right. Of two pixels that touch at a corner only, the one walked along is kept to.
        ahead_right, ahead_left = _ahead(padded, at, direction)
        direction = (direction + 1) % 4 if not ahead_right else (direction - 1) % 4 if ahead_left else direction
        if at == start and direction == 0:
            return np.array(corners, dtype=np.int64)


def _ahead(padded: BoolMask, at: Corner, direction: int) -> tuple[bool, bool]:
    """Whether the pixels before a corner, to the right and to the left of the way, belong to the mask."""
    x, y = at
    around = (padded[y, x + 1], padded[y + 1, x + 1], padded[y + 1, x], padded[y, x])  # clockwise from the upper right
    return bool(around[(direction + 1) % 4]), bool(around[direction])
