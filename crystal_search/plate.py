"""Plate, well, drop, inspection, image: the field's words as small frozen types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec


@dataclass(frozen=True, slots=True, order=True)
class Well:
    """A well by column and row, both from 1; ordered by column, then row, as XtalTrak orders drops."""

    column: int
    row: int

    def __post_init__(self) -> None:
        if not (1 <= self.column <= 48 and 1 <= self.row <= 32):
            raise ValueError(f"no plate has a well in column {self.column}, row {self.row}")

    @property
    def label(self) -> str:
        """``"A01"`` for column 1, row 1; rows after Z are AA, AB, ... as on 1536-well plates."""
        letters = chr(64 + self.row) if self.row <= 26 else "A" + chr(64 + self.row - 26)
        return f"{letters}{self.column:02d}"

    @classmethod
    def from_label(cls, label: str) -> Well:
        """The well of a label such as ``"A01"``, ``"h12"`` or ``"AF48"``. Raises ``ValueError``."""
        match = re.fullmatch(r"(A?[A-Z])(\d{1,2})", label.strip().upper())
        if not match:
            raise ValueError(f"{label!r} is not a well such as A01")
        letters, column = match.groups()
        row = ord(letters) - 64 if len(letters) == 1 else 26 + ord(letters[1]) - 64
        return cls(int(column), row)


@dataclass(frozen=True, slots=True, order=True)
class Drop:
    """One drop: plate, well and subwell (from 1; XtalTrak's 1, 2, 3, 4 are people's a, b, c, d)."""

    barcode: str
    well: Well
    subwell: int

    @property
    def label(self) -> str:
        """``"A01c"``."""
        return f"{self.well.label}{chr(96 + self.subwell) if 1 <= self.subwell <= 26 else f'.{self.subwell}'}"


@lru_cache(maxsize=32_768)
def drop_at(barcode: str, column: int, row: int, subwell: int) -> Drop:
    """The drop of that plate and place; the same object again while an archive's rows of it go by."""
    return Drop(barcode, Well(column, row), subwell)


class Inspection(msgspec.Struct, frozen=True, gc=False):
    """One imaging of a plate: its number on that plate, from 1, and when it was taken (None: XtalTrak does not say)."""

    barcode: str
    number: int
    taken_at: datetime | None


class InspectionImage(msgspec.Struct, frozen=True, gc=False):
    """One image as XtalTrak knows it: the row of I_INSPECTIONS joined with I_IMAGES.

    ``inspection_id`` is XtalTrak's INSPECTID, one drop of one inspection; with ``image_name`` it is an image's key.
    """

    inspection_id: int
    image_name: str
    drop: Drop
    inspection: Inspection
