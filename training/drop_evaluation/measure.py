"""From outlines and what a model finds to figures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from client_app.decode import decode_image
from client_app.drop import BoolMask, find_drop
from client_app.errors import ImageError
from client_app.model import Model
from crystal_search.geometry import Box
from training.drop_evaluation.outlines import Outline, iou, mask
from training.evaluation.measures.bootstrap import percentile_interval, resamples
from training.evaluation.results import Interval

#: A drop whose overlap is at most this is listed as a failure: its crops begin to miss parts of the drop.
GOOD = 0.7


@dataclass(frozen=True, slots=True)
class Found:
    """What a model found in one outlined image: box in px of the original and mask as small as the network saw the image, None where it
    found no drop; ``mask_iou`` and ``box_iou`` with the outline, 0 without a drop and NaN in a well that is empty in truth."""

    outline: Outline
    box: Box | None
    mask: BoolMask | None
    mask_iou: float
    box_iou: float

    @property
    def empty(self) -> bool:
        """Whether the well is empty in truth."""
        return not self.outline.polygons

    @property
    def failed(self) -> bool:
        """A drop that was missed or badly found, or one that was found in an empty well."""
        return self.box is not None if self.empty else self.mask_iou <= GOOD


@dataclass(frozen=True, slots=True)
class Figures:
    """Of some images: how many hold a drop, mean overlaps with interval, shares above ``GOOD``; how many are empty, and in how many of
    these no drop was found."""

    name: str
    drops: int
    mask_iou: Interval
    box_iou: Interval
    good_masks: float
    good_boxes: float
    empty: int
    no_drop: int


def read_outlined(outline: Outline, folder: Path) -> Image.Image:
    """The image that was drawn on. Raises ``ImageError`` with one line where it is missing, broken or another one."""
    path = folder / outline.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: can not be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != outline.sha256:
        raise ImageError(f"{path}: this is not the image that was drawn on (its SHA-256 is another)")
    return decode_image(content)


def find(model: Model, outline: Outline, image: Image.Image) -> Found:
    """The drop of one image by the client's own code, compared at the network's resolution, which is all that its mask has.

    Several drops in an outline count together, though a model finds one: its mask's largest piece.
    """
    drop = find_drop(model, image.convert("L"))
    if not outline.polygons:
        return Found(outline, drop.box if drop else None, drop.mask if drop else None, float("nan"), float("nan"))
    if drop is None:
        return Found(outline, None, None, 0.0, 0.0)
    height, width = drop.mask.shape
    return Found(outline, drop.box, drop.mask, iou(drop.mask, mask(outline, width, height)), box_iou(drop.box, box_of(outline)))


def box_of(outline: Outline) -> Box:
    """The box around an outline's polygons, of which there is at least one."""
    corners = np.array([corner for polygon in outline.polygons for corner in polygon])
    return Box(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0) * max(height, 0)
    return shared / (one.width * one.height + other.width * other.height - shared)


def figures(name: str, found: Sequence[Found], bootstrap: int, seed: int) -> Figures:
    """The figures of some images; NaN where none of them holds a drop. Intervals come from drawing images."""
    drops = [one for one in found if not one.empty]
    empty = [one for one in found if one.empty]

    def mean(of: Callable[[Found], float]) -> Interval:
        values = np.array([of(one) for one in drops], dtype=np.float64)
        if not values.size:
            return Interval(float("nan"), float("nan"), float("nan"))
        drawn = np.array([values[places].mean() for places in resamples(np.arange(values.size), bootstrap, seed)])
        return Interval(float(values.mean()), *percentile_interval(drawn))

    return Figures(
        name=name,
        drops=len(drops),
        mask_iou=mean(lambda one: one.mask_iou),
        box_iou=mean(lambda one: one.box_iou),
        good_masks=mean(lambda one: float(one.mask_iou > GOOD)).value,
        good_boxes=mean(lambda one: float(one.box_iou > GOOD)).value,
        empty=len(empty),
        no_drop=sum(one.box is None for one in empty),
    )


def by_source(found: Sequence[Found], bootstrap: int, seed: int) -> tuple[Figures, ...]:
    """All images, those whose outline is certain, then each source."""
    parts = [("all", list(found)), ("certain outlines", [one for one in found if one.outline.certain])]
    for source in sorted({one.outline.source for one in found}):
        parts.append((source or "no folder", [one for one in found if one.outline.source == source]))
    return tuple(figures(name, some, bootstrap, seed) for name, some in parts)
