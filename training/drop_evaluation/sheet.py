"""A picture of every outlined image with the person's line and the model's, the worst first."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from client_app.drop import BoolMask
from training.drop_evaluation.measure import Found

TILE_WIDTH, TILE_HEIGHT = 320, 260
COLUMNS = 6
#: Okabe and Ito's, which colour-blind eyes tell apart.
PERSON, MODEL = (0, 158, 115), (213, 94, 0)


def worst_first(found: Iterable[Found]) -> list[Found]:
    """Failures first, then by rising overlap; empty wells last."""
    return sorted(found, key=lambda one: (not one.failed, one.empty, one.mask_iou if not one.empty else 0.0, one.outline.file))


def sheet(tiles: Sequence[Image.Image]) -> bytes:
    """The tiles in rows, as PNG."""
    rows = -(-len(tiles) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * TILE_WIDTH, rows * TILE_HEIGHT))
    for number, tile in enumerate(tiles):
        picture.paste(tile, (number % COLUMNS * TILE_WIDTH, number // COLUMNS * TILE_HEIGHT))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def tile(found: Found, image: Image.Image) -> Image.Image:
    """One image, small, with the person's outline in green, the model's in orange, and the overlap in words."""
    factor = min(TILE_WIDTH / image.width, (TILE_HEIGHT - 14) / image.height)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    canvas = Image.new("RGB", (TILE_WIDTH, TILE_HEIGHT))
    small = np.array(image.convert("RGB").resize(size))
    if found.mask is not None:
        small[edge(np.asarray(Image.fromarray(found.mask).resize(size, Image.Resampling.NEAREST)))] = MODEL
    canvas.paste(Image.fromarray(small), (0, 14))
    draw = ImageDraw.Draw(canvas)
    across, down = size[0] / found.outline.width, size[1] / found.outline.height
    for polygon in found.outline.polygons:
        draw.polygon([(x * across, 14 + y * down) for x, y in polygon], outline=PERSON, width=2)
    name = found.outline.file.rpartition("/")[2]
    draw.text((2, 1), f"{words(found)}  {found.outline.source[:14]} {name[-24:]}", fill=(255, 255, 255))
    return canvas


def words(found: Found) -> str:
    """What became of an image, in words."""
    if found.empty:
        return "empty, no drop" if found.box is None else "empty, but a drop"
    return "no drop found" if found.box is None else f"IoU {found.mask_iou:.2f}, box {found.box_iou:.2f}"


def edge(mask: BoolMask) -> BoolMask:
    """The pixels of ``mask`` (height, width) that touch one outside of it, or the picture's border."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside, dtype=np.bool_)
