"""Confusion matrices."""

from __future__ import annotations

from training.evaluation.report.columns import numbered, spaced
from training.evaluation.report.table import Section, Table, row
from training.evaluation.results import Evaluation, FileResult, Matrix

_MATRIX_TEXT = (
    "Rows: what people say. Columns: what the program says. Shaded by the share of the row. The paper's thirteenth class, rim, is one of "
    "chops; as a score it is clear (P2).",
)


def matrix_section(evaluation: Evaluation) -> Section:
    """Groups and classes, for each score file."""
    tables = tuple(table for suffix, file in numbered(evaluation.files) for table in _matrix_tables(suffix, file))
    return Section("What became of what", _MATRIX_TEXT, tables=tables)


def _matrix_tables(suffix: str, file: FileResult) -> tuple[Table, ...]:
    groups = _matrix_table(f"Groups{suffix}", f"Four groups: {file.name}", file.group_matrix)
    with_class = sum(file.class_images)
    if not with_class:
        return (groups,)
    note = f"{with_class} of {sum(file.group_images)} images, whose labels name a class."
    return groups, _matrix_table(f"Classes{suffix}", f"Twelve classes: {file.name}", file.class_matrix, note)


def _matrix_table(name: str, title: str, matrix: Matrix, note: str = "") -> Table:
    rows = tuple(row(spaced(said), *counts, sum(counts)) for said, counts in zip(matrix.rows, matrix.counts, strict=True))
    return Table(name, title, ("people say", *map(spaced, matrix.columns), "all"), rows, note, matrix=True)
