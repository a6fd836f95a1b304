"""The images by plate and by source."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.report.columns import numbered
from training.evaluation.report.table import Rate, Section, Share, Table, row
from training.evaluation.results import Evaluation, FileResult, Part
from training.evaluation.sample import GROUPS

_NOTE = (
    "Of each group: how many were named right, of how many. ROC areas are of the part's crystals: against the rest of the part, and "
    "against the clear drops and empty wells of all parts together."
)


def part_section(evaluation: Evaluation) -> Section:
    """For each score file."""
    tables = tuple(table for suffix, file in numbered(evaluation.files) for table in _part_tables(suffix, file))
    return Section("By plate and by source", tables=tables)


def _part_tables(suffix: str, file: FileResult) -> tuple[Table, ...]:
    return (
        _part_table(f"Plates{suffix}", f"By plate: {file.name}", "plate", file.plates),
        _part_table(f"Sources{suffix}", f"By source: {file.name}", "source", file.sources),
    )


def _part_table(name: str, title: str, key: str, parts: Sequence[Part]) -> Table:
    columns = (key, "images", *GROUPS, "weighted mean %", "false crystals", "ROC area, inside", "ROC area, against all clear and empty")
    rows = tuple(
        row(
            part.name,
            part.images,
            *(Share(right, n) for right, n in zip(part.group_right, part.group_images, strict=True)),
            Rate(part.weighted_mean),
            part.false_crystals,
            Rate(part.roc_area, percent=False),
            Rate.of(part.roc_area_clear, percent=False),
        )
        for part in parts
    )
    return Table(name, title, columns, rows, _NOTE)
