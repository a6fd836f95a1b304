"""Where chops lie: smallest-overlap chops for training (P8) and the sliding grid for scoring (P15).

All boxes are half-open pixel rectangles with the origin in the upper left corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle in px: columns ``x0`` to ``x1``, rows ``y0`` to ``y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError(f"empty box {self.as_tuple()}")

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.x0, self.y0, self.x1, self.y1

    def scaled(self, factor_x: float, factor_y: float, width: int, height: int) -> Box:
        """The box in an image of ``width`` x ``height`` px that is the present one times the factors; at least one px a side."""
        x0 = min(max(round(self.x0 * factor_x), 0), width - 1)
        y0 = min(max(round(self.y0 * factor_y), 0), height - 1)
        x1 = min(max(round(self.x1 * factor_x), x0 + 1), width)
        y1 = min(max(round(self.y1 * factor_y), y0 + 1), height)
        return Box(x0, y0, x1, y1)


def smallest_overlap_starts(extent: int, chop: int) -> list[int]:
    """First px of each chop along one axis, so that n + 1 chops cover ``extent`` with the smallest overlap (P8).

    With n = extent // chop and d = ((n + 1) chop - extent) / n, chop i starts at i chop - i d, rounded to whole px.
    An exact multiple needs no overlap: n chops, not n + 1. An extent below one chop gives one chop at 0, which reaches
    over the edge; the caller pads. Raises ``ValueError`` for extents below one px.
    """
    if extent < 1 or chop < 1:
        raise ValueError(f"extent and chop must be at least 1 px, not {extent} and {chop}")
    n, rest = divmod(extent, chop)
    if n == 0:
        return [0]
    if rest == 0:
        return [i * chop for i in range(n)]
    overlap = Fraction((n + 1) * chop - extent, n)
    return [round(i * (chop - overlap)) for i in range(n + 1)]


def smallest_overlap_chops(width: int, height: int, chop_width: int = 256, chop_height: int = 256) -> list[Box]:
    """The chops of an image in reading order (P8): 2452 x 2056 px gives 90 chops of 256 x 256."""
    return [
        Box(x, y, x + chop_width, y + chop_height)
        for y in smallest_overlap_starts(height, chop_height)
        for x in smallest_overlap_starts(width, chop_width)
    ]


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """Square windows that slide over a region in equal steps (P15).

    ``left`` and ``top`` place the region in its image and may be negative, and the region may end beyond the image: what
    lies outside is filled by repeating the image's edge. ``columns`` x ``rows`` windows of ``window`` px lie ``step`` px apart.
    """

    left: int
    top: int
    columns: int
    rows: int
    window: int
    step: int

    @property
    def width(self) -> int:
        return self.window + (self.columns - 1) * self.step

    @property
    def height(self) -> int:
        return self.window + (self.rows - 1) * self.step

    def __len__(self) -> int:
        return self.columns * self.rows

    def windows(self) -> Iterator[Box]:
        """Every window in reading order, in px of the image; it may reach outside of it."""
        for row in range(self.rows):
            for column in range(self.columns):
                x, y = self.left + column * self.step, self.top + row * self.step
                yield Box(x, y, x + self.window, y + self.window)


def _grow(start: int, end: int, extent: int, window: int, step: int) -> tuple[int, int]:
    """Start and number of windows of one axis: the side grows to window + k step, into the image as far as it can."""
    length = end - start
    count = 1 + max(0, -(-(length - window) // step))
    missing = window + (count - 1) * step - length
    first = start - missing // 2
    last = first + window + (count - 1) * step
    if last > extent:
        first -= min(last - extent, max(first, 0))
    if first < 0:
        last = first + window + (count - 1) * step
        first += min(-first, max(extent - last, 0))
    return first, count


def window_grid(drop: Box, image_width: int, image_height: int, window: int, step: int, margin: int = 0) -> WindowGrid:
    """The windows that cover a drop's box and ``margin`` px around it, as far as there is image: each side grows until it is
    window + k x step, with the smallest k that covers it.

    The box grows evenly to both sides and is shifted into the image where it would leave it; what does not fit even then
    is left to edge replication. There is no extra window flush with the edge. Raises ``ValueError`` for a box outside the image.
    """
    if window < 1 or step < 1 or margin < 0:
        raise ValueError(f"window and step must be at least 1 px and margin at least 0, not {window}, {step} and {margin}")
    if drop.x0 < 0 or drop.y0 < 0 or drop.x1 > image_width or drop.y1 > image_height:
        raise ValueError(f"drop box {drop.as_tuple()} leaves the image of {image_width} x {image_height} px")
    left, columns = _grow(max(drop.x0 - margin, 0), min(drop.x1 + margin, image_width), image_width, window, step)
    top, rows = _grow(max(drop.y0 - margin, 0), min(drop.y1 + margin, image_height), image_height, window, step)
    return WindowGrid(left, top, columns, rows, window, step)
