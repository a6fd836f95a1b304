"""Success rates side by side, as the paper's Table 3 has them (P19, P20)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.evaluation.paper import IMAGES, MARCO_ACCURACY, TABLE_3, TFRECORD
from training.evaluation.report.columns import ELSEWHERE, FIGURE, figure_rows, heading
from training.evaluation.report.table import Rate, Section, Table, row
from training.evaluation.results import Evaluation, FileResult
from training.evaluation.sample import GROUPS

_SUCCESS = (*(f"success_{name}" for name in GROUPS), "weighted_mean", "balanced_mean")


def success_section(evaluation: Evaluation) -> Section:
    """The four groups, their means, and how far the score files differ."""
    files = evaluation.files
    return Section(
        "Success rates", _success_text(evaluation), tables=(success_table(files, is_marco(evaluation)), *_difference_table(files))
    )


def _success_text(evaluation: Evaluation) -> tuple[str, ...]:
    return (
        "The share of the images of each group that the program named so; unsure, no drop and failed are misses, except that no drop is "
        "right for an empty well, which belongs to clear. The weighted mean weighs each group by how often people named it (P19), and so "
        "depends on the mix of images; the plain mean does not.",
        _interval_text(evaluation),
        "The paper's rows are its Table 3 (P20): 16 plates with 2400 images of another lab. They show what is usual; a difference to them "
        "is no comparison of programs. The mean of its MARCO row does not follow from the weights that fit the other six.",
    )


def _interval_text(evaluation: Evaluation) -> str:
    if not evaluation.bootstrap:
        return "No intervals were asked for."
    units = dict.fromkeys(file.resampled for file in evaluation.files)
    return (
        f"Beside each figure the 95 % percentile interval of {evaluation.bootstrap} bootstrap samples (seed {evaluation.seed}), drawn from "
        f"{'; '.join(units)}. An interval without width means that the figure was the same in all samples, not that it is certain."
    )


def success_table(files: Sequence[FileResult], marco: bool = False) -> Table:
    """The score files side by side as in the paper's Table 3, with the paper's own rows below, and MARCO's where ``marco`` says so."""
    ours = [row(name, sum(file.group_images), *rates) for file, (name, *rates) in zip(files, figure_rows(files, _SUCCESS), strict=True)]
    paper = [row(f"Paper: {of.network}, {ELSEWHERE}", IMAGES, *_percents(*of.rates, of.weighted_mean, sum(of.rates) / 4)) for of in TABLE_3]
    if marco:
        name = "MARCO's own test split, whole images: more than, Bruno et al. (2018)"
        paper.append(row(name, None, *[Rate(math.nan)] * len(GROUPS), Rate(MARCO_ACCURACY), Rate(math.nan)))
    columns = ("scores", "images", *map(heading, _SUCCESS))
    return Table("Success", "Success rates by group", columns, (*ours, *paper), reference=len(paper))


def is_marco(evaluation: Evaluation) -> bool:
    """Whether the images came out of TFRecords, as MARCO's do."""
    return TFRECORD in evaluation.labels.by_source


def _percents(*numbers: float) -> tuple[Rate, ...]:
    return tuple(Rate(number / 100) for number in numbers)


def _difference_table(files: Sequence[FileResult]) -> tuple[Table, ...]:
    """How far the other files differ from the first, on the same images."""
    names = (*_SUCCESS, "roc_area", "roc_area_clear", "average_precision")
    rows = tuple(
        row(file.name, *(Rate.of(file.difference[name], FIGURE[name].percent, signed=True) for name in names))
        for file in files
        if file.difference
    )
    title = f"Difference from {files[0].name}"
    note = "Percentage points in columns with %. Same images, same samples: where an interval holds 0, neither is shown to be better."
    return (Table("Differences", title, ("scores", *map(heading, names)), rows, note),) if rows else ()
