"""Tables, independent of where they are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.results import Interval

ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Rate:
    """A figure, its interval where there is one, and whether it is shown in percent. NaN: there is no such figure."""

    value: float
    low: float = math.nan
    high: float = math.nan
    percent: bool = True
    signed: bool = False

    @classmethod
    def of(cls, interval: Interval, percent: bool, signed: bool = False) -> Rate:
        return cls(interval.value, interval.low, interval.high, percent, signed)

    def text(self) -> str:
        """``76.9 (71.2 to 82.0)``, in percent without the sign for it, which the table's heading has."""
        if math.isnan(self.value):
            return ABSENT
        return self._number(self.value) + (f" ({self.interval()})" if self.has_interval else "")

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    def interval(self) -> str:
        """``71.2 to 82.0``."""
        return f"{self._number(self.low)} to {self._number(self.high)}"

    def parts(self) -> tuple[float, ...]:
        """Value, lower and upper end, for a spreadsheet."""
        return self.value, self.low, self.high

    def _number(self, value: float) -> str:
        sign = "+" if self.signed else ""
        return f"{100 * value:{sign}.1f}" if self.percent else f"{value:{sign}.3f}"


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    def text(self) -> str:
        """``12 of 15 (80 %)``."""
        return f"{self.count} of {self.total} ({100 * self.count / self.total:.0f} %)" if self.total else ABSENT

    def parts(self) -> tuple[float, ...]:
        """Count and total, for a spreadsheet."""
        return self.count, self.total


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG; only the page shows it."""

    jpeg: bytes


Cell = str | int | Rate | Share | Thumbnail | None


@dataclass(frozen=True, slots=True)
class Table:
    """``name`` is short and unique (a sheet of the workbook). A ``matrix`` is shaded by each cell's share of its row.

    ``reference`` rows at the end were measured elsewhere and are shown apart.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    matrix: bool = False
    reference: int = 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture as PNG and what it shows in words."""

    title: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: explaining lines, plots, tables."""

    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()


def row(*cells: Cell) -> tuple[Cell, ...]:
    """The cells of one row."""
    return cells


def cell_text(cell: Cell) -> str:
    """A cell as people read it."""
    if cell is None or isinstance(cell, Thumbnail):
        return ABSENT
    return cell.text() if isinstance(cell, Rate | Share) else str(cell)


def printable(text: str) -> str:
    """``text`` with control characters, which a file name may have, as visible escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def transposed(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """One row for each name, from one sequence for each column."""
    return tuple((name, *cells) for name, *cells in zip(names, *rows, strict=True))
