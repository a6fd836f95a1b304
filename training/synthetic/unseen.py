"""Imagers, cameras and contents that training never draws: for a synthetic test set that says how a model does on what is new.

:data:`UNSEEN_IMAGERS` is apart from ``wells.IMAGERS``; ``draw_well`` takes one of them only where it is named. Shapes, formats, tints
and camera settings lie outside of the ranges of the training ones, contents are larger, paler, stronger or lit from the side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from training.synthetic.camera import Camera
from training.synthetic.layer import Layer
from training.synthetic.textures import Field, Rng, blur
from training.synthetic.wells import Style


@dataclass(frozen=True)
class Variation:
    """How a drop and its contents differ from what training draws.

    Factors of the drop's radius and of the sizes in it; exponent of what the contents let pass; strength and angle of light from the
    side, which gives each body a bright and a dark flank.
    """

    drop_size: float
    content_scale: float
    contrast: float
    oblique: float
    angle: float


def _hexagon(rng: Rng) -> Style:
    level = rng.uniform(150.0, 215.0)
    colour = (0.72 * level, level, rng.uniform(0.6, 0.75) * level)
    return Style(
        aspect=2 / 3,
        shape="hexagon",
        centre=(rng.uniform(600, 680), rng.uniform(395, 455)),
        radius=rng.uniform(340, 390),
        colour=colour,
        frame=tuple(v * rng.uniform(1.02, 1.12) for v in colour),  # the frame is brighter than the well
        wall=rng.uniform(25, 60),
        wall_level=rng.uniform(0.35, 0.5),
        inner_soft=rng.uniform(3, 9),
        outer_soft=rng.uniform(4, 12),
        shadow=rng.uniform(0.0, 0.15),
        shadow_reach=rng.uniform(10, 50),
        uneven=rng.uniform(0.02, 0.06),
        tint=0.02,
        um_per_px=1.7,
    )


def _slot(rng: Rng) -> Style:
    level = rng.uniform(170.0, 230.0)
    colour = (level, rng.uniform(0.62, 0.74) * level, rng.uniform(0.76, 0.9) * level)
    return Style(
        aspect=9 / 16,
        shape="slot",
        centre=(rng.uniform(600, 680), rng.uniform(335, 385)),
        radius=rng.uniform(280, 330),
        colour=colour,
        frame=tuple(v * 0.3 for v in colour),
        wall=rng.uniform(30, 90),
        wall_level=rng.uniform(0.02, 0.08),
        inner_soft=rng.uniform(3, 14),
        outer_soft=rng.uniform(8, 30),
        shadow=rng.uniform(0.1, 0.3),
        shadow_reach=rng.uniform(20, 90),
        uneven=rng.uniform(0.12, 0.17),
        tint=0.03,
        um_per_px=None,
    )


def _close_up(rng: Rng) -> Style:
    level = rng.uniform(190.0, 235.0)
    colour = (level, rng.uniform(0.82, 0.9) * level, rng.uniform(0.5, 0.65) * level)
    return Style(
        aspect=1.2,
        shape="circle",
        centre=(rng.uniform(560, 720), rng.uniform(690, 850)),
        radius=rng.uniform(1150, 1400),  # no wall shows but for a corner
        colour=colour,
        frame=tuple(v * 0.5 for v in colour),
        wall=rng.uniform(80, 160),
        wall_level=rng.uniform(0.1, 0.2),
        inner_soft=rng.uniform(20, 60),
        outer_soft=rng.uniform(20, 60),
        shadow=rng.uniform(0.3, 0.5),
        shadow_reach=rng.uniform(250, 400),
        uneven=rng.uniform(0.1, 0.14),
        tint=0.02,
        um_per_px=None,
    )


def _dim_triangle(rng: Rng) -> Style:
    level = rng.uniform(68.0, 100.0)
    return Style(
        aspect=0.9,
        shape="triangle",
        centre=(rng.uniform(600, 680), rng.uniform(490, 540)),
        radius=rng.uniform(330, 390),
        colour=(level,),
        frame=(level * rng.uniform(0.05, 0.2),),
        wall=rng.uniform(60, 150),
        wall_level=rng.uniform(0.02, 0.08),
        inner_soft=rng.uniform(3, 10),
        outer_soft=rng.uniform(8, 30),
        shadow=rng.uniform(0.1, 0.3),
        shadow_reach=rng.uniform(20, 80),
        uneven=rng.uniform(0.12, 0.18),
        tint=0.0,
        um_per_px=3.3,
    )


_STYLES: dict[str, Callable[[Rng], Style]] = {
    "unseen_hexagon": _hexagon,
    "unseen_slot": _slot,
    "unseen_close_up": _close_up,
    "unseen_dim_triangle": _dim_triangle,
}

#: Imagers that training never draws.
UNSEEN_IMAGERS: tuple[str, ...] = tuple(_STYLES)


def draw_unseen_style(rng: Rng, imager: str) -> Style:
    """A style of one of :data:`UNSEEN_IMAGERS`; raises ``KeyError`` for any other."""
    return _STYLES[imager](rng)


def draw_unseen_camera(rng: Rng) -> Camera:
    """A camera with noise, gamma, gain and JPEG quality outside of what ``camera.draw_camera`` draws, and in a third of them blur, too."""
    out_of_focus = rng.random() < 0.35
    return Camera(
        focus=float(rng.uniform(2.6, 3.4) if out_of_focus else rng.uniform(0.3, 1.6)),
        gain=float(rng.uniform(0.82, 0.92) if rng.random() < 0.5 else rng.uniform(1.07, 1.14)),
        gamma=float(rng.uniform(0.72, 0.87) if rng.random() < 0.5 else rng.uniform(1.16, 1.4)),
        noise=float(rng.uniform(3.0, 5.5)),
        quality=int(rng.integers(42, 65)),
    )


def draw_variation(rng: Rng) -> Variation:
    """Small or large drops, larger contents, less or more contrast, and light from the side in a half of them."""
    return Variation(
        drop_size=float(rng.uniform(0.6, 0.75) if rng.random() < 0.4 else rng.uniform(1.15, 1.4)),
        content_scale=float(rng.uniform(1.3, 1.8) if rng.random() < 0.5 else 1.0),
        contrast=float(rng.uniform(0.6, 0.78) if rng.random() < 0.5 else rng.uniform(1.3, 1.7)),
        oblique=float(rng.uniform(0.25, 0.6) if rng.random() < 0.5 else 0.0),
        angle=float(rng.uniform(0.0, 2.0 * math.pi)),
    )


def vary(bare: Field, layer: Layer, variation: Variation) -> None:
    """Changes what was painted into a drop since its transmission was ``bare`` (h, w), with values above 0."""
    contents = np.log(np.maximum(layer.transmission, 1e-3) / bare)
    changed = np.float32(variation.contrast) * contents
    if variation.oblique:
        relief = blur(contents.astype(np.float32), layer.unit)
        across, down = (cv2.Sobel(relief, cv2.CV_32F, *order, ksize=3) / 8.0 for order in ((1, 0), (0, 1)))
        slope = across * math.cos(variation.angle) + down * math.sin(variation.angle)
        changed = changed + np.float32(variation.oblique) * np.tanh(np.float32(12.0 * layer.unit) * slope)
    layer.transmission = np.asarray(bare * np.exp(np.clip(changed, -3.5, 0.6)), dtype=np.float32)
