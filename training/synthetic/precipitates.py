"""Precipitates: granular, amorphous, heavy and light, skins and wrinkles."""

from __future__ import annotations

import math

import numpy as np

from training.synthetic.layer import Layer, Mask, stroke
from training.synthetic.textures import Field, Rng, blur, child, cloud, dots, relief, ridges, smoothstep, warped


def _cover(layer: Layer, rng: Rng) -> Field:
    """Where in the drop the precipitate lies, 0-1 of shape (h, w): all of it, a part, a settled heap, or a ring."""
    kind = str(rng.choice(["all", "part", "heap", "ring"], p=[0.45, 0.25, 0.2, 0.1]))
    if kind == "all":
        return np.asarray(np.clip(layer.depth * 6.0, 0.0, 1.0), dtype=np.float32)
    if kind == "part":
        field = cloud(child(rng), layer.shape, 1.4 * layer.extent, 3)
        return smoothstep(-0.6, 0.5, field + np.float32(rng.uniform(0.0, 0.7)))
    if kind == "ring":
        at, width = rng.uniform(0.25, 0.7), rng.uniform(0.12, 0.3)
        return np.asarray(np.exp(-(((layer.depth - np.float32(at)) / np.float32(width)) ** 2)), dtype=np.float32)
    x, y = layer.place(rng, 0.3)
    reach = layer.extent * rng.uniform(0.3, 0.7)
    rows = (np.arange(layer.shape[0], dtype=np.float32) - np.float32(y))[:, np.newaxis]
    columns = (np.arange(layer.shape[1], dtype=np.float32) - np.float32(x))[np.newaxis, :]
    away = np.sqrt(rows**2 + columns**2) / np.float32(reach)
    return smoothstep(1.3, 0.5, away + 0.25 * cloud(child(rng), layer.shape, 0.5 * layer.extent, 4))


def _granules(layer: Layer, rng: Rng, size: float, density: Field, depth: float, sharp: bool) -> Field:
    """Transmission of dots of about ``size`` px (of 1280), as dense as ``density`` says, each letting 1 - ``depth`` of the light pass."""
    cell = max(size * layer.unit, 1.0)
    field = np.float32(0.8) * dots(rng, layer.shape, cell) + np.float32(0.6) * dots(rng, layer.shape, 2.3 * cell)
    if sharp:
        field = field - np.float32(0.5) * blur(field, cell)
    faded = depth * min(1.0, size * layer.unit)  # what is finer than a pixel averages out
    amount = np.tanh(np.float32(0.9) * np.maximum(field + np.float32(2.2) * density - np.float32(1.3), 0.0))
    return np.asarray(1.0 - np.float32(faded) * amount, dtype=np.float32)


def _mottle(layer: Layer, rng: Rng, contrast: float) -> Field:
    """Transmission of a frosted, mottled bed: specks of many sizes, brighter and darker than their surroundings by about ``contrast``."""
    cell = float(rng.uniform(6, 22)) * layer.unit
    field = cloud(child(rng), layer.shape, max(cell, 1.2), 3, float(rng.uniform(0.7, 1.0)), float(rng.choice([1.0, 1.0, 1.8])))
    skew = float(rng.choice([-0.25, 0.0, 0.25]))  # mostly dark specks, or bright holes in a dark bed
    field = field + np.float32(skew) * (field * field - 1.0)
    wide = cloud(child(rng), layer.shape, 0.8 * layer.extent, 3, 0.5)
    strength = np.clip(1.0 + np.float32(rng.uniform(0.0, 0.5)) * wide, 0.15, 2.0)
    return np.asarray(np.clip(1.0 + np.float32(contrast) * field * strength, 0.2, 1.35), dtype=np.float32)


def _rods(layer: Layer, rng: Rng, cover: Field, count: int) -> None:
    """Short rods among the precipitate: they are no crystals."""
    canvas: Mask = np.full(layer.shape, 128, dtype=np.uint8)
    own = child(rng)
    for _ in range(count):
        x, y = layer.place(own, 0.05)
        angle, half = own.uniform(0, math.pi), own.uniform(2, 9) * layer.unit
        along = np.array([math.cos(angle), math.sin(angle)]) * half
        stroke(
            canvas,
            np.array([[x - along[0], y - along[1]], [x + along[0], y + along[1]]]),
            int(own.uniform(40, 95)),
            own.uniform(0.8, 1.8) * layer.unit,
        )
    layer.transmission *= 1.0 + layer.inside * cover * (canvas.astype(np.float32) / 128 - 1.0)


def _lay(layer: Layer, class_name: str, cover: Field, transmission: Field, brown: Field | None, threshold: float = 0.3) -> None:
    """Multiplies a precipitate into the layer and labels where it is dense."""
    layer.transmission *= 1.0 + layer.inside * cover * (transmission - 1.0)
    if brown is not None:
        layer.absorption += layer.inside * cover * np.maximum(brown, 0.0)
    layer.mark(cover > threshold, class_name)


def paint_precipitate(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Ordinary precipitate: granular or amorphous, brown, in smoky clouds or everywhere."""
    cover = _cover(layer, rng) * np.float32(maturity)
    unit = layer.unit
    kind = str(rng.choice(["granular", "mottled", "amorphous", "smoky"], p=[0.25, 0.33, 0.17, 0.25]))
    clumps = cloud(child(rng), layer.shape, 0.7 * layer.extent, 5, 0.65)
    if kind == "granular":
        density = np.clip(0.45 + 0.35 * clumps, 0.05, 1.2) * cover
        passes = _granules(layer, rng, float(rng.uniform(2.0, 5.0)), density, float(rng.uniform(0.35, 0.75)), True)
        brown = np.float32(rng.uniform(0.05, 0.4)) * smoothstep(0.2, 1.1, density)
    elif kind == "mottled":
        passes = np.float32(rng.uniform(0.62, 0.97)) * _mottle(layer, rng, float(rng.uniform(0.06, 0.15)))
        passes *= 1.0 + np.float32(rng.uniform(0.0, 0.08)) * clumps
        passes = blur(passes, float(rng.choice([0.0, 0.8, 1.6])) * unit)
        brown = np.float32(rng.uniform(0.03, 0.35)) * smoothstep(-1.0, 1.5, clumps)
    else:
        cell = float(rng.uniform(60, 200)) * unit
        base = cloud(child(rng), layer.shape, cell, 6, float(rng.uniform(0.55, 0.78)))
        if kind == "smoky":
            base = warped(rng, base, 1.2 * cell, float(rng.uniform(0.1, 0.3)) * cell)
            base = base - np.float32(1.2) * ridges(clumps, 2.5)
        contrast = rng.choice([0.05, 0.1, 0.17]) * rng.uniform(0.8, 1.2)
        passes = np.clip(rng.uniform(0.72, 0.96) + np.float32(contrast) * base, 0.15, 1.15)
        if rng.random() < 0.7:
            bumps = cloud(child(rng), layer.shape, 30.0 * unit, 4, 0.7)
            passes = passes * (1.0 + np.float32(rng.uniform(0.02, 0.07)) * relief(bumps, rng.uniform(0, 6.28)))
        if rng.random() < 0.6:
            density = np.clip(0.3 - 0.2 * base, 0, 1)
            passes = passes * _granules(layer, rng, float(rng.uniform(2.0, 4.0)), density, float(rng.uniform(0.15, 0.45)), True)
        brown = np.float32(rng.uniform(0.03, 0.3)) * smoothstep(-0.5, 1.8, -base)
        soft = float(rng.choice([0.0, 1.5, 4.0], p=[0.5, 0.3, 0.2])) * unit
        passes = blur(passes.astype(np.float32), soft)
    _lay(layer, "precipitate", cover, passes.astype(np.float32), brown)
    if rng.random() < 0.3:
        _rods(layer, rng, cover, int(rng.integers(10, 90)))


def paint_precipitate_bad(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Heavy precipitate: dark brown clumps, and a skin that wrinkles."""
    cover = _cover(layer, rng) * np.float32(maturity)
    unit = layer.unit
    kind = str(rng.choice(["clumps", "skin", "both"], p=[0.4, 0.35, 0.25]))
    passes = np.ones(layer.shape, dtype=np.float32)
    heavy = np.zeros(layer.shape, dtype=np.float32)
    if kind != "skin":
        lumps = cloud(child(rng), layer.shape, float(rng.uniform(50, 160)) * unit, 6, float(rng.uniform(0.5, 0.68)))
        steep = float(rng.choice([0.6, 1.3, 2.5], p=[0.3, 0.4, 0.3]))
        heavy = smoothstep(-0.5 * steep, 0.5 * steep, lumps + np.float32(rng.uniform(-0.5, 0.5)))
        passes -= np.float32(rng.uniform(0.3, 0.75)) * heavy
        passes *= 1.0 - np.float32(rng.uniform(0.0, 0.35)) * blur(heavy, float(rng.uniform(6, 25)) * unit)
        passes *= 1.0 + np.float32(rng.uniform(0.04, 0.16)) * cloud(child(rng), layer.shape, 12.0 * unit, 4, 0.8) * (0.3 + heavy)
    if kind != "clumps":  # a wrinkled skin: folds of many sizes, dark in their depth
        for _ in range(int(rng.integers(2, 6))):
            cell = float(rng.uniform(15, 75)) * unit
            stretch = float(rng.choice([1.0, 2.0, 3.0]))
            folds = cloud(child(rng), layer.shape, cell, int(rng.integers(2, 4)), float(rng.uniform(0.4, 0.65)), stretch)
            sheet = ridges(warped(rng, folds, 2.5 * cell, 0.5 * cell), float(rng.uniform(2.0, 6.0)))
            thick = smoothstep(-0.8, 0.7, cloud(child(rng), layer.shape, 2.5 * cell, 2))
            slope = np.clip(relief(blur(sheet, 1.0 * unit), rng.uniform(0, 6.28)), -2.5, 2.5)
            passes *= 1.0 + thick * np.float32(rng.uniform(0.05, 0.16)) * slope
            passes *= 1.0 - np.float32(rng.uniform(0.2, 0.6)) * sheet * thick
            heavy = np.maximum(heavy, 0.3 * sheet * thick)
        if rng.random() < 0.6:
            passes *= _mottle(layer, rng, float(rng.uniform(0.02, 0.07)))
    passes = blur(passes, float(rng.choice([0.0, 1.2, 3.0], p=[0.55, 0.3, 0.15])) * unit)
    brown = np.float32(rng.uniform(0.1, 0.55)) * heavy
    _lay(layer, "precipitate_bad", cover, np.clip(passes, 0.05, 1.4).astype(np.float32), brown)


def paint_precipitate_good(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Fine, light, even precipitate: grains, or a frosted bed of low contrast."""
    cover = _cover(layer, rng) * np.float32(maturity)
    density = np.clip(rng.uniform(0.25, 0.6) + 0.12 * cloud(child(rng), layer.shape, 0.8 * layer.extent, 3), 0.05, 1.0) * cover
    kind = str(rng.choice(["grains", "frosted", "both"], p=[0.4, 0.35, 0.25]))
    passes = np.full(layer.shape, rng.uniform(0.9, 1.0), dtype=np.float32)
    if kind != "grains":
        passes *= _mottle(layer, rng, float(rng.uniform(0.03, 0.065)))
    if kind != "frosted":
        passes *= _granules(layer, rng, float(rng.uniform(1.6, 3.2)), density, float(rng.uniform(0.14, 0.4)), bool(rng.random() < 0.6))
    if rng.random() < 0.4:
        bumps = relief(cloud(child(rng), layer.shape, float(rng.uniform(4, 9)) * layer.unit, 2, 0.6), rng.uniform(0, 6.28))
        passes = passes * (1.0 + np.float32(rng.uniform(0.02, 0.05) * min(1.0, 2 * layer.unit)) * bumps)
    brown = np.float32(rng.uniform(0.0, 0.1)) * density
    _lay(layer, "precipitate_good", cover, passes, brown)


def paint_haze(layer: Layer, rng: Rng) -> None:
    """A little precipitate around other things; labelled, so that a chop of it does not pass for a clear one."""
    cover = np.clip(_cover(layer, rng), 0, 1)
    density = np.clip(rng.uniform(0.05, 0.35) + 0.2 * cloud(child(rng), layer.shape, 0.5 * layer.extent, 4), 0.0, 1.0)
    passes = _granules(layer, rng, float(rng.uniform(2.0, 3.5)), density, float(rng.uniform(0.08, 0.25)), True)
    layer.transmission *= 1.0 + layer.inside * cover * (passes - 1.0)
    layer.mark(cover * density > 0.08, "precipitate_good")
