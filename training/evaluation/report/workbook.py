"""The report as a workbook: a sheet for each table, with numbers as numbers."""

from __future__ import annotations

import io
import math

from openpyxl import Workbook
from openpyxl.cell import Cell as SheetCell
from openpyxl.drawing.image import Image
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training.evaluation.report.table import Cell, Rate, Section, Share, Table, Thumbnail, printable
from training.evaluation.results import Evaluation

_BOLD = Font(bold=True)
#: The widest column, in characters.
_WIDEST = 60


def workbook(evaluation: Evaluation, sections: tuple[Section, ...]) -> bytes:
    """The file's content."""
    book = Workbook()
    book.remove(book.active)
    _about(book.create_sheet("About"), evaluation, sections)
    for table in (table for section in sections for table in section.tables):
        _table(book.create_sheet(table.name), table)
    plots = book.create_sheet("Plots")
    for number, plot in enumerate(plot for section in sections for plot in section.plots):
        plots.add_image(Image(io.BytesIO(plot.png)), f"{'AJ'[number % 2]}{1 + 26 * (number // 2)}")
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _about(sheet: Worksheet, evaluation: Evaluation, sections: tuple[Section, ...]) -> None:
    _append(sheet, [f"Crystal Search {evaluation.version}: evaluation against {evaluation.labels.path}"], bold=True)
    for line in evaluation.warnings:
        _append(sheet, ["Warning", line])
    for section in sections:
        for table in section.tables:
            _append(sheet, [table.name, table.title, table.note])
    for section in sections:
        for line in section.text:
            _append(sheet, [section.title, line])
    sheet.column_dimensions["A"].width = 24


def _table(sheet: Worksheet, table: Table) -> None:
    """A column of rates becomes value, low and high; one of shares count and total."""
    widths = [max((_width(row[place]) for row in table.rows), default=1) for place in range(len(table.columns))]
    suffixes = [_suffixes(table, place, width) for place, width in enumerate(widths)]
    _append(sheet, [f"{column}{suffix}" for column, after in zip(table.columns, suffixes, strict=True) for suffix in after], bold=True)
    for row in table.rows:
        _append(sheet, [part for cell, width in zip(row, widths, strict=True) for part in _parts(cell, width)])
    sheet.freeze_panes = "B2"
    for number, column in enumerate(sheet.iter_cols(), 1):
        longest = max(len(str(cell.value or "")) for cell in column[:200])
        sheet.column_dimensions[get_column_letter(number)].width = min(_WIDEST, longest + 2)


def _width(cell: Cell) -> int:
    if isinstance(cell, Share):
        return 2
    return 3 if isinstance(cell, Rate) and cell.has_interval else 1


def _suffixes(table: Table, place: int, width: int) -> tuple[str, ...]:
    if any(isinstance(row[place], Share) for row in table.rows):
        return (" (count)", " (of)")
    return ("", " (low)", " (high)")[:width]


def _parts(cell: Cell, width: int) -> list[Cell | float]:
    """``cell`` as ``width`` plain values, percents as 0..100."""
    parts: list[Cell | float] = [cell]
    if isinstance(cell, Share):
        parts = list(cell.parts())
    elif isinstance(cell, Rate):
        factor = 100 if cell.percent else 1
        parts = [None if math.isnan(part) else round(factor * part, 6) for part in cell.parts()]
    elif isinstance(cell, Thumbnail):
        parts = [None]
    return (parts + [None] * width)[:width]


def _append(sheet: Worksheet, values: list[Cell | float] | list[str], bold: bool = False) -> None:
    sheet.append([_safe(sheet, value, bold) for value in values])


def _safe(sheet: Worksheet, value: object, bold: bool) -> SheetCell:
    """A cell in which text stays text: a file name that starts with = is no formula."""
    cell = SheetCell(sheet, value=printable(value) if isinstance(value, str) else value)
    if isinstance(value, str):
        cell.data_type = "s"
    if bold:
        cell.font = _BOLD
    return cell
