"""Random fields that the painters share: clouds, ridges and relief. All arrays are float32, all lengths in px."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

#: float32 at run time; wider for the type checker, which takes every product with a Python number for float64.
Field = npt.NDArray[np.floating[Any]]
Points = npt.NDArray[np.float64]
Rng = np.random.Generator

#: Sub-pixel bits of OpenCV's drawing coordinates.
SHIFT = 4


def child(rng: Rng) -> Rng:
    """A generator of its own, so that what it draws does not depend on how much others draw (or on the image width)."""
    return np.random.default_rng(int(rng.integers(2**62)))


def fixed(points: Points) -> npt.NDArray[np.int32]:
    """Points (n, 2) in px as the fixed-point integers that OpenCV draws with sub-pixel accuracy."""
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def grain(rng: Rng, shape: tuple[int, int], cell: float, stretch: float = 1.0) -> Field:
    """One octave of smooth noise, shape (h, w), mean 0 and deviation about 1, blobs of ``cell`` px, ``stretch`` times longer one way."""
    own = child(rng)
    angle = float(own.uniform(0.0, math.pi)) if stretch != 1.0 else 0.0
    shift = own.uniform(0.0, 1.0, 2)
    cell = max(cell, 1.0)
    across = 1.5 * math.hypot(*shape) / cell if stretch != 1.0 else max(shape) / cell
    side = 1 << max(3, math.ceil(math.log2(across + 4.0)))
    grid = own.standard_normal((side, side), dtype=np.float32)
    cos, sin = math.cos(angle) / cell, math.sin(angle) / cell
    x_offset = 1.5 + shift[0] + (side / 3 if stretch != 1.0 else 0.0)
    matrix = np.array([[cos / stretch, sin / stretch, x_offset], [-sin, cos, 1.5 + shift[1] + (side / 3 if stretch != 1.0 else 0.0)]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(grid, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(field * np.float32(1.45), dtype=np.float32)


def cloud(rng: Rng, shape: tuple[int, int], cell: float, octaves: int = 4, persistence: float = 0.55, stretch: float = 1.0) -> Field:
    """Fractal noise, shape (h, w), mean about 0 and deviation about 1: the coarsest blobs measure ``cell`` px, each octave half of that."""
    total = np.zeros(shape, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = persistence**octave
        size = cell / 2**octave
        own = child(rng)
        if size >= 1.2 or octave == 0:
            total += np.float32(weight) * grain(own, shape, size, stretch)
        power += weight * weight
    return np.asarray(total / np.float32(math.sqrt(power)), dtype=np.float32)


def dots(rng: Rng, shape: tuple[int, int], size: float) -> Field:
    """Fine noise without any direction, shape (h, w), deviation 1: blobs of about ``size`` px. The grains differ from width to width."""
    noise = child(rng).standard_normal(shape, dtype=np.float32)
    sigma = max(0.42 * size, 0.3)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(max(1.0, 3.545 * sigma)), dtype=np.float32)


def warped(rng: Rng, field: Field, cell: float, reach: float) -> Field:
    """``field`` with its coordinates displaced by smooth noise of blob size ``cell`` and about ``reach`` px: smoke, folds."""
    height, width = field.shape
    dx, dy = grain(rng, field.shape, cell), grain(rng, field.shape, cell)
    columns = np.arange(width, dtype=np.float32)[np.newaxis, :] + np.float32(reach) * dx
    rows = np.arange(height, dtype=np.float32)[:, np.newaxis] + np.float32(reach) * dy
    return np.asarray(cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), dtype=np.float32)


def ridges(field: Field, sharpness: float = 3.0) -> Field:
    """Lines along the zero crossings of ``field``: 1 on the line, falling to 0."""
    return np.asarray(1.0 / (1.0 + (np.float32(sharpness) * field) ** 2), dtype=np.float32)


def relief(height: Field, angle: float) -> Field:
    """The slope of ``height`` towards ``angle`` (radians), scaled to deviation 1: how a skin looks in oblique light."""
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    slope = math.cos(angle) * dx + math.sin(angle) * dy
    return np.asarray(slope / max(float(slope.std()), 1e-6), dtype=np.float32)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur of ``sigma`` px; nothing below a quarter of a pixel."""
    if sigma < 0.25:
        return field
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), dtype=np.float32)


def curve(rng: Rng, start: Points, length: float, bend: float, steps: int = 24) -> Points:
    """A smoothly wandering line, shape (steps, 2), from ``start`` over ``length`` px; ``bend`` is its total turning in radians."""
    heading = float(rng.uniform(0.0, 2.0 * math.pi))
    turn = np.cumsum(np.cumsum(rng.normal(0.0, 1.0, steps)))
    turn = bend * turn / max(float(np.abs(turn).max()), 1e-9)
    step = length / (steps - 1)
    directions = np.stack([np.cos(heading + turn), np.sin(heading + turn)], axis=1)
    return np.asarray(start + np.cumsum(directions * step, axis=0), dtype=np.float64)
