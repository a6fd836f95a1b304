"""Labels of wells and drops."""

from __future__ import annotations

from itertools import pairwise

import pytest

from crystal_search.plate import Drop, Well


@pytest.mark.parametrize(
    ("column", "row", "label"), [(1, 1, "A01"), (12, 8, "H12"), (24, 16, "P24"), (48, 26, "Z48"), (1, 27, "AA01"), (48, 32, "AF48")]
)
def test_labels_of_96_384_and_1536_well_plates(column: int, row: int, label: str) -> None:
    assert Well(column, row).label == label
    assert Well.from_label(label) == Well(column, row)


def test_every_well_of_the_largest_plate_has_its_own_label() -> None:
    wells = [Well(column, row) for column in range(1, 49) for row in range(1, 33)]
    assert len({well.label for well in wells}) == 1536
    assert [Well.from_label(well.label) for well in wells] == wells


@pytest.mark.parametrize("text", ["a1", " A01 ", "A1"])
def test_labels_as_people_write_them(text: str) -> None:
    assert Well.from_label(text) == Well(1, 1)


@pytest.mark.parametrize("text", ["", "A", "01", "A00", "A49", "AG01", "BA01", "A001", "A-1", "1A", "Ä01"])
def test_what_is_no_well(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a well|no plate has a well"):
        Well.from_label(text)


@pytest.mark.parametrize(("column", "row"), [(0, 1), (1, 0), (49, 1), (1, 33), (-1, 1)])
def test_no_plate_has_such_a_well(column: int, row: int) -> None:
    with pytest.raises(ValueError, match="no plate has a well"):
        Well(column, row)


@pytest.mark.parametrize(("subwell", "label"), [(1, "B07a"), (3, "B07c"), (4, "B07d"), (26, "B07z"), (27, "B07.27")])
def test_subwells_are_peoples_letters(subwell: int, label: str) -> None:
    assert Drop("CI022987", Well(7, 2), subwell).label == label


def test_drops_are_ordered_by_column_row_subwell() -> None:
    ordered = [Drop("P", Well(1, 1), 4), Drop("P", Well(1, 2), 1), Drop("P", Well(2, 1), 1), Drop("P", Well(2, 1), 3)]
    assert all(first < second for first, second in pairwise(ordered))
