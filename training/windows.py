"""An image's windows as logits, as the client sees them: in one pass where that is exact, else window by window."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image

from client_app.classify import Sweep, drop_logits, window_logits
from client_app.drop import find_drop
from client_app.model import ChopsSpec, FloatArray, Model, Network


def image_logits(model: Model, image: Image.Image, um_per_px: float | None) -> FloatArray | None:
    """Logits (n, 13) of an image's windows at the model's own step and scales, None where no drop is found.

    They are the client's, before any calibration. Raises ``ImageError`` as ``client_app.classify.classify`` does.
    """
    luminance = image.convert("L")
    drop = find_drop(model, luminance)
    if drop is None:
        return None
    _, logits = drop_logits(model, luminance, drop.box, um_per_px, model.step(None), sweep_of(model.spec.chops))
    return logits


def sweep_of(chops: ChopsSpec) -> Sweep:
    """The fastest way over a drop that gives the reference's numbers."""
    return partial(dense_logits, chops) if chops.dense_exact else window_logits


def dense_logits(chops: ChopsSpec, network: Network, pixels: FloatArray, window: int, step: int) -> FloatArray:
    """Logits (n, classes) of the windows of ``pixels`` (height, width) in reading order, from one pass over all of it.

    The cells of a network without padding see the same pixels whether it runs on a window or on all of them, so a window's logits are
    the mean of its cells. ``step`` must be a multiple of the network's stride.
    """
    class_map = network(pixels[np.newaxis, ..., np.newaxis])[0]
    cells, every = (window - chops.receptive_field) // chops.stride + 1, step // chops.stride
    windows = np.lib.stride_tricks.sliding_window_view(class_map, (cells, cells), axis=(0, 1))[::every, ::every]
    return np.asarray(windows.mean(axis=(-2, -1)).reshape(-1, class_map.shape[-1]), dtype=np.float32)
