"""The report's sections, in the order in which a reader needs them."""

from __future__ import annotations

from collections.abc import Mapping

from training.evaluation.report.calibration import calibration_section
from training.evaluation.report.crystals import crystal_section
from training.evaluation.report.data import data_section, left_section
from training.evaluation.report.findings import finding_section
from training.evaluation.report.matrices import matrix_section
from training.evaluation.report.parts import part_section
from training.evaluation.report.people import people_section
from training.evaluation.report.plots import Plots
from training.evaluation.report.ranking import ranking_section
from training.evaluation.report.success import success_section
from training.evaluation.report.table import Section
from training.evaluation.results import Evaluation


def sections(evaluation: Evaluation, plots: Plots, thumbnails: Mapping[str, bytes] | None = None) -> tuple[Section, ...]:
    """All of the report, but for its head and its warnings; ``thumbnails`` are JPEGs by image, None where nobody asked for any."""
    return (
        success_section(evaluation),
        crystal_section(evaluation, plots.crystals),
        ranking_section(evaluation, plots.ranking),
        calibration_section(evaluation, plots.calibration),
        matrix_section(evaluation),
        part_section(evaluation),
        people_section(evaluation),
        data_section(evaluation),
        finding_section(evaluation, thumbnails),
        left_section(evaluation),
    )
