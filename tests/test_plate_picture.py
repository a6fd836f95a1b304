"""The plate picture: frames in the ARTscore's colour (P18), people's scores marked apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from crystal_search.plate import Drop, Well
from viewer.plate_picture import PlateTile, plate_picture

# The first tile's outer corner: the head is 44 px high, the left gap 8 px, the frame 7 px wide with a 1 px outline.
FRAME = (8 + 3, 44 + 3)
INSIDE = (8 + 7 + 100, 44 + 7 + 75)
RED, BLUE, GRAY = (214, 39, 40), (31, 100, 200), (150, 150, 150)


def tile(image: Path | None, class_name: str | None, status: str = "scored", person: str | None = None, well: str = "A01") -> PlateTile:
    return PlateTile(Drop("P1", Well.from_label(well), 1), image, status, class_name, 0.9 if class_name else None, person)


@pytest.fixture
def green(tmp_path: Path) -> Path:
    path = tmp_path / "green.png"
    Image.new("RGB", (400, 300), (0, 200, 0)).save(path)
    return path


@pytest.mark.parametrize(
    ("class_name", "colour"),
    [("crystals_overnucleated", RED), ("precipitate_good", BLUE), ("clear", GRAY)],
)
def test_frame_has_the_colour_of_the_score(green: Path, class_name: str, colour: tuple[int, int, int]) -> None:
    sheet = plate_picture("P1", [tile(green, class_name)])
    assert sheet.getpixel(FRAME) == colour
    assert sheet.getpixel(INSIDE) == (0, 200, 0)


def test_without_a_score_there_is_no_coloured_frame(green: Path) -> None:
    sheet = plate_picture("P1", [tile(green, None, "unsure")])
    assert sheet.getpixel(FRAME) == (250, 250, 250)


def test_a_persons_score_is_marked_and_does_not_change_the_frame(green: Path) -> None:
    plain, marked = (plate_picture("P1", [tile(green, "precipitate", person=person)]) for person in (None, "23"))
    assert plain.getpixel(FRAME) == marked.getpixel(FRAME) == BLUE
    corner = (8 + 214 - 56, 44 + 7 + 8)  # inside the mark, in the upper right of the tile
    assert plain.getpixel(corner) == (0, 200, 0)
    assert marked.getpixel(corner) == RED


def test_wells_lie_in_rows_and_columns(green: Path, tmp_path: Path) -> None:
    sheet = plate_picture("P1", [tile(green, "clear", well="A01"), tile(green, "crystals_harvestable", well="B02")])
    assert sheet.getpixel(FRAME) == GRAY
    assert sheet.getpixel((FRAME[0] + 222, FRAME[1] + 194)) == RED
    assert sheet.getpixel((FRAME[0] + 222, FRAME[1])) == (250, 250, 250)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_missing_or_broken_image_leaves_a_gray_field(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    sheet = plate_picture("P1", [tile(path, "clear")])
    assert sheet.getpixel((INSIDE[0], INSIDE[1] + 40)) == (200, 200, 200)


def test_a_score_of_the_sites_own_is_still_shown(green: Path) -> None:
    assert plate_picture("P1", [tile(green, "clear", person="77")]).getpixel(FRAME) == GRAY


def test_an_empty_plate_is_refused() -> None:
    with pytest.raises(ValueError, match="no drops"):
        plate_picture("P1", [])
