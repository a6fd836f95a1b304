"""The docs' contact sheet: real pictures with an open licence only, told apart from drawn ones, light enough for the docs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crystal_search.classes import BY_NAME, NAMES
from crystal_search.errors import UsageError
from training.contact_sheet import OPEN_IMAGES, Row, Tile, as_jpeg, overlay, rows, sheet
from training.synthetic import draw_well, mark_of

NOTICE = OPEN_IMAGES.parent.parent / "NOTICE"


@pytest.fixture(scope="module")
def content() -> list[Row]:
    return rows(OPEN_IMAGES, 96)


def test_real_pictures_are_attributed_and_captions_say_which_is_which(content: list[Row]) -> None:
    tiles = [tile for row in content for tile in row.tiles]
    files = {path.stem: path.name for path in OPEN_IMAGES.iterdir()}
    attributed = NOTICE.read_text().replace(",", " ").split()
    real = [tile.caption.partition(":")[0] for tile in tiles if tile.real]
    assert len(real) >= 8
    assert all(files[stem] in attributed for stem in real)
    drawn = " ".join(tile.caption for tile in tiles if not tile.real)
    titles = [BY_NAME[name].title.lower() for name in NAMES if name != "rim"]
    assert not [title for title in titles if title not in drawn], "every class is drawn somewhere"
    assert all(len(row.tiles) <= 8 for row in content)
    assert np.array_equal(rows(OPEN_IMAGES, 96)[-1].tiles[1].picture, content[-1].tiles[1].picture), "the same sheet every time"


def test_a_frame_marks_real_pictures_only() -> None:
    white = np.full((60, 80, 3), 255, np.uint8)

    def colours(*tiles: Tile) -> set[tuple[int, ...]]:
        page = np.asarray(sheet([Row("heading", tiles)]))
        saturated = page.max(axis=2).astype(int) - page.min(axis=2) > 100
        return {tuple(colour) for colour in page[saturated]}

    real, drawn = colours(Tile(white, "", real=True)), colours(Tile(white, ""))
    assert (20, 90, 170) in real
    assert (20, 90, 170) not in drawn


def test_the_sheet_is_as_good_as_its_size_allows(content: list[Row]) -> None:
    page = sheet(content[:2])
    free, limited = as_jpeg(page, 10**7), as_jpeg(page, 60_000)
    assert len(limited) <= 60_000 < len(free)
    with Image.open(BytesIO(limited)) as image:
        assert image.size == page.size


def test_the_overlay_marks_what_is_true() -> None:
    well = draw_well(5, "crystals_harvestable", width=320, imager="vmxi_gray")
    marked = overlay(well)
    inside = well.object_mask == mark_of("crystals_harvestable")
    redness = marked[..., 0].astype(int) - marked[..., 2]
    assert np.median(redness[inside]) > 50
    changed = (marked != well.image).any(axis=2)
    assert not changed[~well.well_mask].any()


def test_a_missing_real_picture_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"97wo_01A_1.jpg: can not be read"):
        rows(tmp_path, 96)
