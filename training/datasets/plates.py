"""What a lab knows of its plates and no source tells: drop type (P34), protein, and whether there is a chromophore (P29)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crystal_search.csv_table import read_csv
from crystal_search.errors import UsageError
from training.datasets.scored_image import ScoredImage, drop_type_of, plates_of_two_kinds

_YES, _NO = frozenset({"1", "yes", "true", "y", "x"}), frozenset({"", "0", "no", "false", "n"})


@dataclass(frozen=True, slots=True)
class Plate:
    """One row of the table; ``drop_type`` and ``protein`` are empty where it does not say."""

    drop_type: str
    protein: str
    chromophore: bool


def read_plates(table: Path) -> dict[str, Plate]:
    """A CSV file with the column plate and, where wanted, drop_type, protein and chromophore (yes or no).

    Raises ``UsageError`` with one line for the first mistake.
    """
    plates: dict[str, Plate] = {}
    for line in read_csv(table, ["plate"]):
        cells = {column: line.cells.get(column, "") for column in ("plate", "drop_type", "protein", "chromophore")}
        if not cells["plate"] or cells["plate"] in plates:
            raise UsageError(f"{table} line {line.number}: {'the plate stands twice' if cells['plate'] else 'no plate named'}")
        if cells["chromophore"].lower() not in _YES | _NO:
            raise UsageError(f"{table} line {line.number}: chromophore {cells['chromophore']!r} is neither yes nor no")
        try:
            drop_type = drop_type_of(cells["drop_type"]) if cells["drop_type"] else ""
        except ValueError as error:
            raise UsageError(f"{table} line {line.number}: {error}") from error
        plates[cells["plate"]] = Plate(drop_type, cells["protein"], cells["chromophore"].lower() in _YES)
    return plates


def with_plates(images: Iterable[ScoredImage], plates: dict[str, Plate]) -> list[ScoredImage]:
    """The images with what the table says of their plates; it wins over the source."""
    return [_with(image, plates[image.plate]) if image.plate in plates else image for image in images]


def _with(image: ScoredImage, plate: Plate) -> ScoredImage:
    proteins = tuple(sorted({*image.proteins, plate.protein} - {""}))
    return replace(image, drop_type=plate.drop_type or image.drop_type, proteins=proteins)


def of_drop_types(images: Sequence[ScoredImage], drop_types: Sequence[str]) -> list[ScoredImage]:
    """The images on plates of these drop types; all of them where none is named.

    Raises ``UsageError`` where a plate is said to hold drops of two types.
    """
    if mixed := plates_of_two_kinds(images):
        raise UsageError(f"drops of more than one type on plate {', '.join(mixed[:5])}: the drop type is the plate's, correct the table")
    return [image for image in images if not drop_types or image.drop_type in drop_types]
