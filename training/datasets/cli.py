"""``crystal-search dataset``: scored images in, a folder of chops to train from out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from client_app.model import load_model
from client_app.model_folders import default_model_folder
from crystal_search import __version__
from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.service import stopped_by_signals
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from training.datasets.build import DATASET_JSON, FORMAT, ShardReport, Wish, build, read_report
from training.datasets.cut import chop_side
from training.datasets.from_class_folders import read_class_folders
from training.datasets.from_folder import read_folder
from training.datasets.from_tfrecords import read_tfrecords
from training.datasets.from_xtaltrak import UV_PROFILES, read_xtaltrak
from training.datasets.list_cli import disagreements, unpack_tfrecords
from training.datasets.plates import of_drop_types, read_plates, with_plates
from training.datasets.rules import Rules, with_values
from training.datasets.scored_image import DROP_TYPES, Found, ScoredImage
from training.datasets.split import PARTS, SHARES
from training.datasets.table1 import count, table, warnings
from training.records.cli import from_records, records

_log = logging.getLogger("dataset")
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def dataset() -> None:
    """Makes a data set of scored images, to train or fine-tune the chop classifier with."""


@dataset.command("build")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The data set's folder; one that is there is gone on with.",
)
@click.option("--xtaltrak", is_flag=True, help="People's scores in the XtalTrak of the settings.")
@click.option("--settings", "settings_file", type=_PATH, help="Settings file; default crystal-search.toml.")
@click.option("--uv-profile", "uv_profiles", multiple=True, default=UV_PROFILES, show_default=True, help="Profile of XtalTrak's UV images.")
@click.option(
    "--labels", type=_FILE, multiple=True, help="CSV: image, label; may have plate, well, inspection, protein, uv, drop_type, um_per_px."
)
@click.option("--images", "folder", type=_PATH, help="Folder that the images of --labels are in; default where the CSV file lies.")
@click.option("--tfrecord", "records", type=_FILE, multiple=True, help="A MARCO-style TFRecord file.")
@click.option(
    "--class-folders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Folder with a folder of images for each class or MARCO name.",
)
@click.option("--label-names", help="What the numbers in image/class/label mean, from 0 on: Name,Name,...")
@click.option("--plates", type=_FILE, help="CSV: plate; may have drop_type, protein, chromophore (yes or no).")
@click.option(
    "--drop-type", "drop_types", type=click.Choice(DROP_TYPES), multiple=True, help="Only plates with these drops. [default: all]"
)
@click.option(
    "--chromophore", "chromophores", multiple=True, help="Plate or protein on whose crystals the visible image alone decides (P29)."
)
@click.option(
    "--without-uv",
    type=click.Choice(["leave out", "visible alone"]),
    default=Rules.without_uv,
    show_default=True,
    help="Crystal images without a UV mate.",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="NAME=NUMBER",
    multiple=True,
    help="Another threshold: contrast, crystal, crystal_uv, precipitate, other, rim, ...",
)
@click.option(
    "--share",
    "shares",
    type=(click.Choice(PARTS), click.FloatRange(0)),
    multiple=True,
    help="Share of the images of a part. [default: 0.8, 0.1, 0.1]",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the split by plate.")
@click.option(
    "--model", "model_folder", type=_PATH, help="Model folder whose drop finder and resolution are used; default the one that ships."
)
@click.option("--window", type=click.IntRange(32, 1024), help="Side in px of the chops to train on. [default: the model's]")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that cut images.")
def build_dataset(
    out: Path,
    xtaltrak: bool,
    settings_file: Path | None,
    uv_profiles: tuple[str, ...],
    labels: tuple[Path, ...],
    folder: Path | None,
    records: tuple[Path, ...],
    class_folders: tuple[Path, ...],
    label_names: str | None,
    plates: Path | None,
    drop_types: tuple[str, ...],
    chromophores: tuple[str, ...],
    without_uv: Any,
    thresholds: tuple[str, ...],
    shares: tuple[tuple[str, float], ...],
    seed: int,
    model_folder: Path | None,
    window: int | None,
    workers: int,
) -> None:
    """Cuts scored images into chops, split by plate into training, validation and test.

    Name at least one source: --xtaltrak, --labels, --tfrecord or --class-folders. A build that was stopped goes on with the same command.
    """
    if not (xtaltrak or labels or records or class_folders):
        raise UsageError("no source named: --xtaltrak, --labels CSV, --tfrecord FILE or --class-folders FOLDER")
    known = read_plates(plates) if plates else {}
    try:
        rules = with_values(Rules(without_uv=without_uv), thresholds)
    except ValueError as error:
        raise UsageError(f"--threshold {error}") from error
    rules = replace(
        rules, window=window, chromophores=tuple(sorted({*chromophores, *(name for name, plate in known.items() if plate.chromophore)}))
    )
    wish = Wish(seed=seed, shares={**SHARES, **dict(shares)}, rules=rules)
    if not sum(wish.shares.values()):
        raise UsageError("--share: all parts have the share 0")
    found: list[Found] = []
    if xtaltrak:
        settings = load_settings(settings_file)
        with open_xtaltrak(settings.xtaltrak) as database:
            found.append(read_xtaltrak(database, settings, uv_profiles))
    found += [read_folder(file, folder) for file in labels]
    found += [read_class_folders(top) for top in class_folders]
    if records:
        found.append(read_tfrecords(records, [name.strip() for name in (label_names or "").split(",") if name.strip()]))
    for source in found:
        for line in source.problems:
            _log.warning("left out %s", line)
        for line in source.notes:
            _log.warning("%s", line)
    images = of_drop_types(with_plates((image for source in found for image in source.images), known), drop_types)
    model_folder = model_folder or default_model_folder()
    with stopped_by_signals() as stop:
        reports = build(images, model_folder, out, wish, workers, stop)
    write_record(out, found, images, reports, wish, model_folder, drop_types)
    _show(reports)
    failed = sum(len(source.problems) for source in found) + sum(bool(image.problem) for report in reports for image in report.images)
    if failed:
        raise CrystalSearchError(f"{out} is finished; {failed} rows, records or images were left out, one line each above")


@dataset.command("show")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def show_dataset(folder: Path) -> None:
    """Prints the counts of a data set (Table 1 of the paper for your own data)."""
    if not (folder / DATASET_JSON).is_file():
        raise UsageError(f"{folder} holds no finished data set: there is no {DATASET_JSON} in it")
    reports = [read_report(shard) for part in PARTS for shard in sorted((folder / part).glob("*.npz"))]
    if None in reports:
        raise CrystalSearchError(f"{folder}: a shard is damaged: start the build again, which makes it anew")
    _show([report for report in reports if report is not None])


def _show(reports: Sequence[ShardReport]) -> None:
    rows = count(reports)
    Console().print(table(rows))
    for line in warnings(rows, reports):
        _log.warning("%s", line)


def write_record(
    out: Path,
    found: Sequence[Found],
    images: Sequence[ScoredImage],
    reports: Sequence[ShardReport],
    wish: Wish,
    model_folder: Path,
    drop_types: Sequence[str],
) -> None:
    """``dataset.json``: what the data set is made of and how. It is there only once every shard is."""
    model = load_model(model_folder)
    rows = count(reports)
    plates: dict[str, set[str]] = {part: set() for part in PARTS}
    for report in reports:
        plates[report.part].update(image.plate for image in report.images)
    shards = [shard for part in PARTS for shard in sorted((out / part).glob("*.npz"))]
    record = {
        "format": FORMAT,
        "version": __version__,
        "model": {"name": model.reference.name, "sha256": model.reference.sha256},
        "side": chop_side(model, wish.rules),
        "window": wish.rules.window or model.spec.chops.window,
        "seed": wish.seed,
        "shares": dict(wish.shares),
        "rules": asdict(wish.rules),
        "drop_types": list(drop_types or sorted({image.drop_type for image in images})),
        "sources": [
            {"source": s.source, "images": len(s.images), "left_out": len(s.problems), "notes": s.notes, "sha256": s.sha256} for s in found
        ],
        "only_group_known": sum(image.only_group for image in images),
        "counts": [asdict(row) for row in rows],
        "left_out": [f"{image.name}: {image.problem}" for report in reports for image in report.images if image.problem],
        "no_drop": [image.name for report in reports for image in report.images if image.no_drop],
        "plates": {part: sorted(names) for part, names in plates.items()},
        "shards": {f"{report.part}/{path.name}": report.sha256 for report, path in zip(reports, shards, strict=True)},
    }
    try:
        write_atomically(out / DATASET_JSON, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error


for _command in (records, from_records, disagreements, unpack_tfrecords):
    dataset.add_command(_command)
