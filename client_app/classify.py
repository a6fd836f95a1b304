"""Every window of a drop through the chop network (P15).

In one pass over the drop where that is exact (``client_app.dense``), otherwise the plain way, window by window in batches, which is the
reference for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.dense import dense_logits
from client_app.errors import ImageError
from client_app.model import CalibrationSpec, ChopsSpec, FloatArray, Model, Network
from client_app.preprocess import FloatImage, gray, normalise_chops, working_size
from crystal_search.geometry import Box, WindowGrid, window_grid

Probabilities = npt.NDArray[np.float64]
#: From a network, normalised pixels (height, width), window and step to the windows' logits (n, classes) in reading order.
Sweep = Callable[[Network, FloatImage, int, int], FloatArray]

#: Windows in memory at once; more of them are not faster, but each worker would need more memory.
BATCH = 8
#: An image's claimed scale must not blow it up beyond this at the model's resolution.
MAX_WORKING_PIXELS = 30_000_000


@dataclass(frozen=True, slots=True)
class Windows:
    """``boxes``, n half-open boxes in px of the original image and inside of it, and ``probabilities`` (n, classes) of each."""

    boxes: list[Box]
    probabilities: Probabilities


def classify(model: Model, image: Image.Image, drop: Box, um_per_px: float | None, step: int) -> Windows:
    """Classify every window of the grid over ``drop`` (px of the original image), at each of the model's scales.

    ``um_per_px`` is the image's own scale, None where it is not known; ``step`` is in px at the working resolution. Raises
    ``ImageError`` when the image would be absurdly large there, or when the network does not answer with numbers.
    """
    boxes, logits = drop_logits(model, image, drop, um_per_px, step, sweep_of(model.spec.chops))
    return Windows(boxes, calibrated(logits, model.spec.calibration))


def sweep_of(chops: ChopsSpec) -> Sweep:
    """The fastest way over a drop that gives the reference's numbers."""
    return partial(dense_logits, chops) if chops.dense_exact else window_logits


def drop_logits(
    model: Model, image: Image.Image, drop: Box, um_per_px: float | None, step: int, sweep: Sweep
) -> tuple[list[Box], FloatArray]:
    """The windows of ``classify`` and their logits (n, classes) before any calibration, with ``sweep`` going over the pixels."""
    boxes: list[Box] = []
    logits: list[FloatArray] = []
    for scale in model.spec.scales:
        width, height = _working_size(model, image, um_per_px, scale)
        grid = window_grid(
            drop.scaled(width / image.width, height / image.height, width, height), width, height, model.spec.chops.window, step
        )
        pixels = region(normalise_chops(gray(image, (width, height))), grid)
        logits.append(sweep(model.chops, pixels, grid.window, grid.step))
        factor_x, factor_y = image.width / width, image.height / height
        boxes += [window.scaled(factor_x, factor_y, image.width, image.height) for window in grid.windows()]
    answers = np.concatenate(logits)
    if not np.isfinite(answers).all():
        raise ImageError("the chop network's answer is not a number")
    return boxes, answers


def _working_size(model: Model, image: Image.Image, um_per_px: float | None, scale: float) -> tuple[int, int]:
    spec = model.spec
    width, height = working_size(image.width, image.height, um_per_px, spec.um_per_px / scale, max(1, round(spec.image_width * scale)))
    if width * height > MAX_WORKING_PIXELS:
        scale_known = f"its scale of {um_per_px} um/px" if um_per_px else "its shape"
        raise ImageError(f"{scale_known} would make the image {width} x {height} px large at the model's resolution")
    return width, height


def region(pixels: FloatImage, grid: WindowGrid) -> FloatImage:
    """The part of an image (height, width) that ``grid`` covers; what lies outside of the image repeats its edge."""
    rows = np.clip(np.arange(grid.top, grid.top + grid.height), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(grid.left, grid.left + grid.width), 0, pixels.shape[1] - 1)
    return pixels[np.ix_(rows, columns)]


def window_logits(network: Network, pixels: FloatImage, window: int, step: int) -> FloatArray:
    """Logits (n, classes) of the windows of ``pixels`` (height, width) in reading order: the mean of each window's own class map."""
    return np.concatenate([network(batch).mean(axis=(1, 2), dtype=np.float32) for batch in _batches(pixels, window, step)])


def _batches(pixels: FloatImage, window: int, step: int) -> Iterator[FloatImage]:
    """The windows of ``pixels`` as (up to 8, window, window, 1); only one batch is ever copied."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (window, window))[::step, ::step]
    rows, columns = np.divmod(np.arange(views.shape[0] * views.shape[1]), views.shape[1])
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
