"""Whether crystals are found, and at what price."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.report.columns import figure_table
from training.evaluation.report.table import Plot, Rate, Section, Table
from training.evaluation.results import Evaluation, FileResult

_CRYSTALS = (
    "roc_area",
    "roc_area_clear",
    "average_precision",
    "recall_at_5_percent_false",
    "crystal_precision",
    "false_crystals_clear",
)

_CRYSTAL_TEXT = (
    "Crystals against everything else, and against clear drops and empty wells only, by the crystal probability; images without a drop and "
    "failed ones have 0. The last two columns of the first table look at the score instead.",
)


def crystal_section(evaluation: Evaluation, plots: tuple[Plot, ...]) -> Section:
    """Curves, areas, thresholds."""
    return Section("Finding crystals", _CRYSTAL_TEXT, plots, (crystal_table(evaluation.files), _threshold_table(evaluation.files)))


def crystal_table(files: Sequence[FileResult]) -> Table:
    """What the crystal probability and the score are worth for crystals."""
    return figure_table("Crystals", files, _CRYSTALS)


def _threshold_table(files: Sequence[FileResult]) -> Table:
    """Thresholds for wanted recalls."""
    rows = tuple(
        (
            file.name,
            Rate(found.wanted_recall),
            f"{found.threshold:.6f}",
            Rate(found.recall),
            Rate(found.precision),
            Rate(found.false_rate),
            Rate(found.false_rate_clear),
            found.called,
        )
        for file in files
        for found in file.thresholds
    )
    columns = (
        "scores",
        "wanted %",
        "threshold",
        "found %",
        "right %",
        "false, of others %",
        "false, of clear and empty %",
        "images called",
    )
    note = (
        "To call an image a crystal where its crystal_probability is at least the threshold. This is not the threshold of `score`, "
        "which applies to one class of one window. Chosen on these images: on others the recall will differ."
    )
    return Table("Thresholds", "Threshold for a wanted share of the crystals", columns, rows, note)
