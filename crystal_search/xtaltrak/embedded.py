"""The embedded XtalTrak: XtalTrak's tables in a SQLite file, filled from a folder of CrystalTrak-named images.

It is the default where there is no Oracle, and the ground of the demo and of the tests.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any

import click

from crystal_search import settings
from crystal_search.atomic import write_atomically
from crystal_search.crystaltrak_names import ImageName, MalformedNameError, parse_image_name
from crystal_search.errors import EXIT_SOME_FAILED, SettingsError, UsageError
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import XtalTrak, connect_sqlite
from crystal_search.xtaltrak.images import database_time

_log = logging.getLogger("load")

#: In this order, so that what a table refers to is there before it.
_CREATE = (
    "create_projects",
    "create_plates",
    "create_samples",
    "create_plate_drops",
    "create_i_plate_inspections",
    "create_i_plate_inspections_index",
    "create_i_inspections",
    "create_i_images",
    "create_i_scores",
    "create_i_scores_index",
    "create_artscore_seq",
    "start_artscore_seq",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was brought in: the number of images that are new, and one line for each file that was skipped."""

    added: int
    skipped: tuple[str, ...]


def create_embedded(section: settings.XtalTrak) -> XtalTrak:
    """Open the embedded XtalTrak of the settings, made first where it is not there; one that is there is left as it is."""
    try:
        section.database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"xtaltrak.database: {error.filename}: can not be made ({error.strerror})") from error
    xtaltrak = connect_sqlite(section)
    with xtaltrak.transaction():
        for name in _CREATE:
            xtaltrak.execute(name)
        xtaltrak.guard_own_rows()
        xtaltrak.guard_people_rows()
    return xtaltrak


def load_images(xtaltrak: XtalTrak, image_root: Path) -> Report:
    """Bring plates, inspections and images of ``<image root>/<barcode>/<inspection number>/<name>`` into the embedded XtalTrak.

    What the database has already stays as it is. A file with a malformed name, or in a folder that its name contradicts, is
    skipped with one line, never guessed. The day of the name is the date of the inspection. Raises ``UsageError``.
    """
    names: list[ImageName] = []
    skipped: list[str] = []
    for path in _files(image_root):
        try:
            name = parse_image_name(path.name)
        except MalformedNameError as error:
            skipped.append(str(error))
            continue
        if path.parent != image_root / name.folder:
            skipped.append(f"{path.name!r}: lies in {path.parent}, its name says {name.folder}")
            continue
        names.append(name)
    return Report(_insert(xtaltrak, names), tuple(skipped))


def _insert(xtaltrak: XtalTrak, names: Iterable[ImageName]) -> int:
    """The number of images that were not there yet."""
    rows: list[dict[str, Any]] = [
        {
            "barcode": name.drop.barcode,
            "number": name.inspection_number,
            "col": name.drop.well.column,
            "row": name.drop.well.row,
            "subwell": name.drop.subwell,
            "taken_at": database_time(datetime.combine(name.taken_on, time())),
            "image_name": name.file_name,
        }
        for name in sorted(names, key=lambda name: (name.taken_on, name.drop.barcode, name.inspection_number, name.drop, name.file_name))
    ]
    with xtaltrak.transaction():
        xtaltrak.executemany("insert_plate", [{"barcode": barcode} for barcode in sorted({row["barcode"] for row in rows})])
        xtaltrak.executemany("insert_plate_inspection", [{key: row[key] for key in ("barcode", "number", "taken_at")} for row in rows])
        drop = ("barcode", "number", "col", "row", "subwell")
        xtaltrak.executemany("insert_inspection", [{key: row[key] for key in (*drop, "taken_at")} for row in rows])
        return xtaltrak.executemany("insert_image", [{key: row[key] for key in (*drop, "image_name")} for row in rows])


def import_folder(folder: Path, image_root: Path) -> Report:
    """Link, or else copy, every CrystalTrak-named image of ``folder`` (searched recursively) to where XtalTrak's users expect it.

    That is ``<image root>/<barcode>/<inspection number>/<name>``. A file that is there already stays; one that differs from it
    is skipped with one line, as is a malformed name. Raises ``UsageError`` when ``folder`` can not be read.
    """
    added = 0
    skipped: list[str] = []
    for path in _files(folder):
        try:
            target = image_root / parse_image_name(path.name).folder / path.name
        except MalformedNameError as error:
            skipped.append(str(error))
            continue
        try:
            if not target.exists():
                _link_or_copy(path, target)
                added += 1
            elif not target.samefile(path) and target.read_bytes() != path.read_bytes():
                skipped.append(f"{path.name!r}: another image of that name is in {target.parent}")
        except OSError as error:  # a dangling link, a file without permission: it fails alone
            skipped.append(f"{path.name!r}: can not be read ({error.strerror or error})")
    return Report(added, tuple(skipped))


def _link_or_copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path.resolve(), target)
    except OSError:  # another file system, or one without hard links
        write_atomically(target, path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder`` in order, hidden ones (the rest of a killed program among them) left out."""

    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename}: can not be read ({error.strerror})") from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
def load(folder: Path, settings_file: Path | None) -> None:
    """Bring the CrystalTrak-named images of FOLDER into the image root and the embedded XtalTrak."""
    configured = load_settings(settings_file)
    if configured.xtaltrak.dialect != "sqlite":
        raise SettingsError("xtaltrak.dialect: only the embedded XtalTrak (sqlite) can be loaded; the lab's own knows its images")
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
    if skipped:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)
