"""Drop outlines over real images: what a person would accept as the drop's edge, for measuring the drop finder against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

OUTLINES = Path(__file__).parent / "data" / "drop_outlines.json"
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
"""Where the images lie, next to the project: most of them have no licence, so none of them is in it."""

FORMAT = 1
FINER = 4
"""A mask is drawn this many times finer and then averaged: painted at its own size it would be too big, by half a pixel all around."""

Polygon = tuple[tuple[int, int], ...]
"""Corners (x, y) in pixels of the original image; the origin is its upper left corner."""

HALF = 128


@dataclass(frozen=True)
class Outline:
    """One image and the outlines of the drops in it."""

    sha256: str
    """Of the image file, as in labels.csv."""
    file: str
    """Folder and file below shared/data."""
    width: int
    height: int
    certain: bool
    """False where another person could draw another line."""
    polygons: tuple[Polygon, ...]
    """Empty where the well holds no drop."""
    note: str = ""
    """Why it is not certain."""


def load_outlines() -> list[Outline]:
    """All outlines, in the order of the file."""
    document = json.loads(OUTLINES.read_text(encoding="utf-8"))
    if document["format"] != FORMAT:
        raise ValueError(f"{OUTLINES.name} has format {document['format']}, expected {FORMAT}")
    return [
        Outline(
            sha256=image["sha256"],
            file=image["file"],
            width=image["width"],
            height=image["height"],
            certain=image["certain"],
            polygons=tuple(tuple((x, y) for x, y in polygon) for polygon in image["polygons"]),
            note=image.get("note", ""),
        )
        for image in document["images"]
    ]


def mask(outline: Outline, width: int, height: int) -> NDArray[np.bool_]:
    """The drop's pixels in the image scaled to `width` x `height`: True where at least half of a pixel is drop."""
    canvas = Image.new("L", (width * FINER, height * FINER), 0)
    draw = ImageDraw.Draw(canvas)
    across, down = width * FINER / outline.width, height * FINER / outline.height
    for polygon in outline.polygons:
        # Pillow's whole numbers are the middles of pixels, the outline's are their corners
        corners = [(x * across - 0.5, y * down - 0.5) for x, y in polygon]
        draw.polygon(corners, fill=255, outline=HALF)  # the edge runs through the middle of the pixels it touches
    return np.asarray(canvas.reduce(FINER)) >= HALF


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; two empty masks agree, so 1.0."""
    if a.shape != b.shape:
        raise ValueError(f"masks of different shapes: {a.shape} and {b.shape}")
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union
