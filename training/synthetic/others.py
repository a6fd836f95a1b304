"""Spherulites, phase separation, films and folds, and drops that failed."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from training.synthetic.dirt import bubble
from training.synthetic.layer import Layer, mark_of
from training.synthetic.textures import Field, Rng, blur, child, cloud, grain, relief, ridges, smoothstep, warped


def _spherulite(rng: Rng, radius: float, unit: float, dark: float) -> tuple[Field, Field]:
    """A round body of radial fibres, as transmission and mask."""
    side = math.ceil(2.6 * radius + 6)
    rows = np.arange(side, dtype=np.float32)[:, np.newaxis] - np.float32(side / 2)
    columns = np.arange(side, dtype=np.float32)[np.newaxis, :] - np.float32(side / 2)
    away = np.sqrt(rows**2 + columns**2)
    around = (np.arctan2(rows, columns) + math.pi) * np.float32(128 / (2 * math.pi))
    lobes = rng.standard_normal(128).astype(np.float32)
    fine = np.concatenate([lobes, lobes[:1]])[np.clip(around, 0, 127.99).astype(np.int32)]
    coarse = np.convolve(np.tile(rng.standard_normal(128), 3), np.ones(18) / 18, "same")[128:257].astype(np.float32)
    bumpy = 1.0 + np.float32(rng.uniform(0.02, 0.25)) * coarse[np.clip(around, 0, 127.99).astype(np.int32)]
    reach = away / (np.float32(radius) * bumpy)
    soft = np.float32(max(0.04, 0.9 / radius))
    mask = np.clip((1.0 - reach) / soft + 0.5, 0, 1).astype(np.float32)
    thickness = np.sqrt(np.clip(1.0 - reach**2, 0.0, 1.0))
    if rng.random() < 0.65:
        passes = 1.0 - np.float32(dark) * (0.55 + 0.45 * thickness)
    else:  # light within, dark at the edge
        passes = 1.0 - np.float32(dark) * np.exp(-((1.0 - np.minimum(reach, 1)) / np.float32(rng.uniform(0.1, 0.3))))
    passes = passes * (1.0 + np.float32(rng.uniform(0.05, 0.25)) * blur(fine, 0.3 * unit + 0.3) * np.minimum(reach * 1.6, 1.0))
    passes = passes * (1.0 + np.float32(rng.uniform(0.05, 0.25)) * cloud(rng, (side, side), 5.0 * unit + 1, 2))
    halo = np.exp(-(((reach - 1.08) / 0.07) ** 2)) * np.float32(rng.uniform(0, 0.12))
    return np.clip(1.0 + mask * (passes - 1.0) + halo, 0.04, 1.5).astype(np.float32), mask


def paint_spherulites(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Round, radially textured bodies, one or many."""
    count = int(rng.choice([1, 3, 6, 12, 40], p=[0.12, 0.23, 0.3, 0.22, 0.13]))
    room = layer.extent / (1.3 * math.sqrt(count))
    typical = max(min(float(rng.uniform(7, 55)) * layer.unit, room), 8.0 * layer.unit)
    dark = float(rng.uniform(0.45, 0.92))
    brown = float(rng.uniform(0.0, 0.6))
    for _ in range(count):
        own = child(rng)
        grown = typical * float(own.lognormal(0, 0.22))
        x, y = layer.place(own, 0.05, clearance=0.8 * grown)
        radius = max(maturity * grown, 6.0 * layer.unit, 1.5)
        transmission, mask = _spherulite(own, radius, layer.unit, dark)
        layer.stamp(x, y, transmission, mask, "spherulites", absorption=mask * np.float32(brown))


def droplet(rng: Rng, radius: float, strength: float, bright: float, edge: float) -> tuple[Field, Field]:
    """An oily droplet: a dark and a bright ring, and a lens within; transmission and mask."""
    side = math.ceil(2.5 * radius + 6)
    stretch = rng.uniform(0.92, 1.08)
    rows = (np.arange(side, dtype=np.float32)[:, np.newaxis] - np.float32(side / 2)) * np.float32(stretch)
    columns = (np.arange(side, dtype=np.float32)[np.newaxis, :] - np.float32(side / 2)) / np.float32(stretch)
    reach = np.sqrt(rows**2 + columns**2) / np.float32(radius)
    thin = np.float32(max(edge, 0.7 / radius))
    ring = np.exp(-(((reach - 1.0) / thin) ** 2))
    inner = np.exp(-(((reach - 1.0 + 2.2 * thin) / thin) ** 2))
    lens = np.exp(-((reach / 0.55) ** 2))
    passes = 1.0 - np.float32(strength) * ring + np.float32(bright) * (0.6 * inner + lens)
    return np.clip(passes, 0.08, 1.6).astype(np.float32), (reach < 1.0).astype(np.float32)


def paint_phase_separation(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Droplets within the drop, of many sizes, and at times a large oily region."""
    strength, edge = float(rng.uniform(0.15, 0.7)), float(rng.uniform(0.08, 0.3))
    bright = float(rng.uniform(0.03, 0.3)) * float(rng.choice([1.0, 1.0, -0.6]))
    typical = maturity * float(rng.uniform(3.5, 26))
    count = int(np.clip(rng.uniform(0.1, 0.6) * (layer.extent / layer.unit / typical) ** 2 * 0.5, 12, 260))
    drops = child(rng)
    for _ in range(count):
        own = child(drops)
        x, y = layer.place(own, 0.08)
        radius = typical * float(np.clip(own.lognormal(0.0, 0.5), 0.4, 4.0))
        radius = min(max(radius, 3.0) * layer.unit, 0.4 * layer.extent)
        transmission, mask = droplet(own, max(radius, 1.0), strength, bright, edge)
        layer.stamp(x, y, transmission, mask, "phase_separation", box=radius > 6 * layer.unit)
    if rng.random() < 0.3:
        blobs = cloud(child(rng), layer.shape, 0.7 * layer.extent, 2)
        field = blobs - np.float32(rng.uniform(-0.3, 0.5))
        line = blur(ridges(field / np.maximum(np.abs(relief(blobs, 0.0)), 0.7), 14.0), 0.8 * layer.unit)
        layer.transmission *= 1.0 - layer.inside * np.float32(rng.uniform(0.1, 0.5)) * line
        layer.transmission *= 1.0 - layer.inside * np.float32(rng.uniform(0, 0.1)) * smoothstep(0, 0.2, field)
        layer.mark((field > 0) & (layer.depth > 0.05), "phase_separation")


def _folds(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """Lines of a folded skin: transmission and where it lies, both of shape (h, w)."""
    blobs = cloud(rng, layer.shape, float(rng.uniform(0.5, 1.0)) * layer.extent, 2)
    field = warped(rng, blobs, 0.6 * layer.extent, 0.2 * layer.extent)
    line = ridges(field, float(rng.uniform(7, 18)))
    cover = smoothstep(-0.4, 0.5, cloud(rng, layer.shape, layer.extent, 2) + np.float32(0.5))
    passes = 1.0 - np.float32(rng.uniform(0.1, 0.5)) * line
    passes = passes + np.float32(rng.uniform(0.04, 0.12)) * relief(blur(line, 2.0 * layer.unit), rng.uniform(0, 2 * math.pi))
    return passes, cover


def _film(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """A gelatinous film with soft relief, a little brown."""
    blobs = cloud(rng, layer.shape, float(rng.uniform(0.3, 0.8)) * layer.extent, 3, 0.4)
    field = warped(rng, blobs, 0.5 * layer.extent, 0.15 * layer.extent)
    cover = smoothstep(-0.5, 0.4, cloud(rng, layer.shape, 1.2 * layer.extent, 2) + np.float32(0.4))
    passes = 1.0 + np.float32(rng.uniform(0.05, 0.16)) * np.tanh(relief(blur(field, 2.0 * layer.unit), rng.uniform(0, 2 * math.pi)))
    layer.absorption += layer.inside * cover * np.float32(rng.uniform(0, 0.25)) * smoothstep(-0.5, 1.5, field)
    return passes, cover


def _boundary(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """A line inside of the drop, and another density beyond it."""
    field = cloud(rng, layer.shape, 1.3 * layer.extent, 3, 0.4) + (layer.depth - 0.6)
    step = smoothstep(-0.06, 0.06, field)
    line = np.exp(-((field / 0.06) ** 2))
    passes = 1.0 + np.float32(rng.uniform(-0.25, 0.15)) * step - np.float32(rng.uniform(0.1, 0.4)) * line
    return passes, np.ones(layer.shape, dtype=np.float32)


def _inner_drop(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """A second drop within the drop: an outline much like the outer one's, and its own dome, dark towards its edge."""
    level = float(rng.uniform(0.35, 0.85))
    x = np.linspace(-1, 1, layer.shape[1], dtype=np.float32)[np.newaxis, :]
    y = np.linspace(-1, 1, layer.shape[0], dtype=np.float32)[:, np.newaxis]
    field = layer.depth + np.float32(rng.normal(0, 0.12)) * x + np.float32(rng.normal(0, 0.12)) * y
    field = field + np.float32(rng.uniform(0.02, 0.12)) * cloud(child(rng), layer.shape, 0.8 * layer.extent, 3, 0.5) - np.float32(level)
    region = blur(((field > 0) & (layer.inside > 0.5)).astype(np.float32), float(rng.uniform(0.5, 2.5)) * layer.unit)
    away = cv2.distanceTransform((region > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    if float(away.max()) < 3.0:
        return _boundary(layer, rng)
    linear = blur(away / np.float32(away.max()), 2.0 * layer.unit)
    near = np.exp(-((linear / np.float32(rng.uniform(0.1, 0.5))) ** np.float32(rng.uniform(0.8, 1.6))))
    dome = np.float32(rng.uniform(0.9, 1.05)) * (1.0 - np.float32(rng.choice([0.15, 0.4, 0.85]) * rng.uniform(0.7, 1.1)) * near)
    line = np.exp(-(((region - 0.5) / 0.3) ** 2)) * (np.abs(region - 0.5) < 0.49)
    passes = 1.0 + region * (dome - 1.0) - np.float32(rng.uniform(0.05, 0.45)) * line
    if rng.random() < 0.4:  # the ring between the two outlines is wrinkled
        bumps = relief(cloud(child(rng), layer.shape, float(rng.uniform(15, 40)) * layer.unit, 3, 0.5), rng.uniform(0, 2 * math.pi))
        passes = passes + np.float32(rng.uniform(0.02, 0.07)) * (1.0 - region) * np.clip(bumps, -2.5, 2.5)
    return passes, np.ones(layer.shape, dtype=np.float32)


def _bands(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """Brown bands that follow the drop's edge, as where matter has settled in rings."""
    around = layer.depth + np.float32(rng.uniform(0.03, 0.1)) * cloud(child(rng), layer.shape, layer.extent, 3, 0.5)
    passes = np.ones(layer.shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        at, width = float(rng.uniform(0.3, 0.97)), float(rng.uniform(0.015, 0.08))
        band = np.exp(-(((around - at) / np.float32(width)) ** 2))
        passes -= np.float32(rng.uniform(0.1, 0.45)) * band
        layer.absorption += layer.inside * band * np.float32(rng.uniform(0.0, 0.35))
    return passes, np.clip(0.9 + 0.5 * cloud(child(rng), layer.shape, 1.2 * layer.extent, 2), 0.0, 1.0)


def _creases(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """Short, smooth, deep folds: a dark side and a bright one."""
    passes = np.ones(layer.shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 6))):
        x, y = layer.place(rng, 0.3)
        angle = rng.uniform(0, 2 * math.pi)
        across = (np.arange(layer.shape[1], dtype=np.float32) - np.float32(x))[np.newaxis, :]
        down = (np.arange(layer.shape[0], dtype=np.float32) - np.float32(y))[:, np.newaxis]
        along = across * math.cos(angle) + down * math.sin(angle)
        off = down * math.cos(angle) - across * math.sin(angle)
        length, width = float(rng.uniform(0.1, 0.5)) * layer.extent, float(rng.uniform(3, 18)) * layer.unit
        off = off + np.float32(rng.normal(0, 0.35) / max(length, 1.0)) * along**2
        fade = np.exp(-((along / np.float32(length)) ** 2))
        passes -= np.float32(rng.uniform(0.15, 0.75)) * fade * np.exp(-((off / np.float32(width)) ** 2))
        passes += np.float32(rng.uniform(0.0, 0.25)) * fade * np.exp(-(((off - 1.6 * width) / np.float32(width)) ** 2))
    return passes, np.ones(layer.shape, dtype=np.float32)


def _crumpled(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """A skin that has come off and crumpled: dark ragged lines and plaits in a part of the drop."""
    passes = np.ones(layer.shape, dtype=np.float32)
    for _ in range(int(rng.integers(2, 5))):
        cell = float(rng.uniform(0.12, 0.5)) * layer.extent
        sheet = warped(rng, cloud(child(rng), layer.shape, cell, 3, 0.5), cell, 0.35 * cell)
        passes *= 1.0 - np.float32(rng.uniform(0.15, 0.55)) * ridges(sheet, float(rng.uniform(6, 25)))
    rough = relief(blur(cloud(child(rng), layer.shape, 0.2 * layer.extent, 4, 0.65), 1.2 * layer.unit), rng.uniform(0, 2 * math.pi))
    passes *= 1.0 + np.float32(rng.uniform(0.02, 0.1)) * np.clip(rough, -2.5, 2.5)
    cover = smoothstep(-0.2, 0.4, cloud(child(rng), layer.shape, 1.1 * layer.extent, 3, 0.5) + np.float32(rng.uniform(-0.5, 0.4)))
    layer.absorption += layer.inside * cover * np.float32(rng.uniform(0.0, 0.25))
    return passes, cover


def _matter(layer: Layer, rng: Rng) -> tuple[Field, Field]:
    """A lump of brown stuff that does not belong here."""
    x, y = layer.place(rng, 0.25)
    rows = (np.arange(layer.shape[0], dtype=np.float32) - np.float32(y))[:, np.newaxis]
    columns = (np.arange(layer.shape[1], dtype=np.float32) - np.float32(x))[np.newaxis, :]
    reach = np.sqrt(rows**2 + columns**2) / np.float32(layer.extent * rng.uniform(0.15, 0.45))
    texture = cloud(rng, layer.shape, 0.25 * layer.extent, 5, 0.6)
    cover = smoothstep(1.15, 0.85, reach + 0.3 * texture)
    passes = np.float32(rng.uniform(0.5, 0.95)) + np.float32(rng.uniform(0.03, 0.15)) * texture
    layer.absorption += layer.inside * cover * np.float32(rng.uniform(0.05, 0.5))
    return passes, cover


def _beads(layer: Layer, rng: Rng) -> None:
    """A chain of small droplets and bubbles along a line inside of the drop's edge, labelled other."""
    level = float(rng.uniform(0.35, 0.75))
    wobble = np.float32(0.05) * cloud(child(rng), layer.shape, 0.5 * layer.extent, 2)
    ring = ((layer.depth + wobble > level) & (layer.inside > 0.5)).astype(np.uint8)
    contours = cv2.findContours(ring, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not contours:
        return
    line = max(contours, key=len)[:, 0].astype(np.float64)
    present = grain(child(rng), (1, len(line)), max(len(line) / 8, 2.0))[0] > rng.uniform(-1.0, 0.5)
    strength, edge, at = float(rng.uniform(0.35, 0.85)), float(rng.uniform(0.15, 0.4)), 0.0
    largest = float(rng.uniform(2.5, 8.0))
    while at < len(line):
        own = child(rng)
        radius = float(own.uniform(1.5, largest)) * layer.unit
        if present[int(at)]:
            x, y = line[int(at)] + own.normal(0, 1.5 * layer.unit, 2)
            drawn = bubble(own, max(radius, 1.0)) if own.random() < 0.3 else droplet(own, max(radius, 1.0), strength, 0.15, edge)
            layer.stamp(x, y, *drawn, "other", box=False)
        at += max(radius * float(own.uniform(1.0, 3.0)), 1.0)
    where = cv2.dilate((layer.marks == mark_of("other")).astype(np.uint8), np.ones((max(3, int(24 * layer.unit) | 1),) * 2, np.uint8)) > 0
    layer.mark(where, "other")


_OTHERS: dict[str, tuple[float, Callable[[Layer, Rng], tuple[Field, Field]]]] = {
    "folds": (0.18, _folds),
    "film": (0.14, _film),
    "boundary": (0.12, _boundary),
    "inner_drop": (0.2, _inner_drop),
    "bands": (0.1, _bands),
    "creases": (0.1, _creases),
    "crumpled": (0.08, _crumpled),
    "matter": (0.08, _matter),
}


def paint_other(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Films and folds, drops within drops, rings, chains of droplets, stuff that does not belong here: one to three of them."""
    shares = np.array([share for share, _ in _OTHERS.values()])
    kinds = rng.choice(list(_OTHERS), size=int(rng.integers(1, 4)), replace=False, p=shares / shares.sum())
    covered = np.zeros(layer.shape, dtype=np.bool_)
    for kind in kinds:
        passes, cover = _OTHERS[kind][1](layer, child(rng))
        painted = 1.0 + np.float32(maturity) * layer.inside * cover * (np.clip(passes, 0.1, 1.6) - 1.0)
        layer.transmission *= painted
        # Only where something can be seen is the drop other than clear.
        detail = np.abs(painted - blur(painted, 14.0 * layer.unit))
        covered |= (blur(detail, 10.0 * layer.unit) > 0.012) | ((kind == "matter") & (cover > 0.4))
    layer.mark(covered & (layer.depth > 0.02), "other")
    if rng.random() < 0.2:
        _beads(layer, child(rng))


def paint_null(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """A drop that dried out or was never dispensed well: residue, a ring of bubbles, a collapsed skin."""
    unit = layer.unit
    kind = str(rng.choice(["residue", "bubbles", "collapsed"], p=[0.45, 0.2, 0.35]))
    if kind == "residue":  # a crust that follows the edge and broken matter within
        band = np.exp(-(((layer.depth - np.float32(rng.uniform(0.1, 0.4))) / np.float32(rng.uniform(0.05, 0.15))) ** 2))
        broken = cloud(child(rng), layer.shape, 50.0 * unit, 5, 0.7)
        heaps = smoothstep(0.3, 1.2, cloud(child(rng), layer.shape, 0.6 * layer.extent, 3))
        crust = np.clip(band + 0.4 * heaps, 0, 1) * smoothstep(-0.8, 0.6, broken)
        bumps = relief(cloud(child(rng), layer.shape, 14.0 * unit, 4, 0.7), rng.uniform(0, 6.28))
        layer.transmission *= 1.0 + layer.inside * crust * (np.float32(rng.uniform(0.06, 0.2)) * bumps - np.float32(rng.uniform(0.15, 0.5)))
        layer.absorption += layer.inside * crust * np.float32(rng.uniform(0.05, 0.4))
        layer.mark((layer.depth > 0.02) & (blur(crust, 8 * unit) > 0.12), "null_experiment")
    elif kind == "bubbles":
        ring = child(rng)
        for _ in range(int(ring.integers(15, 60))):
            x, y = layer.place(ring, 0.1)
            transmission, mask = bubble(ring, max(float(ring.uniform(3, 13)) * unit, 1.0))
            layer.stamp(x, y, transmission, mask, "null_experiment", box=False)
        around = cv2.morphologyEx(layer.marks, cv2.MORPH_CLOSE, np.ones((max(3, int(50 * unit) | 1),) * 2, np.uint8)) > 0
        layer.mark(around, "null_experiment")
    else:  # a skin that fell in folds, its cracks and edges dark
        own = child(rng)
        sheet = cloud(own, layer.shape, float(own.uniform(0.25, 0.6)) * layer.extent, 3, 0.5)
        sheet = warped(own, sheet, 0.4 * layer.extent, 0.12 * layer.extent)
        pieces = cloud(own, layer.shape, 0.35 * layer.extent, 3, 0.5)
        cracks = np.maximum(ridges(sheet, float(own.uniform(6, 20))), ridges(pieces, float(own.uniform(8, 25))))
        rough = cloud(own, layer.shape, 0.3 * layer.extent, 5, 0.7)
        passes = float(own.uniform(0.7, 1.0)) - np.float32(own.uniform(0.15, 0.55)) * cracks
        passes = passes + np.float32(own.uniform(0.02, 0.08)) * relief(blur(rough, 2.0 * unit), own.uniform(0, 2 * math.pi))
        layer.transmission *= 1.0 + np.float32(maturity) * layer.inside * (np.clip(passes, 0.1, 1.4) - 1.0)
        layer.mark(layer.depth > 0.03, "null_experiment")
