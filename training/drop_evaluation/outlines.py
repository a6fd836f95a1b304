"""Drop outlines over real images: what a person would accept as the drop's edge. The images need not lie beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from crystal_search.errors import UsageError

FORMAT = 1
#: A mask is drawn this many times finer and then averaged: painted at its own size it would be too big, by half a pixel all around.
FINER = 4
_HALF = 128

#: Corners (x, y) in pixels of the original image; the origin is its upper left corner.
Polygon = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Outline:
    """One image and the outlines of the drops in it; none where the well holds no drop.

    ``sha256`` is the image file's, ``file`` its path below the folder of the images, with the source as first folder. ``certain`` is False
    where another person could draw another line; ``note`` then says why.
    """

    sha256: str
    file: str
    width: int
    height: int
    certain: bool
    polygons: tuple[Polygon, ...]
    note: str = ""

    @property
    def source(self) -> str:
        """The first folder of the image's path, empty where it has none."""
        return self.file.rpartition("/")[0].partition("/")[0]


@dataclass(frozen=True)
class _Document:
    format: int
    images: tuple[Outline, ...]


def load_outlines(path: Path) -> tuple[Outline, ...]:
    """All outlines, in the order of the file. Raises ``UsageError`` with one line for a file that holds something else."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: these are no drop outlines ({error})") from error
    if document.format != FORMAT:
        raise UsageError(f"{path}: format {document.format}, this program reads {FORMAT}")
    for image in document.images:
        if image.width < 1 or image.height < 1 or any(len(polygon) < 3 for polygon in image.polygons):
            raise UsageError(f"{path}: {image.file} has no size, or an outline of fewer than three corners")
    return document.images


def mask(outline: Outline, width: int, height: int) -> NDArray[np.bool_]:
    """The drop's pixels in the image scaled to ``width`` x ``height``: True where at least half of a pixel is drop."""
    canvas = Image.new("L", (width * FINER, height * FINER), 0)
    draw = ImageDraw.Draw(canvas)
    across, down = width * FINER / outline.width, height * FINER / outline.height
    for polygon in outline.polygons:
        # Pillow's whole numbers are the middles of pixels, the outline's are their corners
        corners = [(x * across - 0.5, y * down - 0.5) for x, y in polygon]
        draw.polygon(corners, fill=255, outline=_HALF)  # the edge runs through the middle of the pixels it touches
    return np.asarray(canvas.reduce(FINER)) >= _HALF


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; two empty masks agree, so 1.0. Raises ``ValueError`` for different shapes."""
    if a.shape != b.shape:
        raise ValueError(f"masks of different shapes: {a.shape} and {b.shape}")
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else float(np.count_nonzero(a & b) / union)
