"""What a provider has to answer before it may score images: the CPU's probabilities on one picture that is drawn here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from client_app.classify import Probabilities, calibrated, sweep_of
from client_app.model import FloatArray, ModelSpec, Network
from client_app.preprocess import drop_input, gray, normalise_chops

#: Windows of the trial in each row, and rows; not a square, because nobody's drop is one.
COLUMNS, ROWS = 6, 4
#: How far a probability may be from the CPU's. With the shipped model another order of float32 sums moves one by 1e-6 (OpenVINO), 16-bit
#: floats by 0.003 here and by at most 0.015 in the 15 real images of the demo: such a provider may score. Weights of 8 significant bits
#: (bfloat16) move one by 0.027 here and by up to 0.043 there, and drops begin to change: such a provider may not.
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Answers:
    """``drop`` (side, side, 2), probabilities of drop and well, and ``windows`` (n, 13), calibrated probabilities of the classes."""

    drop: FloatArray
    windows: Probabilities


def trial_answers(spec: ModelSpec, drop: Network, chops: Network) -> Answers:
    """What the two networks say about the trial picture, by the way that images go. Raises whatever the networks raise."""
    window, step = spec.chops.window, spec.chops.step
    image = trial_picture(window + (COLUMNS - 1) * step, window + (ROWS - 1) * step)
    logits = sweep_of(spec.chops)(chops, normalise_chops(gray(image, image.size)), window, step, np.ones((ROWS, COLUMNS), np.bool_))
    with np.errstate(all="ignore"):  # infinite logits are for ``deviation`` to find
        windows = calibrated(logits, spec.calibration)
    return Answers(drop(drop_input(image, spec.drop.side).pixels[np.newaxis])[0], windows)


def deviation(one: Answers, other: Answers) -> float:
    """The largest difference of any two probabilities; infinite where one is not a number or the shapes differ."""
    if one.drop.shape != other.drop.shape or one.windows.shape != other.windows.shape:
        return float("inf")
    differences = np.concatenate([np.abs(one.drop - other.drop).ravel(), np.abs(one.windows - other.windows).ravel()])
    return float(differences.max()) if np.isfinite(differences).all() else float("inf")


def trial_picture(width: int, height: int) -> Image.Image:
    """A drop with an edge, bars like crystals, grain like precipitate and an empty part: gray, the same in every call.

    Different things in different windows, so that a network which sees nothing at all can not pass.
    """
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / height
    radius = np.hypot((u - 0.5) / 0.46, (v - 0.5) / 0.44)
    pixels = np.where(radius < 1.0, 190.0, 120.0) - 110.0 * np.exp(-(((radius - 1.0) / 0.04) ** 2))
    along, across = (u + v) * 0.7071, (u - v) * 0.7071
    for centre, side, length, breadth in ((0.52, -0.12, 0.07, 0.03), (0.62, -0.02, 0.04, 0.04), (0.86, 0.18, 0.10, 0.012)):
        inside = np.maximum(np.abs(along - centre) / length, np.abs(across - side) / breadth)
        pixels += np.where(inside < 1.0, 35.0, 0.0) - np.where(np.abs(inside - 1.0) < 0.12, 90.0, 0.0)
    grain = rng.normal(0.0, 45.0, (height // 4 + 1, width // 4 + 1)).repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
    pixels += np.where((u > 0.6) & (radius < 0.9), grain, 0.0) + rng.normal(0.0, 4.0, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
