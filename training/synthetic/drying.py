"""A drop that dries: it draws back from its edge, leaves a stain there and grows darker."""

from __future__ import annotations

import cv2
import numpy as np

from training.synthetic.layer import Layer
from training.synthetic.textures import Field, Rng, child, cloud

#: The share of its radius that a wholly dried drop has lost.
_LOSS = 0.5


def _drawn_back(field: Field, factor: float, centre: tuple[float, float], outside: float) -> Field:
    """``field`` (h, w) made ``factor`` times smaller about ``centre`` (x, y); what then lies beyond it is ``outside``."""
    matrix = np.array([[1 / factor, 0.0, centre[0] * (1 - 1 / factor)], [0.0, 1 / factor, centre[1] * (1 - 1 / factor)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (field.shape[1], field.shape[0])
    return np.asarray(
        cv2.warpAffine(field, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=outside), dtype=np.float32
    )


def dry_out(drop: Layer, rng: Rng, dryness: float) -> None:
    """Makes a clear drop one of which the share ``dryness`` (0 to 1) of what can dry has gone: before its contents are painted.

    It is smaller and lies within its old outline, where a faint stain stays; its residue is brown and mottled.
    """
    if dryness <= 0.0:
        return
    stains, mottles = child(rng), child(rng)
    rows, columns = np.nonzero(drop.inside > 0.5)
    centre = (float(columns.mean()), float(rows.mean()))
    edge = drop.inside * np.exp(-(((drop.depth - np.float32(0.25)) / np.float32(0.2)) ** 2))
    patchy = np.clip(0.6 + 0.6 * cloud(stains, drop.shape, 0.6 * drop.extent, 3), 0.0, 1.5)
    drop.absorption += np.float32(dryness * stains.uniform(0.12, 0.4)) * edge * patchy
    factor = 1.0 - _LOSS * dryness
    drop.transmission = _drawn_back(drop.transmission, factor, centre, 1.0)
    # Never larger than it was, where its outline is dented.
    drop.inside = np.minimum(drop.inside, _drawn_back(drop.inside, factor, centre, 0.0))
    drop.depth = _drawn_back(drop.depth, factor, centre, 0.0) * (drop.inside > 0)
    residue = np.clip(1.0 + 0.45 * cloud(mottles, drop.shape, 0.35 * drop.extent + 2.0, 4, 0.6), 0.2, 2.0)
    drop.absorption += np.float32(dryness * mottles.uniform(0.35, 0.8)) * drop.inside * residue
