"""Whether the probabilities are true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.evaluation.report.columns import figure_table
from training.evaluation.report.table import Cell, Plot, Rate, Section, Table
from training.evaluation.results import Bin, Evaluation, FileResult

_ERRORS = ("calibration_error_crystal", "calibration_error_scored")

_CALIBRATION_TEXT = (
    "Whether a probability p comes true in a share p of the images: of the crystal probability, whether it is a crystal; of the score's "
    "own probability, whether its group is right. ECE, the expected calibration error, is the mean distance, 0 at best. Both are the "
    "largest of many windows, so that they tend to be too high even where each window's is calibrated; `crystal-search calibrate` fits the "
    "model to whole images instead.",
)


def calibration_section(evaluation: Evaluation, plots: tuple[Plot, ...]) -> Section:
    """Reliability diagrams, their errors, their bins."""
    files = evaluation.files
    return Section("Calibration", _CALIBRATION_TEXT, plots, (figure_table("Calibration", files, _ERRORS), *_bin_tables(files)))


def _bin_tables(files: Sequence[FileResult]) -> tuple[Table, ...]:
    kinds: tuple[tuple[str, str, Callable[[FileResult], Sequence[Bin]]], ...] = (
        ("Bins crystal", "Crystal probability by bins", lambda file: file.reliability_crystal),
        ("Bins score", "Probability of the score by bins", lambda file: file.reliability_scored),
    )
    columns = ("scores", "probability", "images", "mean probability %", "true %")
    return tuple(
        Table(
            name,
            title,
            columns,
            tuple(_bin_row(file.name, one) for file in files for one in of(file) if one.images),
        )
        for name, title, of in kinds
    )


def _bin_row(name: str, one: Bin) -> tuple[Cell, ...]:
    return name, f"{one.low:.1f} to {one.high:.1f}", one.images, Rate(one.mean_probability), Rate(one.share_true)
