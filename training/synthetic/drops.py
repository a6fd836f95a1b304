"""The drop's outline and how its own surface shades it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from training.synthetic.layer import Layer, fill, stroke
from training.synthetic.textures import Field, Points, Rng, blur, child, grain
from training.synthetic.wells import Well


@dataclass(frozen=True)
class _Surface:
    """How a drop's surface shades it.

    Transmission of the body; depth, width, fall and one-sidedness of the dark rim; edge line; bright lens; slant of the light.
    """

    body: float
    rim: float
    rim_width: float
    rim_fall: float
    side: float
    side_angle: float
    line: float
    line_width: float
    halo: float
    lens: float
    slant: float


def outline(rng: Rng, radius: float) -> Points:
    """A drop's outline around (0, 0), shape (360, 2): a Fourier blob with dents, pinned points and notches."""
    theta = np.linspace(0.0, 2.0 * math.pi, 360, endpoint=False)
    wild = rng.choice([0.15, 0.5, 1.0, 1.6], p=[0.3, 0.35, 0.25, 0.1])
    r = np.ones_like(theta)
    for order in range(2, 8):
        r += wild * rng.normal(0.0, 0.16 / order**1.3) * np.cos(order * theta + rng.uniform(0, 2 * math.pi))
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.5 else 0):  # where the edge is pinned, the drop is drawn out
        at, width = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.25)
        r += rng.uniform(0.03, 0.14) * np.exp(-np.abs(np.angle(np.exp(1j * (theta - at)))) / width)
    if rng.random() < 0.25:  # a torn side
        at, span = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.8)
        for _ in range(int(rng.integers(2, 8))):
            notch, width = at + rng.uniform(-span, span), rng.uniform(0.03, 0.1)
            r += rng.uniform(-0.12, 0.07) * np.exp(-((np.angle(np.exp(1j * (theta - notch))) / width) ** 2))
    if rng.random() < 0.15:  # a dent
        at, width = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 0.6)
        r -= rng.uniform(0.1, 0.4) * np.exp(-((np.angle(np.exp(1j * (theta - at))) / width) ** 2))
    stretch = rng.uniform(0.8, 1.25)
    turn = rng.uniform(0, math.pi)
    x, y = r * np.cos(theta) * stretch, r * np.sin(theta) / stretch
    turned = np.stack([x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)], axis=1)
    return np.asarray(turned * radius, dtype=np.float64)


def _surface(rng: Rng, kind: str) -> _Surface:
    side_angle = float(rng.uniform(0, 2 * math.pi))
    if kind == "faint":
        body, rim, rim_width, side = ((0.94, 0.98) if rng.random() < 0.7 else (1.015, 1.035)), (0.0, 0.06), (0.1, 0.2), (0.0, 1.0)
        line, line_width, halo, lens = (0.06, 0.2), (1.0, 2.2), (0.0, 0.04), (0.0, 0.0)
    elif kind == "film":
        body, rim, rim_width, side = (0.78, 0.95), (0.05, 0.3), (0.1, 0.4), (0.0, 1.0)
        line, line_width, halo, lens = (0.1, 0.45), (1.2, 3.5), (0.0, 0.06), (0.0, 0.05)
    elif kind == "one_sided":
        body, rim, rim_width, side = (0.9, 1.02), (0.5, 0.95), (0.04, 0.2), (0.85, 1.0)
        line, line_width, halo, lens = (0.1, 0.5), (1.5, 4.0), (0.0, 0.08), (0.0, 0.06)
    else:
        body, rim, rim_width, side = (0.85, 1.0), (0.45, 0.92), (0.12, 0.55), (0.0, 0.6)
        line, line_width, halo, lens = (0.1, 0.6), (1.5, 5.0), (0.0, 0.08), (0.0, 0.22)
    slant = float(rng.normal(0.0, 0.12)) if kind != "faint" and rng.random() < 0.5 else 0.0

    def between(bounds: tuple[float, float]) -> float:
        return float(rng.uniform(*bounds))

    return _Surface(
        body=between(body),
        rim=between(rim),
        rim_width=between(rim_width),
        rim_fall=between((0.8, 1.7)),
        side=between(side),
        side_angle=side_angle,
        line=between(line),
        line_width=between(line_width),
        halo=between(halo),
        lens=between(lens),
        slant=slant,
    )


def _lobes(rng: Rng, shape: tuple[int, int], linear: Field, points: Points) -> Field:
    """Soft dark and bright patches that reach into the drop from dents and pinned points of its edge: factors of shape (h, w)."""
    size = float(np.sqrt(np.prod(np.ptp(points, axis=0))))
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, np.newaxis], np.arange(shape[1], dtype=np.float32)[np.newaxis, :]
    near = np.exp(-linear / np.float32(rng.uniform(0.15, 0.5)))
    factors = np.ones(shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 6))):
        x, y = points[int(rng.integers(len(points)))]
        angle, long, wide = rng.uniform(0, math.pi), size * rng.uniform(0.08, 0.35), size * rng.uniform(0.04, 0.16)
        along = (columns - np.float32(x)) * math.cos(angle) + (rows - np.float32(y)) * math.sin(angle)
        off = (rows - np.float32(y)) * math.cos(angle) - (columns - np.float32(x)) * math.sin(angle)
        amount = rng.uniform(0.2, 0.8) if rng.random() < 0.75 else -rng.uniform(0.05, 0.3)
        factors *= 1.0 - np.float32(amount) * near * np.exp(-((along / np.float32(long)) ** 2) - (off / np.float32(wide)) ** 2)
    return factors


def _ripples(rng: Rng, linear: Field, unit: float) -> Field:
    """Fine steps that run along a part of the edge, as a drop leaves them when it shrinks."""
    wave = float(rng.uniform(0.015, 0.05))
    part = np.clip(grain(child(rng), (linear.shape[0], linear.shape[1]), 200.0 * unit) + np.float32(0.4), 0, 1)
    fade = np.exp(-linear / np.float32(rng.uniform(0.06, 0.2)))
    return np.asarray(1.0 + np.float32(rng.uniform(0.02, 0.07)) * part * fade * np.sin(linear * np.float32(2 * math.pi / wave)), np.float32)


def _streaks(rng: Rng, shape: tuple[int, int], points: Points) -> Field:
    """Faint rays from the drop's middle outwards, as films show them between polarisers."""
    x, y = points.mean(axis=0) + rng.normal(0, 0.1, 2) * np.ptp(points, axis=0)
    rows, columns = np.arange(shape[0], dtype=np.float32)[:, np.newaxis], np.arange(shape[1], dtype=np.float32)[np.newaxis, :]
    count = int(rng.integers(60, 240))
    rays = rng.standard_normal(count).astype(np.float32)
    around = (np.arctan2(rows - np.float32(y), columns - np.float32(x)) + math.pi) * np.float32(count / (2 * math.pi))
    reach = np.hypot(rows - np.float32(y), columns - np.float32(x)) / np.float32(np.ptp(points, axis=0).mean() / 2)
    noise = np.interp(around.ravel(), np.arange(count + 1), np.append(rays, rays[0])).reshape(shape).astype(np.float32)
    return np.asarray(1.0 + np.float32(rng.uniform(0.008, 0.03)) * noise * np.clip(reach, 0, 1.2), dtype=np.float32)


def _shade(surface: _Surface, alpha: Field, linear: Field, depth: Field, room: Field, unit: float, points: Points, rng: Rng) -> Field:
    """The transmission of the drop's own body, shape (h, w); ``room`` is 1 within the well, where alone the edge shows."""
    near_edge = np.exp(-((linear / np.float32(surface.rim_width)) ** np.float32(surface.rim_fall)))
    gx = cv2.Sobel(linear, cv2.CV_32F, 1, 0, ksize=3)
    gy = cv2.Sobel(linear, cv2.CV_32F, 0, 1, ksize=3)
    norm = np.sqrt(gx * gx + gy * gy) + np.float32(1e-6)
    facing = blur((math.cos(surface.side_angle) * gx + math.sin(surface.side_angle) * gy) / norm, 10.0 * unit)
    weight = np.clip(1.0 - np.float32(surface.side) * (0.5 - 0.9 * facing), 0.0, 1.25)
    body = surface.body * (1.0 - np.float32(surface.rim) * near_edge * weight) + np.float32(surface.lens) * depth**2
    if surface.slant:  # the surface tips the light to one side
        centre = points.mean(axis=0)
        across = (np.arange(alpha.shape[1], dtype=np.float32) - np.float32(centre[0]))[np.newaxis, :] * math.cos(surface.side_angle)
        down = (np.arange(alpha.shape[0], dtype=np.float32) - np.float32(centre[1]))[:, np.newaxis] * math.sin(surface.side_angle)
        body = body * (1.0 + np.float32(surface.slant) * np.tanh((across + down) * np.float32(2.0 / max(alpha.shape))))
    if rng.random() < 0.5:
        body = body * (1.0 + np.float32(rng.uniform(0.01, 0.05)) * grain(rng, alpha.shape, 160.0 * unit))
    relief_rng = child(rng)
    if surface.rim > 0.1 and relief_rng.random() < 0.6:
        body = body * _lobes(relief_rng, alpha.shape, linear, points)
    if relief_rng.random() < 0.2:
        body = body * _ripples(relief_rng, linear, unit)
    if relief_rng.random() < 0.12:
        body = body * _streaks(relief_rng, alpha.shape, points)
    canvas = np.full(alpha.shape, 128, dtype=np.uint8)
    stroke(canvas, points, 255, surface.line_width * unit, closed=True)
    ring = room * blur((canvas.astype(np.float32) - 128.0) / 127.0, 0.4 * surface.line_width * unit)
    wide = blur(ring, 3.5 * max(unit, 0.3))
    varied = np.clip(0.8 + 0.5 * grain(rng, alpha.shape, 220.0 * unit), 0.15, 1.5)
    shade = 1.0 + alpha * (body - 1.0)
    shade = shade * (1.0 - np.clip(np.float32(surface.line) * varied, 0, 0.92) * ring) + np.float32(surface.halo) * wide
    return np.asarray(np.maximum(shade, 0.02), dtype=np.float32)


def draw_drop(rng: Rng, well: Well, unit: float, size: float = 1.0) -> Layer | None:
    """The clear drop in its well, as a layer over the drop's surroundings; None if it would not show in the image."""
    height, width = well.mask.shape
    kind = str(rng.choice(["faint", "film", "dome", "one_sided"], p=[0.16, 0.27, 0.37, 0.2]))
    surface = _surface(rng, kind)
    base = min(well.radius, 560.0 * unit)
    radius = size * base * float(rng.triangular(0.18, 0.42, 0.85))
    toward = rng.uniform(0, 2 * math.pi)
    touches = rng.random() < 0.22
    off = base * (rng.uniform(0.75, 1.0) if touches else rng.uniform(0.0, 0.45) * max(0.2, 1.0 - radius / base))
    points = outline(child(rng), radius)
    x, y = well.centre[0] + off * math.cos(toward), well.centre[1] + off * math.sin(toward)
    margin = 0.0 if rng.random() < 0.12 else 0.6
    x = float(np.clip(x, margin * radius, width - margin * radius)) if margin * radius < width / 2 else width / 2
    y = float(np.clip(y, margin * radius, height - margin * radius)) if margin * radius < height / 2 else height / 2
    points = points + np.array([x, y])
    spare = 12.0 * unit + 2.0
    x0, y0 = (int(max(points[:, axis].min() - spare, 0)) for axis in (0, 1))
    x1, y1 = (int(min(points[:, axis].max() + spare, extent)) for axis, extent in ((0, width), (1, height)))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    canvas = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    local = points - np.array([x0, y0])
    fill(canvas, local, 255)
    room = well.mask[y0:y1, x0:x1].astype(np.float32)
    alpha = canvas.astype(np.float32) / 255.0 * room
    if (alpha > 0.5).sum() < 12:
        return None
    free = cv2.copyMakeBorder((canvas > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    away = cv2.distanceTransform(free, cv2.DIST_L2, 5)[1:-1, 1:-1]
    linear = blur(np.minimum(away / max(float(away.max()), 1.0), 1.0).astype(np.float32), 2.5 * unit)
    depth = blur(np.sqrt(np.maximum(1.0 - (1.0 - linear) ** 2, 0.0)).astype(np.float32), 2.0 * unit) * (alpha > 0)
    shade = _shade(surface, alpha, linear.astype(np.float32), depth, room, unit, local, child(rng))
    blank = np.zeros(alpha.shape, dtype=np.float32)
    return Layer(unit, x0, y0, shade, blank, np.zeros(alpha.shape, dtype=np.uint8), alpha.astype(np.float32), depth.astype(np.float32))
