"""``crystal-search calibrate MODEL_FOLDER``: fits temperature, biases and threshold on images that the training did not see."""

from __future__ import annotations

import datetime
import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from client_app.model import CalibrationSpec, ModelSpec, load_model
from client_app.model_folders import MODEL_TOML
from crystal_search.atomic import write_atomically
from crystal_search.errors import UsageError
from crystal_search.extras import require
from training.calibration.fit import Images, bias_of_groups, fit, log_loss
from training.calibration.looked import DrawnWell, LabFile, Looked, Source, lab_file, look_at, processors
from training.calibration.rules import (
    FINE_THRESHOLDS,
    THRESHOLDS,
    Answers,
    Row,
    answers,
    choose,
    choose_by_recall,
    class_rule,
    group_rule,
    table,
)
from training.datasets.split import split_plates
from training.evaluation.cli import read_columns, writing
from training.evaluation.judgement import Words
from training.evaluation.labels import read_labels
from training.evaluation.measures.calibration import Reliability, expected_calibration_error, reliability
from training.evaluation.sample import CLEAR, CRYSTAL, GROUPS
from training.export import to_toml
from training.shards import painter_version

#: Far from the seeds of training (1 ...) and of held-out examples (10 000 000 ...).
FIRST_SEED = 90_000_000
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Halves:
    """The images to fit on and those, of other plates, to judge by; in words and as ``model.toml`` records them."""

    fitted: tuple[Source, ...]
    judged: tuple[Source, ...]
    words: str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a calibration makes of images that it was not fitted on."""

    answers: Answers
    diagram: Reliability
    loss: float

    @classmethod
    def of(cls, images: Images, calibration: CalibrationSpec) -> Judged:
        given = answers(images, calibration)
        diagram = reliability(given.groups[:, CRYSTAL], images.truth == CRYSTAL)
        return cls(given, diagram, log_loss(given.groups, images.truth))

    @property
    def error(self) -> float:
        """Expected calibration error of the crystal probability."""
        return expected_calibration_error(self.diagram)


def drawn_halves(wells: int) -> Halves:
    """Drawn wells: those of even seeds to fit on, those of odd ones to judge by, so that more wells keep the old ones in their half."""
    painter = painter_version()
    sources = [DrawnWell(seed, painter) for seed in range(FIRST_SEED, FIRST_SEED + wells)]
    seeds = f"{FIRST_SEED} to {FIRST_SEED + wells - 1}"
    words = f"{wells} drawn wells (seeds {seeds}): fitted on the even seeds, figures on the odd ones"
    return Halves(tuple(sources[0::2]), tuple(sources[1::2]), words, {"images": f"drawn wells, seeds {seeds}", "painter": painter})


def lab_halves(labels: Path, folder: Path, columns: Mapping[str, str], words: Words | None, seed: int) -> Halves:
    """A lab's labelled images, whole plates to each half; where no plate is named the image's folder counts as one.

    Raises ``UsageError`` with one line for labels that can not be read, fewer than two plates, and a folder without any of the images.
    """
    images = list(read_labels(labels, columns, words).images.values())
    plates = [image.plate or f"folder {Path(image.image).parent}" for image in images]
    part_of = split_plates([(plate, str(i.consensus.judgement.group)) for plate, i in zip(plates, images, strict=True)], seed, _HALF_EACH)
    if len(part_of) < 2:
        raise UsageError(f"{labels}: all images are of one plate, but one plate is needed to fit on and another to judge by")
    files: dict[str, list[LabFile]] = {part: [] for part in _HALF_EACH}
    for plate, image in zip(plates, images, strict=True):
        files[part_of[plate]].append(lab_file(image, folder))
    if not any(file.path.is_file() for part in files.values() for file in part):
        raise UsageError(f"none of the {len(images)} images that {labels} names is in {folder}")
    in_part = {part: sum(where == part for where in part_of.values()) for part in _HALF_EACH}
    said = f"{labels}: fitted on {in_part['fitted']} plates, figures on {in_part['judged']} others"
    digest = hashlib.sha256(labels.read_bytes()).hexdigest()
    record = {"images": f"a lab's labelled images, {len(part_of)} plates, split by plate with seed {seed}", "labels_sha256": digest}
    return Halves(tuple(files["fitted"]), tuple(files["judged"]), said, record)


_HALF_EACH = {"fitted": 0.5, "judged": 0.5}


def lab_images(labels: Path, folder: Path, columns: Mapping[str, str], words: Words | None) -> tuple[LabFile, ...]:
    """All of a lab's labelled images. Raises ``UsageError`` as :func:`lab_halves`, but for the number of plates."""
    files = tuple(lab_file(image, folder) for image in read_labels(labels, columns, words).images.values())
    if not any(file.path.is_file() for file in files):
        raise UsageError(f"none of the {len(files)} images that {labels} names is in {folder}")
    return files


def images_of(looked: Sequence[Looked | None], what: str) -> Images:
    """The images that did not fail. Raises ``UsageError`` without a crystal or without a clear drop or empty well among them."""
    images = Images.of([one for one in looked if one is not None])
    for group in (CRYSTAL, CLEAR):
        if not (images.truth == group).any():
            raise UsageError(f"no {GROUPS[group]} image among those {what}: more images or plates are needed")
    return images


def write(folder: Path, calibration: CalibrationSpec, threshold: float, record: Mapping[str, Any]) -> None:
    """Put a calibration, a threshold and how they were found into the folder's ``model.toml``."""
    path = folder / MODEL_TOML
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    settings["threshold"] = threshold
    settings["calibration"] = {"temperature": calibration.temperature, "bias": list(calibration.bias)}
    training = {name: part for name, part in settings.get("training", {}).items() if name != "threshold"}  # of an earlier choice
    settings["training"] = training | {"calibration": dict(record)}
    write_atomically(path, to_toml(settings).encode())


def write_threshold(folder: Path, threshold: float, record: Mapping[str, Any]) -> None:
    """Put a threshold and how it was found into the folder's ``model.toml``; the calibration stays."""
    path = folder / MODEL_TOML
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    settings["threshold"] = threshold
    settings["training"] = settings.get("training", {}) | {"threshold": dict(record)}
    write_atomically(path, to_toml(settings).encode())


# ---- what is printed --------------------------------------------------------------------------------------------


def _percent(number: float) -> str:
    return "-" if np.isnan(number) else f"{100 * number:.1f}"


def success_lines(title: str, rows: Sequence[Row], marked: float | None = None, mark: str = "") -> Iterator[str]:
    """A table of thresholds, in percent; ``mark`` stands beside the threshold ``marked``."""
    yield f"\n{title}, %"
    yield "threshold  " + "  ".join(GROUPS) + "   mean  false crystals on clear and empty"
    for row in rows:
        rates = "  ".join(_percent(rate).rjust(len(name)) for name, rate in zip(GROUPS, row.success, strict=True))
        arrow = f"  <- {mark}" if row.threshold == marked else ""
        yield f"{row.threshold:9.2f}  {rates}  {_percent(row.mean):>5}  {_percent(row.false_crystals):>5}{arrow}"


def reliability_lines(before: Judged, after: Judged) -> Iterator[str]:
    """Reliability of the crystal probability, before and after."""
    yield "\ncrystal probability           before                        after"
    yield "             images  mean %  true %      images  mean %  true %"
    for number in range(before.diagram.count.size):
        columns = (
            f"{one.diagram.count[number]:6}  {_percent(one.diagram.probability[number]):>6}  {_percent(one.diagram.share[number]):>6}"
            for one in (before, after)
        )
        yield f"{number / 10:.1f} to {(number + 1) / 10:.1f}   " + "      ".join(columns)


def _with(rows: Sequence[float], more: float) -> list[float]:
    return sorted({*rows, more})


@click.command()
@click.argument("model_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--wells", type=click.IntRange(40), default=400, show_default=True, help="Wells to draw, half to fit on, half to judge by.")
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead: CSV of a lab's labelled images.")
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where these images lie.")
@click.option("--column", "columns", metavar="ROLE=NAME", multiple=True, help="A column of the labels, as in evaluate.")
@click.option("--words", type=click.Choice([str(word) for word in Words]), help="What precipitate, other and clear mean, as in evaluate.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split of a lab's plates.")
@click.option(
    "--recall", type=click.FloatRange(0, 1, min_open=True), help="Choose the largest threshold that finds this share of crystals."
)
@click.option(
    "--threshold-only", is_flag=True, help="Fit nothing: choose the threshold on all images of --labels, with the calibration as it is."
)
@click.option("--work", type=_FOLDER, default=Path("runs/calibrate"), show_default=True, help="Keeps what the networks said: runs go on.")
@click.option("--workers", type=click.IntRange(1), help="Processes. [default: one a processor]")
@click.option("--write", "wanted_write", is_flag=True, help="Put calibration and threshold into model.toml.")
def calibrate(
    model_folder: Path,
    wells: int,
    labels: Path | None,
    images: Path | None,
    columns: tuple[str, ...],
    words: str | None,
    seed: int,
    recall: float | None,
    threshold_only: bool,
    work: Path,
    workers: int | None,
    wanted_write: bool,
) -> None:
    """Fit a model's temperature, one bias each for crystal, precipitate and other, and its threshold.

    Without --labels the images are drawn wells that no training uses. The fit is the one under which the images' group probabilities
    explain their labels best. The threshold is the middle one of those whose mean of the four groups' success rates is within a point of
    the best, of those that call at most 5 % of clear drops and empty wells crystals. All figures are of images that were not fitted
    on, except with --threshold-only, which leaves no image to judge by.
    """
    if (labels is None) != (images is None):
        raise UsageError("--labels and --images belong together: the table, and the folder that its names are relative to")
    before = load_model(model_folder).spec
    if threshold_only:
        if not labels or not images:
            raise UsageError("--threshold-only needs --labels and --images: on drawn wells, fit the calibration too")
        with writing(work):
            files = lab_images(labels, images, read_columns(columns), Words(words) if words else None)
            looked = look_at(model_folder, files, work, workers or processors())
        _threshold_only(model_folder, before, labels, images_of(looked, "to choose on"), looked.count(None), recall, wanted_write)
        return
    require("calibrate", "scipy")
    if labels and images:
        halves = lab_halves(labels, images, read_columns(columns), Words(words) if words else None, seed)
    else:
        halves = drawn_halves(wells)
    with writing(work):
        looked = look_at(model_folder, (*halves.fitted, *halves.judged), work, workers or processors())
    fitted = images_of(looked[: len(halves.fitted)], "to fit on")
    judged = images_of(looked[len(halves.fitted) :], "to judge by")

    calibration = fit(fitted)
    old, new = Judged.of(judged, before.calibration), Judged.of(judged, calibration)
    own = table(answers(fitted, calibration), class_rule, FINE_THRESHOLDS if recall else THRESHOLDS)
    threshold = (choose_by_recall(own, recall) if recall else choose(own)).threshold

    click.echo(f"{halves.words}\n{fitted.truth.size} images fitted on, {judged.truth.size} to judge by, {looked.count(None)} left out")
    for name, spec in (("before", before.calibration), ("after", calibration)):
        biases = ", ".join(f"{group} {bias:+.3f}" for group, bias in bias_of_groups(spec).items())
        click.echo(f"{name:7} temperature {spec.temperature:.3f}, bias {biases}")
    click.echo(f"crystal ECE {old.error:.3f} before, {new.error:.3f} after; log loss {old.loss:.3f} before, {new.loss:.3f} after")
    for line in (
        *reliability_lines(old, new),
        *success_lines(
            "success rates before", table(old.answers, class_rule, _with(THRESHOLDS, before.threshold)), before.threshold, "the model's"
        ),
        *success_lines("success rates after", table(new.answers, class_rule, _with(THRESHOLDS, threshold)), threshold, "chosen"),
        *success_lines("the same, each window's probabilities summed over each group", table(new.answers, group_rule)),
    ):
        click.echo(line)
    click.echo(f"\nthreshold {threshold}, chosen on the images fitted on; the model has {before.threshold}")
    if wanted_write:
        record = {
            **halves.record,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": _command(wells, labels, seed, recall),
            "images_fitted": int(fitted.truth.size),
            "images_judged": int(judged.truth.size),
            "ece_before": round(old.error, 4),
            "ece_after": round(new.error, 4),
            "log_loss_before": round(old.loss, 4),
            "log_loss_after": round(new.loss, 4),
        }
        with writing(model_folder):
            write(model_folder, calibration, threshold, record)
        click.echo(f"wrote calibration and threshold to {model_folder / MODEL_TOML}")


def _threshold_only(
    folder: Path, spec: ModelSpec, labels: Path, images: Images, left_out: int, recall: float | None, wanted_write: bool
) -> None:
    """Choose the threshold on ``images``, print what each would give there, and write it where that is wanted."""
    given = answers(images, spec.calibration)
    own = table(given, class_rule, FINE_THRESHOLDS if recall else THRESHOLDS)
    threshold = (choose_by_recall(own, recall) if recall else choose(own)).threshold
    click.echo(f"{labels}: threshold chosen on all {images.truth.size} images, {left_out} left out; nothing is fitted")
    rows = table(given, class_rule, _with(THRESHOLDS, threshold))
    for line in (
        *success_lines("success rates on the images chosen on", rows, threshold, "chosen"),
        *success_lines("the same, each window's probabilities summed over each group", table(given, group_rule)),
    ):
        click.echo(line)
    click.echo(f"\nthreshold {threshold}, chosen on the images that these figures are of; the model has {spec.threshold}")
    if wanted_write:
        record = {
            "images": "a lab's labelled images, all of them",
            "labels_sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": _command(0, labels, None, recall, "--threshold-only "),
            "images_chosen_on": int(images.truth.size),
        }
        with writing(folder):
            write_threshold(folder, threshold, record)
        click.echo(f"wrote the threshold to {folder / MODEL_TOML}")


def _command(wells: int, labels: Path | None, seed: int | None, recall: float | None, more: str = "") -> str:
    """The call that gives this again, without any path of this machine."""
    what = "--labels LABELS --images IMAGES" + (f" --seed {seed}" if seed is not None else "") if labels else f"--wells {wells}"
    return f"crystal-search calibrate MODEL_FOLDER {what} " + (f"--recall {recall} " if recall else "") + more + "--write"
