"""``crystal-search evaluate SCORES... --labels LABELS --out DIR``: how good are the scores, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import click
import msgspec
from rich.console import Console

from crystal_search.atomic import write_atomically
from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.extras import missing, require
from training.evaluation.comparison.report import as_json, as_markdown
from training.evaluation.comparison.runs import read_runs
from training.evaluation.evaluation import Wish
from training.evaluation.evaluation import evaluate as evaluate_scores
from training.evaluation.judgement import Words
from training.evaluation.labels import ROLES, Labels, read_labels
from training.evaluation.report.terminal import show
from training.evaluation.results import Evaluation
from training.evaluation.sample import Sample
from training.evaluation.scores import name_files, read_scores


def read_columns(options: tuple[str, ...]) -> dict[str, str]:
    """``ROLE=NAME`` options as a mapping. Raises ``UsageError``."""
    columns: dict[str, str] = {}
    for option in options:
        role, _, name = option.partition("=")
        if role not in ROLES or not name or role in columns:
            raise UsageError(f"--column {option}: not ROLE=NAME with a role of {', '.join(ROLES)}, each at most once")
        columns[role] = name
    return columns


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Where ``out`` is there and can be written, or else ``TryAgainLater`` is raised."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error


def write_reports(out: Path, evaluation: Evaluation, samples: tuple[Sample, ...], images: Path | None = None) -> None:
    """``report.json``, ``report.html`` and ``report.xlsx`` in ``out``; the page with small pictures where ``images`` names their folder.

    Raises ``SettingsError`` without the training extra.
    """
    try:
        from training.evaluation.report.page import page
        from training.evaluation.report.plots import all_plots
        from training.evaluation.report.sections import sections
        from training.evaluation.report.thumbnails import thumbnails
        from training.evaluation.report.workbook import workbook
    except ModuleNotFoundError as error:
        raise missing("evaluate", error.name) from error
    plots = all_plots([(file.name, sample) for file, sample in zip(evaluation.files, samples, strict=True)])
    parts = sections(evaluation, plots, thumbnails(evaluation, images) if images else None)
    contents = {
        "report.json": msgspec.json.format(msgspec.json.encode(evaluation), indent=1),
        "report.html": page(evaluation, parts, date.today()).encode("utf-8"),
        "report.xlsx": workbook(evaluation, parts),
    }
    with writing(out):
        for name, content in contents.items():
            write_atomically(out / name, content)


@click.command()
@click.argument("scores", metavar="SCORES...", nargs=-1, required=True)
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV: what people said.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for report.html, .xlsx and .json.")
@click.option(
    "--compare",
    is_flag=True,
    help="SCORES are model folders: compare their trainings, and their scores/*/scores.csv where --labels is given.",
)
@click.option("--column", "columns", metavar="ROLE=NAME", multiple=True, help=f"A column of the labels: {', '.join(ROLES)}.")
@click.option(
    "--words",
    type=click.Choice([str(word) for word in Words]),
    help="What precipitate, other and clear mean. [default: as the file's other labels]",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the images: puts small pictures of missed and false crystals into report.html.",
)
@click.option("--common", is_flag=True, help="Only images that all score files have.")
@click.option(
    "--recall",
    "recalls",
    type=click.FloatRange(0, 1, min_open=True),
    multiple=True,
    default=Wish().recalls,
    show_default=True,
    help="Share of the crystals to find a threshold for.",
)
@click.option(
    "--bootstrap", type=click.IntRange(0, 100_000), default=Wish().bootstrap, show_default=True, help="Resamples for the intervals."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resamples.")
def evaluate(
    scores: tuple[str, ...],
    labels: Path | None,
    out: Path,
    compare: bool,
    columns: tuple[str, ...],
    words: str | None,
    images: Path | None,
    common: bool,
    recalls: tuple[float, ...],
    bootstrap: int,
    seed: int,
) -> None:
    """Compare scores with people's labels, side by side for several models or thresholds.

    SCORES are scores.csv files of `crystal-search score`, each as PATH or NAME=PATH. The labels have the columns image and label, and
    may have plate, well, scorer and source; a label is a class, a score, a group, a MARCO name or empty_well; several rows for one
    image are several people. Images are matched by path, or by file name where that is unique.

    With --compare the paper's Tables 2 and 3 come out, for the networks of the model folders: comparison.md and comparison.json.
    """
    people = read_labels(labels, read_columns(columns), Words(words) if words else None) if labels else None
    if compare:
        _compare_runs(scores, people, out)
        return
    if people is None:
        raise UsageError("--labels is missing: the CSV file of what people said")
    files = [read_scores(path, name) for name, path in name_files(scores).items()]
    with writing(out):  # before the resampling, which may take minutes
        evaluation, samples = evaluate_scores(people, files, Wish(bootstrap, seed, recalls, common))
    write_reports(out, evaluation, samples, images)
    show(evaluation, Console())
    click.echo(str(out / "report.html"))


def _compare_runs(folders: tuple[str, ...], people: Labels | None, out: Path) -> None:
    """``comparison.md``, which is also shown, and ``comparison.json``."""
    require("evaluate", "scipy")
    runs = read_runs(folders, people)
    text = as_markdown(runs)
    with writing(out):
        write_atomically(out / "comparison.md", text.encode("utf-8"))
        write_atomically(out / "comparison.json", as_json(runs))
    click.echo(text)
    click.echo(str(out / "comparison.md"))
