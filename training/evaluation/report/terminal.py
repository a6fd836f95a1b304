"""The report's core on the terminal: a line for each figure, a column for each score file."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from training.evaluation.report.crystals import crystal_table
from training.evaluation.report.ranking import ranking_table
from training.evaluation.report.success import is_marco, success_table
from training.evaluation.report.table import Table, cell_text, printable
from training.evaluation.results import Evaluation


def show(evaluation: Evaluation, console: Console) -> None:
    """Success rates, crystal finding and ranking, then the warnings. Of the paper's rows the last, its best, is shown."""
    for table in (success_table(evaluation.files, is_marco(evaluation)), crystal_table(evaluation.files), ranking_table(evaluation.files)):
        console.print(_turned(table))
    for line in evaluation.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(printable(line))}", highlight=False, soft_wrap=True)


def _turned(table: Table) -> RichTable:
    shown = RichTable(title=escape(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    own = len(table.rows) - table.reference
    rows = [*table.rows[:own], *table.rows[own:][-1:]]
    shown.add_column("")
    for number, (name, *_) in enumerate(rows):
        shown.add_column(escape(printable(cell_text(name))), justify="right", overflow="fold", style="dim" if number >= own else "")
    for place, column in enumerate(table.columns[1:], 1):
        shown.add_row(escape(column), *(escape(cell_text(row[place])) for row in rows))
    return shown
