"""The UV mate of a drawn well: fluorescence of tryptophan, in which protein glows and salt stays dark.

Made from what is true of the well, so that it has the geometry of the visible picture: a dark background, a faintly glowing drop, crystals
of protein bright with brighter edges, precipitate a diffuse glow, dust and fibres that glow at times. Crystals of salt and of
proteins whose chromophore takes up the light (P29) do not glow.
"""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from crystal_search.classes import CRYSTAL_CLASSES
from training.synthetic.drawing import SyntheticWell
from training.synthetic.layer import Box, mark_of, stroke
from training.synthetic.textures import Field, Rng, blur, child, cloud, curve
from training.synthetic.wells import REFERENCE_WIDTH

_PROPERTIES, _CAMERA, _NATURE = 101, 102, 103
_FEATURE = "clear_with_other_features"
#: Share of the drops with crystals whose crystals are salt.
SALT_SHARE = 0.2
#: What glows diffusely: a range of brightness (white is 1) and the blur of its edge in px of 1280.
_DIFFUSE: dict[str, tuple[float, float, float]] = {
    "precipitate": (0.10, 0.26, 14.0),
    "precipitate_bad": (0.14, 0.36, 12.0),
    "precipitate_good": (0.05, 0.14, 18.0),
    "null_experiment": (0.04, 0.16, 10.0),
    "other": (0.02, 0.08, 10.0),
    "spherulites": (0.12, 0.45, 2.5),
    "phase_separation": (0.06, 0.22, 3.0),
}


class Nature(StrEnum):
    """What a drop's crystals are of."""

    PROTEIN = "protein"
    SALT = "salt"
    CHROMOPHORE = "chromophore"


def nature_of(well: SyntheticWell, chromophore: bool = False) -> Nature | None:
    """What the crystals of ``well`` are of, by its seed: the same at each inspection; None for a well without crystals.

    About :data:`SALT_SHARE` are salt, the rest protein, which has a chromophore where ``chromophore`` says so: that is the plate's.
    """
    if well.class_name not in CRYSTAL_CLASSES:
        return None
    salt = np.random.default_rng([well.seed, _NATURE]).random() < SALT_SHARE
    return Nature.SALT if salt else Nature.CHROMOPHORE if chromophore else Nature.PROTEIN


def draw_uv_mate(
    well: SyntheticWell, *, chromophore: bool = False, nature: Nature | None = None, inspection: int = 0, width: int | None = None
) -> npt.NDArray[np.uint8]:
    """The UV picture of ``well``, uint8 (h, w): as large as its image, or ``width`` px wide with the same geometry.

    ``chromophore``: the plate's protein does not glow. ``nature`` says what the crystals are of where :func:`nature_of` shall not.
    The same well, options and ``inspection`` give the same pixels; another inspection has other noise and focus.
    """
    nature = nature or nature_of(well, chromophore) or Nature.PROTEIN
    unit = well.image.shape[1] / REFERENCE_WIDTH
    rng = np.random.default_rng([well.seed, _PROPERTIES])
    drop, diffuse, bodies, dirt = (child(rng) for _ in range(4))
    quenched = chromophore or nature is Nature.CHROMOPHORE
    # Where crystals are salt, most of what else came out of the drop is salt, too; its protein is still dissolved.
    glow = (0.15 if quenched else 1.0) * _drop_glow(well, drop, unit)
    glow = glow + (0.15 if quenched else 0.2 if nature is Nature.SALT else 1.0) * _diffuse_glow(well, diffuse, unit)
    crystals = np.isin(well.object_mask, [mark_of(name) for name in CRYSTAL_CLASSES])
    if crystals.any():
        if nature is Nature.PROTEIN:
            glow = np.maximum(glow, _crystal_glow(well, crystals, bodies, unit))
        else:  # what does not glow hides a little of what glows below it
            glow = glow * (1.0 - np.float32(0.3) * blur(crystals.astype(np.float32), 1.5 * unit))
    glow = glow + _dirt_glow(well, dirt, unit)
    if width is not None and width != glow.shape[1]:
        size = (width, round(glow.shape[0] * width / glow.shape[1]))
        glow = cv2.resize(glow.astype(np.float32), size, interpolation=cv2.INTER_AREA if width < glow.shape[1] else cv2.INTER_LINEAR)
        unit = width / REFERENCE_WIDTH
    return _photograph_uv(glow, np.random.default_rng([well.seed, _CAMERA, inspection]), unit)


def _drop_glow(well: SyntheticWell, rng: Rng, unit: float) -> Field:
    """The dissolved protein: a few gray levels, its edge soft, so that no contour is found there."""
    level = np.float32(rng.uniform(0.015, 0.06))
    return level * blur(well.drop_mask.astype(np.float32), 5.0 * unit)


def _diffuse_glow(well: SyntheticWell, rng: Rng, unit: float) -> Field:
    """Precipitate, skins and droplets: brightness by class, uneven, without sharp edges."""
    shape = well.object_mask.shape
    total = np.zeros(shape, dtype=np.float32)
    uneven = np.clip(1.0 + 0.35 * cloud(child(rng), (shape[0] // 4, shape[1] // 4), 30.0 * unit, 3), 0.2, 2.0).astype(np.float32)
    uneven = cv2.resize(uneven, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    for name, (low, high, soft) in _DIFFUSE.items():
        level = np.float32(rng.uniform(low, high))
        there = well.object_mask == mark_of(name)
        if there.any():
            total = total + level * blur(there.astype(np.float32), soft * unit) * uneven
    return total


def _inside(boxes: tuple[Box, ...], names: tuple[str, ...], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels within boxes of the classes ``names``."""
    seen = np.zeros(shape, dtype=np.bool_)
    for box in boxes:
        if box.class_name in names:
            seen[box.y0 : box.y1, box.x0 : box.x1] = True
    return seen


def _crystal_glow(well: SyntheticWell, crystals: npt.NDArray[np.bool_], rng: Rng, unit: float) -> Field:
    """Crystals of protein, each with a brightness of its own; light leaves by the edges and facets, as the visible picture shows them."""
    body, edge = rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.4)
    each = np.zeros(crystals.shape, dtype=np.float32)
    for box in well.boxes:
        if box.class_name in CRYSTAL_CLASSES:
            part = each[box.y0 : box.y1, box.x0 : box.x1]
            np.maximum(part, np.float32(rng.uniform(0.6, 1.0)), out=part)
    each[each == 0.0] = np.float32(0.8)
    solid = crystals.astype(np.float32)
    rim = np.clip(2.0 * (solid - blur(solid, max(1.5 * unit, 0.6))), 0.0, 1.0)
    gray = cv2.cvtColor(well.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    facets = np.clip((gray - blur(gray, 6.0 * unit)) / 40.0, -1.0, 1.0)
    return np.asarray(each * solid * (np.float32(body) * (1.0 + 0.25 * facets) + np.float32(edge) * rim), dtype=np.float32)


def _dirt_glow(well: SyntheticWell, rng: Rng, unit: float) -> Field:
    """Fibres in a third of the wells that have them, a lone one at times, and specks in a third of all wells."""
    shape = well.object_mask.shape
    marked = (well.object_mask == mark_of(_FEATURE)) & ~_inside(well.boxes, (_FEATURE,), shape)  # bubbles have boxes and do not glow
    marks, fibre, specks = (child(rng) for _ in range(3))
    total = np.zeros(shape, dtype=np.float32)
    if marks.random() < 0.35:
        total += np.float32(marks.uniform(0.1, 0.4)) * marked
    canvas = np.full(shape, 128, dtype=np.uint8)
    if fibre.random() < 0.1:
        start = fibre.uniform(0.1, 0.9, 2) * np.array([shape[1], shape[0]])
        stroke(
            canvas,
            curve(fibre, start, fibre.uniform(40, 200) * unit, 2.0, 40),
            int(fibre.uniform(150, 190)),
            fibre.uniform(1.2, 3.0) * unit,
        )
    if specks.random() < 0.35:
        for _ in range(int(specks.integers(1, 6))):
            x, y = specks.uniform(0.0, 1.0, 2) * np.array([shape[1], shape[0]])
            reach = specks.uniform(0.6, 2.5) * unit
            stroke(canvas, np.array([[x - reach, y], [x + reach, y]]), int(specks.uniform(150, 230)), reach)
    return np.asarray(total + (canvas.astype(np.float32) - 128.0) / 127.0, dtype=np.float32)


def _photograph_uv(glow: Field, rng: Rng, unit: float) -> npt.NDArray[np.uint8]:
    """What a UV camera makes of ``glow`` (h, w), 0 to 1: stray light, focus, noise that grows with the light, 8 bits and JPEG."""
    stray, focus = rng.uniform(0.015, 0.05), rng.uniform(0.5, 1.6)
    noise, quality = rng.uniform(0.006, 0.016), int(rng.integers(72, 94))
    coarse = cloud(child(rng), (max(glow.shape[0] // 16, 8), max(glow.shape[1] // 16, 8)), 40.0 * unit, 2)
    haze = cv2.resize((stray * (1.0 + 0.2 * coarse)).astype(np.float32), (glow.shape[1], glow.shape[0]))
    light = blur(glow.astype(np.float32), focus * unit) + haze
    grains = child(rng).standard_normal(light.shape, dtype=np.float32)
    light = light + grains * np.float32(noise * min(1.0, 1.5 * unit)) * (1.0 + np.sqrt(np.clip(light, 0.0, 1.0)))
    picture = np.clip(255.0 * light, 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
