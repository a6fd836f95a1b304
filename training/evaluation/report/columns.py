"""What the tables share: columns of figures, and names that keep the tables of several score files apart."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.figures import FIGURES
from training.evaluation.report.table import Cell, Rate, Table, row
from training.evaluation.results import FileResult

ELSEWHERE = "measured on other data"
FIGURE = {figure.name: figure for figure in FIGURES}


def spaced(name: str) -> str:
    """A class's or status's name as words."""
    return name.replace("_", " ")


def figure_rows(files: Sequence[FileResult], names: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    """For each file its name and the named figures."""
    return tuple(row(file.name, *(Rate.of(file.figures[name], FIGURE[name].percent) for name in names)) for file in files)


def heading(name: str) -> str:
    """A figure's title, with its unit."""
    return FIGURE[name].title + (" %" if FIGURE[name].percent else "")


def figure_table(title: str, files: Sequence[FileResult], names: Sequence[str]) -> Table:
    """A row for each file, a column for each figure."""
    return Table(title, title, ("scores", *map(heading, names)), figure_rows(files, names))


def numbered(files: Sequence[FileResult]) -> list[tuple[str, FileResult]]:
    """Each file with what keeps the names of its tables apart."""
    return [("" if len(files) == 1 else f" {number}", file) for number, file in enumerate(files, 1)]
