"""Chops and windows: P8 worked out by hand, and rules that hold for every size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystal_search.geometry import Box, smallest_overlap_chops, smallest_overlap_starts, window_grid

extents = st.integers(1, 5000)
chops = st.integers(1, 600)


def test_the_papers_image_gives_90_chops() -> None:
    """2452 = 9 x 256 + 148: d = 108 / 9 = 12, chops every 244 px. 2056 = 8 x 256 + 8: d = 248 / 8 = 31, chops every 225 px (P8)."""
    boxes = smallest_overlap_chops(2452, 2056)
    assert len(boxes) == 90
    assert sorted({box.x0 for box in boxes}) == [0, 244, 488, 732, 976, 1220, 1464, 1708, 1952, 2196]
    assert sorted({box.y0 for box in boxes}) == [0, 225, 450, 675, 900, 1125, 1350, 1575, 1800]
    assert boxes[0] == Box(0, 0, 256, 256)
    assert boxes[1] == Box(244, 0, 500, 256)  # reading order
    assert boxes[-1] == Box(2196, 1800, 2452, 2056)


def test_overlap_that_is_no_whole_number_is_rounded_chop_by_chop() -> None:
    """100 px, chops of 30: n = 3, d = (120 - 100) / 3 = 6.67, starts 0, 23.33, 46.67, 70."""
    assert smallest_overlap_starts(100, 30) == [0, 23, 47, 70]


@pytest.mark.parametrize(("extent", "starts"), [(256, [0]), (512, [0, 256]), (768, [0, 256, 512])])
def test_exact_multiples_do_not_overlap(extent: int, starts: list[int]) -> None:
    assert smallest_overlap_starts(extent, 256) == starts


@pytest.mark.parametrize("extent", [1, 100, 255])
def test_below_one_chop_there_is_one_that_reaches_over_the_edge(extent: int) -> None:
    assert smallest_overlap_starts(extent, 256) == [0]


@pytest.mark.parametrize(("extent", "chop"), [(0, 256), (-1, 256), (256, 0)])
def test_sizes_below_one_px_are_refused(extent: int, chop: int) -> None:
    with pytest.raises(ValueError, match="at least 1 px"):
        smallest_overlap_starts(extent, chop)


@given(extents, chops)
def test_chops_cover_everything_and_stay_inside(extent: int, chop: int) -> None:
    starts = smallest_overlap_starts(extent, chop)
    assert starts[0] == 0
    assert all(later - earlier <= chop for earlier, later in itertools.pairwise(starts))
    assert starts == sorted(set(starts))
    if extent >= chop:
        assert starts[-1] + chop == extent


@given(extents, chops)
def test_one_chop_less_would_leave_a_gap(extent: int, chop: int) -> None:
    assert (len(smallest_overlap_starts(extent, chop)) - 1) * chop < extent


@st.composite
def drops_in_images(draw: st.DrawFn) -> tuple[Box, int, int]:
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))), width, height


@given(drops_in_images(), st.integers(1, 400), st.integers(1, 200))
def test_windows_cover_the_drop_with_the_fewest_steps(case: tuple[Box, int, int], window: int, step: int) -> None:
    drop, width, height = case
    grid = window_grid(drop, width, height, window, step)
    assert grid.left <= drop.x0
    assert grid.left + grid.width >= drop.x1
    assert grid.top <= drop.y0
    assert grid.top + grid.height >= drop.y1
    assert grid.columns == 1 or grid.width - step < drop.width
    assert grid.rows == 1 or grid.height - step < drop.height


@given(drops_in_images(), st.integers(1, 400), st.integers(1, 200))
def test_windows_stay_inside_the_image_where_they_fit(case: tuple[Box, int, int], window: int, step: int) -> None:
    drop, width, height = case
    grid = window_grid(drop, width, height, window, step)
    if grid.width <= width:
        assert 0 <= grid.left <= width - grid.width
    if grid.height <= height:
        assert 0 <= grid.top <= height - grid.height


@given(drops_in_images(), st.integers(50, 400), st.integers(20, 200))
def test_windows_come_in_reading_order_and_equal_steps(case: tuple[Box, int, int], window: int, step: int) -> None:
    grid = window_grid(*case, window, step)
    boxes = list(grid.windows())
    assert len(boxes) == len(grid) == grid.columns * grid.rows
    assert boxes == [
        Box(x, y, x + window, y + window)
        for y in range(grid.top, grid.top + grid.height - window + 1, step)
        for x in range(grid.left, grid.left + grid.width - window + 1, step)
    ]


def test_the_grid_by_hand() -> None:
    """A drop of 100 x 40 px at (30, 10), windows of 64 px, steps of 16: 100 -> 64 + 3 x 16 = 112, 40 -> 64; both grow evenly."""
    grid = window_grid(Box(30, 10, 130, 50), 300, 200, 64, 16)
    assert (grid.left, grid.columns, grid.width) == (24, 4, 112)
    assert (grid.top, grid.rows, grid.height) == (0, 1, 64)  # 12 px to each side would start at -2: shifted into the image


def test_a_margin_goes_as_far_as_there_is_image() -> None:
    """30 px to each side of 100 x 40 px: 20 px on the left is all there is, so 150 x 90, which grow to 64 + 6 x 16 and 64 + 2 x 16."""
    grid = window_grid(Box(20, 30, 120, 70), 300, 200, 64, 16, margin=30)
    assert (grid.left, grid.width) == (0, 160)
    assert (grid.top, grid.height) == (0, 112)
    wide = window_grid(Box(0, 0, 300, 200), 300, 200, 64, 16, margin=500)
    assert wide == window_grid(Box(0, 0, 300, 200), 300, 200, 64, 16)


def test_a_drop_at_the_far_edge_grows_into_the_image() -> None:
    grid = window_grid(Box(250, 150, 300, 200), 300, 200, 64, 16)
    assert (grid.left, grid.top) == (236, 136)


def test_an_image_smaller_than_a_window_is_left_to_edge_replication() -> None:
    grid = window_grid(Box(0, 0, 10, 10), 10, 10, 16, 8)
    assert (grid.left, grid.top, len(grid)) == (-3, -3, 1)


def test_a_drop_outside_of_its_image_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves the image"):
        window_grid(Box(0, 0, 11, 10), 10, 10, 16, 8)
    with pytest.raises(ValueError, match="at least 1 px"):
        window_grid(Box(0, 0, 10, 10), 10, 10, 16, 0)


def test_a_box_is_never_empty() -> None:
    with pytest.raises(ValueError, match="empty box"):
        Box(5, 0, 5, 10)


@given(drops_in_images(), st.integers(1, 3000), st.integers(1, 3000))
def test_a_scaled_box_keeps_its_area_in_the_new_image(case: tuple[Box, int, int], width: int, height: int) -> None:
    drop, old_width, old_height = case
    box = drop.scaled(width / old_width, height / old_height, width, height)
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_a_box_scaled_by_hand() -> None:
    assert Box(10, 20, 30, 61).scaled(0.5, 0.5, 50, 50) == Box(5, 10, 15, 30)
    assert Box(10, 20, 11, 21).scaled(0.1, 0.1, 5, 5) == Box(1, 2, 2, 3)  # never less than one px
