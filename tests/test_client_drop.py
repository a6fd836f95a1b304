"""Finding the drop: pieces as scikit-image numbers them, boxes in px of the original image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.measure
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from tiny_model import DROP, WELL, picture, write_model

from client_app.drop import find_drop, label_pieces, largest_piece, mask_box
from client_app.model import Model, load_model
from crystal_search.geometry import Box

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_model(tmp_path_factory.mktemp("model")))


@given(masks)
def test_pieces_are_those_of_scikit_image(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(label_pieces(mask), skimage.measure.label(mask, connectivity=1))


def test_a_spiral_is_one_piece_although_its_runs_meet_late() -> None:
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=bool)
    assert label_pieces(mask).max() == 1


def test_the_largest_piece_wins_and_corners_do_not_join() -> None:
    mask = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=bool)
    np.testing.assert_array_equal(np.argwhere(largest_piece(mask)), [[1, 1], [1, 2], [2, 1], [2, 2]])


def test_of_equal_pieces_the_first_in_reading_order_is_taken() -> None:
    assert largest_piece(np.array([[0, 1, 0, 1]], dtype=bool)).tolist() == [[False, True, False, False]]


def test_no_piece_at_all() -> None:
    assert not largest_piece(np.zeros((3, 3), dtype=bool)).any()


def test_a_mask_is_mapped_back_to_the_original_image() -> None:
    """64 x 48 px show 256 x 192: 4 px each. Columns 16 to 47, rows 12 to 35."""
    mask = np.zeros((48, 64), dtype=bool)
    mask[12:36, 16:48] = True
    assert mask_box(mask, 256, 192) == Box(64, 48, 192, 144)


def test_a_box_is_rounded_outwards_and_stays_inside() -> None:
    """10 px wide masks of 101 px: column 3 is 30.3 to 40.4, column 9 ends at 101."""
    mask = np.zeros((10, 10), dtype=bool)
    mask[3, 3] = True
    assert mask_box(mask, 101, 101) == Box(30, 30, 41, 41)
    mask[9, 9] = True
    assert mask_box(mask, 101, 101) == Box(30, 30, 101, 101)


@given(masks.filter(lambda mask: mask.any()), st.integers(24, 5000), st.integers(24, 5000))
def test_every_pixel_of_a_mask_lies_in_its_box(mask: np.ndarray, width: int, height: int) -> None:
    box = mask_box(mask, width, height)
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    for row, column in np.argwhere(mask):
        assert box.x0 <= (column + 0.5) * width / mask.shape[1] <= box.x1
        assert box.y0 <= (row + 0.5) * height / mask.shape[0] <= box.y1


@pytest.mark.parametrize("factor", [1, 3, 10])
def test_the_drop_of_a_picture_is_found_at_every_size(model: Model, factor: int) -> None:
    drop = find_drop(model, picture(size=(256 * factor, 192 * factor)))
    assert drop is not None
    wanted = np.array([64, 48, 192, 144]) * factor
    assert np.abs(np.array(drop.box.as_tuple()) - wanted).max() <= 4 * factor  # one px of the mask
    assert drop.mask.shape == (48, 64)


def test_holes_do_not_change_the_box(model: Model) -> None:
    whole, pierced = find_drop(model, picture()), find_drop(model, picture(("crystals_harvestable", 96, 64)))
    assert whole is not None
    assert pierced is not None
    assert pierced.box == whole.box
    assert pierced.mask.sum() < whole.mask.sum()


def test_an_upright_image_is_mapped_with_its_own_sides(model: Model) -> None:
    drop = find_drop(model, picture().rotate(90, expand=True))
    assert drop is not None
    assert drop.box == Box(48, 64, 144, 192)


def test_an_even_image_has_no_drop(model: Model) -> None:
    assert find_drop(model, Image.new("L", (300, 200), 128)) is None


def test_a_speck_is_no_drop(model: Model) -> None:
    """The smallest share is 1 % of the 48 x 64 px that show the image, 31 px of the mask."""
    pixels = np.full((192, 256), WELL, dtype=np.uint8)
    pixels[80:92, 80:92] = DROP  # 9 px of the mask, blurred to 25
    assert find_drop(model, Image.fromarray(pixels)) is None
    pixels[80:112, 80:112] = DROP  # 64 px of the mask, and some blur
    assert find_drop(model, Image.fromarray(pixels)) is not None


def test_what_is_padded_below_a_wide_image_never_counts(model: Model) -> None:
    """The network sees 64 x 64 px of which an image of 4 : 1 fills 16 rows; the rest repeats the bright lower edge."""
    pixels = np.full((64, 256), WELL, dtype=np.uint8)
    pixels[60:, :] = DROP
    drop = find_drop(model, Image.fromarray(pixels))
    assert drop is not None
    assert drop.mask.shape == (16, 64)
    assert drop.box.y1 == 64


def test_the_share_is_of_the_image_not_of_the_padded_square(tmp_path: Path) -> None:
    """A drop of 32 x 8 of the 64 x 16 px that a 4 : 1 image fills is a quarter of it, but a sixteenth of the square."""
    pixels = np.full((64, 256), WELL, dtype=np.uint8)
    pixels[16:48, 64:192] = DROP
    assert find_drop(load_model(write_model(tmp_path, min_area="0.2")), Image.fromarray(pixels)) is not None
