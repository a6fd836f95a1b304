"""Every window of a drop through the chop network (P15).

In one pass over the drop where that is exact (``client_app.dense``), otherwise the plain way, window by window in batches, which is the
reference for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.decode import Wanted
from client_app.dense import dense_logits
from client_app.drop import BoolMask, Drop
from client_app.errors import ImageError
from client_app.model import CalibrationSpec, ChopsSpec, FloatArray, Model, ModelSpec, Network
from client_app.preprocess import FloatImage, brightness, gray_image, over_brightness, working_size
from crystal_search.geometry import Box, WindowGrid, window_grid

Probabilities = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PixelsT = TypeVar("PixelsT", bound=npt.NDArray[Any])
#: From a network, normalised pixels (height, width), window, step and which windows count (rows, columns) to the logits (n, classes) of
#: those that count, in reading order.
Sweep = Callable[[Network, FloatImage, int, int, BoolMask], FloatArray]

#: Windows in memory at once; more of them are not faster, but each worker would need more memory.
BATCH = 8
#: An image's claimed scale must not blow it up beyond this at the model's resolution.
MAX_WORKING_PIXELS = 30_000_000


@dataclass(frozen=True, slots=True)
class Windows:
    """``boxes``, n half-open boxes in px of the original image and inside of it, and ``probabilities`` (n, classes) of each."""

    boxes: list[Box]
    probabilities: Probabilities


def classify(model: Model, image: Image.Image, drop: Drop, um_per_px: float | None, step: int) -> Windows:
    """Classify every window over ``drop`` (px of ``image``), at each of the model's scales.

    ``um_per_px`` is the image's own scale, None where it is not known; ``step`` is in px at the working resolution. Raises
    ``ImageError`` when the image would be absurdly large there, or when the network does not answer with numbers.
    """
    boxes, logits = drop_logits(model, image, drop, um_per_px, step, sweep_of(model.spec.chops))
    return Windows(boxes, calibrated(logits, model.spec.calibration))


def sweep_of(chops: ChopsSpec) -> Sweep:
    """The fastest way over a drop that gives the reference's numbers."""
    return partial(dense_logits, chops) if chops.dense_exact else window_logits


def drop_logits(
    model: Model, image: Image.Image, drop: Drop, um_per_px: float | None, step: int, sweep: Sweep
) -> tuple[list[Box], FloatArray]:
    """The windows of ``classify`` and their logits (n, classes) before any calibration, with ``sweep`` going over the pixels."""
    boxes: list[Box] = []
    logits: list[FloatArray] = []
    luminance = image if image.mode == "L" else image.convert("L")
    chops = model.spec.chops
    for scale in model.spec.scales:
        width, height = size_at(model.spec, image.width, image.height, um_per_px, scale)
        box = drop.box.scaled(width / image.width, height / image.height, width, height)
        grid = window_grid(box, width, height, chops.window, step, chops.margin)
        counts = on_drop(grid, drop.mask, width, height, chops.margin)
        working = gray_image(luminance, (width, height))
        pixels = over_brightness(region(np.asarray(working), grid), brightness(working))
        logits.append(sweep(model.chops, pixels, grid.window, grid.step, counts))
        factor_x, factor_y = image.width / width, image.height / height
        counted = (window for window, one in zip(grid.windows(), counts.flat, strict=True) if one)
        boxes += [window.scaled(factor_x, factor_y, image.width, image.height) for window in counted]
    answers = np.concatenate(logits)
    if not np.isfinite(answers).all():
        raise ImageError("the chop network's answer is not a number")
    return boxes, answers


def on_drop(grid: WindowGrid, mask: BoolMask, width: int, height: int, margin: int) -> BoolMask:
    """Which windows (rows, columns) of ``grid`` show the drop in their middle, that is ``margin`` px inside of their edges.

    ``mask`` is the drop in the whole image of ``width`` x ``height`` px, at any resolution. What lies between two px of the drop in a row
    or a column belongs to it: a crystal may be a hole in the mask. Where no window shows the drop, all count.
    """
    mask = _between(mask, 0) | _between(mask, 1)
    rows = _spans(grid.top + margin, grid.rows, grid, height / mask.shape[0], mask.shape[0], margin)
    columns = _spans(grid.left + margin, grid.columns, grid, width / mask.shape[1], mask.shape[1], margin)
    area = np.pad(mask.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))  # drop px above and left of each corner
    (first_row, last_row), (first_column, last_column) = rows, columns
    inside = (
        area[np.ix_(last_row, last_column)]
        - area[np.ix_(first_row, last_column)]
        - area[np.ix_(last_row, first_column)]
        + area[np.ix_(first_row, first_column)]
    )
    counts: BoolMask = inside > 0
    return counts if counts.any() else np.ones_like(counts)


def _between(mask: BoolMask, axis: int) -> BoolMask:
    """The px that have one of ``mask``, or are one, on both sides of them along ``axis``."""
    before = np.logical_or.accumulate(mask, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return before & after


def _spans(start: int, count: int, grid: WindowGrid, px: float, length: int, margin: int) -> tuple[Ints, Ints]:
    """First and last + 1 pixel of the mask, of ``px`` px each, that the middle of each window touches along one side."""
    first = start + grid.step * np.arange(count)
    last = first + grid.window - 2 * margin
    return np.clip(np.floor(first / px), 0, length).astype(np.int64), np.clip(np.ceil(last / px), 0, length).astype(np.int64)


def needed_size(model: ModelSpec, um_per_px: float | None) -> Wanted:
    """How many px of an image whose scale is ``um_per_px`` (None: not known) a model works on at most."""

    def wanted(width: int, height: int) -> tuple[int, int]:
        return max(size_at(model, width, height, um_per_px, scale) for scale in model.scales)

    return wanted


def size_at(spec: ModelSpec, image_width: int, image_height: int, um_per_px: float | None, scale: float) -> tuple[int, int]:
    """Width and height at which a model works on an image at one of its scales. Raises ``ImageError`` where that is absurdly large."""
    width, height = working_size(image_width, image_height, um_per_px, spec.um_per_px / scale, max(1, round(spec.image_width * scale)))
    if width * height > MAX_WORKING_PIXELS:
        scale_known = f"its scale of {um_per_px} um/px" if um_per_px else "its shape"
        raise ImageError(f"{scale_known} would make the image {width} x {height} px large at the model's resolution")
    return width, height


def region(pixels: PixelsT, grid: WindowGrid) -> PixelsT:
    """The part of an image (height, width) that ``grid`` covers; what lies outside of the image repeats its edge."""
    rows = np.clip(np.arange(grid.top, grid.top + grid.height), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(grid.left, grid.left + grid.width), 0, pixels.shape[1] - 1)
    covered: PixelsT = pixels[np.ix_(rows, columns)]  # type: ignore[assignment]
    return covered


def window_logits(network: Network, pixels: FloatImage, window: int, step: int, counts: BoolMask) -> FloatArray:
    """Logits (n, classes) of the windows of ``pixels`` (height, width) that count: the mean of each window's own class map."""
    return np.concatenate([network(batch).mean(axis=(1, 2), dtype=np.float32) for batch in _batches(pixels, window, step, counts)])


def _batches(pixels: FloatImage, window: int, step: int, counts: BoolMask) -> Iterator[FloatImage]:
    """The windows of ``pixels`` as (up to 8, window, window, 1); only one batch is ever copied."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (window, window))[::step, ::step]
    rows, columns = np.nonzero(counts)
    for start in range(0, len(rows), BATCH):
        chosen = slice(start, start + BATCH)
        yield views[rows[chosen], columns[chosen]][..., np.newaxis]


def calibrated(logits: FloatArray, calibration: CalibrationSpec) -> Probabilities:
    """Probabilities (n, classes) of ``logits`` (n, classes), each row adding up to 1: softmax(logits / temperature + bias).

    Every path that makes probabilities goes through here.
    """
    scaled = logits.astype(np.float64) / calibration.temperature
    if calibration.bias:
        scaled += np.array(calibration.bias)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Probabilities = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
