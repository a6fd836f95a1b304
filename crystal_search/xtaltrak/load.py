"""``crystal-search load``: plates and images into the embedded XtalTrak, from wherever a lab has them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import click

from crystal_search.errors import EXIT_SOME_FAILED, SettingsError, UsageError
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.adapters.csv_list import read_list
from crystal_search.xtaltrak.adapters.placing import place_all
from crystal_search.xtaltrak.adapters.plate_details import load_details
from crystal_search.xtaltrak.adapters.rock_maker import FORMATS, Tree, read_export, read_tree
from crystal_search.xtaltrak.adapters.source_image import SkippedError, SourceImage
from crystal_search.xtaltrak.embedded import Report, create_embedded, import_folder, load_images

_log = logging.getLogger("load")

#: Reads the images that are to be brought in.
_Reader = Callable[[XtalTrak], Iterator[SourceImage | SkippedError]]


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option(
    "--from",
    "kind",
    type=click.Choice(["folder", "rockmaker", "csv", "details"]),
    default="folder",
    show_default=True,
    help="What SOURCE is.",
)
@click.option("--csv", "export", type=click.Path(path_type=Path), help="rockmaker: the CSV export with dates, imagers and wells.")
@click.option(
    "--wells", type=click.Choice([str(wells) for wells in FORMATS]), help="rockmaker: wells of a plate [default: the export's, else 96]."
)
@click.option("--kind", "kinds", multiple=True, default=["ef"], show_default=True, help="rockmaker: kinds of images, such as ef.")
@click.option("--date-format", help="rockmaker, csv: how dates are written, as for strptime [default: ISO].")
@click.option("--copy", is_flag=True, help="rockmaker, csv: hard links or copies below the image root instead of symbolic links.")
def load(
    source: Path,
    settings_file: Path | None,
    kind: Literal["folder", "rockmaker", "csv", "details"],
    export: Path | None,
    wells: str | None,
    kinds: tuple[str, ...],
    date_format: str | None,
    copy: bool,
) -> None:
    """Bring the images of SOURCE into the image root and the embedded XtalTrak: docs/how-to/adapters.md.

    SOURCE is a folder of CrystalTrak-named images, a Rock Maker folder that holds WellImages, or a CSV list; with --from details
    a CSV with projects, samples and conditions of plates that are there. A second time nothing is brought in twice.
    """
    configured = load_settings(settings_file)
    if configured.xtaltrak.dialect != "sqlite":
        raise SettingsError("xtaltrak.dialect: only the embedded XtalTrak (sqlite) can be loaded; the lab's own knows its images")
    if kind != "rockmaker" and (export or wells):
        raise UsageError("--csv and --wells go with --from rockmaker")
    if kind == "folder":
        skipped = _load_folder(source, configured)
    elif kind == "details":
        skipped = _load_details(source, configured)
    elif kind == "csv":
        skipped = _load(configured, lambda xtaltrak: read_list(source, date_format), copy)
    else:
        tree = Tree(source.absolute(), frozenset(name.lower() for name in kinds), int(wells) if wells else None)
        tree.root  # noqa: B018 - says at once that there is none
        if export is None:
            _log.info("without --csv an image's time is its file's, and its imager is 0")
            skipped = _load(configured, lambda xtaltrak: read_tree(xtaltrak, tree), copy)
        else:
            rows = export
            skipped = _load(configured, lambda xtaltrak: read_export(xtaltrak, tree, rows, date_format), copy)
    if skipped:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _load(configured: Settings, read: _Reader, copy: bool) -> int:
    """How many were skipped, each with a line in the log."""
    skipped = 0

    def skip(line: str) -> None:
        nonlocal skipped
        skipped += 1
        _log.warning("skipped %s", line)

    with create_embedded(configured.xtaltrak) as xtaltrak:
        placed = place_all(xtaltrak, configured.paths.images, read(xtaltrak), copy, skip)
    _log.info("%d images new in %s, %d new in XtalTrak, %d skipped", placed.links, configured.paths.images, placed.images, skipped)
    return skipped


def _load_details(source: Path, configured: Settings) -> int:
    skipped: list[str] = []
    with create_embedded(configured.xtaltrak) as xtaltrak:
        taken = load_details(xtaltrak, source, skipped.append)
    for line in skipped:
        _log.warning("skipped %s", line)
    _log.info("%d rows taken, %d skipped", taken, len(skipped))
    return len(skipped)


def _load_folder(folder: Path, configured: Settings) -> int:
    imported = import_folder(folder, configured.paths.images)
    if not configured.paths.images.is_dir():  # every name was malformed: what was skipped is told below
        loaded = Report(0, ())
    else:
        with create_embedded(configured.xtaltrak) as xtaltrak:
            loaded = load_images(xtaltrak, configured.paths.images)
    skipped = sorted({*imported.skipped, *loaded.skipped})
    for line in skipped:
        _log.warning("skipped %s", line)
    if not (imported.added or loaded.added or skipped):
        _log.info("%s: no image that is new", folder)
    _log.info("%d images new in %s, %d new in XtalTrak, %d skipped", imported.added, configured.paths.images, loaded.added, len(skipped))
    return len(skipped)
