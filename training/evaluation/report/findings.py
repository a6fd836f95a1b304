"""Every missed crystal and every false one, to be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.evaluation.report.columns import numbered
from training.evaluation.report.table import Rate, Section, Table
from training.evaluation.results import Evaluation, FileResult, Finding


def finding_section(evaluation: Evaluation) -> Section:
    """For each score file."""
    tables = tuple(table for suffix, file in numbered(evaluation.files) for table in _finding_tables(suffix, file))
    return Section("Images to look at", tables=tables)


def _finding_tables(suffix: str, file: FileResult) -> tuple[Table, ...]:
    return (
        _finding_table(f"Missed crystals{suffix}", f"Crystals not scored as such: {file.name}", file.missed_crystals),
        _finding_table(f"False crystals{suffix}", f"Falsely scored as crystals: {file.name}", file.false_crystals),
    )


def _finding_table(name: str, title: str, findings: Sequence[Finding]) -> Table:
    columns = ("image", "plate", "people say", "the program says", "with probability %", "crystal probability %")
    rows = tuple(
        (f.image, f.plate, f.label, f.outcome, Rate(math.nan if f.probability is None else f.probability), Rate(f.crystal_probability))
        for f in findings
    )
    return Table(name, f"{title} ({len(findings)})", columns, rows)
