"""From a decoded image to what the networks see. Training uses these same functions, so the two can not drift apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatImage = npt.NDArray[np.float32]

#: Brightness is divided by this percentile of the image: robust to dark well walls and to glare.
BRIGHTNESS_PERCENTILE = 92.0
#: Glare beyond this multiple of the reference brightness carries nothing.
BRIGHTNESS_CEILING = 1.6


def working_size(width: int, height: int, um_per_px: float | None, model_um_per_px: float, model_image_width: int) -> tuple[int, int]:
    """Width and height in px at which a model works on an image.

    An image of known scale is brought to ``model_um_per_px``, any other to ``model_image_width`` px of width.
    """
    factor = um_per_px / model_um_per_px if um_per_px else model_image_width / width
    return max(1, round(width * factor)), max(1, round(height * factor))


def gray_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image in mode L, resampled to ``size`` = (width, height) with antialiasing.

    A whole factor is taken out first by averaging blocks of pixels: eight times as fast at factor 2, and what a JPEG decoded at half its
    size looks like.
    """
    luminance = image if image.mode == "L" else image.convert("RGB").convert("L")
    return luminance if luminance.size == size else luminance.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def gray(image: Image.Image, size: tuple[int, int]) -> FloatImage:
    """``gray_image`` as float32 luminance 0-255, shape (height, width)."""
    pixels: FloatImage = np.asarray(gray_image(image, size), dtype=np.float32)
    return pixels


def normalise_chops(luminance: FloatImage) -> FloatImage:
    """Luminance (height, width) of a *whole* image divided by its 92nd percentile, 0 to 1.6: the input of the chop network."""
    return over_brightness(luminance, max(float(np.percentile(luminance, BRIGHTNESS_PERCENTILE)), 1.0))


def brightness(luminance: Image.Image) -> float:
    """What ``normalise_chops`` divides an image of mode L by, from its histogram: the 92nd percentile, at least 1."""
    histogram = np.cumsum(luminance.histogram())
    place = BRIGHTNESS_PERCENTILE / 100 * (int(histogram[-1]) - 1)
    below, above = (int(np.searchsorted(histogram, rank, side="right")) for rank in (math.floor(place), math.ceil(place)))
    return max(below + (place - math.floor(place)) * (above - below), 1.0)


def over_brightness(luminance: npt.NDArray[np.generic], reference: float) -> FloatImage:
    """Luminance (height, width) over ``reference``, 0 to 1.6."""
    normalised: FloatImage = np.minimum(luminance.astype(np.float32) / np.float32(reference), np.float32(BRIGHTNESS_CEILING))
    return normalised


@dataclass(frozen=True, slots=True)
class DropInput:
    """The drop network's view: ``pixels`` (side, side, 1), of which the upper left ``height`` x ``width`` px show the image."""

    pixels: FloatImage
    width: int
    height: int


def drop_input(image: Image.Image, side: int) -> DropInput:
    """The whole image in gray, its longer side brought to ``side`` px, standardised to mean 0 and deviation 1, padded by its edges."""
    scale = side / max(image.size)
    width, height = (max(1, round(extent * scale)) for extent in image.size)
    luminance = gray(image, (width, height))
    standard = (luminance - luminance.mean()) / max(float(luminance.std()), 1.0)
    padded = np.pad(standard, ((0, side - height), (0, side - width)), mode="edge")
    return DropInput(np.ascontiguousarray(padded[..., np.newaxis], dtype=np.float32), width, height)
