"""Every window of a drop from one pass of the network over all of it: exact where the network pads nothing, and many times faster.

A cell of such a network's class map depends on its own pixels alone, whether it runs on a window or on the whole drop, so a window's
logits are the mean of its cells. ``client_app.classify.window_logits`` is the plain version.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from client_app.drop import BoolMask
from client_app.model import ChopsSpec, FloatArray, Network
from client_app.preprocess import FloatImage

#: Longest side in px of what the network sees at once. The first layer's map of such a tile takes 34 MB; a whole drop is seldom larger.
TILE = 1024


def dense_logits(chops: ChopsSpec, network: Network, pixels: FloatImage, window: int, step: int, counts: BoolMask) -> FloatArray:
    """Logits (n, classes) of the windows of ``pixels`` (height, width) that count, in reading order; ``counts`` is (rows, columns).

    ``step`` must be a multiple of the network's stride, and ``window`` at least as large as its receptive field.
    """
    cells, every = (window - chops.receptive_field) // chops.stride + 1, step // chops.stride
    class_map = dense_map(chops, network, pixels)
    windows = np.lib.stride_tricks.sliding_window_view(class_map, (cells, cells), axis=(0, 1))[::every, ::every]
    return np.asarray(windows[counts].mean(axis=(-2, -1)), dtype=np.float32)


def dense_map(chops: ChopsSpec, network: Network, pixels: FloatImage) -> FloatArray:
    """The class map (h, w, classes) of ``pixels``, put together from tiles that overlap by what a cell sees beyond its stride."""
    rows, columns = ((side - chops.receptive_field) // chops.stride + 1 for side in pixels.shape)
    bands = [[_cells(chops, network, pixels, row, column) for column in _parts(chops, columns)] for row in _parts(chops, rows)]
    return np.concatenate([np.concatenate(band, axis=1) for band in bands], axis=0)


def _parts(chops: ChopsSpec, cells: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 cell of each tile along one side; all about equally long."""
    most = max(1, (TILE - chops.receptive_field) // chops.stride + 1)
    count = -(-cells // most)
    edges = [cells * number // count for number in range(count + 1)]
    yield from pairwise(edges)


def _cells(chops: ChopsSpec, network: Network, pixels: FloatImage, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
    """The cells of one tile."""
    top, left = rows[0] * chops.stride, columns[0] * chops.stride
    bottom, right = ((last - 1) * chops.stride + chops.receptive_field for last in (rows[1], columns[1]))
    answer: FloatArray = network(pixels[np.newaxis, top:bottom, left:right, np.newaxis])[0]
    return answer
