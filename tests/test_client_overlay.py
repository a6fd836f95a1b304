"""The picture for people (P18), looked at pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from client_app.artscore import Chop
from client_app.overlay import DARK, FRAME, LONGEST, _word, overlay
from crystal_search.classes import BLUE, BY_NAME, GRAY, RED, WHITE
from crystal_search.geometry import Box

GRAY_IMAGE = Image.new("L", (800, 600), 90)


def drawn(*arguments: object) -> Image.Image:
    image = Image.open(io.BytesIO(overlay(*arguments)))  # type: ignore[arg-type]
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    return image


def is_about(image: Image.Image, position: tuple[int, int], colour: tuple[int, ...], tolerance: int = 40) -> bool:
    return bool(np.abs(np.subtract(image.getpixel(position), colour)).max() <= tolerance)


@pytest.mark.parametrize(("name", "colour"), [("crystals_bad_form", RED), ("precipitate", BLUE), ("clear", GRAY), (None, DARK)])
def test_the_frame_has_the_colour_of_the_score(name: str | None, colour: tuple[int, int, int]) -> None:
    image = drawn(GRAY_IMAGE, Box(100, 100, 300, 300), name, [])
    for position in ((1, 1), (image.width - 2, 1), (image.width // 2, image.height - 2), (FRAME - 2, image.height // 2)):
        assert is_about(image, position, colour)
    assert is_about(image, (FRAME + 4, FRAME + 4), (90, 90, 90))


def test_it_is_cropped_to_the_drop_with_a_margin() -> None:
    """200 x 100 px with 6 % of 200 = 12 px on each side."""
    image = drawn(GRAY_IMAGE, Box(100, 100, 300, 200), "clear", [])
    assert image.size == (200 + 24 + 2 * FRAME, 100 + 24 + 2 * FRAME)


def test_the_margin_ends_at_the_image() -> None:
    image = drawn(GRAY_IMAGE, Box(0, 0, 800, 600), "clear", [])
    assert image.size == (800 + 2 * FRAME, 600 + 2 * FRAME)


def test_a_large_drop_is_shrunk() -> None:
    image = drawn(Image.new("RGB", (4000, 2000)), Box(0, 0, 4000, 2000), "clear", [])
    assert image.size == (LONGEST + 2 * FRAME, LONGEST // 2 + 2 * FRAME)


def test_without_a_drop_the_whole_image_is_shown() -> None:
    image = drawn(GRAY_IMAGE, None, None, [])
    assert image.size == (800 + 2 * FRAME, 600 + 2 * FRAME)
    assert is_about(image, (1, 1), DARK)


def test_chops_are_boxes_in_their_class_s_colour() -> None:
    """The crop starts at (88, 88): the chop's left edge lies at 200 - 88 + frame, and its lower edge at 300 - 88 + frame - 1."""
    image = drawn(GRAY_IMAGE, Box(100, 100, 300, 300), "clear", [Chop(Box(200, 200, 300, 300), "rim", 0.9)])
    left, bottom = 200 - 88 + FRAME, 300 - 88 + FRAME - 1
    assert is_about(image, (left + 1, bottom - 30), WHITE, 60)
    assert is_about(image, (left + 50, bottom - 1), WHITE, 60)
    assert is_about(image, (left - 4, bottom - 30), (90, 90, 90))
    assert is_about(image, (left + 50, bottom - 10), (90, 90, 90))


def test_a_shrunk_picture_has_its_boxes_shrunk_too() -> None:
    image = drawn(Image.new("L", (4000, 4000), 90), Box(0, 0, 4000, 4000), "clear", [Chop(Box(2000, 2000, 3000, 3000), "rim", 0.9)])
    assert is_about(image, (500 + FRAME + 1, 600 + FRAME), WHITE, 60)
    assert is_about(image, (750 + FRAME - 2, 600 + FRAME), WHITE, 60)


def test_the_best_chop_lies_on_top() -> None:
    box = Box(150, 150, 250, 250)
    image = drawn(GRAY_IMAGE, Box(100, 100, 300, 300), "precipitate", [Chop(box, "precipitate", 0.9), Chop(box, "rim", 0.8)])
    assert is_about(image, (250 - 88 + FRAME - 2, 200 - 88 + FRAME), BLUE, 80)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_class_gets_a_legible_label(name: str) -> None:
    """The label's plate has dark and bright pixels in it."""
    image = drawn(GRAY_IMAGE, Box(100, 100, 300, 300), None, [Chop(Box(150, 150, 250, 250), name, 0.97)])
    corner = 150 - 88 + FRAME
    plate = np.asarray(image.convert("L"))[corner + 2 : corner + 14, corner + 2 : corner + 50].astype(int)
    assert plate.max() - plate.min() > 80


def test_a_rim_does_not_look_like_the_score_of_a_clear_drop() -> None:
    assert [_word(name) for name in ("rim", "clear", "crystals_harvestable")] == ["rim", "01", "23"]


def test_one_px_of_an_image_is_no_problem() -> None:
    image = drawn(Image.new("L", (1, 1)), Box(0, 0, 1, 1), "clear", [Chop(Box(0, 0, 1, 1), "clear", 1.0)])
    assert image.size == (1 + 2 * FRAME, 1 + 2 * FRAME)


def test_a_chop_that_reaches_out_of_the_drop_is_shown_whole() -> None:
    """The drop with its margin of 3 px ends at 153, the chop at 260: the picture does, too."""
    image = drawn(GRAY_IMAGE, Box(100, 100, 150, 150), "clear", [Chop(Box(100, 100, 260, 260), "rim", 0.9)])
    assert image.size == (260 - 97 + 2 * FRAME, 260 - 97 + 2 * FRAME)
    assert is_about(image, (260 - 97 + FRAME - 2, 100), WHITE, 60)


def test_a_chop_of_less_than_a_px_is_no_problem() -> None:
    drawn(Image.new("L", (10_000, 10_000)), Box(0, 0, 10_000, 10_000), "clear", [Chop(Box(5, 5, 6, 6), "clear", 1.0)])
