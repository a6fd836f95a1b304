"""What is in a well and is nobody's experiment: dust, fibres, scratches, bubbles, things out of focus."""

from __future__ import annotations

import math

import numpy as np

from training.synthetic.layer import Layer, Mask, stroke
from training.synthetic.textures import Field, Rng, blur, child, curve

FEATURE = "clear_with_other_features"


def bubble(rng: Rng, radius: float) -> tuple[Field, Field]:
    """A bubble: a broad black ring with a bright centre; transmission and mask."""
    side = math.ceil(2.3 * radius + 5)
    rows = np.arange(side, dtype=np.float32)[:, np.newaxis] - np.float32(side / 2)
    columns = np.arange(side, dtype=np.float32)[np.newaxis, :] - np.float32(side / 2)
    reach = np.sqrt(rows**2 + columns**2) / np.float32(radius)
    hole = rng.uniform(0.35, 0.75)
    soft = np.float32(max(0.05, 0.8 / radius))
    inner = np.float32(max(soft, rng.choice([0.06, 0.2, 0.4])))
    body = 0.5 - 0.5 * np.tanh(1.5 * (reach - 1.0) / soft)
    centre = 0.5 - 0.5 * np.tanh(0.8 * (reach - np.float32(hole)) / inner)
    passes = 1.0 - body * (1.0 - centre) * np.float32(rng.uniform(0.65, 0.95)) + centre * np.float32(rng.uniform(-0.02, 0.15))
    spot = np.exp(-(((columns / radius - rng.uniform(-0.3, 0.3)) ** 2 + (rows / radius - rng.uniform(-0.3, 0.3)) ** 2) / 0.01))
    return np.clip(passes + 0.15 * spot, 0.03, 1.5).astype(np.float32), (reach < 1.0).astype(np.float32)


def _specks(layer: Layer, rng: Rng, count: int) -> None:
    """Dust: dark or bright, sharp or blurred, most of it tiny; labelled as nothing."""
    for _ in range(count):
        own = child(rng)
        size = min(float(own.lognormal(0.55, 0.55)), 9.0)
        side = max(5, math.ceil(4 * size * layer.unit + 4))
        x, y = layer.place(own, 0.0)
        canvas: Mask = np.full((side, side), 128, dtype=np.uint8)
        value = int(own.uniform(10, 95)) if own.random() < 0.9 else int(own.uniform(150, 190))
        corners = curve(own, np.array([side / 2, side / 2]) - size * layer.unit * 0.4, size * layer.unit, own.uniform(0, 4), 4)
        stroke(canvas, corners, value, max(0.3, size * layer.unit * own.uniform(0.4, 0.9)))
        soft = own.choice([0.3, 0.6, 1.5]) * layer.unit * max(1.0, size / 3)
        patch = blur(canvas.astype(np.float32) / 128, soft)
        layer.stamp(x, y, patch, patch, None)


def _blurred_discs(layer: Layer, rng: Rng, count: int) -> None:
    """Dust on the lens or the cover: wide, faint discs."""
    for _ in range(count):
        radius = rng.uniform(7, 30) * layer.unit
        side = math.ceil(3.5 * radius + 4)
        rows = np.arange(side, dtype=np.float32)[:, np.newaxis] - np.float32(side / 2)
        columns = np.arange(side, dtype=np.float32)[np.newaxis, :] - np.float32(side / 2)
        reach = np.sqrt(rows**2 + columns**2) / np.float32(radius)
        patch = 1.0 - np.float32(rng.uniform(0.02, 0.1)) * (0.5 - 0.5 * np.tanh((reach - 1) * np.float32(rng.uniform(2, 7))))
        x, y = layer.place(rng, 0.0)
        layer.stamp(x, y, patch.astype(np.float32), patch.astype(np.float32), None)


def _lines(layer: Layer, canvas: Mask, soft: float, label: bool) -> None:
    patch = blur(canvas.astype(np.float32) / 128, soft)
    layer.transmission *= 1.0 + layer.inside * (patch - 1.0)
    if label:
        layer.mark(np.abs(patch - 1.0) > 0.08, FEATURE)


def _fibres(layer: Layer, rng: Rng, count: int, label: bool) -> None:
    """Hairs and lint: dark, wandering, often with a bright core."""
    canvas: Mask = np.full(layer.shape, 128, dtype=np.uint8)
    for _ in range(count):
        own = child(rng)
        start = np.array(layer.place(own, 0.0))
        path = curve(own, start, own.uniform(20, 260) * layer.unit, own.uniform(0.2, 4.0), 40)
        width = own.uniform(1.2, 5.5) * layer.unit
        stroke(canvas, path, int(own.uniform(10, 85)), width)
        if width > 2.5 and own.random() < 0.6:
            stroke(canvas, path, int(own.uniform(120, 165)), 0.4 * width)
    _lines(layer, canvas, float(rng.choice([0.4, 0.9, 2.2])) * layer.unit, label)


def _curls(layer: Layer, rng: Rng, count: int, label: bool) -> None:
    """Short, thick, black, strongly bent pieces of lint, darker and lighter along their length."""
    canvas: Mask = np.full(layer.shape, 128, dtype=np.uint8)
    for _ in range(count):
        own = child(rng)
        path = curve(own, np.array(layer.place(own, 0.0)), own.uniform(12, 130) * layer.unit, own.uniform(0.3, 6.0), 30)
        width = own.uniform(2.5, 9.0) * layer.unit
        for start in range(len(path) - 1):
            stroke(canvas, path[start : start + 2], int(own.uniform(5, 70)), width * own.uniform(0.6, 1.2))
    _lines(layer, canvas, float(rng.choice([0.4, 0.9, 1.6])) * layer.unit, label)


def _scratches(layer: Layer, rng: Rng, count: int, label: bool) -> None:
    """Straight, thin, faint lines in the plate, often several side by side."""
    canvas: Mask = np.full(layer.shape, 128, dtype=np.uint8)
    heading = rng.uniform(0, math.pi)
    for _ in range(count):
        own = child(rng)
        middle = np.array(layer.place(own, 0.0))
        angle = heading + own.normal(0, 0.15)
        half = own.uniform(20, 400) * layer.unit
        along = np.array([math.cos(angle), math.sin(angle)]) * half
        bow = np.array([-math.sin(angle), math.cos(angle)]) * own.normal(0, 0.03) * half
        value = int(own.uniform(75, 118)) if own.random() < 0.75 else int(own.uniform(135, 150))
        stroke(canvas, np.array([middle - along, middle + bow, middle + along]), value, own.uniform(0.7, 1.8) * layer.unit)
    _lines(layer, canvas, 0.4 * layer.unit, label)


def _bubbles(layer: Layer, rng: Rng, count: int, label: bool) -> None:
    largest = rng.choice([10.0, 25.0, 60.0])
    for _ in range(count):
        own = child(rng)
        radius = float(own.uniform(3.5, largest)) * layer.unit
        transmission, mask = bubble(own, max(min(radius, 0.3 * layer.extent), 1.0))
        x, y = layer.place(own, 0.1 if label else 0.0)
        layer.stamp(x, y, transmission, mask, FEATURE if label else None, box=label)


def soil(layer: Layer, rng: Rng, amount: float) -> None:
    """Unlabelled dirt over the layer, as much as real wells have; ``amount`` 0 (clean) to about 2."""
    specks, discs, fibres, scratches, bubbles = (child(rng) for _ in range(5))
    _specks(layer, specks, int(specks.poisson(float(specks.choice([3, 12, 35], p=[0.4, 0.4, 0.2])) * amount)))
    _blurred_discs(layer, discs, int(discs.poisson(2.0 * amount)))
    if fibres.random() < 0.25 * amount:
        _fibres(layer, fibres, int(fibres.integers(1, 4)), False)
    if fibres.random() < 0.12 * amount:
        _curls(layer, fibres, int(fibres.integers(1, 3)), False)
    if scratches.random() < 0.3 * amount:
        _scratches(layer, scratches, int(scratches.integers(1, 10)), False)
    if bubbles.random() < 0.1 * amount:
        _bubbles(layer, bubbles, int(bubbles.integers(1, 5)), False)


def paint_features(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """What makes a clear drop one with other features: fibres, scratches, bubbles or much dust in it, labelled."""
    kinds = rng.choice(
        ["fibres", "curls", "scratches", "bubbles", "dust"], size=int(rng.integers(1, 3)), replace=False, p=[0.24, 0.18, 0.16, 0.28, 0.14]
    )
    for kind in kinds:
        own = child(rng)
        if kind == "fibres":
            _fibres(layer, own, int(own.integers(1, 5)), True)
        elif kind == "curls":
            _curls(layer, own, int(own.integers(1, 5)), True)
        elif kind == "scratches":
            _scratches(layer, own, int(own.integers(2, 9)), True)
        elif kind == "bubbles":
            _bubbles(layer, own, int(own.integers(1, 14)), True)
        else:
            _specks(layer, own, int(own.integers(20, 80)))


def soil_drop(layer: Layer, rng: Rng) -> None:
    """Specks within the drop: they are neither crystals nor precipitate."""
    if rng.random() < 0.6:
        _specks(layer, rng, int(rng.poisson(float(rng.choice([2, 8, 25], p=[0.5, 0.35, 0.15])))))
