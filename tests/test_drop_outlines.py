"""The drop outlines are sound: every one lies in its image, is of a drop's size and belongs to the file that it names."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from training.drop_evaluation.outlines import Outline, Polygon, iou, load_outlines, mask

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
"""Where the images lie, next to the project: most of them have no licence, so none of them is in it."""
OUTLINES = load_outlines(Path(__file__).parent / "data" / "drop_outlines.json")
WITH_A_DROP = [outline for outline in OUTLINES if outline.polygons]


def area(polygon: Polygon) -> float:
    """The area inside a polygon, by the shoelace formula."""
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise((*polygon, polygon[0])))) / 2


def crosses_itself(polygon: Polygon) -> bool:
    """Whether two sides of a polygon cut each other."""

    def turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
        return int(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))

    sides = list(pairwise((*polygon, polygon[0])))
    return any(
        turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
        for number, (a, b) in enumerate(sides)
        for c, d in sides[number + 1 :]
    )


def test_each_kind_of_image_is_there() -> None:
    assert Counter(outline.file.split("/")[0] for outline in OUTLINES) == {
        "minstrel_plate_CI022987": 24,
        "minstrel_wells_RGKU": 8,
        "clear_drops_J000597": 6,
        "diamond_chimp": 4,
        "diamond_crystalmatch": 3,
        "marco_samples": 8,
        "rockimager_empty_90j8": 21,
    }
    assert {outline.file.split("/")[0] for outline in OUTLINES if not outline.polygons} == {"rockimager_empty_90j8"}


def test_no_image_is_there_twice() -> None:
    assert len({outline.sha256 for outline in OUTLINES}) == len(OUTLINES)
    assert len({outline.file for outline in OUTLINES}) == len(OUTLINES)


def test_hashes_are_64_hex_digits() -> None:
    assert [outline.file for outline in OUTLINES if not re.fullmatch("[0-9a-f]{64}", outline.sha256)] == []


@pytest.mark.parametrize("outline", WITH_A_DROP, ids=lambda outline: outline.file)
def test_polygons_lie_in_the_image_and_are_of_a_drops_size(outline: Outline) -> None:
    for polygon in outline.polygons:
        assert 12 <= len(polygon) <= 40
        assert all(0 <= x <= outline.width and 0 <= y <= outline.height for x, y in polygon)
        assert not crosses_itself(polygon)
    share = sum(area(polygon) for polygon in outline.polygons) / (outline.width * outline.height)
    # only a close-up, whose drop has no edge in the field of view, may fill the picture, and such an outline is not certain
    assert 0.005 <= share <= (0.9 if outline.certain else 1.0)


def test_what_is_not_certain_says_why() -> None:
    assert all(outline.certain == (outline.note == "") for outline in OUTLINES)


@pytest.mark.parametrize("outline", WITH_A_DROP, ids=lambda outline: outline.file)
@pytest.mark.parametrize(("longest", "near"), [(64, 0.02), (640, 0.003)])
def test_a_mask_has_the_outlines_area_at_any_size(outline: Outline, longest: int, near: float) -> None:
    width, height = (round(side * longest / max(outline.width, outline.height)) for side in (outline.width, outline.height))
    drawn = mask(outline, width, height)
    assert drawn.dtype == np.bool_
    assert drawn.shape == (height, width)
    share = sum(area(polygon) for polygon in outline.polygons) / (outline.width * outline.height)
    assert drawn.mean() == pytest.approx(share, rel=near)


def test_a_well_without_a_drop_has_an_empty_mask() -> None:
    for outline in OUTLINES:
        if not outline.polygons:
            assert not mask(outline, 64, 48).any()


def test_a_mask_is_where_its_polygon_is() -> None:
    square = Outline("0" * 64, "a/b", 100, 50, True, (((20, 10), (60, 10), (60, 40), (20, 40)),))
    expected = np.zeros((50, 100), dtype=bool)
    expected[10:40, 20:60] = True
    np.testing.assert_array_equal(mask(square, 100, 50), expected)
    np.testing.assert_array_equal(mask(square, 50, 25), expected[::2, ::2])
    np.testing.assert_array_equal(mask(square, 200, 100), expected.repeat(2, 0).repeat(2, 1))


def test_iou() -> None:
    left, right, nothing = np.zeros((3, 2, 6), dtype=bool)
    left[:, :4] = True
    right[:, 2:] = True
    assert iou(left, left) == 1.0
    assert iou(left, right) == pytest.approx(1 / 3)
    assert iou(left, nothing) == 0.0
    assert iou(nothing, nothing) == 1.0
    with pytest.raises(ValueError, match="different shapes"):
        iou(left, left.T)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"needs the real images, which are not part of the project, in {SHARED_DATA}")
def test_the_images_are_the_ones_that_were_drawn_on() -> None:
    wrong = [
        outline.file for outline in OUTLINES if hashlib.sha256((SHARED_DATA / outline.file).read_bytes()).hexdigest() != outline.sha256
    ]
    assert wrong == []
