"""Crystals: faceted solids seen in transmitted light, needles, clusters, plates and showers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from training.synthetic.layer import Layer, Mask, fill, stroke
from training.synthetic.textures import Field, Points, Rng, blur, child, cloud

#: No crystal is drawn smaller than this many px of a 1280 px wide image: below, it can not be told from a speck.
SMALLEST_CRYSTAL = 4.0
#: Gray level of an 8-bit facet canvas that lets all light pass.
_NEUTRAL = 160


@dataclass(frozen=True)
class Look:
    """How a drop's crystals refract.

    Contrast of facets, darkness and width (a share of the size) of edges, the light's angle, glow towards it, brown density, blur in px,
    how much darker the edges away from the light are, and how much corners are rounded (share of the size).
    """

    facets: float
    edges: float
    edge_width: float
    light: float
    glow: float
    brown: float
    soft: float
    one_sided: float
    rounding: float


def draw_look(rng: Rng) -> Look:
    """A look that all crystals of one drop share; contrast has a floor, so that no crystal is invisible."""
    pale = rng.random() < 0.25  # hardly different from the drop, but for thin edges
    return Look(
        facets=float(rng.uniform(0.12, 0.3) if pale else rng.uniform(0.3, 0.95)),
        edges=float(rng.uniform(0.3, 0.55) if pale else rng.uniform(0.4, 0.95)),
        edge_width=float(rng.choice([0.02, 0.04, 0.08], p=[0.35, 0.4, 0.25]) * rng.uniform(0.7, 1.4)),
        light=float(rng.uniform(0, 2 * math.pi)),
        glow=float(rng.uniform(0.0, 0.3)),
        brown=float(rng.uniform(0.0, 0.25) if rng.random() < 0.3 else 0.0),
        soft=float(rng.choice([0.4, 0.9, 2.0], p=[0.5, 0.35, 0.15])),
        one_sided=float(rng.uniform(0.0, 0.9)),
        rounding=float(rng.uniform(0.03, 0.12) if rng.random() < 0.3 else 0.0),
    )


def _solid(rng: Rng, form: str) -> tuple[Points, list[list[int]]]:
    """Corners (n, 3) within about the unit ball and the faces of a convex solid made of stacked rings."""
    sides = int(rng.choice([3, 4, 4, 4, 6, 6, 5, 8]))
    if form == "block":
        half, profile = rng.uniform(0.35, 0.9), [(-1.0, 1.0), (1.0, 1.0)]
        if rng.random() < 0.6:
            bevel = rng.uniform(0.1, 0.4)
            profile = [(-1.0, 1 - bevel), (-1 + bevel * 1.2, 1.0), (1 - bevel * 1.2, 1.0), (1.0, 1 - bevel)]
    elif form == "plate":
        half, profile = rng.uniform(0.05, 0.2), [(-1.0, 0.93), (0.0, 1.0), (1.0, 0.9)]
    elif form == "prism":
        half, profile = rng.uniform(1.5, 3.5), [(-1.0, rng.uniform(0.1, 1.0)), (-0.8, 1.0), (0.8, 1.0), (1.0, rng.uniform(0.1, 1.0))]
    else:  # bipyramid
        half, cut = rng.uniform(0.6, 1.5), rng.uniform(0.03, 0.4)
        profile = [(-1.0, cut), (-0.04, 1.0), (0.04, 1.0), (1.0, cut)]
    around = 2 * math.pi * (np.arange(sides) + rng.uniform(-0.16, 0.16, sides)) / sides
    ring = np.stack([np.cos(around), np.sin(around)], axis=1) * np.array([1.0, rng.uniform(0.55, 1.0)])
    corners = np.concatenate([np.column_stack([ring * scale, np.full(sides, z * half)]) for z, scale in profile])
    corners = corners / np.sqrt((corners**2).sum(axis=1)).max()
    faces = [list(range(sides))[::-1], [sides * (len(profile) - 1) + i for i in range(sides)]]
    for level in range(len(profile) - 1):
        for i in range(sides):
            j = (i + 1) % sides
            faces.append([level * sides + i, level * sides + j, (level + 1) * sides + j, (level + 1) * sides + i])
    return corners, faces


def _rotation(rng: Rng, form: str) -> Points:
    """A rotation (3, 3): plates tend to lie flat, prisms to lie along the bottom."""
    spread = {"plate": 0.5, "block": 0.6, "prism": 0.35, "bipyramid": 0.9}[form]
    tilt = rng.normal(0.0, spread) + (math.pi / 2 if form == "prism" else 0.0)
    spin, turn = rng.uniform(0, 2 * math.pi, 2)

    def about_z(a: float) -> Points:
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])

    about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    return np.asarray(about_z(turn) @ about_x @ about_z(spin))


def _rounded(shape: Mask, radius: float) -> Mask:
    """A filled shape with its corners rounded off."""
    smooth = cv2.GaussianBlur(shape, (0, 0), radius)
    return np.asarray(np.clip((smooth.astype(np.float32) - 127.5) * (0.8 * radius) + 127.5, 0, 255), dtype=np.uint8)


def solid(rng: Rng, size: float, form: str, look: Look) -> tuple[Field, Field]:
    """Transmission and mask (0-1) of one crystal whose longest half-axis measures ``size`` px; both (h, w) float32."""
    corners, faces = _solid(rng, form)
    corners = corners @ _rotation(rng, form).T * size
    line = max(look.edge_width * size * 2.0, 0.5)
    pad = 2.0 * line + 2.5
    low = corners[:, :2].min(axis=0) - pad
    flat = corners[:, :2] - low
    width, height = (math.ceil(v) for v in flat.max(axis=0) + pad)
    front: Mask = np.full((height, width), _NEUTRAL, dtype=np.uint8)
    back: Mask = front.copy()
    inner: Mask = np.full((height, width), 128, dtype=np.uint8)
    first = np.array([face[:3] for face in faces])
    u, v = corners[first[:, 1]] - corners[first[:, 0]], corners[first[:, 2]] - corners[first[:, 1]]
    normals = np.stack([u[:, i - 2] * v[:, i - 1] - u[:, i - 1] * v[:, i - 2] for i in range(3)], axis=1)
    normals /= np.maximum(np.sqrt((normals**2).sum(axis=1, keepdims=True)), 1e-9)
    tilt = np.sqrt(np.maximum(1.0 - normals[:, 2] ** 2, 0.0))
    toward = normals[:, 0] * math.cos(look.light) + normals[:, 1] * math.sin(look.light)
    front_side = normals[:, 2] > 0
    passes = 1.0 + look.glow * (0.15 + 0.6 * tilt * np.maximum(toward, 0)) - look.facets * tilt**1.3 * (0.6 - 0.65 * toward)
    passes = np.where(front_side, passes, 1.0 + 0.4 * (passes - 1.0))
    values = np.clip(_NEUTRAL * passes, 12, 250).astype(int)
    for face, value, seen in zip(faces, values.tolist(), front_side.tolist(), strict=True):
        fill(front if seen else back, flat[face], value)
        stroke(inner, flat[face], 195 if seen else 150, 0.6 * line, closed=True)
    hull = cv2.convexHull(flat.astype(np.float32))[:, 0].astype(np.float64)
    shape: Mask = np.zeros((height, width), dtype=np.uint8)
    fill(shape, hull, 255)
    if look.rounding * size > 1:
        shape = _rounded(shape, look.rounding * size)
    rim: Mask = np.full((height, width), 128, dtype=np.uint8)
    if look.rounding * size > 1:
        contours = cv2.findContours((shape > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        hull = max(contours, key=len)[:, 0].astype(np.float64)
    stroke(rim, hull, 255, line, closed=True)
    shine: Mask = np.full((height, width), 128, dtype=np.uint8)
    middle = hull.mean(axis=0)
    stroke(shine, middle + (hull - middle) * (1.0 - 1.6 * line / max(size, 1.0)), 190, 0.7 * line, closed=True)
    stroke(shine, middle + (hull - middle) * (1.0 + 1.4 * line / max(size, 1.0)), 165, 0.8 * line, closed=True)
    soft = look.soft * min(1.0, size / 12.0)
    dark = blur((np.maximum(rim, inner).astype(np.float32) - 128) / 127, max(soft, 0.25 * line))
    bright = blur((shine.astype(np.float32) - 128) / 127, max(soft, 0.4 * line))
    down = np.arange(height, dtype=np.float32)[:, np.newaxis] - np.float32(middle[1])
    across = np.arange(width, dtype=np.float32)[np.newaxis, :] - np.float32(middle[0])
    lit = np.clip((across * math.cos(look.light) + down * math.sin(look.light)) / np.float32(size), -1.0, 1.0)
    dark = dark * (1.0 - np.float32(look.one_sided) * (0.5 + 0.5 * lit))
    body = blur((front.astype(np.float32) / _NEUTRAL) * (back.astype(np.float32) / _NEUTRAL), soft * 0.7)
    mask = shape.astype(np.float32) / 255
    if size > 14:
        body = body * (1.0 + mask * np.float32(rng.uniform(0.0, 0.1)) * cloud(rng, mask.shape, size * 0.6, 4))
    transmission = body * (1.0 - np.float32(look.edges) * np.clip(dark, 0, 1)) + np.float32(0.2 + look.glow) * bright
    return np.maximum(transmission, 0.04).astype(np.float32), mask


def _needles(rng: Rng, size: float, starts: Points, ends: Points, width: float, look: Look) -> tuple[Field, Field]:
    """Needles between two sets of points (n, 2) around (0, 0), as transmission and mask on a patch of half-width ``size`` px."""
    side = math.ceil(2 * size + 6 * width + 4)
    canvas: Mask = np.full((side, side), 128, dtype=np.uint8)
    shape: Mask = np.zeros((side, side), dtype=np.uint8)
    dark = int(128 - 118 * min(1.0, 0.35 + 0.65 * look.edges))
    for start, end in zip(starts + side / 2, ends + side / 2, strict=True):
        line = np.array([start, end])
        own = width * rng.uniform(0.6, 1.4)
        stroke(canvas, line, int(rng.uniform(0.75, 1.25) * (dark - 128)) // 1 + 128 if dark > 32 else 14, own + 1.2)
        if own > 1.6:
            stroke(canvas, line, int(rng.uniform(118, 165)), own * 0.45)
        cv2.line(shape, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), 255, max(1, math.ceil(own)))
    return blur(canvas.astype(np.float32) / 128, 0.35 + 0.3 * look.soft * min(1.0, width / 3)), shape.astype(np.float32) / 255


def _urchin(rng: Rng, size: float, unit: float, look: Look) -> tuple[Field, Field]:
    """Needles that grow out of one centre: a sea urchin, or a fan."""
    count = int(rng.integers(8, 70))
    span = rng.choice([2 * math.pi, rng.uniform(0.3, 1.5)])
    angle = rng.uniform(0, 2 * math.pi) + rng.uniform(0, span, count)
    reach = size * rng.uniform(0.5, 1.0, count)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    start = along * (reach * rng.uniform(-0.4, 0.1, count))[:, np.newaxis] if rng.random() < 0.5 else along * 0.0
    width = max(0.8 * unit, size * rng.choice([0.012, 0.025, 0.06]) * rng.uniform(0.7, 1.2))
    transmission, mask = _needles(rng, size, start, along * reach[:, np.newaxis], width, look)
    if count > 15:  # the thick middle lets no light through and hides the needles
        side = mask.shape[0]
        steps = np.arange(side, dtype=np.float32) - np.float32(side / 2)
        grid = np.hypot(steps[:, np.newaxis], steps[np.newaxis, :])
        core = np.exp(-((grid / (0.45 * size)) ** 2)) if span > 6 else np.zeros_like(grid)
        transmission = transmission * (1.0 - np.float32(rng.uniform(0.3, 0.8)) * core)
        mask = np.maximum(mask, (grid < (0.75 * size if span > 6 else 0)).astype(np.float32))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((max(3, int(size / 4) | 1),) * 2, np.uint8))
    return transmission.astype(np.float32), closed


def _bundle(rng: Rng, size: float, unit: float, look: Look) -> tuple[Field, Field]:
    """Roughly parallel needles side by side."""
    count = int(rng.integers(1, 14))
    heading = rng.uniform(0, math.pi)
    angle = heading + rng.normal(0, 0.06, count)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.array([-math.sin(heading), math.cos(heading)])
    shift = rng.normal(0, 0.12 * size, (count, 1)) * across + rng.normal(0, 0.15 * size, (count, 1)) * along
    reach = (size * rng.uniform(0.5, 0.9, count))[:, np.newaxis]
    width = max(1.1 * unit, size * rng.choice([0.02, 0.05, 0.11]) * rng.uniform(0.7, 1.2))
    transmission, mask = _needles(rng, size * 1.3, shift - along * reach, shift + along * reach, width, look)
    return transmission, cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((max(3, int(size / 6) | 1),) * 2, np.uint8))


def _cluster(rng: Rng, size: float, form: str, look: Look) -> tuple[Field, Field]:
    """Crystals grown through each other."""
    parts = [solid(rng, size * float(rng.uniform(0.35, 0.75)), form, look) for _ in range(int(rng.integers(3, 9)))]
    side = 2 * max(math.ceil(size * 1.3), *(max(p[1].shape) for p in parts))
    transmission = np.ones((side, side), dtype=np.float32)
    mask = np.zeros((side, side), dtype=np.float32)
    for part, area in parts:
        angle, off = rng.uniform(0, 2 * math.pi), size * rng.uniform(0.1, 0.5)
        top = int(np.clip(side / 2 + off * math.sin(angle) - area.shape[0] / 2, 0, side - area.shape[0]))
        left = int(np.clip(side / 2 + off * math.cos(angle) - area.shape[1] / 2, 0, side - area.shape[1]))
        place = (slice(top, top + area.shape[0]), slice(left, left + area.shape[1]))
        transmission[place] *= part
        mask[place] = np.maximum(mask[place], area)
    return np.maximum(transmission, 0.06), mask


def _cracked(rng: Rng, size: float, look: Look) -> tuple[Field, Field]:
    """A solid run through by cracks, or a stack of thin plates."""
    transmission, mask = solid(rng, size, str(rng.choice(["block", "plate"])), look)
    height, width = mask.shape
    canvas: Mask = np.full(mask.shape, 128, dtype=np.uint8)
    heading = rng.uniform(0, math.pi)
    for _ in range(int(rng.integers(4, 16))):
        angle = heading + rng.normal(0, 0.35)
        middle = rng.uniform(0.15, 0.85, 2) * np.array([width, height])
        reach = size * rng.uniform(0.2, 0.9)
        along = np.array([math.cos(angle), math.sin(angle)]) * reach
        kink = rng.normal(0, 0.06 * size, (4, 2))
        stroke(canvas, middle + np.linspace(-1, 1, 4)[:, np.newaxis] * along + kink, int(rng.uniform(10, 70)), max(0.8, 0.04 * size))
    lines = blur(canvas.astype(np.float32) / 128, 0.5)
    return np.maximum(transmission * (1.0 + mask * (lines - 1.0)), 0.05).astype(np.float32), mask


def _brown(mask: Field, look: Look) -> Field | None:
    return mask * np.float32(look.brown) if look.brown else None


def paint_harvestable(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """A few single, large, sharp crystals."""
    look = draw_look(rng)
    form = str(rng.choice(["block", "plate", "prism", "bipyramid"], p=[0.4, 0.2, 0.22, 0.18]))
    count = int(rng.choice([1, 2, 3, 5, 8, 14], p=[0.22, 0.2, 0.2, 0.18, 0.12, 0.08]))
    room = min(layer.extent / (1.2 * math.sqrt(count)), 130.0 * layer.unit)
    scale = max(float(rng.uniform(12, 75)) * layer.unit, 0.12 * layer.extent)
    scale = min(scale, room)
    at_edge = rng.random() < 0.15
    for _ in range(count):
        own = child(rng)
        grown = scale * float(own.uniform(0.6, 1.3))
        x, y = layer.place(own, 0.03, 0.6 if at_edge else 1.0, clearance=(0.45 if at_edge else 0.8) * grown)
        size = max(maturity * grown, 7.0 * layer.unit)
        transmission, mask = solid(own, max(size, 1.5), form, look)
        layer.stamp(x, y, transmission, mask, "crystals_harvestable", absorption=_brown(mask, look))


def paint_bad_form(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Needles, sea urchins, rosettes, cracked and stacked plates."""
    look = draw_look(rng)
    kind = str(rng.choice(["urchin", "bundle", "cluster", "rosette", "cracked"], p=[0.24, 0.26, 0.18, 0.18, 0.14]))
    count = int(rng.choice([1, 3, 6, 12, 24], p=[0.15, 0.25, 0.3, 0.2, 0.1]))
    room = min(layer.extent / (0.9 * math.sqrt(count)), 120.0 * layer.unit)
    scale = min(float(rng.uniform(14, 70)) * layer.unit, max(room, 9.0 * layer.unit))
    for _ in range(count):
        own = child(rng)
        grown = scale * float(own.uniform(0.55, 1.3))
        x, y = layer.place(own, 0.05, clearance=0.7 * grown)
        size = max(maturity * grown, 8.0 * layer.unit, 2.0)
        if kind == "urchin":
            transmission, mask = _urchin(own, size, layer.unit, look)
        elif kind == "bundle":
            transmission, mask = _bundle(own, size, layer.unit, look)
        elif kind == "cracked":
            transmission, mask = _cracked(own, size, look)
        else:
            transmission, mask = _cluster(own, size, "plate" if kind == "rosette" else str(own.choice(["block", "prism"])), look)
        layer.stamp(x, y, transmission, mask, "crystals_bad_form", absorption=_brown(mask, look))


def paint_overnucleated(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """A shower of small crystals, everywhere or on one side; none below ``SMALLEST_CRYSTAL``."""
    look = draw_look(rng)
    look = replace(look, edges=max(look.edges, 0.5), soft=min(look.soft, 0.9))
    form = str(rng.choice(["block", "plate", "prism", "bipyramid"]))
    typical = maturity * float(rng.uniform(3.4, 10.0))
    room = min(1.5, (layer.extent / (200 * layer.unit)) ** 1.5)
    count = int(rng.integers(40, 320) * min(1.0, (7.0 / typical) ** 0.7) * room * maturity) + 25
    stock = []
    for _ in range(14):
        own = child(rng)
        size = max(typical * float(own.lognormal(0.0, 0.3)), SMALLEST_CRYSTAL / 1.6) * layer.unit
        kind = own.choice(["urchin", "cluster", "single"], p=[0.08, 0.12, 0.8])
        if kind == "urchin":
            stock.append(_urchin(own, max(size * 1.3, 1.5), layer.unit, look))
        elif kind == "cluster":
            stock.append(_cluster(own, max(size * 1.3, 1.5), form, look))
        else:
            stock.append(solid(own, max(size, 1.0), form, look))
    crowd = layer.place(rng)
    spread = layer.extent * float(rng.choice([0.35, 0.8, 5.0], p=[0.2, 0.25, 0.55]))
    deepest = float(rng.choice([0.4, 2.0], p=[0.12, 0.88]))  # some line the drop's edge only
    where = child(rng)
    height, width = layer.shape
    for x, y, keep, pick, turn in where.uniform(0.0, 1.0, (count * 2, 5)):
        px, py = x * width, y * height
        if layer.inside[int(py), int(px)] < 0.5 or layer.depth[int(py), int(px)] > deepest:
            continue
        if keep > math.exp(-(((px - crowd[0]) ** 2 + (py - crowd[1]) ** 2) / spread**2)):
            continue
        transmission, mask = stock[int(pick * len(stock))]
        k = int(turn * 8)
        if k >= 4:
            transmission, mask = transmission[:, ::-1], mask[:, ::-1]
        layer.stamp(px, py, np.rot90(transmission, k), np.rot90(mask, k), "crystals_overnucleated")
