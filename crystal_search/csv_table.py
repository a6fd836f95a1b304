"""CSV files as labs have them: comma, semicolon or tab, with or without a byte order mark; mistakes named by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crystal_search.errors import UsageError

_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Line:
    """One row: the number of its line in the file, for messages, and its cells by column, stripped."""

    number: int
    cells: dict[str, str]


def read_csv(path: Path, needed: Iterable[str]) -> list[Line]:
    """The rows of ``path``, at least one. Bytes that are no UTF-8 become ``\\xff`` and the like, so that names still compare.

    Raises ``UsageError`` with one line for a file that can not be read, is empty, lacks one of the ``needed`` columns, or has a
    row with more or fewer cells than its header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    if not text.strip():
        raise UsageError(f"{path}: the file is empty")
    delimiter = max(_DELIMITERS, key=text.lstrip().partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"{path} line {reader.line_num}: this is no CSV ({error})") from error
    (_, header), *body = rows
    for column in needed:
        if header.count(column) != 1:
            problem = "no column" if column not in header else "more than one column"
            raise UsageError(f"{path}: {problem} {column!r}; the columns are {', '.join(header)}")
    for number, row in body:
        if len(row) != len(header):
            raise UsageError(f"{path} line {number}: {len(row)} cells, the header has {len(header)}")
    if not body:
        raise UsageError(f"{path}: a header and no rows")
    return [Line(number, dict(zip(header, row, strict=True))) for number, row in body]
