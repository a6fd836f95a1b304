"""Every missed crystal and every false one, to be looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from training.evaluation.report.columns import numbered
from training.evaluation.report.table import Cell, Rate, Section, Table, Thumbnail, row
from training.evaluation.results import Evaluation, FileResult, Finding

_Pictures = Mapping[str, bytes] | None


def finding_section(evaluation: Evaluation, pictures: _Pictures) -> Section:
    """For each score file; with a column of ``pictures`` (JPEG by image) where there are any to be shown."""
    tables = tuple(table for suffix, file in numbered(evaluation.files) for table in _finding_tables(suffix, file, pictures))
    text = () if pictures is None else ("The pictures inside are the lab's own: pass this page on only to those who may see them.",)
    return Section("Images to look at", text, tables=tables)


def _finding_tables(suffix: str, file: FileResult, pictures: _Pictures) -> tuple[Table, ...]:
    return (
        _finding_table(f"Missed crystals{suffix}", f"Crystals not scored as such: {file.name}", file.missed_crystals, pictures),
        _finding_table(f"False crystals{suffix}", f"Falsely scored as crystals: {file.name}", file.false_crystals, pictures),
    )


def _finding_table(name: str, title: str, findings: Sequence[Finding], pictures: _Pictures) -> Table:
    columns: tuple[str, ...] = ("image", "plate", "people say", "the program says", "with probability %", "crystal probability %")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        row(f.image, f.plate, f.label, f.outcome, Rate(math.nan if f.probability is None else f.probability), Rate(f.crystal_probability))
        for f in findings
    )
    if pictures is not None:
        columns += ("",)
        rows = tuple((*cells, _picture(pictures.get(f.image))) for cells, f in zip(rows, findings, strict=True))
    return Table(name, f"{title} ({len(findings)})", columns, rows)


def _picture(jpeg: bytes | None) -> Cell:
    return None if jpeg is None else Thumbnail(jpeg)
