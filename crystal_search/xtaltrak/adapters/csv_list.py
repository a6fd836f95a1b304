"""A list of images as a CSV: one row an image, a bad row fails alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from crystal_search.errors import UsageError
from crystal_search.plate import Drop, Well
from crystal_search.xtaltrak.adapters.source_image import SkippedError, SourceImage, imager_number, moment

NEEDED = ("path", "barcode", "inspection", "well", "drop", "date")
OPTIONAL = ("imager", "profile")
_DELIMITERS = ",;\t"

Cells = Mapping[str, str]


def rows_of(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Cells | SkippedError]]:
    """Line number and cells of each row, in constant memory; a row that does not fit the header is a ``SkippedError``.

    Raises ``UsageError`` for a file that can not be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            yield from _rows(path, file, needed)
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error


def _rows(path: Path, file: IO[str], needed: tuple[str, ...]) -> Iterator[tuple[int, Cells | SkippedError]]:
    first = file.readline()
    if not first.strip():
        raise UsageError(f"{path}: the file is empty, or begins with an empty line")
    delimiter = max(_DELIMITERS, key=first.count)
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    for column in needed:
        if header.count(column) != 1:
            problem = "no column" if column not in header else "more than one column"
            raise UsageError(f"{path}: {problem} {column!r}; the columns are {', '.join(header)}")
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num + 1, SkippedError(f"{path.name} line {reader.line_num + 1}: {error}")
            continue
        number = reader.line_num + 1
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            yield number, SkippedError(f"{path.name} line {number}: {len(row)} cells, the header has {len(header)}")
        else:
            yield number, dict(zip(header, (cell.strip() for cell in row), strict=True))


def read_list(path: Path, date_format: str | None) -> Iterator[SourceImage | SkippedError]:
    """The images of a list with the columns ``NEEDED`` and maybe ``OPTIONAL``; paths are relative to the list's folder."""
    for number, cells in rows_of(path, NEEDED):
        where = f"{path.name} line {number}"
        if isinstance(cells, SkippedError):
            yield cells
            continue
        try:
            yield SourceImage(
                path=path.parent / cells["path"],
                drop=Drop(cells["barcode"], Well.from_label(cells["well"]), subwell_of(cells["drop"])),
                inspection=whole_number("inspection", cells["inspection"]),
                taken_at=moment(cells["date"], date_format),
                imager=imager_number(cells.get("imager", "")),
                profile=cells.get("profile") or "00",
                origin=("List", "0"),
                remark=Path(cells["path"]).stem,
                where=where,
            )
        except ValueError as error:
            yield SkippedError(f"{where}: {error}")


def subwell_of(text: str) -> int:
    """1 for ``1`` or ``a``, and so on. Raises ``ValueError``."""
    if len(text) == 1 and text.isascii() and text.isalpha():
        return ord(text.lower()) - 96
    number = whole_number("drop", text)
    if number > 26:
        raise ValueError(f"drop {text!r} is none of 1 to 26")
    return number


def whole_number(what: str, text: str) -> int:
    """A whole number from 1 on. Raises ``ValueError``."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= 1):
        raise ValueError(f"{what} {text!r} is not a whole number from 1 on")
    return int(text)
