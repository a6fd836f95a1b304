"""Chops cut from drawn wells, labelled by what is in each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from client_app.preprocess import BRIGHTNESS_CEILING, BRIGHTNESS_PERCENTILE, normalise_chops
from crystal_search.classes import CRYSTAL_CLASSES, NAMES
from training.synthetic.drawing import DROP_CLASSES, SyntheticWell, draw_well
from training.synthetic.layer import mark_of
from training.synthetic.textures import Rng

#: A class that fills the drop, such as precipitate, names a chop that it covers by this share ...
CLEARLY = 0.3
#: ... and leaves one alone that it covers by less than this share; in between, the chop is dropped.
HARDLY = 0.02
#: A thing with a box, such as a crystal, names a chop that holds this share of its box ...
MOST = 0.6
#: ... and whose centre lies within this share of the chop's width. Nothing is padded, so the network sees its window's
#: middle best; the middle of the next window is never far away.
CENTRAL = 0.45
#: Clear drops give their name to few chops, as every drop has clear ones and a rim.
_WEIGHTS = {
    "clear": 0.5,
    "clear_with_other_features": 1.6,
    "crystals_harvestable": 1.5,
    "crystals_bad_form": 1.2,
    "other": 1.2,
    "null_experiment": 1.2,
}
_BOXED = (*CRYSTAL_CLASSES, "spherulites")


@dataclass(frozen=True)
class Chop:
    """A square of a normalised image: float32 (window, window), 0 to 1.6 (in colour with a last axis of three), and what is in it."""

    pixels: npt.NDArray[np.float32]
    class_name: str


def _boxed_class(well: SyntheticWell, x: float, y: float, side: float, covered: dict[str, float], central: float) -> str | None:
    """The first class by priority of which a good part of a body lies well inside the square, or which fills the square."""
    for name in _BOXED:
        if covered.get(name, 0.0) >= CLEARLY:
            return name
        if covered.get(name, 0.0) == 0.0:
            continue
        for box in well.boxes:
            if box.class_name != name:
                continue
            width, height = min(box.x1, x + side) - max(box.x0, x), min(box.y1, y + side) - max(box.y0, y)
            if width <= 0 or height <= 0 or width * height < MOST * (box.x1 - box.x0) * (box.y1 - box.y0):
                continue
            off = max(abs((box.x0 + box.x1) / 2 - x - side / 2), abs((box.y0 + box.y1) / 2 - y - side / 2))
            if off <= central * side / 2:
                return name
    return None


def label_chop(well: SyntheticWell, x: int, y: int, side: int, central: float = CENTRAL) -> str | None:
    """The class of the square with corner (x, y) and ``side`` px; None where it is ambiguous and better left out."""
    part = (slice(y, y + side), slice(x, x + side))
    counts = np.bincount(well.object_mask[part].ravel(), minlength=len(NAMES) + 1) / float(side * side)
    covered = {name: float(counts[mark_of(name)]) for name in NAMES if counts[mark_of(name)] > 0}
    boxed = _boxed_class(well, x, y, side, covered, central)
    if boxed is not None:
        return boxed
    if any(name in covered for name in _BOXED):
        return None
    for name in NAMES:
        share = covered.get(name, 0.0)
        if name == "clear_with_other_features":
            continue
        if share >= CLEARLY or (name in ("phase_separation", "null_experiment") and share >= 0.12):
            return name
        if share > HARDLY:
            return None
    feature = covered.get("clear_with_other_features", 0.0)
    if feature > 0.008:
        return "clear_with_other_features"
    if feature > 0.001:
        return None
    inside = float(well.drop_mask[part].mean())
    if 0.03 < inside < 0.97:
        return "rim"
    return "clear"


def _corners(well: SyntheticWell, rng: Rng, side: int, count: int, central: float) -> list[tuple[int, int]]:
    """Corners to try: around bodies, anywhere in the drop, along its edge, just outside of it."""
    height, width = well.object_mask.shape
    rows, columns = np.nonzero(well.drop_mask[::4, ::4])
    found: list[tuple[float, float]] = []
    boxed = [box for box in well.boxes if box.class_name != "phase_separation"]
    for _ in range(count):
        way = rng.random()
        if boxed and way < 0.5:
            box = boxed[int(rng.integers(len(boxed)))]
            spare = 0.4 * central * side
            found.append(((box.x0 + box.x1) / 2 + rng.uniform(-spare, spare), (box.y0 + box.y1) / 2 + rng.uniform(-spare, spare)))
        elif len(rows) and way < 0.92:
            pick = int(rng.integers(len(rows)))
            found.append((4.0 * columns[pick], 4.0 * rows[pick]))
        elif len(rows):
            found.append((rng.uniform(4 * columns.min(), 4 * columns.max() + 4), rng.uniform(4 * rows.min(), 4 * rows.max() + 4)))
        else:
            found.append((rng.uniform(0, width), rng.uniform(0, height)))
    return [(int(np.clip(x - side / 2, 0, width - side)), int(np.clip(y - side / 2, 0, height - side))) for x, y in found]


def choose_class(seed: int) -> str | None:
    """The class of the well that ``seed`` stands for: seeds in a row step through the classes by the golden ratio, so that few show all."""
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in DROP_CLASSES])
    place = (seed * 0.6180339887498949) % 1.0
    if np.random.default_rng([seed, 78]).random() < 0.04:
        return None
    return DROP_CLASSES[int(np.searchsorted(np.cumsum(weights / weights.sum()), place))]


def cut_chops(
    well: SyntheticWell,
    rng: Rng,
    window: int,
    per_well: int,
    zoom: tuple[float, float],
    colour: bool = False,
    central: float = CENTRAL,
) -> list[Chop]:
    """Up to ``per_well`` chops of a drawn well, magnified by a random factor of the range ``zoom``; few show nothing but clear or rim.

    Pixels are brightness over the whole image's 92nd percentile, as :func:`client_app.preprocess.normalise_chops` has it; with ``colour``
    they are (window, window, 3), red, green and blue over the same number.
    """
    luminance = cv2.cvtColor(well.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if colour:
        reference = max(float(np.percentile(luminance, BRIGHTNESS_PERCENTILE)), 1.0)
        normal = np.minimum(well.image.astype(np.float32) / np.float32(reference), np.float32(BRIGHTNESS_CEILING))
    else:
        normal = normalise_chops(luminance)
    most = {"clear": max(1, per_well // 6), "rim": max(1, per_well // 6), "clear_with_other_features": max(2, per_well // 3)}
    taken: dict[str, int] = {}
    chops: list[Chop] = []
    side = round(window / float(np.exp(rng.uniform(np.log(zoom[0]), np.log(zoom[1])))))
    side = min(side, *well.object_mask.shape)
    for x, y in _corners(well, rng, side, 4 * per_well, central):
        label = label_chop(well, x, y, side, central)
        if label is None or taken.get(label, 0) >= most.get(label, per_well):
            continue
        taken[label] = taken.get(label, 0) + 1
        pixels = normal[y : y + side, x : x + side]
        if side != window:
            pixels = cv2.resize(pixels, (window, window), interpolation=cv2.INTER_AREA if side > window else cv2.INTER_LINEAR)
        chops.append(Chop(np.ascontiguousarray(pixels, dtype=np.float32), label))
        if len(chops) == per_well:
            break
    return chops


def draw_chops(seed: int, *, window: int = 224, per_well: int = 12, zoom: tuple[float, float] = (0.7, 1.5)) -> list[Chop]:
    """Up to ``per_well`` chops of one drawn well of 1280 px; over seeds, classes come out roughly balanced. See :func:`cut_chops`."""
    return cut_chops(draw_well(seed, choose_class(seed)), np.random.default_rng([seed, 77]), window, per_well, zoom)
