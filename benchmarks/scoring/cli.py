"""``crystal-search benchmark scoring IMAGES...``: what a well costs, the paper's way and ours, on the same windows in one run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from benchmarks.machine import processors
from benchmarks.scoring.measure import Plan, measure
from benchmarks.scoring.report import lines
from client_app.model import load_model
from client_app.model_folders import MODEL_VARIABLE, default_model_folder
from client_app.score import find_images
from crystal_search.atomic import write_atomically
from crystal_search.errors import SettingsError, UsageError

_FOLDER_OR_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=_FOLDER_OR_FILE)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write everything to this file.")
@click.option("--model", type=_FOLDER_OR_FILE, envvar=MODEL_VARIABLE, help="Model folder. [default: the one that came along]")
@click.option("--step", type=click.IntRange(min=1), help="Px from window to window, one of the model's steps. [default: the model's]")
@click.option("--threads", type=click.IntRange(1, 256), multiple=True, help="Threads; may be given several times. [default: 1 and 2]")
@click.option("--slow-wells", type=click.IntRange(1), default=2, show_default=True, help="Wells for the paper's ways, which are slow.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Times that each well is scored; the best counts.")
@click.option("--calibrate-on", type=_FOLDER_OR_FILE, multiple=True, help="Images to calibrate int8 on. [default: those measured]")
def scoring(
    images: tuple[Path, ...],
    json_file: Path | None,
    model: Path | None,
    step: int | None,
    threads: tuple[int, ...],
    slow_wells: int,
    repeats: int,
    calibrate_on: tuple[Path, ...],
) -> None:
    """Measure what a well costs: the paper's way, chops in batches, one pass over the drop, and that in int8.

    IMAGES are files, and folders searched at any depth. Every way gets the same windows. Times can be compared within one run only;
    leave the machine alone while it runs.
    """
    if json_file and not json_file.absolute().parent.is_dir():
        raise UsageError(f"{json_file}: there is no such folder to write to")
    folder = model or default_model_folder()
    loaded = load_model(folder)
    plan = Plan(
        model=loaded,
        folder=folder.resolve(),
        images=list(find_images(images).values()),
        calibrate_on=list(find_images(calibrate_on).values()) if calibrate_on else [],
        step=loaded.step(step),
        threads=sorted(set(threads)) or [count for count in (1, 2) if count <= processors()],
        slow_wells=slow_wells,
        repeats=repeats,
        say=lambda line: click.echo(line, err=True),
    )
    report = measure(plan)
    for line in lines(report):
        click.echo(line)
    if json_file:
        try:
            write_atomically(json_file, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        except OSError as error:
            raise SettingsError(f"{json_file} can not be written ({error.strerror})") from error
