"""Drawn wells tell the truth about themselves: pictures, masks, boxes and labels agree, and a seed always draws the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from client_app.preprocess import BRIGHTNESS_CEILING
from crystal_search.classes import NAMES
from training.synthetic import DROP_CLASSES, IMAGERS, Box, SyntheticWell, draw_chops, draw_time_course, draw_well, label_chop, mark_of

SMALL = 320


def test_a_drop_can_have_every_class_but_rim() -> None:
    assert set(DROP_CLASSES) == set(NAMES) - {"rim"}


@pytest.mark.parametrize("name", [*DROP_CLASSES, None])
def test_picture_masks_and_boxes_agree(name: str | None) -> None:
    for seed in (11, 12):
        well = draw_well(seed, name, width=SMALL)
        height, width = well.image.shape[:2]
        assert well.image.dtype == np.uint8
        assert well.image.shape == (height, SMALL, 3)
        assert well.drop_mask.shape == well.well_mask.shape == well.object_mask.shape == (height, width)
        assert well.drop_mask.dtype == well.well_mask.dtype == np.bool_
        assert well.object_mask.dtype == np.uint8
        assert well.class_name == name
        assert not (well.drop_mask & ~well.well_mask).any(), "a drop lies in its well"
        assert not well.object_mask[~well.drop_mask].any(), "objects lie in the drop"
        assert set(np.unique(well.object_mask)) <= {0} | {mark_of(known) for known in NAMES}
        if name is None:
            assert not well.drop_mask.any()
            assert well.boxes == ()
            continue
        assert well.drop_mask.any()
        rows, columns = np.nonzero(well.drop_mask)
        for box in well.boxes:
            assert columns.min() <= box.x0 < box.x1 <= columns.max() + 1
            assert rows.min() <= box.y0 < box.y1 <= rows.max() + 1
            assert box.class_name in NAMES


@pytest.mark.parametrize("name", ["crystals_harvestable", "crystals_bad_form", "crystals_overnucleated", "spherulites"])
def test_bodies_are_boxed_and_can_be_seen(name: str) -> None:
    clear, full = draw_well(5, "clear", width=640, imager="vmxi_gray"), draw_well(5, name, width=640, imager="vmxi_gray")
    assert np.array_equal(clear.drop_mask, full.drop_mask), "the contents leave the drop's outline alone"
    body = full.object_mask == mark_of(name)
    assert body.any()
    assert any(box.class_name == name for box in full.boxes)
    changed = np.abs(clear.image.astype(int) - full.image.astype(int)).max(axis=2)
    assert changed[body].mean() > 8 > 4 > changed[~full.drop_mask].mean()


def test_no_crystal_is_as_small_as_a_speck() -> None:
    for seed in range(4):
        boxes = draw_well(seed, "crystals_overnucleated").boxes
        extents = [max(box.x1 - box.x0, box.y1 - box.y0) for box in boxes if box.class_name == "crystals_overnucleated"]
        assert extents
        assert np.median(extents) >= 4


@pytest.mark.parametrize("imager", IMAGERS)
def test_same_seed_same_pixels_other_seed_other_pixels(imager: str) -> None:
    once, again, other = (draw_well(seed, "precipitate", width=192, imager=imager) for seed in (3, 3, 4))
    assert np.array_equal(once.image, again.image)
    assert np.array_equal(once.object_mask, again.object_mask)
    assert once.boxes == again.boxes
    assert once.imager == imager
    assert not np.array_equal(once.image, other.image)


def test_other_width_same_scene() -> None:
    small, large = draw_well(21, "clear", width=192), draw_well(21, "clear", width=768)
    assert small.imager == large.imager
    assert large.image.shape[1] == 4 * small.image.shape[1]
    reduced = large.drop_mask[2::4, 2::4][: small.drop_mask.shape[0]]
    overlap = (reduced & small.drop_mask).sum() / (reduced | small.drop_mask).sum()
    assert overlap > 0.93
    if small.um_per_px and large.um_per_px:
        assert small.um_per_px == pytest.approx(4 * large.um_per_px)


def test_random_wells_are_sometimes_empty() -> None:
    wells = [draw_well(seed, width=96) for seed in range(90)]
    empty = sum(well.class_name is None for well in wells)
    assert 2 <= empty <= 29  # 17 % of 90 is 15, four deviations each way
    assert {well.imager for well in wells} == set(IMAGERS)


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="unknown drop class 'rim'"):
        draw_well(0, "rim", width=96)
    with pytest.raises(ValueError, match="unknown imager"):
        draw_well(0, width=96, imager="pinhole")


def test_a_time_course_shows_one_drop() -> None:
    course = draw_time_course(9, ["clear", "crystals_harvestable", "crystals_harvestable"], width=SMALL, imager="rock_imager_1224")
    assert [well.class_name for well in course] == ["clear", "crystals_harvestable", "crystals_harvestable"]
    assert all(np.array_equal(well.drop_mask, course[0].drop_mask) for well in course)
    crystal = [int((well.object_mask == mark_of("crystals_harvestable")).sum()) for well in course]
    assert crystal[0] == 0 < crystal[1] < crystal[2]


def _scene(marked: Box | None, mark: str, drop: slice = slice(0, 400)) -> SyntheticWell:
    """A well of 400 x 400 px whose drop covers the columns ``drop``, with one marked body."""
    mask = np.zeros((400, 400), dtype=np.bool_)
    mask[:, drop] = True
    objects = np.zeros((400, 400), dtype=np.uint8)
    if marked:
        objects[marked.y0 : marked.y1, marked.x0 : marked.x1] = mark_of(mark)
    image = np.zeros((400, 400, 3), dtype=np.uint8)
    return SyntheticWell(image, mask, np.ones_like(mask), mark, (marked,) if marked else (), objects, "any", None, 0)


def test_a_chop_is_named_by_what_is_in_it() -> None:
    crystal = _scene(Box(100, 100, 140, 140, "crystals_harvestable"), "crystals_harvestable")
    assert label_chop(crystal, 40, 40, 160) == "crystals_harvestable"
    assert label_chop(crystal, 200, 200, 160) == "clear", "a chop of a crystal's drop without the crystal"
    assert label_chop(crystal, 135, 40, 160) is None, "5 px of crystal at the border"
    # A whole crystal, but 36 and 37 px off the middle; 0.45 of half a chop are 36 px.
    assert label_chop(crystal, 76, 40, 160) == "crystals_harvestable"
    assert label_chop(crystal, 77, 40, 160) is None
    assert label_chop(crystal, 77, 40, 160, central=0.76) == "crystals_harvestable"
    large = _scene(Box(20, 20, 380, 380, "crystals_harvestable"), "crystals_harvestable")
    assert label_chop(large, 100, 100, 160) == "crystals_harvestable", "a crystal larger than the chop"
    smoke = _scene(Box(0, 0, 400, 200, "precipitate"), "precipitate")
    assert label_chop(smoke, 100, 20, 160) == "precipitate"
    assert label_chop(smoke, 100, 220, 160) == "clear"
    assert label_chop(smoke, 100, 175, 160) is None, "25 of 160 rows of precipitate"
    assert label_chop(_scene(None, "clear", slice(0, 100)), 20, 20, 160) == "rim"
    assert label_chop(_scene(None, "clear", slice(0, 100)), 200, 20, 160) == "clear"


def test_chops_are_what_the_network_sees() -> None:
    chops = draw_chops(2, window=96, per_well=6)
    assert 0 < len(chops) <= 6
    for chop in chops:
        assert chop.pixels.shape == (96, 96)
        assert chop.pixels.dtype == np.float32
        assert chop.pixels.min() >= 0.0
        assert chop.pixels.max() <= BRIGHTNESS_CEILING
    again = draw_chops(2, window=96, per_well=6)
    assert all(np.array_equal(a.pixels, b.pixels) and a.class_name == b.class_name for a, b in zip(chops, again, strict=True))


def test_every_class_is_among_the_chops() -> None:
    seen = Counter(chop.class_name for seed in range(28, 49) for chop in draw_chops(seed, per_well=8))
    assert set(seen) == set(NAMES)
    assert max(seen.values()) < 0.35 * sum(seen.values())
