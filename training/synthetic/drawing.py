"""Draws whole wells with their ground truth: a pure function of a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystal_search.classes import CRYSTAL_CLASSES
from training.synthetic.camera import Camera, draw_camera, photograph
from training.synthetic.crystals import paint_bad_form, paint_harvestable, paint_overnucleated
from training.synthetic.dirt import paint_features, soil, soil_drop
from training.synthetic.drops import draw_drop
from training.synthetic.drying import dry_out
from training.synthetic.layer import Box, Layer
from training.synthetic.others import paint_null, paint_other, paint_phase_separation, paint_spherulites
from training.synthetic.precipitates import paint_haze, paint_precipitate, paint_precipitate_bad, paint_precipitate_good
from training.synthetic.textures import Rng
from training.synthetic.unseen import UNSEEN_IMAGERS, draw_unseen_camera, draw_unseen_style, draw_variation, vary
from training.synthetic.wells import IMAGERS, REFERENCE_WIDTH, Style, Well, draw_empty_well, draw_style


@dataclass(frozen=True)
class SyntheticWell:
    """A drawn well and what is true of it.

    ``image`` uint8 (h, w, 3) RGB; ``drop_mask`` and ``well_mask`` bool (h, w); ``class_name`` of the drop, None for a well without one;
    ``boxes`` of crystals, spherulites, droplets and bubbles; ``object_mask`` uint8 (h, w): 0 for nothing, else 1 + the index in
    ``crystal_search.classes.NAMES`` of what covers the pixel; ``um_per_px`` of this image, None where the imager's scale is unknown.
    """

    image: npt.NDArray[np.uint8]
    drop_mask: npt.NDArray[np.bool_]
    well_mask: npt.NDArray[np.bool_]
    class_name: str | None
    boxes: tuple[Box, ...]
    object_mask: npt.NDArray[np.uint8]
    imager: str
    um_per_px: float | None
    seed: int


@dataclass(frozen=True)
class _Scene:
    """What is to be drawn; ``plate`` is the seed of what the wells of a plate share, None for a well on its own."""

    seed: int
    class_name: str | None
    width: int
    imager: str
    plate: int | None = None
    inspection: int = 0
    maturity: float = 1.0
    dryness: float = 0.0
    dirt: float = 1.0


def _paint_clear(layer: Layer, rng: Rng, maturity: float = 1.0) -> None:
    """Nothing grows in a clear drop."""


_PAINTERS: dict[str, Callable[[Layer, Rng, float], None]] = {
    "crystals_harvestable": paint_harvestable,
    "crystals_bad_form": paint_bad_form,
    "crystals_overnucleated": paint_overnucleated,
    "precipitate": paint_precipitate,
    "precipitate_bad": paint_precipitate_bad,
    "precipitate_good": paint_precipitate_good,
    "null_experiment": paint_null,
    "other": paint_other,
    "spherulites": paint_spherulites,
    "phase_separation": paint_phase_separation,
    "clear": _paint_clear,
    "clear_with_other_features": paint_features,
}

#: The classes that a drop can have: all but ``rim``.
DROP_CLASSES: tuple[str, ...] = tuple(_PAINTERS)
#: Classes among whose things a little precipitate may lie.
_HAZY = ("crystals_harvestable", "crystals_bad_form", "crystals_overnucleated", "spherulites", "phase_separation", "other")
#: Classes whose things may lie around crystals.
_AROUND_CRYSTALS = ("precipitate", "precipitate_bad", "precipitate_good", "other")
_EMPTY_SHARE = 0.17
_COMMON = {"clear": 1.8, "precipitate": 1.3, "crystals_harvestable": 1.5}
#: Weights of red, green and blue in the brown that precipitate absorbs.
_BROWN = np.array([0.75, 1.0, 1.4], dtype=np.float32)

# Each part of a picture draws from a stream of its own: a change in one leaves the others as they were.
_CHOICE, _WELL, _DROP, _CONTENTS, _DROP_DIRT, _WELL_DIRT, _CAMERA, _PLATE, _DRYING, _VARIATION = range(10)


def _stream(seed: int, part: int, detail: int = 0) -> Rng:
    return np.random.default_rng([seed, part, detail])


def _choose(seed: int, class_name: str | None, imager: str | None, plate: int | None) -> tuple[str | None, str]:
    rng = _stream(seed, _CHOICE)
    chosen_imager = str(rng.choice(IMAGERS))
    if plate is not None:
        chosen_imager = str(_stream(plate, _CHOICE).choice(IMAGERS))
    empty, pick = rng.random() < _EMPTY_SHARE, rng.random()
    if class_name == "random":
        weights = np.cumsum([_COMMON.get(name, 1.0) for name in DROP_CLASSES])
        class_name = None if empty else DROP_CLASSES[int(np.searchsorted(weights / weights[-1], pick))]
    if class_name is not None and class_name not in _PAINTERS:
        raise ValueError(f"unknown drop class {class_name!r}: known are {', '.join(DROP_CLASSES)}")
    if imager is not None and imager not in (*IMAGERS, *UNSEEN_IMAGERS):
        raise ValueError(f"unknown imager {imager!r}: known are {', '.join((*IMAGERS, *UNSEEN_IMAGERS))}")
    return class_name, imager or chosen_imager


def _blank_layer(well: Well, unit: float) -> Layer:
    """A layer over the whole image, for what lies anywhere on the plate."""
    shape = well.mask.shape
    ones = np.ones(shape, dtype=np.float32)
    return Layer(unit, 0, 0, np.ones_like(ones), np.zeros_like(ones), np.zeros(shape, dtype=np.uint8), ones, ones)


def _style(scene: _Scene) -> Style | None:
    """The style that the plate's wells share, each a little off its place; None where the well draws its own."""
    if scene.plate is None and scene.imager in IMAGERS:
        return None
    draw = draw_unseen_style if scene.imager in UNSEEN_IMAGERS else draw_style
    style = draw(_stream(scene.seed if scene.plate is None else scene.plate, _PLATE), scene.imager)
    x, y = _stream(scene.seed, _WELL, 1).normal(0.0, 6.0, 2)
    return replace(style, centre=(style.centre[0] + x, style.centre[1] + y))


def _camera(scene: _Scene) -> Camera | None:
    """The plate's camera, focused anew for each picture; None where the picture draws its own."""
    draw = draw_unseen_camera if scene.imager in UNSEEN_IMAGERS else draw_camera
    own = draw(_stream(scene.seed, _CAMERA, scene.inspection))
    if scene.plate is None:
        return own if scene.imager in UNSEEN_IMAGERS else None
    return replace(draw(_stream(scene.plate, _PLATE, 1)), focus=own.focus)


def _fill(drop: Layer, scene: _Scene, class_name: str) -> None:
    """Paints what is in the drop."""
    contents = _stream(scene.seed, _CONTENTS, DROP_CLASSES.index(class_name))
    if class_name in CRYSTAL_CLASSES and contents.random() < 0.15:  # crystals grow out of precipitate and under skins, too
        _PAINTERS[str(contents.choice(_AROUND_CRYSTALS))](drop, contents, 0.7)
    elif class_name in _HAZY and contents.random() < 0.25:
        paint_haze(drop, contents)
    if scene.dirt > 0:
        soil_drop(drop, _stream(scene.seed, _DROP_DIRT))
    _PAINTERS[class_name](drop, contents, scene.maturity)


def _draw(scene: _Scene) -> SyntheticWell:
    seed, class_name = scene.seed, scene.class_name
    unit = scene.width / REFERENCE_WIDTH
    well = draw_empty_well(_stream(seed, _WELL), scene.imager, scene.width, _style(scene))
    variation = draw_variation(_stream(seed, _VARIATION)) if scene.imager in UNSEEN_IMAGERS else None
    size = variation.drop_size if variation else 1.0
    drop = draw_drop(_stream(seed, _DROP), well, unit, size) if class_name is not None else None
    shape = well.mask.shape
    drop_mask = np.zeros(shape, dtype=np.bool_)
    object_mask = np.zeros(shape, dtype=np.uint8)
    light = well.light
    boxes: tuple[Box, ...] = ()
    if drop is not None and class_name is not None:
        dry_out(drop, _stream(seed, _DRYING), scene.dryness)
        if variation:
            bare = drop.transmission.copy()
            drop.unit *= variation.content_scale
            _fill(drop, scene, class_name)
            vary(bare, drop, variation)
        else:
            _fill(drop, scene, class_name)
        part = (slice(drop.y0, drop.y0 + drop.shape[0]), slice(drop.x0, drop.x0 + drop.shape[1]))
        light[part] *= drop.transmission[..., np.newaxis]
        if drop.absorption.any():
            brown = _BROWN if light.shape[2] == 3 else _BROWN[1:2]
            light[part] *= np.exp(-drop.absorption[..., np.newaxis] * brown)
        drop_mask[part] = drop.inside > 0.5
        object_mask[part] = drop.marks
        boxes = tuple(drop.boxes)
    plate = _blank_layer(well, unit)
    soil(plate, _stream(seed, _WELL_DIRT), scene.dirt * (1.3 if class_name is None else 1.0))
    light *= plate.transmission[..., np.newaxis]
    image = photograph(light, _stream(seed, _CAMERA, scene.inspection), unit, _camera(scene))
    present = class_name if drop is not None else None
    return SyntheticWell(image, drop_mask, well.mask, present, boxes, object_mask, scene.imager, well.um_per_px, seed)


def draw_well(
    seed: int,
    class_name: str | None = "random",
    *,
    width: int = 1280,
    imager: str | None = None,
    plate: int | None = None,
    dirt: float = 1.0,
) -> SyntheticWell:
    """A well drawn from ``seed``, ``width`` px wide: the same seed gives the same pixels, another width the same scene.

    ``class_name`` is one of ``DROP_CLASSES``, None for a well without a drop, or ``"random"``, of which about 17 % have no drop.
    ``imager`` is one of ``IMAGERS``, of which None draws one, or of ``UNSEEN_IMAGERS``, which are drawn only where they are named.
    Wells of one number ``plate`` share the imager, its light and its camera. ``dirt`` is how much dust, lint and scratches there are,
    0 for none. Raises ``ValueError`` for an unknown class or imager.
    """
    chosen, chosen_imager = _choose(seed, class_name, imager, plate)
    return _draw(_Scene(seed, chosen, width, chosen_imager, plate, dirt=dirt))


def draw_time_course(
    seed: int,
    class_names: Sequence[str | None],
    *,
    width: int = 1280,
    imager: str | None = None,
    plate: int | None = None,
    dryness: Sequence[float] = (),
) -> list[SyntheticWell]:
    """One picture for each inspection of one drop: same well, outline and dirt; contents as named, growing while the class stays.

    ``dryness`` has for each inspection the share of the drop, 0 to 1, that has dried: it draws back within its outline, leaves a stain
    and grows darker; the class stays as named (a drop that dried out is a null experiment). Empty: no drop dries. ``plate`` as in
    :func:`draw_well`. Raises ``ValueError`` for an unknown class or imager and for a ``dryness`` that does not fit.
    """
    if dryness and (len(dryness) != len(class_names) or not all(0.0 <= dried <= 1.0 for dried in dryness)):
        raise ValueError(f"dryness {list(dryness)} is not one number from 0 to 1 for each of {len(class_names)} inspections")
    course = []
    age = 0
    for inspection, class_name in enumerate(class_names):
        age = age + 1 if inspection and class_name == class_names[inspection - 1] else 0
        chosen, chosen_imager = _choose(seed, class_name, imager, plate)
        remaining = sum(1 for later in class_names[inspection + 1 :] if later == class_name)
        maturity = 1.0 if remaining == 0 else (age + 1.5) / (age + 1.5 + remaining)
        dried = dryness[inspection] if dryness else 0.0
        course.append(_draw(_Scene(seed, chosen, width, chosen_imager, plate, inspection, maturity, dried)))
    return course
