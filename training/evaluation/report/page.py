"""The report as one HTML file that needs nothing beside it: plots are inside, no script, no font, no link."""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from html import escape
from math import isnan

from training.evaluation.report.table import Cell, Plot, Rate, Section, Table, Thumbnail, cell_text, printable
from training.evaluation.results import Evaluation

#: A longer table shows its first rows; the workbook has all of them.
MOST_ROWS = 300
#: A longer table is folded until it is clicked.
FOLDED_ROWS = 18
#: The headings of a matrix with more columns stand upright, so that it fits on a page.
UPRIGHT_COLUMNS = 10

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2330; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 2px solid #d8dee8; padding-bottom: .2rem }
h3, summary { font-size: 1rem; font-weight: 600; margin: 1.4rem 0 .4rem } summary { cursor: pointer }
small { color: #5a6577; white-space: nowrap } p { max-width: 78ch; margin: .4rem 0 } .quiet { color: #5a6577 }
.warnings { background: #fff4d6; border-left: 5px solid #e69f00; padding: .6rem 1rem; margin: 1.2rem 0 }
.warnings ul { margin: .3rem 0; padding-left: 1.2rem } .wide { overflow-x: auto } nav a { margin-right: 1rem }
table { border-collapse: collapse; font-size: .88rem; margin: .3rem 0 } caption { display: none }
th, td { padding: .28rem .6rem; text-align: right; border-bottom: 1px solid #e3e8ef; font-variant-numeric: tabular-nums }
th { background: #f3f6fa; font-weight: 600; vertical-align: bottom } th:first-child, .words { text-align: left }
td:not(.words) { white-space: nowrap }
td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem }
tr.reference td { color: #5a6577; background: #fafbfc; font-style: italic }
figure { display: inline-block; margin: .5rem .6rem .5rem 0 } img { max-width: 100%; width: 560px; border: 1px solid #e3e8ef }
td.matrix { border: 1px solid #fff }
table.upright th:not(:first-child) { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; padding: .6rem .28rem }
@media print { body { max-width: none } .wide { overflow: visible } }
"""


def page(evaluation: Evaluation, sections: tuple[Section, ...], day: date) -> str:
    """The whole page."""
    links = "".join(f'<a href="#s{number}">{_text(section.title)}</a>' for number, section in enumerate(sections))
    body = "".join(f'<h2 id="s{number}">{_text(section.title)}</h2>{_section(section)}' for number, section in enumerate(sections))
    names = ", ".join(file.name for file in evaluation.files)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Evaluation: {_text(names)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Evaluation against people's labels</h1><p class=quiet>{_text(names)} &middot; {evaluation.labels.images} labelled images "
        f"from {_text(evaluation.labels.path)} &middot; Crystal Search {_text(evaluation.version)} &middot; {day.isoformat()}</p>"
        f"<nav>{links}</nav>{_warnings(evaluation.warnings)}{body}</body></html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _warnings(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f'<div class="warnings"><strong>Before you believe the figures</strong><ul>{items}</ul></div>'


def _section(section: Section) -> str:
    text = "".join(f"<p>{_text(line)}</p>" for line in section.text)
    return text + "".join(map(_plot, section.plots)) + "".join(map(_table, section.tables))


def _plot(plot: Plot) -> str:
    return f'<figure><img alt="{_text(plot.title)}" src="data:image/png;base64,{b64encode(plot.png).decode("ascii")}"></figure>'


def _table(table: Table) -> str:
    title = _text(table.title)
    if not table.rows:
        return f"<h3>{title}</h3><p class=quiet>None.</p>"
    words = frozenset(place for place in range(len(table.columns)) if any(map(_is_text, (row[place] for row in table.rows))))
    head = "".join(f"<th{_alignment(place in words)}>{_text(column)}</th>" for place, column in enumerate(table.columns))
    shown = table.rows[:MOST_ROWS]
    body = "".join(_row(table, number, row, words) for number, row in enumerate(shown))
    note = f"<p class=quiet>{_text(table.note)}</p>" if table.note else ""
    more = f"<p class=quiet>{len(table.rows) - len(shown)} more rows are in report.xlsx.</p>" if len(shown) < len(table.rows) else ""
    upright = " class=upright" if table.matrix and len(table.columns) > UPRIGHT_COLUMNS else ""
    content = f"<div class=wide><table{upright}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}{more}"
    if len(table.rows) > FOLDED_ROWS:
        return f"<details><summary>{title}</summary>{content}</details>"
    return f"<h3>{title}</h3>{content}"


def _is_text(cell: Cell) -> bool:
    return isinstance(cell, str) and not cell.replace(".", "", 1).isdigit()


def _alignment(words: bool) -> str:
    return ' class="words"' if words else ""


def _row(table: Table, number: int, row: tuple[Cell, ...], words: frozenset[int]) -> str:
    reference = ' class="reference"' if number >= len(table.rows) - table.reference else ""
    total = row[-1] if table.matrix and isinstance(row[-1], int) else 0
    inside = range(1, len(row) - 1) if table.matrix else ()
    cells = "".join(_matrix_cell(cell, total) if place in inside else _cell(cell, place in words) for place, cell in enumerate(row))
    return f"<tr{reference}>{cells}</tr>"


def _cell(cell: Cell, words: bool) -> str:
    if isinstance(cell, Thumbnail):
        return f'<td><img alt="" src="data:image/jpeg;base64,{b64encode(cell.jpeg).decode("ascii")}"></td>'
    if isinstance(cell, Rate) and cell.has_interval and not isnan(cell.value):
        return f"<td>{Rate(cell.value, percent=cell.percent, signed=cell.signed).text()}<br><small>{cell.interval()}</small></td>"
    return f"<td{_alignment(words)}>{_text(cell_text(cell))}</td>"


def _matrix_cell(cell: Cell, total: int) -> str:
    share = cell / total if isinstance(cell, int) and total else 0.0
    colour = "#fff" if share > 0.6 else "inherit"
    return f'<td class="matrix" style="background: rgba(0, 114, 178, {share:.2f}); color: {colour}">{_text(cell_text(cell))}</td>'
