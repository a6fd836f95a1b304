"""A layer of the picture: what light passes, what it is, and the boxes of the things drawn into it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from crystal_search.classes import NAMES
from training.synthetic.textures import SHIFT, Field, Points, Rng, fixed

Mask = npt.NDArray[np.uint8]


#: Eight directions, as unit vectors (x, y).
_AROUND = np.array([[np.cos(angle), np.sin(angle)] for angle in np.arange(8) * np.pi / 4])


@dataclass(frozen=True)
class Box:
    """A rectangle in px of the image, half-open, and the class of what it holds."""

    x0: int
    y0: int
    x1: int
    y1: int
    class_name: str


def mark_of(class_name: str) -> int:
    """The value of ``object_mask`` that stands for a class: 1 + its index in ``crystal_search.classes.NAMES``."""
    return 1 + NAMES.index(class_name)


@dataclass
class Layer:
    """A window of the image at (``x0``, ``y0``); all arrays have its shape (h, w).

    ``unit`` is px for each px of a 1280 px wide image. ``transmission`` is neutral, 1 = unchanged. ``absorption`` is a brown
    optical density. ``inside`` is 1 where contents may lie (the drop), ``depth`` rises from 0 at the drop's edge to 1.
    """

    unit: float
    x0: int
    y0: int
    transmission: Field
    absorption: Field
    marks: Mask
    inside: Field
    depth: Field
    boxes: list[Box] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.transmission.shape[0], self.transmission.shape[1]

    @property
    def extent(self) -> float:
        """Radius in px of a disc of the inside's area."""
        return float(np.sqrt(float(self.inside.sum()) / np.pi))

    def place(self, rng: Rng, lowest_depth: float = 0.1, highest_depth: float = 1.0, clearance: float = 0.0) -> tuple[float, float]:
        """A random point (x, y) of the inside, ``clearance`` px away from its edge, whose ``depth`` lies between the two.

        The deepest of forty random points where none meets all of that.
        """
        height, width = self.shape
        points = rng.uniform(0.0, 1.0, (40, 2)) * np.array([width, height])
        columns, rows = points.astype(int).T
        depth = np.where(self.inside[rows, columns] > 0.5, self.depth[rows, columns], -1.0)
        fits = (depth >= lowest_depth) & (depth <= highest_depth)
        if clearance > 0:
            around = np.rint(points[:, np.newaxis] + clearance * _AROUND).astype(int)
            x, y = around[..., 0], around[..., 1]
            within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            free = self.inside[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0.5
            fits &= (within & free).all(axis=1)
        found = int(np.argmax(fits)) if fits.any() else int(np.argmax(depth))
        return float(points[found, 0]), float(points[found, 1])

    def mark(self, where: npt.NDArray[np.bool_], class_name: str, x: int = 0, y: int = 0) -> npt.NDArray[np.bool_]:
        """Labels the pixels ``where`` (placed at x, y of the layer) that lie inside; returns those that were labelled."""
        height, width = where.shape
        part = (slice(y, y + height), slice(x, x + width))
        seen = where & (self.inside[part] > 0.5)
        self.marks[part][seen] = mark_of(class_name)
        return seen

    def stamp(
        self,
        x: float,
        y: float,
        transmission: Field,
        mask: Field,
        class_name: str | None,
        *,
        absorption: Field | None = None,
        box: bool = True,
    ) -> bool:
        """Multiplies a patch centred on (x, y) into the layer, labels it, boxes it; False if nothing of it lies inside."""
        height, width = transmission.shape
        left, top = round(x - width / 2), round(y - height / 2)
        a, b = max(left, 0), max(top, 0)
        c, d = min(left + width, self.shape[1]), min(top + height, self.shape[0])
        if c <= a or d <= b:
            return False
        cut = (slice(b - top, d - top), slice(a - left, c - left))
        part = (slice(b, d), slice(a, c))
        inside = self.inside[part]
        self.transmission[part] *= 1.0 + inside * (transmission[cut] - 1.0)
        if absorption is not None:
            self.absorption[part] += inside * absorption[cut]
        if class_name is None:
            return True
        seen = self.mark(mask[cut] > 0.5, class_name, a, b)
        if not seen.any():
            return False
        if box:
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            self.boxes.append(
                Box(
                    self.x0 + a + int(columns[0]),
                    self.y0 + b + int(rows[0]),
                    self.x0 + a + int(columns[-1]) + 1,
                    self.y0 + b + int(rows[-1]) + 1,
                    class_name,
                )
            )
        return True


def stroke(canvas: Mask, points: Points, value: int, width: float, closed: bool = False) -> None:
    """Draws an antialiased line of ``width`` px into an 8-bit canvas whose gray 128 means nothing; thinner than 1 px is fainter."""
    if width < 1.0:
        value = round(128 + (value - 128) * max(width, 0.15))
    cv2.polylines(canvas, [fixed(points)], closed, value, max(1, round(width)), cv2.LINE_AA, SHIFT)


def fill(canvas: Mask, points: Points, value: int) -> None:
    """Fills an antialiased polygon, points (n, 2) in px."""
    cv2.fillPoly(canvas, [fixed(points)], value, cv2.LINE_AA, SHIFT)
