"""From one scored image to the chops that enter training: drop, smallest-overlap chops (P8), rules (P9-P11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client_app.classify import needed_size, region, size_at
from client_app.decode import Photo, Wanted, decode_photo
from client_app.drop import find_drop
from client_app.errors import ImageError
from client_app.model import Model
from client_app.preprocess import BRIGHTNESS_CEILING, FloatImage, gray, normalise_chops
from crystal_search.classes import NAMES
from crystal_search.geometry import Box, smallest_overlap_chops, window_grid
from training.chops import MARGIN
from training.datasets.rules import Rules, contour_length, training_class
from training.datasets.scored_image import ImageFile, ScoredImage


@dataclass(frozen=True, slots=True)
class Chops:
    """The chops of one image: ``pixels`` uint8 (n, side, side), brightness 0 to 1.6 on 0 to 255; ``labels`` uint8 (n,), class indices.

    ``in_drop`` is the number of chops before the rules, ``drop`` False where no drop was found.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    in_drop: int
    drop: bool


def chop_side(model: Model, rules: Rules) -> int:
    """Side of a training chop in px: the window that is trained on, and the margin by which training shifts it."""
    return (rules.window or model.spec.chops.window) + MARGIN


def drop_chops(pixels: FloatImage, drop: Box, side: int) -> tuple[list[FloatImage], list[bool]]:
    """The smallest-overlap chops (P8) of ``drop`` in an image (height, width), and which of them lie at the drop's edge.

    A drop narrower or lower than a chop (n = 0 or m = 0) grows to one chop: into the image as far as it can, then by edge
    replication, as it does when it is scored.
    """
    grid = window_grid(drop, pixels.shape[1], pixels.shape[0], side, 1)
    crop = region(pixels, grid)
    boxes = smallest_overlap_chops(grid.width, grid.height, side, side)
    edges = [box.x0 == 0 or box.y0 == 0 or box.x1 == grid.width or box.y1 == grid.height for box in boxes]
    return [crop[box.y0 : box.y1, box.x0 : box.x1] for box in boxes], edges


def cut(model: Model, scored: ScoredImage, rules: Rules) -> Chops:
    """The chops of one image under their training classes, at each of the model's scales.

    Raises ``ImageError`` with one line for an image or UV mate that can not be read, a UV mate of another size, and an absurd scale.
    """
    side = chop_side(model, rules)
    wanted = needed_size(model.spec, scored.um_per_px)
    photo = _open(scored.image, scored.name, wanted)
    image, um_per_px = photo.pixels.convert("L"), scored.um_per_px * photo.reduced if scored.um_per_px else None
    mate = None
    if scored.uv is not None:
        uv_photo = _open(scored.uv, f"UV mate of {scored.name}", wanted)
        if (uv_photo.width, uv_photo.height) != (photo.width, photo.height):
            raise ImageError(f"its UV mate has {uv_photo.width} x {uv_photo.height} px, the image {photo.width} x {photo.height}")
        mate = uv_photo.pixels.convert("L")
    drop = find_drop(model, image)
    kept: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    in_drop = 0
    chromophore = rules.has_chromophore(scored.plate, scored.proteins)
    for scale in model.spec.scales if drop else ():
        assert drop is not None
        size = size_at(model.spec, image.width, image.height, um_per_px, scale)
        box = drop.box.scaled(size[0] / image.width, size[1] / image.height, *size)
        chops, edges = drop_chops(normalise_chops(gray(image, size)), box, side)
        mates = [None] * len(chops) if mate is None else drop_chops(gray(mate, size) / np.float32(255), box, side)[0]
        in_drop += len(chops)
        for chop, uv, edge in zip(chops, mates, edges, strict=True):
            visible = contour_length(chop, rules.contrast, rules.smoothing, rules.background)
            glowing = None if uv is None else contour_length(uv, rules.uv_contrast, rules.smoothing, rules.background)
            name = training_class(scored.class_name, visible, glowing, border=edge, chromophore=chromophore, rules=rules)
            if name is not None:
                kept.append(as_bytes(chop))
                labels.append(NAMES.index(name))
    pixels = np.stack(kept) if kept else np.zeros((0, side, side), np.uint8)
    return Chops(pixels, np.array(labels, np.uint8), in_drop, drop is not None)


def as_bytes(chop: FloatImage) -> npt.NDArray[np.uint8]:
    """Brightness 0 to 1.6 as 0 to 255, as training/chops.py keeps drawn chops."""
    scaled: npt.NDArray[np.uint8] = np.rint(np.clip(chop, 0, BRIGHTNESS_CEILING) * (255.0 / BRIGHTNESS_CEILING)).astype(np.uint8)
    return scaled


def _open(file: ImageFile, what: str, wanted: Wanted) -> Photo:
    try:
        return decode_photo(file.read(), wanted)
    except OSError as error:
        raise ImageError(f"{what} can not be read ({error.strerror})") from error
    except ImageError as error:
        raise ImageError(f"{what}: {error}" if what.startswith("UV") else str(error)) from error
