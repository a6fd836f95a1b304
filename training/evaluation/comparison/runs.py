"""What is compared: trainings by their run files, and the scores that lie beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from client_app.score import CSV_NAME
from client_app.scored_file import SCORED_JSON, Scored
from crystal_search.errors import UsageError
from training.evaluation.labels import Labels
from training.evaluation.matching import match
from training.evaluation.measures.success import frequencies, success_rates, weighted_mean
from training.evaluation.sample import GROUPS, Sample
from training.evaluation.scores import read_scores
from training.run_file import RunFile, read

#: Where the scores of a model lie: MODEL_FOLDER/scores/ANYTHING/scores.csv.
SCORES = "scores"


@dataclass(frozen=True, slots=True)
class Scoring:
    """Success of one run at one threshold on labelled images (P19): rates of the four groups and their weighted mean, 0 to 1.

    ``counts`` are the images of each group, and ``images`` those of all.
    """

    threshold: float
    images: int
    counts: tuple[int, ...]
    rates: tuple[float, ...]
    weighted: float


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One training, its scorings by threshold, and the processor seconds that an image took, NaN where nothing tells."""

    run: RunFile
    scorings: tuple[Scoring, ...]
    seconds_an_image: float


@dataclass(frozen=True, slots=True)
class Group:
    """The runs that differ by nothing but their seed."""

    title: str
    runs: tuple[ComparedRun, ...]


def read_runs(paths: Sequence[str], labels: Labels | None) -> list[ComparedRun]:
    """The runs of model folders, with their scores where ``labels`` say what is right.

    Raises ``UsageError`` with one line for what is no run or no table of scores, and where the scores name none of the labelled images.
    """
    return [_read(Path(path), labels) for path in paths]


def _read(folder: Path, labels: Labels | None) -> ComparedRun:
    run = read(folder)
    tables = sorted((folder / SCORES).glob(f"*/{CSV_NAME}")) if labels else []
    scorings, seconds = [], []
    for table in tables:
        assert labels is not None
        told = _told(table.parent / SCORED_JSON)
        scorings.append(_scoring(table, told.threshold, labels))
        if told.images:
            seconds.append(told.processor_seconds / told.images)
    return ComparedRun(run, tuple(sorted(scorings, key=lambda scoring: -scoring.threshold)), min(seconds, default=math.nan))


def _told(file: Path) -> Scored:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Scored)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{file}: can not be read ({error}): `crystal-search score` writes it beside {CSV_NAME}, score again") from error


def _scoring(table: Path, threshold: float, labels: Labels) -> Scoring:
    scores = read_scores(table, str(table)).scores
    pairs = match(labels.images, scores).pairs
    if not pairs:
        raise UsageError(f"{table} names none of the images in {labels.path}")
    sample = Sample.of([labels.images[name] for name in pairs], [scores[name] for name in pairs.values()])
    rates = success_rates(sample.truth, sample.right, len(GROUPS))
    mean = weighted_mean(rates, frequencies(sample.truth, len(GROUPS)))
    counts = np.bincount(sample.truth, minlength=len(GROUPS))
    return Scoring(threshold, len(pairs), tuple(map(int, counts)), tuple(map(float, rates)), mean)


def grouped(runs: Sequence[ComparedRun]) -> list[Group]:
    """Runs of one network, one set of classes, window, data and length side by side, in the order in which they were given."""
    groups: dict[tuple[object, ...], list[ComparedRun]] = {}
    for one in runs:
        run = one.run
        key = (run.network, tuple(run.outputs), run.window, tuple(run.data), run.epochs, run.images_seen)
        groups.setdefault(key, []).append(one)
    return [Group(_title(members[0].run), tuple(members)) for members in groups.values()]


def _title(run: RunFile) -> str:
    return f"{run.network}, {len(run.outputs)} classes"


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """One line for each thing that makes the runs no fair comparison."""
    lines = []
    for name, of in (
        ("images seen", lambda run: run.images_seen),
        ("px of a chop", lambda run: run.window),
        ("data sets", lambda run: tuple(run.data)),
    ):
        if len({of(one.run) for one in runs}) > 1:
            lines.append(f"The runs differ in their {name}.")
    if len({scoring.images for one in runs for scoring in one.scorings}) > 1:
        lines.append("The runs were not scored on the same number of images.")
    return lines
