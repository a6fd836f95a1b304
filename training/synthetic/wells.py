"""The empty well as an imager shows it: light, walls, frame, and the tints of polarisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.synthetic.textures import Field, Rng, child, cloud, grain

#: The painters think in px of an image of this width.
REFERENCE_WIDTH = 1280


@dataclass(frozen=True)
class Well:
    """Light (h, w, channels) in 0-255, channels 1 or 3; the inner area's mask; centre and radius in px; native um/px at this width."""

    light: Field
    mask: npt.NDArray[np.bool_]
    centre: tuple[float, float]
    radius: float
    um_per_px: float | None


@dataclass(frozen=True)
class _Style:
    """What one imager's wells have in common; lengths in px of a 1280 px wide image."""

    aspect: float
    shape: str
    centre: tuple[float, float]
    radius: float
    colour: tuple[float, ...]
    frame: tuple[float, ...]
    wall: float
    wall_level: float
    inner_soft: float
    outer_soft: float
    shadow: float
    shadow_reach: float
    uneven: float
    tint: float
    um_per_px: float | None


#: The name for styles that are kept elsewhere.
Style = _Style


def _minstrel_round(rng: Rng) -> _Style:
    level = rng.uniform(120.0, 175.0)
    return _Style(
        aspect=0.75,
        shape="circle",
        centre=(rng.uniform(680, 800), rng.uniform(430, 530)),
        radius=rng.uniform(520, 590),
        colour=(level, 0.97 * level, level * rng.uniform(0.78, 0.9)),
        frame=(0.45 * level, 0.43 * level, 0.37 * level),
        wall=rng.uniform(120, 210),
        wall_level=rng.uniform(0.06, 0.14),
        inner_soft=rng.uniform(12, 50),
        outer_soft=rng.uniform(8, 30),
        shadow=rng.uniform(0.1, 0.4),
        shadow_reach=rng.uniform(50, 200),
        uneven=rng.uniform(0.03, 0.09),
        tint=0.01,
        um_per_px=2.262,
    )


def _minstrel_octagon(rng: Rng) -> _Style:
    level = rng.uniform(215.0, 250.0)
    return _Style(
        aspect=0.75,
        shape=str(rng.choice(["octagon", "octagon", "octagon", "square"])),
        centre=(rng.uniform(560, 700), rng.uniform(450, 530)),
        radius=rng.uniform(420, 490),
        colour=(level, level, level * rng.uniform(0.93, 1.0)),
        frame=(0.75 * level, 0.73 * level, 0.68 * level),
        wall=rng.uniform(20, 60),
        wall_level=rng.uniform(0.12, 0.3),
        inner_soft=rng.uniform(3, 12),
        outer_soft=rng.uniform(6, 40),
        shadow=rng.uniform(0.0, 0.15),
        shadow_reach=rng.uniform(10, 60),
        uneven=rng.uniform(0.01, 0.04),
        tint=0.01,
        um_per_px=None,
    )


def _rock_polarised(rng: Rng) -> _Style:
    hue = np.array([(235, 185, 225), (205, 230, 215), (200, 215, 235), (230, 205, 230)])[rng.integers(4)] * rng.uniform(0.8, 1.03)
    return _Style(
        aspect=0.75,
        shape="circle",
        centre=(rng.uniform(600, 720), rng.uniform(440, 510)),
        radius=rng.uniform(425, 490),
        colour=tuple(float(v) for v in hue),
        frame=tuple(float(v) * 0.8 for v in hue),
        wall=rng.uniform(90, 190),
        wall_level=rng.uniform(0.02, 0.1),
        inner_soft=rng.uniform(2, 8),
        outer_soft=rng.uniform(4, 20),
        shadow=rng.uniform(0.05, 0.3),
        shadow_reach=rng.uniform(15, 70),
        uneven=rng.uniform(0.02, 0.08),
        tint=float(rng.choice([0.02, 0.06, 0.12, 0.22, 0.45])),
        um_per_px=None,
    )


def _rock_1224(rng: Rng) -> _Style:
    bluish = rng.random() < 0.45
    level = rng.uniform(190, 240)
    colour = (0.82 * level, 0.87 * level, level) if bluish else (level, level, 0.85 * level)
    return _Style(
        aspect=1024 / 1224,
        shape="circle",
        centre=(rng.uniform(570, 690), rng.uniform(480, 570)),
        radius=rng.uniform(455, 520),
        colour=colour,
        frame=tuple(v * (0.75 if bluish else 0.4) for v in colour),
        wall=rng.uniform(110, 190),
        wall_level=rng.uniform(0.03, 0.08),
        inner_soft=rng.uniform(4, 25),
        outer_soft=rng.uniform(8, 50),
        shadow=rng.uniform(0.1, 0.3),
        shadow_reach=rng.uniform(30, 120),
        uneven=rng.uniform(0.02, 0.06),
        tint=float(rng.choice([0.01, 0.04, 0.08])) if bluish else 0.01,
        um_per_px=2.837 * 1224 / 1280,
    )


def _vmxi(rng: Rng) -> _Style:
    level = rng.uniform(185.0, 245.0)
    return _Style(
        aspect=2028 / 2532,
        shape=str(rng.choice(["square", "square", "circle"])),
        centre=(rng.uniform(590, 690), rng.uniform(470, 550)),
        radius=rng.uniform(440, 530),
        colour=(level,),
        frame=(level * rng.uniform(0.02, 0.2),),
        wall=rng.uniform(40, 200),
        wall_level=rng.uniform(0.01, 0.1),
        inner_soft=rng.uniform(2, 8),
        outer_soft=rng.uniform(5, 30),
        shadow=rng.uniform(0.0, 0.2),
        shadow_reach=rng.uniform(10, 60),
        uneven=rng.uniform(0.03, 0.1),
        tint=0.0,
        um_per_px=None,
    )


def _gray_1266(rng: Rng) -> _Style:
    level = rng.uniform(170.0, 230.0)
    return _Style(
        aspect=1.0,
        shape="circle",
        centre=(rng.uniform(600, 690), rng.uniform(600, 680)),
        radius=rng.uniform(480, 545),
        colour=(level,),
        frame=(level * rng.uniform(0.5, 0.9),),
        wall=rng.uniform(80, 140),
        wall_level=rng.uniform(0.1, 0.2),
        inner_soft=rng.uniform(8, 40),
        outer_soft=rng.uniform(20, 60),
        shadow=rng.uniform(0.05, 0.2),
        shadow_reach=rng.uniform(20, 100),
        uneven=rng.uniform(0.02, 0.06),
        tint=0.0,
        um_per_px=None,
    )


def _any_imager(rng: Rng) -> _Style:
    level = rng.uniform(110.0, 245.0)
    gray = rng.random() < 0.3
    colour = (level,) if gray else tuple(float(level * v) for v in rng.uniform(0.8, 1.0, 3))
    shape = str(rng.choice(["circle", "circle", "square", "octagon"]))
    return _Style(
        aspect=float(rng.choice([0.75, 0.8, 0.8366, 1.0])),
        shape=shape,
        centre=(rng.uniform(520, 760), rng.uniform(430, 560)),
        radius=rng.uniform(400, 900),
        colour=colour,
        frame=tuple(v * rng.uniform(0.1, 0.9) for v in colour),
        wall=rng.uniform(20, 200),
        wall_level=rng.uniform(0.02, 0.3),
        inner_soft=rng.uniform(2, 40),
        outer_soft=rng.uniform(4, 60),
        shadow=rng.uniform(0.0, 0.35),
        shadow_reach=rng.uniform(10, 150),
        uneven=rng.uniform(0.01, 0.1),
        tint=0.0 if gray else float(rng.choice([0.01, 0.05, 0.15, 0.35])),
        um_per_px=None,
    )


_STYLES: dict[str, Callable[[Rng], _Style]] = {
    "minstrel_ht_round": _minstrel_round,
    "minstrel_ht_octagon": _minstrel_octagon,
    "rock_imager_polarised": _rock_polarised,
    "rock_imager_1224": _rock_1224,
    "vmxi_gray": _vmxi,
    "gray_1266": _gray_1266,
    "any": _any_imager,
}

#: The imagers whose pictures are drawn; ``any`` draws an imager that nobody has seen yet.
IMAGERS: tuple[str, ...] = tuple(_STYLES)


def draw_style(rng: Rng, imager: str) -> Style:
    """A style of ``imager``, for wells that share one; raises ``KeyError`` for an unknown imager."""
    return _STYLES[imager](rng)


#: Well shapes that are regular polygons, by their number of sides.
_POLYGONS = {"triangle": 3, "hexagon": 6}


def _polygon_distance(x: Field, y: Field, inradius: float, sides: int, corner: float) -> Field:
    """Signed distance to a regular polygon around (0, 0), its corners rounded off by about ``corner`` px."""
    around = 2 * math.pi * np.arange(sides) / sides + math.pi / 2
    flats = [x * np.float32(math.cos(a)) + y * np.float32(math.sin(a)) - np.float32(inradius) for a in around]
    # A smooth maximum, taken apart so that no exponential overflows.
    largest = np.maximum.reduce(flats)
    total = np.add.reduce([np.exp((flat - largest) / np.float32(corner)) for flat in flats])
    return np.asarray(largest + np.float32(corner) * np.log(total), dtype=np.float32)


def _signed_distance(style: _Style, shape: tuple[int, int], unit: float, rng: Rng) -> Field:
    """Distance to the well's inner wall in px of a 1280 px image, negative inside, shape (h, w)."""
    height, width = shape
    x = (np.arange(width, dtype=np.float32) + 0.5)[np.newaxis, :] / np.float32(unit) - np.float32(style.centre[0])
    y = (np.arange(height, dtype=np.float32) + 0.5)[:, np.newaxis] / np.float32(unit) - np.float32(style.centre[1])
    angle = rng.normal(0.0, 0.02)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    x, y = x * cos - y * sin, x * sin + y * cos
    radius = style.radius
    if style.shape == "circle":
        distance = np.sqrt(x * x + y * y * np.float32(rng.uniform(0.95, 1.05))) - np.float32(radius)
        if rng.random() < 0.4:
            distance = np.maximum(distance, -y - np.float32(radius * rng.uniform(0.88, 0.97)))
        return np.asarray(distance, dtype=np.float32)
    if style.shape in _POLYGONS:
        return _polygon_distance(x, y, radius, _POLYGONS[style.shape], float(rng.uniform(4, 20)))
    if style.shape == "slot":
        half = np.float32(radius * rng.uniform(0.45, 0.7))
        return np.asarray(np.sqrt(np.maximum(np.abs(x) - half, 0) ** 2 + y * y) - np.float32(radius), dtype=np.float32)
    stretch = rng.uniform(0.9, 1.1)
    ax, ay = np.abs(x) - np.float32(radius * stretch), np.abs(y) - np.float32(radius / stretch)
    if style.shape == "octagon":
        corner = np.float32(radius * rng.uniform(0.35, 0.5))
        return np.asarray(np.maximum(np.maximum(ax, ay), (ax + ay + corner) * np.float32(0.7071)), dtype=np.float32)
    round_off = np.float32(rng.uniform(8, 60))
    qx, qy = ax + round_off, ay + round_off
    outer = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return np.asarray(outer + np.minimum(np.maximum(qx, qy), 0) - round_off, dtype=np.float32)


def _profile(
    style: _Style, frame_level: float, glint_at: float, glint_height: float, steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Brightness relative to the well's light at signed distances ``steps`` from its wall, with a thin glint (or dark line) near it."""

    def rise(at: float, soft: float) -> npt.NDArray[np.float64]:
        return 0.5 * (1.0 + np.tanh((steps - at) / soft))

    glint = glint_height * np.exp(-(((steps - glint_at) / 2.5) ** 2))
    inner = 1.0 - style.shadow * np.exp(np.minimum(steps, 0.0) / style.shadow_reach)
    into_wall = rise(style.inner_soft, style.inner_soft)
    out_of_wall = rise(style.wall, style.outer_soft)
    return glint + inner * (1.0 - into_wall) + into_wall * (style.wall_level * (1.0 - out_of_wall) + frame_level * out_of_wall)


def _bands(rng: Rng, width: int, shape: tuple[int, int]) -> Field:
    """Upright or level edges of the plate's frame, as factors (1, w) or (h, 1)."""
    upright = rng.random() < 0.7
    extent = width if upright else shape[0]
    at = (np.arange(extent, dtype=np.float64) + 0.5) * REFERENCE_WIDTH / width
    profile = np.ones(extent)
    for _ in range(int(rng.integers(1, 6))):
        edge, soft = rng.uniform(0, at[-1]), rng.uniform(1.0, 15.0)
        profile *= 1.0 + rng.uniform(-0.45, 0.5) * (0.5 + 0.5 * np.tanh((at - edge) / soft))
        profile *= 1.0 - rng.uniform(0.0, 0.6) * np.exp(-(((at - edge) / (2.0 * soft)) ** 2))
    bands = np.clip(profile, 0.15, 2.0).astype(np.float32)
    return bands[np.newaxis, :] if upright else bands[:, np.newaxis]


def draw_empty_well(rng: Rng, imager: str, width: int, style: Style | None = None) -> Well:
    """An empty, clean well as ``imager`` shows it, ``width`` px wide, in ``style`` if one is given.

    Raises ``KeyError`` for an unknown imager without a style.
    """
    style = style or _STYLES[imager](rng)
    unit = width / REFERENCE_WIDTH
    shape = (round(width * style.aspect), width)
    field_rng, shape_rng, frame_rng = child(rng), child(rng), child(rng)
    distance = _signed_distance(style, shape, unit, shape_rng)
    # A coarse grid suffices for all that changes slowly.
    coarse = (max(shape[0] // 8, 8), max(shape[1] // 8, 8))
    scale = coarse[1] / REFERENCE_WIDTH
    slow = 1.0 + style.uneven * np.tanh(cloud(field_rng, coarse, float(field_rng.uniform(350, 800)) * scale, 2, 0.4))
    gx, gy = field_rng.normal(0.0, style.uneven, 2)
    slow = slow + gx * np.linspace(-1, 1, coarse[1])[np.newaxis, :] + gy * np.linspace(-1, 1, coarse[0])[:, np.newaxis]
    channels = len(style.colour)
    hue_cell = float(field_rng.uniform(450, 1300)) * scale
    tints = [1.0 + style.tint * np.tanh(cloud(field_rng, coarse, hue_cell, 2, 0.3)) for _ in range(channels)]
    frame_level = float(np.mean(style.frame) / np.mean(style.colour))
    reach = 400.0
    steps = np.arange(-reach, reach, 0.25)
    glint = float(frame_rng.uniform(-0.25, 0.45)) if frame_rng.random() < 0.45 else 0.0
    table = np.maximum(_profile(style, frame_level, float(frame_rng.uniform(-6, 40)), glint, steps), 0.005).astype(np.float32)
    if frame_rng.random() < 0.5:  # walls are seldom quite even
        height, cell = np.float32(frame_rng.uniform(0.3, 1.8)), float(frame_rng.uniform(20, 120)) * unit / 4
        wander = grain(frame_rng, (shape[0] // 4, shape[1] // 4), cell)
        distance = distance + height * cv2.resize(wander.astype(np.float32), (shape[1], shape[0]))
    index = np.clip((distance + np.float32(reach)) * np.float32(4.0), 0, len(table) - 1).astype(np.int32)
    walls = table[index]
    outside = distance > style.wall
    if frame_rng.random() < 0.7 and outside.any():
        half = cloud(frame_rng, (shape[0] // 2, shape[1] // 2), 75.0 * unit, 5, 0.6).astype(np.float32)
        texture = 1.0 + np.float32(frame_rng.uniform(0.01, 0.07)) * cv2.resize(half, (shape[1], shape[0]))
        walls = np.where(outside, walls * texture, walls)
    if frame_rng.random() < 0.6:
        walls = np.where(outside, walls * _bands(frame_rng, width, shape), walls)
    if frame_rng.random() < 0.1:  # something below the plate takes the light from one side of the well
        edge = style.centre[0] + style.radius * float(frame_rng.uniform(0.7, 0.95) * frame_rng.choice([-1, 1]))
        columns = (np.arange(width) + 0.5) / unit
        beyond = 0.5 + 0.5 * np.tanh((columns - edge) * np.sign(edge - style.centre[0]) / frame_rng.uniform(2, 20))
        walls = walls * (1.0 - frame_rng.uniform(0.3, 0.9) * beyond).astype(np.float32)[np.newaxis, :]
    light = np.empty((*shape, channels), dtype=np.float32)
    for channel, level in enumerate(style.colour):
        ground = cv2.resize((level * slow * tints[channel]).astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
        np.multiply(ground, walls, out=light[..., channel])
    mask = np.asarray(distance < 0, dtype=np.bool_)
    centre = (style.centre[0] * unit, style.centre[1] * unit)
    um_per_px = style.um_per_px / unit if style.um_per_px else None
    return Well(light, mask, centre, style.radius * unit, um_per_px)
