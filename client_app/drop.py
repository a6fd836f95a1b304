"""Where the drop is (P7): the network's mask, its largest connected piece, and that piece's box in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from client_app.errors import ImageError
from client_app.model import Model
from client_app.preprocess import drop_input
from crystal_search.geometry import Box

BoolMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Drop:
    """A drop: ``box`` in px of the original image; ``mask`` (height, width) is the whole image as small as the network saw it."""

    box: Box
    mask: BoolMask


def find_drop(model: Model, image: Image.Image) -> Drop | None:
    """The drop of an image, or None where no connected piece of the mask covers the model's smallest share of the image.

    Raises ``ImageError`` when the network does not answer with numbers.
    """
    spec = model.spec.drop
    view = drop_input(image, spec.side)
    probability = model.drop(view.pixels[np.newaxis])[0, : view.height, : view.width, 0]
    if not np.isfinite(probability).all():
        raise ImageError("the drop network's answer is not a number")
    mask = largest_piece(probability > spec.threshold)
    area = int(mask.sum())
    if area == 0 or area < spec.min_area * mask.size:
        return None
    return Drop(mask_box(mask, image.width, image.height), mask)


def largest_piece(mask: BoolMask) -> BoolMask:
    """The largest piece of ``mask`` (height, width) whose pixels touch along their sides; the first in reading order of equals.

    Holes stay holes: they do not change a piece's box.
    """
    labels = label_pieces(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    if sizes.size == 1:
        return np.zeros_like(mask)
    largest: BoolMask = labels == int(sizes.argmax())
    return largest


def label_pieces(mask: BoolMask) -> npt.NDArray[np.int32]:
    """Number the pieces of ``mask`` (height, width) whose pixels touch along their sides: 0 outside, else 1, 2, ... in reading order.

    Runs of pixels in a row are joined with the runs that they touch in the row above (union by the smaller number).
    """
    parent = [0]

    def root(label: int) -> int:
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    labels = np.zeros(mask.shape, dtype=np.int32)
    for row, pixels in enumerate(mask):
        edges = np.flatnonzero(np.diff(pixels.astype(np.int8), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            label = len(parent)
            parent.append(label)
            labels[row, start:end] = label
            for above in np.unique(labels[row - 1, start:end]) if row else ():
                if above:
                    low, high = sorted((root(int(above)), root(label)))
                    parent[high] = low
    roots = np.array([root(label) for label in range(len(parent))])
    _, numbers = np.unique(roots, return_inverse=True)
    return numbers.astype(np.int32)[labels]


def mask_box(mask: BoolMask, width: int, height: int) -> Box:
    """The box around the true pixels of ``mask`` (at least one), in an image of ``width`` x ``height`` px that the mask shows whole."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    factor_x, factor_y = width / mask.shape[1], height / mask.shape[0]
    return Box(
        math.floor(columns[0] * factor_x),
        math.floor(rows[0] * factor_y),
        min(math.ceil((columns[-1] + 1) * factor_x), width),
        min(math.ceil((rows[-1] + 1) * factor_y), height),
    )
