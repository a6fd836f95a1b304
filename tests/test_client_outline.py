"""A drop's edge as a polygon: against scikit-image, SciPy and hand-drawn masks."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.draw
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from client_app.drop import largest_piece, mask_box
from client_app.outline import outer_edge, outline
from crystal_search.archives import MAX_OUTLINE

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def signed_area(corners: np.ndarray) -> float:
    """The area of a polygon (n, 2) by the shoelace formula, positive for one that goes clockwise on a screen."""
    x, y = corners.T.astype(float)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def test_the_edge_of_three_pixels() -> None:
    """An L: clockwise from the upper left corner, one px a step."""
    edge = outer_edge(np.array([[0, 1, 0], [0, 1, 1]], dtype=bool))
    assert edge.tolist() == [[1, 0], [2, 0], [2, 1], [3, 1], [3, 2], [2, 2], [1, 2], [1, 1]]


@given(masks)
def test_the_edge_goes_around_the_piece_and_its_holes(mask: np.ndarray) -> None:
    """What a walk around a piece encloses is the piece with its holes filled; a hole reaches the outside over corners too."""
    piece = largest_piece(mask)
    assume(piece.any())
    edge = outer_edge(piece)
    filled = ndimage.binary_fill_holes(piece, structure=np.ones((3, 3)))
    assert signed_area(edge) == filled.sum()
    assert (np.abs(np.roll(edge, -1, axis=0) - edge).sum(axis=1) == 1).all()


@given(masks, st.integers(20, 3000), st.integers(20, 3000))
def test_an_outline_stays_in_its_box_and_is_short(mask: np.ndarray, width: int, height: int) -> None:
    piece = largest_piece(mask)
    assume(piece.any())
    box = mask_box(piece, width, height)
    corners = outline(piece, width, height, box)
    assert 3 <= len(corners) <= MAX_OUTLINE
    assert all(box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1 for x, y in corners)


@pytest.mark.parametrize("radii", [(80, 80), (90, 40), (9, 6)])
def test_a_round_drop_keeps_its_shape(radii: tuple[int, int]) -> None:
    """A mask of 256 x 192 px that shows 2560 x 1920: the polygon covers what the ellipse covers."""
    mask = np.zeros((192, 256), dtype=bool)
    mask[skimage.draw.ellipse(96, 128, *radii)] = True
    corners = np.array(outline(mask, 2560, 1920, mask_box(mask, 2560, 1920)))
    drawn = skimage.draw.polygon2mask((1920, 2560), corners[:, ::-1])
    wanted = mask.repeat(10, axis=0).repeat(10, axis=1)
    assert (drawn & wanted).sum() / (drawn | wanted).sum() > 0.9
    assert signed_area(corners) > 0
